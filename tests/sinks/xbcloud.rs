//! Layout `xbcloud` against a peer that does what `xbcloud put` and `xbcloud get` do, and `mbstream`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use futures_util::TryStreamExt;
use galera_protocol::xbstream::EntryPath;
use galera_sst::pipeline::manifest::BackupId;
use galera_sst::repository::{
    ChunkedBackup, Copied, CopyTarget, KeepRules, PruneConfig, ReadConfig, Repository,
    RepositoryUrl, StoreOptions, Stored, UploadConfig,
};
use galera_sst::restore::{FinishConfig, RestoreConfig, restore_chunks};
use galera_sst::sink::Sink as _;

use crate::model::{Driver, Files, expected, mariadb};
use crate::subjects::{ChunkedSubject, Subject, gather, manifest};

const NAME: &str = "cluster1-2026-03-01-00:00:00-full";

fn peer(verb: &str, bucket: &Path, name: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sinks/xbcloud-peer");
    let mut command = Command::new("python3");
    command.arg(script).arg(verb).arg(bucket).arg(name);
    command
}

/// The files of a small MariaDB backup; one has a name with a character that stores like to escape.
fn files() -> Files {
    let text = |text: &str| text.as_bytes().to_vec();
    Files::from([
        ("ibdata1".to_owned(), vec![3; 25 << 20]),
        ("ib_logfile0".to_owned(), vec![4; 70_000]),
        ("backup-my.cnf".to_owned(), text("[mysqld]\n")),
        ("db/t#P#p0.ibd".to_owned(), vec![5; 100_000]),
        ("db/empty.frm".to_owned(), Vec::new()),
        ("xtrabackup_checkpoints".to_owned(), text("backup_type = full-backuped\n")),
        (
            "xtrabackup_info".to_owned(),
            text("tool_name = mariadb-backup\nend_time = 2026-03-01 00:00:09\n"),
        ),
    ])
}

/// A bucket with one backup that `xbcloud put` made of what `mbstream -c` wrote.
struct Bucket(tempfile::TempDir);

impl Bucket {
    fn new(with_md5: bool) -> Self {
        let bucket = Self(tempfile::tempdir().expect("temporary directory"));
        let source = bucket.0.path().join("source");
        for (name, content) in files() {
            let file = source.join(&name);
            fs::create_dir_all(file.parent().expect("a parent")).expect("made");
            fs::write(file, content).expect("written");
        }
        let mut mbstream = Command::new("mbstream");
        mbstream.arg("-c").args(files().keys()).current_dir(&source).stdout(Stdio::piped());
        let mut mbstream = mbstream.spawn().expect("mbstream");
        let mut put = peer("put", &bucket.place(), NAME);
        put.args(with_md5.then_some("--md5")).stdin(mbstream.stdout.take().expect("piped"));
        assert!(put.status().expect("python3").success());
        assert!(mbstream.wait().expect("mbstream").success());
        bucket
    }

    fn place(&self) -> PathBuf {
        self.0.path().join("bucket")
    }

    fn url(&self) -> RepositoryUrl {
        RepositoryUrl::from_directory(&self.place())
    }

    async fn repository(&self) -> Repository {
        Repository::open(&self.url()).await.expect("opens")
    }

    async fn open(&self) -> Result<ChunkedBackup, String> {
        open(&self.repository().await, NAME).await
    }

    /// Whether a user would be told that something is wrong, by whatever is asked first.
    async fn is_sound(&self) -> bool {
        match self.open().await {
            Ok(backup) => backup.verify(&ReadConfig::default()).await.expect("verifies").is_sound(),
            Err(_) => false,
        }
    }

    fn objects(&self) -> Vec<PathBuf> {
        let mut objects = Files::new();
        gather(&self.place().join(NAME), "", &mut objects);
        objects.into_keys().map(|name| self.place().join(NAME).join(name)).collect()
    }
}

async fn open(repository: &Repository, name: &str) -> Result<ChunkedBackup, String> {
    let id = BackupId::foreign(name).expect("valid");
    match repository.open_backup(&id).await {
        Ok(Stored::Chunks(backup)) => Ok(backup),
        Ok(Stored::Packs(_)) => panic!("no packs here"),
        Err(error) => Err(error.to_string()),
    }
}

async fn content(backup: &ChunkedBackup, name: &str) -> Result<Vec<u8>, String> {
    let path = EntryPath::parse(name.as_bytes()).expect("valid");
    let pieces = backup.read_file(&path).map_err(|error| error.to_string())?;
    let pieces: Vec<bytes::Bytes> = pieces.try_collect().await.map_err(|it| it.to_string())?;
    Ok(pieces.concat())
}

async fn restored(backup: &ChunkedBackup) -> Result<Files, String> {
    let directory = tempfile::tempdir().expect("temporary directory");
    let target = directory.path().join("mysql");
    let config = RestoreConfig {
        target: target.clone(),
        force: false,
        finish: FinishConfig::default(),
        read: ReadConfig::default(),
    };
    let result = restore_chunks(backup, &config).await;
    assert_eq!(target.exists(), result.is_ok(), "there whole or not at all");
    result.map_err(|error| error.to_string())?;
    let mut files = Files::new();
    gather(&target, "", &mut files);
    Ok(files)
}

#[tokio::test]
async fn what_we_write_xbcloud_gets_and_mbstream_extracts() {
    let subject = ChunkedSubject::new();
    let mut driver = Driver::new(subject.sink().await.expect("sink"));
    driver.all(&mariadb()).await.expect("steps");
    let receipt = driver.sink.commit(manifest()).await.expect("commits");
    let id = receipt.location.rsplit('/').next().expect("a name").to_owned();

    let target = tempfile::tempdir().expect("temporary directory");
    let mut get = peer("get", subject.place(), &id);
    let mut get = get.stdout(Stdio::piped()).spawn().expect("python3");
    let mut mbstream = Command::new("mbstream");
    mbstream.arg("-x").arg("-C").arg(target.path()).stdin(get.stdout.take().expect("piped"));
    let output = mbstream.output().expect("mbstream");
    assert!(get.wait().expect("python3").success());
    // It says 0 although it refused files; what it says tells.
    assert_eq!(
        (output.status.success(), String::from_utf8_lossy(&output.stderr)),
        (true, "".into())
    );
    let mut files = Files::new();
    gather(target.path(), "", &mut files);
    assert_eq!(files, expected(&mariadb()));

    let first = peer("get", subject.place(), &format!("{id}.sst_info")).output().expect("python3");
    assert!(String::from_utf8_lossy(&first.stdout).contains("galera-gtid="));
    let sums = Command::new("md5sum")
        .args(["--check", "--quiet"])
        .arg(subject.place().join(format!("{id}.md5")))
        .current_dir(subject.place().join(&id))
        .status();
    assert!(sums.expect("md5sum").success());
}

#[tokio::test]
async fn what_xbcloud_put_is_listed_verified_read_and_restored() {
    for with_md5 in [true, false] {
        let bucket = Bucket::new(with_md5);
        let repository = bucket.repository().await;
        assert!(repository.list().await.expect("lists").is_empty());
        let foreign = repository.list_foreign().await.expect("lists");
        assert_eq!(foreign.len(), 1);
        assert_eq!((foreign[0].backup_id.as_str(), &foreign[0].fault), (NAME, &None));
        assert_eq!(
            (foreign[0].cluster.as_deref(), foreign[0].has_sums),
            (Some("cluster1"), with_md5)
        );
        assert_eq!(repository.latest().await.expect("there").as_str(), NAME);

        let backup = bucket.open().await.expect("whole");
        let report = backup.verify(&ReadConfig::default()).await.expect("verifies");
        assert!(report.is_sound(), "{:?}", report.damage);
        assert_eq!(report.notes.len(), if with_md5 { 1 } else { 2 }, "{:?}", report.notes);
        for (name, expected) in files() {
            assert!(content(&backup, &name).await.expect("readable") == expected, "{name}");
        }
        assert!(restored(&backup).await.expect("restores") == files());
    }
}

#[tokio::test]
async fn no_object_can_be_missing_or_damaged_unnoticed() {
    let bucket = Bucket::new(true);
    for object in bucket.objects() {
        let sound = fs::read(&object).expect("an object");
        fs::remove_file(&object).expect("removed");
        assert!(!bucket.is_sound().await, "{} is missing", object.display());
        let mut damaged = sound.clone();
        let middle = damaged.len() / 2;
        damaged[middle] ^= 1;
        fs::write(&object, &damaged).expect("written");
        assert!(!bucket.is_sound().await, "{} is damaged", object.display());
        let reached = match bucket.open().await {
            Ok(backup) => restored(&backup).await.is_ok(),
            Err(_) => false,
        };
        assert!(!reached, "{} is damaged and restored", object.display());
        fs::write(&object, &sound).expect("written");
    }
    assert!(bucket.is_sound().await);
}

/// Without a list of sums a missing file is nobody's knowledge; every missing chunk is.
#[tokio::test]
async fn without_sums_a_missing_chunk_is_noticed_by_its_name() {
    let bucket = Bucket::new(false);
    for object in bucket.objects() {
        let aside = bucket.0.path().join("aside");
        fs::rename(&object, &aside).expect("moved");
        let only = object.to_string_lossy().contains("empty.frm");
        let foreign = bucket.repository().await.list_foreign().await.expect("lists");
        assert_eq!(foreign[0].fault.is_none(), only, "{}", object.display());
        fs::rename(&aside, &object).expect("moved");
    }
}

#[tokio::test]
async fn it_is_copied_once_and_pruned_with_all_that_belongs_to_it() {
    let bucket = Bucket::new(true);
    let first = bucket.place().join(format!("{NAME}.sst_info"));
    fs::create_dir(&first).expect("made");
    fs::write(first.join("sst_info.00000000000000000000"), "any").expect("written");
    let (from, id) = (bucket.repository().await, BackupId::foreign(NAME).expect("valid"));

    let other = tempfile::tempdir().expect("temporary directory");
    let url = RepositoryUrl::from_directory(other.path());
    let target = CopyTarget::open(&url, &StoreOptions::default(), UploadConfig::default()).await;
    let target = target.expect("opens");
    assert!(matches!(target.copy(&from, &id).await, Ok(Copied::Now(_))));
    assert!(matches!(target.copy(&from, &id).await, Ok(Copied::Before)));
    let (mut theirs, mut ours) = (BTreeMap::new(), BTreeMap::new());
    gather(&bucket.place(), "", &mut theirs);
    gather(other.path(), "", &mut ours);
    assert!(theirs == ours, "{:?} {:?}", theirs.keys(), ours.keys());

    let copy = Repository::open(&url).await.expect("opens");
    let config = |force| PruneConfig {
        keep: KeepRules { last: 1, ..KeepRules::default() },
        force,
        incomplete_after: Duration::ZERO,
        dry_run: false,
    };
    let pruned = copy.prune(&config(false)).await.expect("prunes");
    assert_eq!((pruned.kept, pruned.swept), (vec![id.clone()], vec![]));
    // Without its last files it is not whole: whoever wrote it may go on, and only force sweeps it, with
    // what lies beside it.
    fs::remove_file(other.path().join(NAME).join("xtrabackup_info.00000000000000000001"))
        .expect("gone");
    let pruned = copy.prune(&config(false)).await.expect("prunes");
    assert_eq!((pruned.kept, pruned.swept), (vec![], vec![]));
    assert_eq!(pruned.unreadable.first().map(|(id, _)| id), Some(&id));
    let pruned = copy.prune(&config(true)).await.expect("prunes");
    assert_eq!((pruned.kept, pruned.swept), (vec![], vec![id]));
    let left = fs::read_dir(other.path()).expect("directory").count();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn directories_of_others_are_none_of_our_business() {
    let bucket = Bucket::new(true);
    let binlogs = bucket.place().join("binlogs");
    fs::create_dir(&binlogs).expect("made");
    let binlog = binlogs.join("binlog_1.000001");
    fs::write(&binlog, "").expect("written");
    let repository = bucket.repository().await;
    assert_eq!(repository.list_foreign().await.expect("lists").len(), 1);
    let config = PruneConfig {
        keep: KeepRules::default(),
        force: true,
        incomplete_after: Duration::ZERO,
        dry_run: false,
    };
    repository.prune(&config).await.expect("prunes");
    assert!(binlog.exists());
}
