//! The sinks under test, and how to see from outside what they made.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt;
use galera_sst::pipeline::manifest::{BackupId, Manifest};
use galera_sst::repository::{PackConfig, PackSink, ReadConfig, Repository, RepositoryUrl};
use galera_sst::sink::datadir::{Datadir, DatadirOptions, Grastate, MANIFEST_NAME};
use galera_sst::sink::discard::Discard;
use galera_sst::sink::raw::{CommandLine, Raw, RawTarget};
use galera_sst::sink::{Sink, SinkError};
use tempfile::TempDir;

use crate::model::{Files, files_of_stream};

/// A kind of sink, and one place that it writes to.
pub(crate) trait Subject {
    type Sink: Sink;

    fn new() -> Self;

    async fn sink(&self) -> Result<Self::Sink, SinkError>;

    /// The backup that a stranger would find there.
    async fn visible(&self) -> Option<Files>;

    /// Whether there is anything at all, finished or not.
    fn is_untouched(&self) -> bool;

    /// Whether it keeps what it is given.
    fn keeps(&self) -> bool {
        true
    }
}

/// A manifest; what is in it does not matter here.
pub(crate) fn manifest() -> Manifest {
    let text = include_str!("manifest.json");
    Manifest::decode(text.as_bytes()).expect("valid manifest")
}

pub(crate) struct DatadirSubject(TempDir);

impl Subject for DatadirSubject {
    type Sink = Datadir;

    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    async fn sink(&self) -> Result<Datadir, SinkError> {
        let target = self.0.path().join("data");
        Datadir::create(DatadirOptions { target, sync: true }).await
    }

    async fn visible(&self) -> Option<Files> {
        let target = self.0.path().join("data");
        let mut files = Files::new();
        target.exists().then(|| gather(&target, "", &mut files))?;
        // Its own two files belong to every directory that it makes.
        files.remove(MANIFEST_NAME).expect("manifest");
        files.remove(Grastate::NAME).expect("grastate.dat");
        Some(files)
    }

    fn is_untouched(&self) -> bool {
        is_empty(self.0.path())
    }
}

pub(crate) fn gather(directory: &Path, prefix: &str, files: &mut Files) {
    for entry in fs::read_dir(directory).expect("directory") {
        let entry = entry.expect("entry");
        let name = format!("{prefix}{}", entry.file_name().to_str().expect("name"));
        if entry.file_type().expect("type").is_dir() {
            gather(&entry.path(), &format!("{name}/"), files);
        } else {
            files.insert(name, fs::read(entry.path()).expect("file"));
        }
    }
}

pub(crate) struct RawSubject(TempDir);

impl Subject for RawSubject {
    type Sink = Raw;

    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    async fn sink(&self) -> Result<Raw, SinkError> {
        Raw::create(RawTarget::File(self.0.path().join("backup.xb")), true).await
    }

    async fn visible(&self) -> Option<Files> {
        let stream = fs::read(self.0.path().join("backup.xb")).ok()?;
        Some(files_of_stream(&stream).expect("a whole stream"))
    }

    fn is_untouched(&self) -> bool {
        is_empty(self.0.path())
    }
}

/// A command that stores at the end of its input.
pub(crate) struct CommandSubject(TempDir);

impl Subject for CommandSubject {
    type Sink = Raw;

    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    async fn sink(&self) -> Result<Raw, SinkError> {
        let line = CommandLine {
            command: "content=$(base64) && echo \"$content\" >\"$PLACE\"/backup".into(),
            environment: vec![("PLACE".into(), self.0.path().display().to_string())],
            limit: Duration::from_secs(30),
        };
        Raw::create(RawTarget::Command(line), true).await
    }

    async fn visible(&self) -> Option<Files> {
        let backup = self.0.path().join("backup");
        backup.exists().then_some(())?;
        let decoded = std::process::Command::new("base64").arg("-d").arg(backup).output();
        Some(files_of_stream(&decoded.expect("base64").stdout).expect("a whole stream"))
    }

    fn is_untouched(&self) -> bool {
        is_empty(self.0.path())
    }
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).expect("directory").next().is_none()
}

pub(crate) struct RepositorySubject(TempDir);

impl Subject for RepositorySubject {
    type Sink = PackSink;

    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    async fn sink(&self) -> Result<PackSink, SinkError> {
        // Small enough that these few files fill several blocks and packs.
        let config = PackConfig { block_bytes: 1024, pack_bytes: 2048, ..PackConfig::default() };
        PackSink::create(&self.url(), BackupId::generate(), config).await
    }

    async fn visible(&self) -> Option<Files> {
        let repository = Repository::open(&self.url()).await.expect("repository");
        let id = repository.list().await.expect("list").pop()?.id;
        let backup = repository.backup(&id).await.expect("whole backup");
        assert!(backup.verify(&ReadConfig::default()).await.expect("readable").is_sound());
        let mut files = Files::new();
        for record in backup.index().files() {
            let pieces = backup.read_file(record.path()).expect("file");
            let content: Vec<bytes::Bytes> = pieces.try_collect().await.expect("content");
            files.insert(record.path().to_string(), content.concat());
        }
        Some(files)
    }

    fn is_untouched(&self) -> bool {
        is_empty(self.0.path())
    }
}

impl RepositorySubject {
    fn url(&self) -> RepositoryUrl {
        RepositoryUrl::from_directory(self.0.path())
    }
}

pub(crate) struct DiscardSubject;

impl Subject for DiscardSubject {
    type Sink = Discard;

    fn new() -> Self {
        Self
    }

    async fn sink(&self) -> Result<Discard, SinkError> {
        Ok(Discard)
    }

    async fn visible(&self) -> Option<Files> {
        None
    }

    fn is_untouched(&self) -> bool {
        true
    }

    fn keeps(&self) -> bool {
        false
    }
}
