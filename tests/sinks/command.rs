//! What only `exec:` promises: a command never takes a part of a stream for the whole.

use std::fs;
use std::io::Cursor;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use bytes::Bytes;
use galera_sst::pipeline::{self, Options, PipelineError, Progress, Received};
use galera_sst::sink::raw::{CommandLine, Raw, RawTarget};
use galera_sst::sink::{Receipt, Sink, SinkError};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::subjects::{CommandSubject, Subject as _, manifest};
use crate::{streams, suite};

/// The suite, but for its thousands of bad streams: each would start three processes.
#[tokio::test]
async fn a_command_conforms() {
    suite::commits(CommandSubject::new).await;
    suite::aborts_at_every_step(CommandSubject::new).await;
    suite::fails_at_every_step(CommandSubject::new).await;
    suite::is_dropped_at_every_step(CommandSubject::new).await;
    suite::works_after_failures(CommandSubject::new).await;
    suite::fails_under_the_pipeline(CommandSubject::new).await;
}

async fn start(command: &str, environment: &[(&str, &str)]) -> Result<Raw, SinkError> {
    let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    let line = CommandLine {
        arguments: Vec::new(),
        command: command.to_owned(),
        environment: environment.iter().map(own).collect(),
        limit: Duration::from_secs(60),
    };
    Raw::create(RawTarget::Command(line), true).await
}

async fn receive(sink: Raw, stream: Vec<u8>) -> Result<Received<Raw>, PipelineError> {
    let (options, progress) = (Options::default(), Progress::default());
    pipeline::run(Cursor::new(stream), sink, &options, &progress, &CancellationToken::new()).await
}

async fn store(command: &str) -> Result<Receipt, SinkError> {
    let mut sink = start(command, &[]).await.expect("started");
    match sink.stream(Bytes::from_static(b"bytes")).await {
        Ok(()) => sink.commit(manifest()).await,
        Err(error) => {
            sink.abort().await;
            Err(error)
        }
    }
}

fn cause(stored: Result<Receipt, SinkError>) -> String {
    let Err(SinkError::Write { source, .. }) = stored else { panic!("{stored:?}") };
    source.to_string()
}

#[tokio::test]
async fn the_exit_status_decides_and_what_it_says_is_kept() {
    let receipt = store("cat >/dev/null; echo stored").await.expect("stored");
    assert_eq!((receipt.stored_bytes, receipt.said.as_deref()), (5, Some("stored\n")));
    assert!(cause(store("cat >/dev/null; exit 3").await).contains("exit status: 3"));
    assert!(cause(store("no-such-command-anywhere 2>/dev/null").await).contains("127"));
}

#[tokio::test]
async fn a_command_that_succeeds_without_reading_everything_has_failed() {
    assert!(cause(store("true").await).contains("before it had read everything"));
    assert!(cause(store("head -c 2 >/dev/null").await).contains("before it had read everything"));
}

#[tokio::test]
async fn a_command_that_ends_during_the_stream_is_reported_with_its_status() {
    let mut sink = start("exit 7", &[]).await.expect("started");
    let piece = Bytes::from(vec![0; 1 << 20]);
    let error = loop {
        if let Err(error) = sink.stream(piece.clone()).await {
            break error;
        }
    };
    sink.abort().await;
    assert!(cause(Err(error)).contains("exit status: 7"));
}

#[tokio::test]
async fn a_command_that_does_not_end_is_killed_at_its_limit() {
    let line = CommandLine {
        arguments: Vec::new(),
        command: "cat >/dev/null; sleep 600".into(),
        environment: Vec::new(),
        limit: Duration::from_millis(300),
    };
    let sink = Raw::create(RawTarget::Command(line), true).await.expect("started");
    assert!(cause(sink.commit(manifest()).await).contains("did not end within"));
}

/// A pipeline whose last member would store whatever it is given, and takes every plea to stop as
/// an end of input.
#[tokio::test]
async fn no_member_of_a_pipeline_sees_an_end_of_input_after_a_failure() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let stored = directory.path().join("stored");
    let command =
        format!("trap '' TERM INT HUP; cat | cat >/dev/null && touch {}", stored.display());
    for how in ["abort", "drop"] {
        let mut sink = start(&command, &[]).await.expect("started");
        sink.stream(Bytes::from_static(b"half")).await.expect("written");
        let group = Group::of(&command).await;
        match how {
            "abort" => sink.abort().await,
            _ => drop(sink),
        }
        group.ended().await;
        assert!(!stored.exists(), "{how}");
    }
}

/// The processes of a command line.
struct Group(Vec<PathBuf>);

impl Group {
    /// Waits until the shell has become the command line.
    async fn of(command: &str) -> Self {
        let limit = Duration::from_secs(20);
        let found = async {
            loop {
                let found = Self::running(command);
                if !found.is_empty() {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        Self(tokio::time::timeout(limit, found).await.expect("the command runs"))
    }

    fn running(command: &str) -> Vec<PathBuf> {
        let runs = |process: &PathBuf| {
            let line = fs::read(process.join("cmdline")).unwrap_or_default();
            String::from_utf8_lossy(&line).contains(command)
        };
        let processes = fs::read_dir("/proc").expect("proc").flatten().map(|entry| entry.path());
        processes.filter(runs).collect()
    }

    async fn ended(self) {
        let is_there = |process: &PathBuf| {
            let status = fs::read_to_string(process.join("stat")).unwrap_or_default();
            !status.is_empty() && !status.contains(") Z ")
        };
        let limit = Duration::from_secs(20);
        let gone = async {
            while self.0.iter().any(is_there) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(limit, gone).await.expect("the command is gone");
    }
}

struct Restic(TempDir);

impl Restic {
    fn new() -> Self {
        let restic = Self(tempfile::tempdir().expect("temporary directory"));
        restic.ask(&["init"]);
        restic
    }

    fn environment(&self) -> Vec<(&str, &str)> {
        let directory = self.0.path().to_str().expect("UTF-8");
        vec![
            ("RESTIC_REPOSITORY", directory),
            ("RESTIC_PASSWORD", "secret"),
            ("RESTIC_CACHE_DIR", "/nonexistent"),
        ]
    }

    fn ask(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("restic");
        command.arg("--no-cache").args(arguments).envs(self.environment());
        let output = command.output().expect("restic runs; scripts/install-deps installs it");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output
    }

    fn snapshots(&self) -> usize {
        let listed = self.ask(&["snapshots", "--json"]);
        serde_json::from_slice::<Vec<serde_json::Value>>(&listed.stdout).expect("JSON").len()
    }
}

const RESTIC: &str =
    "restic --no-cache --json backup --stdin --stdin-filename backup.xb --host group";

#[tokio::test]
async fn restic_stores_a_whole_stream_and_gives_it_back() {
    let (restic, stream) = (Restic::new(), streams::chunks().concat());
    let sink = start(RESTIC, &restic.environment()).await.expect("started");
    let received = receive(sink, stream.clone()).await.expect("good stream");
    let receipt = received.sink.commit(manifest()).await.expect("stored");
    assert!(receipt.said.expect("a summary").contains("snapshot_id"));
    assert_eq!(restic.snapshots(), 1);
    assert_eq!(restic.ask(&["dump", "latest", "backup.xb"]).stdout, stream);
}

#[tokio::test]
async fn after_a_failed_backup_restic_has_no_snapshot() {
    let (restic, stream) = (Restic::new(), streams::chunks().concat());
    let mut damaged = stream.clone();
    damaged[3000] ^= 1;
    for bad in [stream[..stream.len() - 5].to_vec(), damaged] {
        let sink = start(RESTIC, &restic.environment()).await.expect("started");
        receive(sink, bad).await.expect_err("bad stream");
        assert_eq!(restic.snapshots(), 0);
    }
    let mut sink = start(RESTIC, &restic.environment()).await.expect("started");
    // More than the pipe holds, so restic is known to be reading when we go away.
    for _ in 0..4 {
        sink.stream(Bytes::from(vec![7; 1 << 20])).await.expect("written");
    }
    let group = Group::of(RESTIC).await;
    drop(sink);
    group.ended().await;
    assert_eq!(restic.snapshots(), 0);
    restic.ask(&["check"]);
}
