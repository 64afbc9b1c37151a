use std::path::Path;

use super::*;
use crate::pipeline::manifest::tests::sample;
use crate::repository::{Backup, Fault, ReadConfig, Repository};

fn small() -> PackConfig {
    PackConfig {
        block_bytes: 1000,
        pack_bytes: 4000,
        compression_level: 1,
        workers: 3,
        upload: UploadConfig { part_bytes: 700, parts_in_flight: 2 },
    }
}

fn path(name: &str) -> EntryPath {
    EntryPath::parse(name.as_bytes()).expect("valid path")
}

fn entry(name: &str) -> Entry {
    Entry { path: path(name), size: None }
}

/// Bytes that do not compress and differ everywhere.
fn noise(seed: u8, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    blake3::Hasher::new().update(&[seed]).finalize_xof().fill(&mut bytes);
    bytes
}

struct Fixture {
    directory: tempfile::TempDir,
    url: RepositoryUrl,
    id: BackupId,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let url = RepositoryUrl::from_directory(&directory.path().join("repository"));
        Self { directory, url, id: BackupId::generate() }
    }

    async fn sink(&self) -> PackSink {
        PackSink::create(&self.url, self.id.clone(), small()).await.expect("a sink")
    }

    async fn open(&self) -> Backup {
        let repository = Repository::open(&self.url).await.expect("a repository");
        repository.backup(&self.id).await.expect("a backup")
    }

    fn place(&self) -> std::path::PathBuf {
        self.directory.path().join("repository").join(self.id.as_str())
    }
}

async fn put(sink: &mut PackSink, name: &str, pieces: &[Piece]) {
    let mut file = sink.create(&entry(name)).await.expect("creates");
    for piece in pieces {
        file.write(piece.clone()).await.expect("writes");
    }
    file.finish().await.expect("finishes");
}

fn data(bytes: &[u8]) -> Piece {
    Piece::Data(Bytes::copy_from_slice(bytes))
}

fn objects_below(place: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(place) else { return Vec::new() };
    let names = entries.map(|entry| entry.expect("an entry").file_name());
    let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

#[tokio::test]
async fn interleaved_files_come_back_whole() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink().await;
    let contents: Vec<Vec<u8>> = (0..20).map(|seed| noise(seed, 300 * usize::from(seed))).collect();
    let mut files = Vec::new();
    for number in 0..contents.len() {
        files.push(sink.create(&entry(&format!("db/t{number:02}.ibd"))).await.expect("creates"));
    }
    for round in 0..60 {
        for (file, content) in files.iter_mut().zip(&contents) {
            let from = (round * 100).min(content.len());
            let to = (from + 100).min(content.len());
            file.write(data(&content[from..to])).await.expect("writes");
        }
    }
    for file in files {
        file.finish().await.expect("finishes");
    }
    let receipt = sink.commit(sample()).await.expect("commits");
    assert_eq!(receipt.location, format!("{}/{}", fixture.url, fixture.id));
    let backup = fixture.open().await;
    for (number, content) in contents.iter().enumerate() {
        let file = backup.index().file(&path(&format!("db/t{number:02}.ibd"))).expect("a file");
        assert_eq!((file.bytes(), file.hash()), (content.len() as u64, Digest::of(content)));
    }
    let report = backup.verify(&ReadConfig::default()).await.expect("verifies");
    assert!(report.is_sound(), "{:?}", report.damage);
    assert_eq!(report.files, 20);
    assert!(report.packs > 3);
}

#[tokio::test]
async fn the_manifest_counts_what_was_stored() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink().await;
    put(&mut sink, "ibdata1", &[data(&noise(1, 5000)), Piece::Hole(3000)]).await;
    put(&mut sink, "empty", &[]).await;
    sink.commit(sample()).await.expect("commits");
    let manifest = fixture.open().await.manifest().clone();
    assert_eq!(manifest.backup_id, fixture.id);
    assert_eq!(manifest.totals.files, 2);
    assert_eq!(manifest.totals.file_bytes, 8000);
    assert_eq!(manifest.totals.data_bytes, 5000);
    assert!(manifest.witnesses.sink.expect("a witness").holds);
    assert_eq!(objects_below(&fixture.place()), ["index.zst", "manifest.json", "packs"]);
}

#[tokio::test]
async fn packs_are_ordinary_zstd_files() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink().await;
    let content = noise(1, 9500);
    put(&mut sink, "ibdata1", &[data(&content)]).await;
    sink.commit(sample()).await.expect("commits");
    let packs = fixture.place().join("packs");
    let raw = objects_below(&packs).iter().fold(Vec::new(), |mut raw, name| {
        let pack = std::fs::read(packs.join(name)).expect("a pack");
        raw.extend(zstd::decode_all(&pack[..]).expect("decompresses"));
        raw
    });
    assert!(raw == content);
}

#[tokio::test]
async fn rename_remove_and_replace_work_on_finished_files() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink().await;
    for name in ["a", "b", "c", "d"] {
        put(&mut sink, name, &[data(name.as_bytes())]).await;
    }
    sink.rename(&path("a"), &path("b")).await.expect("renames");
    sink.rename(&path("missing"), &path("c")).await.expect("renames nothing");
    sink.remove(&path("d")).await.expect("removes");
    sink.remove(&path("missing")).await.expect("removes nothing");
    put(&mut sink, "c", &[data(b"new")]).await;
    sink.commit(sample()).await.expect("commits");
    let backup = fixture.open().await;
    let files = backup.index().files().iter().map(|file| (file.path().to_string(), file.hash()));
    assert_eq!(
        files.collect::<Vec<_>>(),
        [("b".to_owned(), Digest::of(b"a")), ("c".to_owned(), Digest::of(b"new"))]
    );
}

#[tokio::test]
async fn an_aborted_backup_leaves_nothing() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink().await;
    put(&mut sink, "ibdata1", &[data(&noise(1, 50_000))]).await;
    assert!(fixture.place().exists());
    sink.abort().await;
    assert!(!fixture.place().exists());
}

#[tokio::test]
async fn an_unfinished_file_forbids_the_commit() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink().await;
    put(&mut sink, "a", &[data(&noise(1, 5000))]).await;
    drop(sink.create(&entry("b")).await.expect("creates"));
    let error = sink.commit(sample()).await.expect_err("refuses");
    let SinkError::Write { source, .. } = error else { panic!("{error:?}") };
    assert_eq!(source.to_string(), "b is not finished");
    assert!(!fixture.place().exists());
}

#[tokio::test]
async fn a_prefix_without_manifest_is_no_backup() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink().await;
    put(&mut sink, "a", &[data(&noise(1, 5000))]).await;
    let repository = Repository::open(&fixture.url).await.expect("a repository");
    assert!(repository.list().await.expect("lists").is_empty());
    assert_eq!(repository.incomplete().await.expect("lists"), std::slice::from_ref(&fixture.id));
    assert!(matches!(repository.latest().await, Err(RepositoryError::Empty { .. })));
    sink.commit(sample()).await.expect("commits");
    let listed = repository.list().await.expect("lists");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].id, fixture.id);
    assert!(repository.incomplete().await.expect("lists").is_empty());
    repository.remove(&fixture.id).await.expect("removes");
    assert!(repository.list().await.expect("lists").is_empty());
    assert!(!fixture.place().exists());
}

#[tokio::test]
async fn a_taken_name_is_refused_and_kept() {
    let fixture = Fixture::new();
    let mut first = fixture.sink().await;
    put(&mut first, "a", &[data(b"first")]).await;
    first.commit(sample()).await.expect("commits");
    let manifest = fixture.place().join("manifest.json");
    let before = std::fs::read(&manifest).expect("a manifest");
    let store = Store::create(&fixture.url).await.expect("a store");
    let second = PackSink::start(store, fixture.id.clone(), small());
    assert!(second.gather().await.is_ok());
    assert!(second.store.put_new(&object_name(&fixture.id, MANIFEST_NAME), vec![]).await.is_err());
    assert!(std::fs::read(&manifest).expect("a manifest") == before);
}

#[tokio::test]
async fn a_place_that_cannot_be_made_is_told_at_once() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("file");
    std::fs::write(&file, b"").expect("writes");
    let url = RepositoryUrl::from_directory(&file);
    let error = PackSink::create(&url, BackupId::generate(), small()).await;
    assert!(matches!(error, Err(SinkError::Create { .. })));
}

#[tokio::test]
async fn damage_is_found_and_laid_at_the_right_file() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink().await;
    put(&mut sink, "a", &[data(&noise(1, 1000))]).await;
    put(&mut sink, "b", &[data(&noise(2, 1000))]).await;
    sink.commit(sample()).await.expect("commits");
    let pack = fixture.place().join("packs/000000.zst");
    let sound = std::fs::read(&pack).expect("a pack");
    let mut bad = sound.clone();
    bad[24 + 20] ^= 1;
    std::fs::write(&pack, &bad).expect("writes");
    let report = fixture.open().await.verify(&ReadConfig::default()).await.expect("verifies");
    let found: Vec<_> = report.damage.iter().map(damage_of).collect();
    let object = format!("{}/packs/000000.zst", fixture.id);
    assert_eq!(
        found,
        [
            (object.clone(), Fault::Hash),
            (object, Fault::Block { block: 0 }),
            ("a".to_owned(), Fault::Hash)
        ]
    );
    std::fs::remove_file(&pack).expect("removes");
    let report = fixture.open().await.verify(&ReadConfig::default()).await.expect("verifies");
    assert_eq!(report.damage.len(), 3, "{:?}", report.damage);
}

fn damage_of(error: &RepositoryError) -> (String, Fault) {
    match error {
        RepositoryError::Damaged { object, fault } => (object.clone(), fault.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn any_flipped_byte_of_any_object_is_found() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink().await;
    put(&mut sink, "a", &[data(&noise(1, 900))]).await;
    sink.commit(sample()).await.expect("commits");
    for name in ["packs/000000.zst", "index.zst"] {
        let object = fixture.place().join(name);
        let sound = std::fs::read(&object).expect("an object");
        for at in 0..sound.len() {
            let mut bad = sound.clone();
            bad[at] ^= 0x40;
            std::fs::write(&object, &bad).expect("writes");
            assert!(!is_sound(&fixture).await, "{name}, byte {at}");
        }
        std::fs::write(&object, &sound).expect("writes");
        assert!(is_sound(&fixture).await);
    }
}

async fn is_sound(fixture: &Fixture) -> bool {
    let repository = Repository::open(&fixture.url).await.expect("a repository");
    let Ok(backup) = repository.backup(&fixture.id).await else { return false };
    let config = ReadConfig { workers: 1, ..ReadConfig::default() };
    backup.verify(&config).await.expect("verifies").is_sound()
}
