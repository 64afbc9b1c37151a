//! What only a raw stream promises.

use std::fs;
use std::io::{Cursor, Read as _};
use std::path::PathBuf;

use bytes::Bytes;
use galera_sst::pipeline::{self, Options, Progress};
use galera_sst::sink::raw::{Raw, RawTarget};
use galera_sst::sink::{Sink, SinkError};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::streams;
use crate::subjects::manifest;

fn target() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let target = directory.path().join("backup.xb");
    (directory, target)
}

#[tokio::test]
async fn a_donors_stream_is_stored_byte_for_byte() {
    let stream = streams::chunks().concat();
    let (_directory, target) = target();
    let sink = Raw::create(RawTarget::File(target.clone()), true).await.expect("sink");
    let (progress, cancel) = (Progress::default(), CancellationToken::new());
    let source = Cursor::new(stream.clone());
    let received = pipeline::run(source, sink, &Options::default(), &progress, &cancel).await;
    let receipt = received.expect("good stream").sink.commit(manifest()).await.expect("commit");
    assert_eq!(receipt.stored_bytes, stream.len() as u64);
    assert_eq!(fs::read(target).expect("file"), stream);
}

#[tokio::test]
async fn an_existing_file_is_refused_at_the_start_and_at_the_end() {
    let (_directory, target) = target();
    let sink = Raw::create(RawTarget::File(target.clone()), true).await.expect("sink");
    fs::write(&target, b"theirs").expect("written");
    let refused = Raw::create(RawTarget::File(target.clone()), true).await;
    assert!(matches!(refused, Err(SinkError::Occupied { .. })));
    let refused = sink.commit(manifest()).await;
    assert!(matches!(refused, Err(SinkError::Occupied { .. })));
    assert_eq!(fs::read(target).expect("file"), b"theirs");
}

#[tokio::test]
async fn a_pipe_is_written_as_it_is() {
    let (directory, _) = target();
    let pipe = directory.path().join("pipe");
    rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).expect("pipe");
    let reading = std::thread::spawn({
        let pipe = pipe.clone();
        move || {
            let mut content = Vec::new();
            let read = fs::File::open(pipe).and_then(|mut pipe| pipe.read_to_end(&mut content));
            read.map(|_| content)
        }
    });
    let mut sink = Raw::create(RawTarget::File(pipe), true).await.expect("sink");
    sink.stream(Bytes::from_static(b"bytes")).await.expect("written");
    sink.commit(manifest()).await.expect("commit");
    assert_eq!(reading.join().expect("no panic").expect("read"), b"bytes");
}

#[tokio::test]
async fn a_full_device_is_an_error_with_its_cause() {
    let device = RawTarget::File("/dev/full".into());
    let mut sink = Raw::create(device, true).await.expect("sink");
    // The write is queued; its failure shows at the latest when the stream is to be whole.
    let written = sink.stream(Bytes::from_static(b"bytes")).await;
    let Err(error) = written.and(sink.commit(manifest()).await) else { panic!("no error") };
    let SinkError::Write { source, .. } = error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
}
