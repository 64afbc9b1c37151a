//! The stream into `rclone rcat`, which stores whatever it was given when its input ends.

use std::io::Cursor;
use std::time::Duration;

use galera_sst::pipeline::{self, Options, Progress};
use galera_sst::sink::Sink;
use galera_sst::sink::raw::{CommandLine, Raw, RawTarget};
use tokio_util::sync::CancellationToken;

use crate::servers::{self, ACCESS_KEY, SECRET_KEY, rclone, seaweed};
use crate::{backup, streams};

async fn store(stream: Vec<u8>) -> bool {
    let endpoint = format!("http://127.0.0.1:{}", seaweed());
    let variables = [
        ("RCLONE_CONFIG_S3_TYPE", "s3"),
        ("RCLONE_CONFIG_S3_PROVIDER", "Other"),
        ("RCLONE_CONFIG_S3_ENDPOINT", &endpoint),
        ("RCLONE_CONFIG_S3_ACCESS_KEY_ID", ACCESS_KEY),
        ("RCLONE_CONFIG_S3_SECRET_ACCESS_KEY", SECRET_KEY),
    ];
    let line = CommandLine {
        arguments: Vec::new(),
        command: "unset AWS_CA_BUNDLE; exec rclone --config /dev/null rcat s3:rcat/backup.xb"
            .into(),
        environment: variables.map(|(name, value)| (name.into(), value.into())).to_vec(),
        limit: Duration::from_secs(60),
    };
    let sink = Raw::create(RawTarget::Command(line), true).await.expect("started");
    let (options, progress) = (Options::default(), Progress::default());
    let cancel = CancellationToken::new();
    match pipeline::run(Cursor::new(stream), sink, &options, &progress, &cancel).await {
        Ok(received) => {
            let id = galera_sst::pipeline::manifest::BackupId::generate();
            received.sink.commit(backup::manifest(&id)).await.expect("stored");
            true
        }
        Err(_) => false,
    }
}

#[tokio::test]
async fn rclone_stores_a_whole_stream_and_nothing_of_a_bad_one() {
    servers::s3("rcat");
    let stream = streams::chunks().concat();
    assert!(!store(stream[..stream.len() - 3].to_vec()).await);
    let listed = rclone(seaweed(), &["lsf", "s3:rcat"]);
    assert_eq!(String::from_utf8_lossy(&listed.stdout), "");
    assert!(store(stream.to_vec()).await);
    let stored = rclone(seaweed(), &["cat", "s3:rcat/backup.xb"]);
    assert!(stored.stdout == stream);
}
