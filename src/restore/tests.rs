use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;

use super::*;
use crate::pipeline::manifest::{BackupId, tests::sample};
use crate::repository::{PackConfig, PackSink, Repository, RepositoryUrl};
use crate::sink::{Entry, Piece, Sink, SinkFile};

/// A repository with one backup, and a place to restore to.
struct Fixture {
    directory: tempfile::TempDir,
    url: RepositoryUrl,
    id: BackupId,
}

impl Fixture {
    async fn with(files: &[(&str, Vec<Piece>)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let url = RepositoryUrl::from_directory(&directory.path().join("repository"));
        let fixture = Self { directory, url, id: BackupId::generate() };
        let config = PackConfig { block_bytes: 4096, pack_bytes: 20_000, ..PackConfig::default() };
        let mut sink =
            PackSink::create(&fixture.url, fixture.id.clone(), config).await.expect("makes a sink");
        for (name, pieces) in files {
            let path = EntryPath::parse(name.as_bytes()).expect("valid path");
            let mut file = sink.create(&Entry { path, size: None }).await.expect("creates");
            for piece in pieces {
                file.write(piece.clone()).await.expect("writes");
            }
            file.finish().await.expect("finishes");
        }
        sink.commit(sample()).await.expect("commits");
        fixture
    }

    fn target(&self) -> PathBuf {
        self.directory.path().join("mysql")
    }

    fn config(&self) -> RestoreConfig {
        RestoreConfig {
            target: self.target(),
            force: false,
            finish: FinishConfig::default(),
            read: ReadConfig { workers: 3, ..ReadConfig::default() },
        }
    }

    async fn restore(&self) -> Result<Restored, RestoreError> {
        let repository = Repository::open(&self.url).await.expect("opens");
        let backup = repository.backup(&self.id).await.expect("opens");
        restore(&backup, &self.config()).await
    }

    fn pack(&self, number: u32) -> PathBuf {
        let packs = self.directory.path().join("repository").join(self.id.as_str()).join("packs");
        packs.join(format!("{number:06}.zst"))
    }
}

fn data(bytes: &[u8]) -> Piece {
    Piece::Data(Bytes::copy_from_slice(bytes))
}

fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

#[tokio::test]
async fn files_come_back_with_their_modes() {
    let big = noise(1, 100_000);
    let fixture = Fixture::with(&[
        ("ibdata1", vec![data(&big)]),
        ("db/t.ibd", vec![data(b"table")]),
        ("db/sub/part.ibd", vec![data(b"part")]),
        ("db/empty.frm", vec![]),
    ])
    .await;
    let restored = fixture.restore().await.expect("restores");
    assert_eq!(restored, Restored { directory: fixture.target(), position: None });
    let at = |name: &str| fixture.target().join(name);
    assert!(fs::read(at("ibdata1")).expect("reads") == big);
    assert_eq!(fs::read(at("db/t.ibd")).expect("reads"), b"table");
    assert_eq!(fs::read(at("db/sub/part.ibd")).expect("reads"), b"part");
    assert_eq!(fs::read(at("db/empty.frm")).expect("reads"), b"");
    let mode = |name: &str| fs::metadata(at(name)).expect("exists").permissions().mode() & 0o7777;
    assert_eq!((mode("."), mode("db"), mode("db/t.ibd")), (0o750, 0o750, 0o640));
    assert!(!fixture.directory.path().join("mysql.partial").exists());
}

#[tokio::test]
async fn holes_stay_holes() {
    let hole = 64 << 20;
    let fixture = Fixture::with(&[
        ("middle.ibd", vec![data(b"start"), Piece::Hole(hole), data(b"end"), Piece::Hole(hole)]),
        ("only.ibd", vec![Piece::Hole(hole)]),
    ])
    .await;
    fixture.restore().await.expect("restores");
    let middle = fixture.target().join("middle.ibd");
    let found = fs::metadata(&middle).expect("exists");
    assert_eq!(found.len(), 2 * hole + 8);
    assert!(found.blocks() * 512 < 1 << 20, "{} blocks", found.blocks());
    let content = fs::read(&middle).expect("reads");
    let end = 5 + usize::try_from(hole).expect("fits");
    assert_eq!((&content[..5], &content[end..end + 3]), (&b"start"[..], &b"end"[..]));
    assert!(content[5..end].iter().all(|&byte| byte == 0));
    let only = fs::metadata(fixture.target().join("only.ibd")).expect("exists");
    assert_eq!((only.len(), only.blocks()), (hole, 0));
}

#[tokio::test]
async fn a_seek_overwrites_what_came_before() {
    let log = noise(3, 50_000);
    let fixture = Fixture::with(&[
        ("aria_log.00000001", vec![data(&log), Piece::Seek(37), data(b"rewrite")]),
        ("beyond", vec![data(b"ab"), Piece::Seek(5), data(b"f"), Piece::Seek(100)]),
    ])
    .await;
    fixture.restore().await.expect("restores");
    let mut expected = log;
    expected[37..44].copy_from_slice(b"rewrite");
    let found = fs::read(fixture.target().join("aria_log.00000001")).expect("reads");
    assert!(found == expected);
    assert_eq!(fs::read(fixture.target().join("beyond")).expect("reads"), b"ab\0\0\0f");
}

#[tokio::test]
async fn damage_leaves_no_directory() {
    let fixture = Fixture::with(&[("ibdata1", vec![data(&noise(1, 100_000))])]).await;
    let mut pack = fs::read(fixture.pack(1)).expect("reads");
    pack[10_000] ^= 1;
    fs::write(fixture.pack(1), pack).expect("writes");
    let error = fixture.restore().await.expect_err("fails");
    assert_eq!(error.exit_code(), 65, "{error:?}");
    assert!(!fixture.target().exists());
    assert!(!fixture.directory.path().join("mysql.partial").exists());
}

#[tokio::test]
async fn a_lost_pack_is_told_as_itself() {
    let fixture = Fixture::with(&[("ibdata1", vec![data(&noise(1, 100_000))])]).await;
    fs::remove_file(fixture.pack(2)).expect("removes");
    let error = fixture.restore().await.expect_err("fails");
    let cause = RestoreError::Repository(crate::repository::RepositoryError::WorkerLost);
    assert_ne!(error.to_string(), cause.to_string());
    assert!(error.to_string().contains("packs/000002.zst"), "{error}");
}

#[tokio::test]
async fn a_full_target_is_kept() {
    let fixture = Fixture::with(&[("ibdata1", vec![data(b"new")])]).await;
    fs::create_dir(fixture.target()).expect("makes a directory");
    fs::write(fixture.target().join("ibdata1"), b"old").expect("writes");
    let error = fixture.restore().await.expect_err("refuses");
    assert_eq!(error.exit_code(), 73);
    assert_eq!(fs::read(fixture.target().join("ibdata1")).expect("reads"), b"old");
}

#[tokio::test]
async fn names_that_collide_are_an_error() {
    let fixture =
        Fixture::with(&[("db", vec![data(b"file")]), ("db/t.ibd", vec![data(b"below")])]).await;
    fixture.restore().await.expect_err("fails");
    assert!(!fixture.target().exists());
}

#[tokio::test]
async fn a_role_without_prepare_is_refused_before_anything_is_made() {
    let fixture = Fixture::with(&[("ibdata1", vec![data(b"new")])]).await;
    let repository = Repository::open(&fixture.url).await.expect("opens");
    let backup = repository.backup(&fixture.id).await.expect("opens");
    let mut config = fixture.config();
    config.finish.role = Some(Role::Bootstrap);
    let error = restore(&backup, &config).await.expect_err("refuses");
    assert!(matches!(error, RestoreError::NotPrepared));
    assert!(!fixture.target().exists());
}

/// As if a restore had been killed: half of the files there, one cut, one changed, one of somebody else.
#[tokio::test]
async fn an_interrupted_restore_goes_on_with_what_is_right() {
    let (big, other) = (noise(1, 100_000), noise(2, 50_000));
    let fixture = Fixture::with(&[
        ("ibdata1", vec![data(&big)]),
        ("db/t.ibd", vec![data(&other)]),
        ("db/cut.ibd", vec![data(&other)]),
        ("db/holes.ibd", vec![data(b"head"), Piece::Hole(5000), data(b"tail")]),
        ("other/never.ibd", vec![data(b"never")]),
    ])
    .await;
    let place = fixture.directory.path().join("mysql.partial");
    fs::create_dir_all(place.join("db")).expect("made");
    fs::create_dir_all(place.join("#innodb_redo/deep")).expect("made");
    let mut changed = big.clone();
    changed[77_777] ^= 1;
    for (name, content) in [
        ("ibdata1", &changed[..]),
        ("db/t.ibd", &other),
        ("db/cut.ibd", &other[..40_000]),
        ("db/holes.ibd", &[1; 5008]),
        ("#innodb_redo/deep/x", b"preparing had begun"),
        ("other", b"a file where a directory belongs"),
    ] {
        fs::write(place.join(name), content).expect("written");
    }
    std::os::unix::fs::symlink("/etc/passwd", place.join("never.ibd")).expect("linked");
    let kept = fs::metadata(place.join("db/t.ibd")).expect("there").ino();
    fixture.restore().await.expect("restores");
    let read = |name: &str| fs::read(fixture.target().join(name)).expect("there");
    assert!(read("ibdata1") == big && read("db/t.ibd") == other && read("db/cut.ibd") == other);
    assert_eq!(read("db/holes.ibd"), [&b"head"[..], &[0; 5000], b"tail"].concat());
    assert_eq!(read("other/never.ibd"), b"never");
    assert_eq!(fs::metadata(fixture.target().join("db/t.ibd")).expect("there").ino(), kept);
    for name in ["#innodb_redo", "never.ibd"] {
        assert!(!fixture.target().join(name).exists(), "{name}");
    }
    assert!(!place.exists());
}
