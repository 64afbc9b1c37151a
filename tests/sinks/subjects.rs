//! The sinks under test, and how to see from outside what they made.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::TryStreamExt;
use galera_sst::pipeline::manifest::{BackupId, Manifest};
use galera_sst::repository::{
    ChunkConfig, ChunkedSink, PackConfig, PackSink, ReadConfig, Repository, RepositoryUrl,
};
use galera_sst::sink::any::AnySink;
use galera_sst::sink::copies::{Copies, Policy};
use galera_sst::sink::datadir::{Datadir, DatadirOptions, Grastate, MANIFEST_NAME};
use galera_sst::sink::discard::Discard;
use galera_sst::sink::raw::{CommandLine, Raw, RawTarget};
use galera_sst::sink::spooled::{SpoolOptions, Spooled};
use galera_sst::sink::tar::{SUMS_NAME, Tar, TarOptions};
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

/// A repository in Percona's layout, in chunks small enough that files have several.
pub(crate) struct ChunkedSubject(TempDir);

impl ChunkedSubject {
    pub(crate) fn url(&self) -> RepositoryUrl {
        RepositoryUrl::from_directory(self.0.path())
    }

    pub(crate) fn place(&self) -> &Path {
        self.0.path()
    }
}

impl Subject for ChunkedSubject {
    type Sink = ChunkedSink;

    /// In memory where there is such a place: every chunk is a file that is synced.
    fn new() -> Self {
        let made = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir());
        Self(made.expect("temporary directory"))
    }

    async fn sink(&self) -> Result<ChunkedSink, SinkError> {
        let config =
            ChunkConfig { chunk_bytes: 700, pending_bytes_max: 1500, ..ChunkConfig::default() };
        ChunkedSink::create(&self.url(), BackupId::generate(), config).await
    }

    /// As another program reads it: all chunks of each file in order are a stream.
    async fn visible(&self) -> Option<Files> {
        let repository = Repository::open(&self.url()).await.expect("repository");
        let id = repository.list().await.expect("list").pop()?.id;
        let mut objects = Files::new();
        gather(&self.0.path().join(id.as_str()), "", &mut objects);
        objects.remove("manifest.json").expect("manifest");
        // By name: a file's chunks come in the order of their numbers.
        let stream: Vec<u8> = objects.into_values().flatten().collect();
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
            arguments: Vec::new(),
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

/// An archive; some files go straight in, some wait.
pub(crate) struct TarSubject(TempDir);

impl TarSubject {
    pub(crate) fn options(&self) -> TarOptions {
        let target = RawTarget::File(self.0.path().join("backup.tar"));
        TarOptions { target, spool: None, spool_bytes_max: 1 << 20, sync: false }
    }
}

impl Subject for TarSubject {
    type Sink = Tar;

    fn new() -> Self {
        Self(tempfile::tempdir().expect("temporary directory"))
    }

    async fn sink(&self) -> Result<Tar, SinkError> {
        Tar::create(self.options()).await
    }

    async fn visible(&self) -> Option<Files> {
        let archive = fs::read(self.0.path().join("backup.tar")).ok()?;
        Some(files_of_archive(&archive))
    }

    fn is_untouched(&self) -> bool {
        is_empty(self.0.path())
    }
}

/// The files of an archive, without the two that every archive has.
pub(crate) fn files_of_archive(archive: &[u8]) -> Files {
    let mut files = Files::new();
    for entry in tar::Archive::new(archive).entries().expect("archive") {
        let mut entry = entry.expect("entry");
        let name = String::from_utf8(entry.path_bytes().into_owned()).expect("UTF-8");
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).expect("content");
        files.insert(name, content);
    }
    files.remove(MANIFEST_NAME).expect("manifest");
    files.remove(SUMS_NAME).expect("hashes");
    files
}

/// A repository behind a spool.
pub(crate) struct SpooledSubject(RepositorySubject, TempDir);

impl Subject for SpooledSubject {
    type Sink = Spooled<PackSink>;

    fn new() -> Self {
        Self(RepositorySubject::new(), tempfile::tempdir().expect("temporary directory"))
    }

    async fn sink(&self) -> Result<Spooled<PackSink>, SinkError> {
        let directory = self.1.path().to_path_buf();
        let options = SpoolOptions { directory, bytes_max: 1 << 20 };
        Spooled::new(self.0.sink().await?, options).await.map_err(|(_, error)| error)
    }

    async fn visible(&self) -> Option<Files> {
        self.0.visible().await
    }

    fn is_untouched(&self) -> bool {
        self.0.is_untouched() && is_empty(self.1.path())
    }
}

/// A data directory, a stream and a repository at once.
pub(crate) struct CopiesSubject(DatadirSubject, RawSubject, RepositorySubject);

impl Subject for CopiesSubject {
    type Sink = Copies<AnySink>;

    fn new() -> Self {
        Self(DatadirSubject::new(), RawSubject::new(), RepositorySubject::new())
    }

    async fn sink(&self) -> Result<Copies<AnySink>, SinkError> {
        let opened = vec![
            ("data".to_owned(), self.0.sink().await.map(|sink| AnySink::Datadir(Box::new(sink)))),
            ("stream".to_owned(), self.1.sink().await.map(|sink| AnySink::Raw(Box::new(sink)))),
            ("packs".to_owned(), self.2.sink().await.map(|sink| AnySink::Packs(Box::new(sink)))),
        ];
        Copies::new(opened, Policy::All).await
    }

    /// All three show the same, or none shows anything.
    async fn visible(&self) -> Option<Files> {
        let [first, second, third] =
            [self.0.visible().await, self.1.visible().await, self.2.visible().await];
        assert_eq!(first, second);
        assert_eq!(first, third);
        first
    }

    fn is_untouched(&self) -> bool {
        self.0.is_untouched() && self.1.is_untouched() && self.2.is_untouched()
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
