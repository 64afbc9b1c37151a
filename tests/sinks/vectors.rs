//! Every captured stream through the pipeline into a data directory.

use std::collections::BTreeMap;
use std::fs;
use std::io::Cursor;

use galera_protocol::xbstream::{Dialect, ReaderConfig};
use galera_sst::pipeline::{self, Options, PipelineError, Progress, Received};
use galera_sst::sink::Sink;
use galera_sst::sink::datadir::{Datadir, DatadirOptions, Grastate, MANIFEST_NAME};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::streams;
use crate::subjects::{gather, manifest};

#[derive(Deserialize)]
struct Vector {
    dialect: String,
    expect: String,
    #[serde(default)]
    files: BTreeMap<String, File>,
}

#[derive(Debug, PartialEq, Eq, Deserialize)]
struct File {
    size: usize,
    sha256: String,
}

#[tokio::test]
async fn every_captured_stream_makes_the_files_that_it_should() {
    let listed = fs::read(streams::vectors().join("expected.json")).expect("list");
    let listed: BTreeMap<String, Vector> = serde_json::from_slice(&listed).expect("valid list");
    for (name, vector) in listed {
        let stream = fs::read(streams::vectors().join(&name)).expect("vector");
        let directory = tempfile::tempdir().expect("temporary directory");
        match (receive(&directory, stream, &vector).await, vector.expect.as_str()) {
            (Ok(received), "accept") => check(&name, &vector, received, &directory).await,
            (Err(PipelineError::Stream(_)), "reject") => {
                assert_eq!(fs::read_dir(directory.path()).expect("directory").count(), 0, "{name}");
            }
            (received, expected) => panic!("{name}: {expected} expected: {:?}", received.err()),
        }
    }
}

async fn receive(
    directory: &TempDir,
    stream: Vec<u8>,
    vector: &Vector,
) -> Result<Received<Datadir>, PipelineError> {
    let dialect = match vector.dialect.as_str() {
        "percona" => Some(Dialect::Percona),
        "mariadb" => Some(Dialect::MariaDb),
        _ => None,
    };
    let target = directory.path().join("data");
    let sink = Datadir::create(DatadirOptions { target, sync: false }).await?;
    let reader = ReaderConfig { dialect, ..ReaderConfig::default() };
    let options = Options { reader, ..Options::default() };
    let cancel = CancellationToken::new();
    pipeline::run(Cursor::new(stream), sink, &options, &Progress::default(), &cancel).await
}

async fn check(name: &str, vector: &Vector, received: Received<Datadir>, directory: &TempDir) {
    let Received { sink, summary } = received;
    sink.commit(manifest()).await.expect("commit");
    let mut files = BTreeMap::new();
    gather(&directory.path().join("data"), "", &mut files);
    files.remove(MANIFEST_NAME).expect("manifest");
    files.remove(Grastate::NAME).expect("grastate.dat");
    for (path, file) in &summary.files {
        let content = &files[std::str::from_utf8(path.as_bytes()).expect("UTF-8 in all vectors")];
        assert_eq!(file.size, content.len() as u64, "{name}");
        assert_eq!(file.hash, Some(blake3::hash(content)), "{name}");
    }
    let hex = |content: &[u8]| Sha256::digest(content).iter().map(|b| format!("{b:02x}")).collect();
    let files: BTreeMap<_, _> = files
        .into_iter()
        .map(|(path, content)| (path, File { size: content.len(), sha256: hex(&content) }))
        .collect();
    assert_eq!(files, vector.files, "{name}");
}
