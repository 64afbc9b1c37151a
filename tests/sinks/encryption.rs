//! Encrypted backups: the writer has no key that opens them, and without one nothing can be read.

use std::fs;

use futures_util::TryStreamExt;
use galera_protocol::xbstream::EntryPath;
use galera_sst::pipeline::manifest::BackupId;
use galera_sst::repository::{
    Copied, CopyTarget, Identities, PackConfig, PackSink, ReadConfig, Recipients, Repository,
    RepositoryError, RepositoryUrl, StoreOptions, UploadConfig,
};
use galera_sst::sink::Sink;
use tempfile::TempDir;

use crate::model::{Driver, expected, percona};
use crate::subjects::manifest;

struct Encrypted {
    directory: TempDir,
    id: BackupId,
    key: String,
}

impl Encrypted {
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let identity = age::x25519::Identity::generate();
        let key = {
            use age::secrecy::ExposeSecret;
            identity.to_string().expose_secret().to_owned()
        };
        let recipient = identity.to_public().to_string();
        let config = PackConfig {
            block_bytes: 1024,
            pack_bytes: 2048,
            recipients: Recipients::parse([recipient.as_str()].into_iter()).expect("valid"),
            ..PackConfig::default()
        };
        let id = BackupId::generate();
        let url = RepositoryUrl::from_directory(directory.path());
        let mut driver =
            Driver::new(PackSink::create(&url, id.clone(), config).await.expect("sink"));
        driver.all(&percona()).await.expect("steps");
        driver.sink.commit(manifest()).await.expect("commit");
        Self { directory, id, key }
    }

    fn url(&self) -> RepositoryUrl {
        RepositoryUrl::from_directory(self.directory.path())
    }

    async fn open(&self, key: &str) -> Repository {
        let file = tempfile::NamedTempFile::new().expect("file");
        fs::write(file.path(), format!("# a comment\n{key}\n")).expect("written");
        let identities = Identities::read(file.path()).expect("keys");
        Repository::open(&self.url()).await.expect("opens").with_identities(identities)
    }
}

#[tokio::test]
async fn the_right_key_gives_every_file_back() {
    let encrypted = Encrypted::new().await;
    let repository = encrypted.open(&encrypted.key).await;
    let backup = repository.backup(&encrypted.id).await.expect("opens");
    assert!(backup.verify(&ReadConfig::default()).await.expect("readable").is_sound());
    for (name, content) in expected(&percona()) {
        let path = EntryPath::parse(name.as_bytes()).expect("valid name");
        let pieces = backup.read_file(&path).expect("there");
        let pieces: Vec<bytes::Bytes> = pieces.try_collect().await.expect("content");
        assert_eq!(pieces.concat(), content, "{name}");
    }
}

#[tokio::test]
async fn without_the_key_hashes_are_checked_and_nothing_is_read() {
    let encrypted = Encrypted::new().await;
    let repository = Repository::open(&encrypted.url()).await.expect("opens");
    let backup = repository.backup(&encrypted.id).await.expect("opens");
    let report = backup.verify(&ReadConfig::default()).await.expect("readable");
    assert!(report.is_sound() && report.packs > 0 && report.files == 0);
    let path = EntryPath::parse(b"ibdata1").expect("valid name");
    assert!(matches!(backup.read_file(&path).err(), Some(RepositoryError::Sealed { .. })));

    let pack = encrypted.directory.path().join(format!("{}/packs/000000.zst", encrypted.id));
    let mut bytes = fs::read(&pack).expect("there");
    bytes[100] ^= 1;
    fs::write(&pack, bytes).expect("written");
    let report = backup.verify(&ReadConfig::default()).await.expect("readable");
    assert!(!report.is_sound());
}

#[tokio::test]
async fn another_key_opens_nothing() {
    use age::secrecy::ExposeSecret;
    let encrypted = Encrypted::new().await;
    let other = age::x25519::Identity::generate().to_string().expose_secret().to_owned();
    let error = encrypted.open(&other).await.backup(&encrypted.id).await.expect_err("wrong key");
    assert!(matches!(error, RepositoryError::WrongKey { .. }), "{error}");
}

#[tokio::test]
async fn no_name_and_no_content_is_readable_in_the_repository() {
    let encrypted = Encrypted::new().await;
    let prefix = encrypted.directory.path().join(encrypted.id.as_str());
    let objects = ["packs/000000.zst", "index.zst", "files.zst.age", "manifest.json"];
    for object in objects {
        let bytes = fs::read(prefix.join(object)).expect("there");
        let plain = zstd::decode_all(&bytes[..]).unwrap_or_default();
        for secret in [&b"t.ibd"[..], b"tablespace"] {
            for text in [&bytes, &plain] {
                let shows = text.windows(secret.len()).any(|window| window == secret);
                assert!(!shows, "{object} shows {:?}", String::from_utf8_lossy(secret));
            }
        }
    }
}

#[tokio::test]
async fn a_copy_needs_no_key() {
    let encrypted = Encrypted::new().await;
    let repository = Repository::open(&encrypted.url()).await.expect("opens");
    let directory = tempfile::tempdir().expect("temporary directory");
    let url = RepositoryUrl::from_directory(directory.path());
    let target = CopyTarget::open(&url, &StoreOptions::default(), UploadConfig::default()).await;
    let copied = target.expect("opens").copy(&repository, &encrypted.id).await;
    assert!(matches!(copied, Ok(Copied::Now(_))), "{copied:?}");
    let copy = Encrypted { directory, id: encrypted.id.clone(), key: encrypted.key.clone() };
    let backup = copy.open(&copy.key).await.backup(&copy.id).await.expect("opens");
    assert!(backup.verify(&ReadConfig::default()).await.expect("readable").is_sound());
}
