//! The same stream through `mbstream -x`: the same files with the same bytes.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

use galera_sst::pipeline::{self, Options, Progress};
use galera_sst::sink::Sink;
use galera_sst::sink::datadir::{Datadir, DatadirOptions, Grastate, MANIFEST_NAME};
use tokio_util::sync::CancellationToken;

use crate::subjects::{gather, manifest};

#[tokio::test]
#[ignore = "needs mbstream, and XBSTREAM_FILE with a stream of a backup"]
async fn a_real_backup_gives_the_same_files_as_mbstream() {
    let stream = PathBuf::from(env::var_os("XBSTREAM_FILE").expect("XBSTREAM_FILE"));
    let directory = tempfile::tempdir().expect("temporary directory");
    let theirs = directory.path().join("theirs");
    fs::create_dir(&theirs).expect("made");
    let mut mbstream = Command::new("mbstream");
    mbstream.arg("-x").arg("-C").arg(&theirs).stdin(File::open(&stream).expect("stream"));
    assert!(mbstream.status().expect("mbstream").success());

    let ours = directory.path().join("ours");
    let options = DatadirOptions { target: ours.clone(), sync: true };
    let sink = Datadir::create(options).await.expect("sink");
    let (progress, cancel) = (Progress::default(), CancellationToken::new());
    let source = File::open(&stream).expect("stream");
    let received =
        pipeline::run_blocking(source, sink, &Options::default(), &progress, &cancel).await;
    let received = received.expect("good stream");
    assert!(received.summary.completeness.is_complete(), "{:?}", received.summary.completeness);
    received.sink.commit(manifest()).await.expect("commit");

    let (mut expected, mut found) = (BTreeMap::new(), BTreeMap::new());
    gather(&theirs, "", &mut expected);
    gather(&ours, "", &mut found);
    found.remove(MANIFEST_NAME).expect("manifest");
    found.remove(Grastate::NAME).expect("grastate.dat");
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&expected));
    for (name, content) in expected {
        assert!(found[&name] == content, "{name} differs");
    }
    for (path, file) in received.summary.files {
        let content = &found[&path.to_string()];
        assert_eq!(file.size, content.len() as u64, "{path}");
        assert_eq!(file.hash, Some(blake3::hash(content)), "{path}");
    }
}
