use std::collections::BTreeMap;
use std::collections::btree_map::Entry::{Occupied, Vacant};
use std::path::Path;

use futures_util::TryStreamExt;
use proptest::prelude::*;

use super::*;
use crate::pipeline::manifest::tests::sample;
use crate::repository::faulty::{Faulty, Fuse};
use crate::repository::{Backup, Fault, ReadConfig, Repository};

fn small() -> PackConfig {
    PackConfig {
        block_bytes: 1000,
        pack_bytes: 4000,
        compression_level: 1,
        workers: 3,
        upload: UploadConfig { part_bytes: 700, parts_in_flight: 2 },
        ..PackConfig::default()
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
async fn aborting_does_not_wait_for_open_files() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink().await;
    let mut file = sink.create(&entry("a")).await.expect("creates");
    file.write(data(&noise(1, 50_000))).await.expect("writes");
    sink.abort().await;
    assert!(!fixture.place().exists());
    let error = file.write(data(b"late")).await.expect_err("the sink is gone");
    assert!(matches!(error, SinkError::Write { target, .. } if target == "a"));
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
    let store = Store::create(&fixture.url, &StoreOptions::default()).await.expect("a store");
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
    let RepositoryError::Damaged { object, fault } = error else { panic!("{error:?}") };
    (object.clone(), fault.clone())
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

/// Writes a backup of a few packs through a store that fails after so many steps; true if it did.
async fn fails_after(steps: usize) -> bool {
    let inner = Arc::new(object_store::memory::InMemory::new());
    let fuse = Fuse::after(steps);
    let faulty = Faulty { inner: Arc::clone(&inner), fuse: fuse.clone() };
    let written = write_three_packs(Store::from_object_store(Arc::new(faulty))).await;
    let store = Store::from_object_store(inner);
    let repository = Repository::from_store(store.clone());
    let listed = repository.list().await.expect("lists");
    if fuse.has_blown() {
        written.expect_err("a step failed");
        assert!(listed.is_empty(), "visible after {steps} steps");
        assert!(store.prefixes().await.expect("lists").is_empty(), "left over after {steps} steps");
    } else {
        written.expect("nothing failed");
        let backup = repository.backup(&listed[0].id).await.expect("opens");
        assert!(backup.verify(&ReadConfig::default()).await.expect("verifies").is_sound());
    }
    fuse.has_blown()
}

async fn write_three_packs(store: Store) -> Result<Receipt, SinkError> {
    let id = BackupId::generate();
    if let Err(error) = mark_started(&store, &id).await {
        return Err(write_error("started", error));
    }
    let mut sink = PackSink::start(store, id, small());
    for number in 0..6 {
        if let Err(error) = put_or_fail(&mut sink, number).await {
            sink.abort().await;
            return Err(error);
        }
    }
    sink.commit(sample()).await
}

async fn put_or_fail(sink: &mut PackSink, number: u8) -> Result<(), SinkError> {
    let mut file = sink.create(&entry(&format!("t{number}"))).await?;
    for part in noise(number, 2000).chunks(300) {
        file.write(data(part)).await?;
    }
    file.finish().await
}

#[tokio::test]
async fn a_fault_at_any_step_leaves_nothing() {
    let mut steps = 0;
    while fails_after(steps).await {
        steps += 1;
        assert!(steps < 200, "never succeeds");
    }
    assert!(steps > 20, "only {steps} steps were tried");
}

/// What a stream may do to a backup's files.
#[derive(Clone, Debug)]
enum Step {
    Write(u8, u16),
    Hole(u8, u16),
    Seek(u8, u16),
    Finish(u8),
    Rename(u8, u8),
    Remove(u8),
}

const NAMES: u8 = 5;

fn any_step() -> impl Strategy<Value = Step> {
    let name = 0..NAMES;
    prop_oneof![
        8 => (name.clone(), 0_u16..3000).prop_map(|(name, length)| Step::Write(name, length)),
        2 => (name.clone(), 0_u16..3000).prop_map(|(name, length)| Step::Hole(name, length)),
        1 => (name.clone(), 0_u16..3000).prop_map(|(name, to)| Step::Seek(name, to)),
        3 => name.clone().prop_map(Step::Finish),
        1 => (name.clone(), 0..NAMES).prop_map(|(from, to)| Step::Rename(from, to)),
        1 => name.prop_map(Step::Remove),
    ]
}

/// The plainest thing that does what a sink should.
#[derive(Default)]
struct Model {
    open: BTreeMap<u8, (Vec<u8>, usize)>,
    finished: BTreeMap<u8, Vec<u8>>,
}

impl Model {
    fn open(&mut self, name: u8) -> &mut (Vec<u8>, usize) {
        self.finished.remove(&name);
        self.open.entry(name).or_default()
    }

    fn apply(&mut self, step: &Step, bytes: &[u8]) {
        match *step {
            Step::Write(name, _) => {
                let (content, position) = self.open(name);
                let end = *position + bytes.len();
                if !bytes.is_empty() {
                    content.resize(content.len().max(end), 0);
                    content[*position..end].copy_from_slice(bytes);
                }
                *position = end;
            }
            // Only asked for at the end of a file, where streams have them.
            Step::Hole(name, length) => {
                let (content, position) = self.open(name);
                *position = content.len() + usize::from(length);
                content.resize(*position, 0);
            }
            Step::Seek(name, to) => self.open(name).1 = usize::from(to),
            Step::Finish(name) => {
                if let Some((content, _)) = self.open.remove(&name) {
                    self.finished.insert(name, content);
                }
            }
            Step::Rename(from, to) => {
                if let Some(content) = self.finished.remove(&from) {
                    self.finished.insert(to, content);
                }
            }
            Step::Remove(name) => drop(self.finished.remove(&name)),
        }
    }
}

/// Does to a sink what was done to the model; gives what the model says.
async fn play(sink: &mut PackSink, steps: &[Step]) -> BTreeMap<u8, Vec<u8>> {
    let (mut model, mut files) = (Model::default(), BTreeMap::new());
    for (number, step) in steps.iter().enumerate() {
        let mut bytes = Vec::new();
        match *step {
            Step::Write(name, length) => {
                bytes = noise(number as u8, usize::from(length));
                open_file(sink, &mut files, name).await.write(data(&bytes)).await.expect("writes");
            }
            Step::Hole(name, length) => {
                let end = model.open(name).0.len() as u64;
                let file = open_file(sink, &mut files, name).await;
                file.write(Piece::Seek(end)).await.expect("seeks");
                file.write(Piece::Hole(length.into())).await.expect("writes");
            }
            Step::Seek(name, to) => {
                let file = open_file(sink, &mut files, name).await;
                file.write(Piece::Seek(to.into())).await.expect("seeks");
            }
            Step::Finish(name) => {
                if let Some(file) = files.remove(&name) {
                    file.finish().await.expect("finishes");
                }
            }
            Step::Rename(from, to) => {
                sink.rename(&name_of(from), &name_of(to)).await.expect("renames");
            }
            Step::Remove(name) => sink.remove(&name_of(name)).await.expect("removes"),
        }
        model.apply(step, &bytes);
    }
    for (name, file) in files {
        file.finish().await.expect("finishes");
        model.apply(&Step::Finish(name), &[]);
    }
    model.finished
}

async fn open_file<'a>(
    sink: &mut PackSink,
    files: &'a mut BTreeMap<u8, PackFile>,
    name: u8,
) -> &'a mut PackFile {
    match files.entry(name) {
        Occupied(file) => file.into_mut(),
        Vacant(place) => {
            let entry = Entry { path: name_of(name), size: None };
            place.insert(sink.create(&entry).await.expect("creates"))
        }
    }
}

fn name_of(number: u8) -> EntryPath {
    path(&format!("db/t{number}"))
}

async fn whole_file(backup: &Backup, path: &EntryPath) -> Vec<u8> {
    let stream = backup.read_file(path).expect("a file");
    let pieces: Vec<Bytes> = stream.try_collect().await.expect("reads");
    pieces.concat()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn whatever_the_stream_does_the_files_are_right(
        steps in prop::collection::vec(any_step(), 0..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let fixture = Fixture::new();
            let mut sink = fixture.sink().await;
            let expected = play(&mut sink, &steps).await;
            sink.commit(sample()).await.expect("commits");
            let backup = fixture.open().await;
            let report = backup.verify(&ReadConfig::default()).await.expect("verifies");
            assert!(report.is_sound(), "{:?}", report.damage);
            let found = backup.index().files().iter().map(|file| file.path().clone());
            assert_eq!(found.collect::<Vec<_>>(), expected.keys().map(|&n| name_of(n)).collect::<Vec<_>>());
            for (name, content) in expected {
                assert!(whole_file(&backup, &name_of(name)).await == content, "file {name}");
            }
        });
    }
}

#[tokio::test]
async fn reading_a_damaged_file_ends_in_an_error() {
    let fixture = Fixture::new();
    let mut sink = fixture.sink().await;
    put(&mut sink, "a", &[data(&noise(1, 5000))]).await;
    sink.commit(sample()).await.expect("commits");
    let pack = fixture.place().join("packs/000000.zst");
    let mut bytes = std::fs::read(&pack).expect("reads");
    bytes[3000] ^= 1;
    std::fs::write(&pack, bytes).expect("writes");
    let backup = fixture.open().await;
    let stream = backup.read_file(&path("a")).expect("a file");
    let read: Result<Vec<Bytes>, _> = stream.try_collect().await;
    assert!(matches!(read, Err(RepositoryError::Damaged { fault: Fault::Block { block: 2 }, .. })));
    assert!(matches!(backup.read_file(&path("b")), Err(RepositoryError::NoFile { .. })));
}
