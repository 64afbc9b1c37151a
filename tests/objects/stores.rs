//! The same for every kind of store: what is written is there, and nothing else is.

use futures_util::TryStreamExt;
use galera_protocol::xbstream::EntryPath;
use galera_sst::pipeline::manifest::BackupId;
use galera_sst::repository::{
    ChunkConfig, ChunkedSink, Copied, CopyTarget, KeepRules, PackSink, PruneConfig, ReadConfig,
    RepositoryUrl, StoreOptions, Stored, UploadConfig,
};
use galera_sst::sink::{Entry, Piece, Sink, SinkFile};
use std::time::Duration;

use crate::backup::{check, config, fill, manifest, noise, open, sweep, write};
use crate::google::Google;
use crate::servers::{self, Place};

/// A backup is written, found, checked and removed; an aborted and an abandoned one leave nothing.
async fn serves(place: Place) {
    let id = BackupId::generate();
    write(&place, &id).await.expect("written");
    check(&place, &id).await.expect("whole");
    assert_eq!(open(&place).await.latest().await.expect("there"), id);

    let twice = write(&place, &id).await;
    assert!(twice.is_err(), "a backup is never replaced");
    check(&place, &id).await.expect("still whole");

    let aborted = BackupId::generate();
    let mut sink =
        PackSink::create(&place.url, aborted.clone(), config(&place)).await.expect("sink");
    fill(&mut sink).await.expect("filled");
    sink.abort().await;
    assert!(open(&place).await.incomplete().await.expect("listed").is_empty());

    let abandoned = BackupId::generate();
    let mut sink =
        PackSink::create(&place.url, abandoned.clone(), config(&place)).await.expect("sink");
    fill(&mut sink).await.expect("filled");
    drop(sink);
    assert_eq!(sweep(&place).await.swept, std::slice::from_ref(&abandoned));
    swept_clean(&place).await;
    check(&place, &id).await.expect("still whole");

    let directory = tempfile::tempdir().expect("temporary directory");
    let url = RepositoryUrl::from_directory(directory.path());
    let (options, upload) = (StoreOptions::default(), UploadConfig::default());
    let local = CopyTarget::open(&url, &options, upload).await.expect("opens");
    let repository = open(&place).await;
    assert!(matches!(local.copy(&repository, &id).await, Ok(Copied::Now(_))));
    assert!(matches!(local.copy(&repository, &id).await, Ok(Copied::Before)));
    check(&Place { url, options }, &id).await.expect("whole in the copy");

    repository.remove(&id).await.expect("removed");
    assert!(repository.list().await.expect("listed").is_empty());
}

/// The same in layout xbcloud, with names that stores and clients like to write in their own way.
async fn serves_chunks(place: Place) {
    let contents = [
        ("db/t#P#p0.ibd", noise(3 << 20, 5)),
        ("db/a b+c=d%20e@0041.MYD", noise(70_000, 6)),
        ("db/empty.frm", vec![]),
        ("xtrabackup_info", b"end_time = 2026-01-31 00:00:00\n".to_vec()),
    ];
    let fill = async |id: &BackupId| {
        let config = ChunkConfig {
            chunk_bytes: 1 << 20,
            store: place.options.clone(),
            ..ChunkConfig::default()
        };
        let mut sink = ChunkedSink::create(&place.url, id.clone(), config).await.expect("sink");
        for (name, content) in &contents {
            let mut file = sink.create(&entry(name)).await.expect("created");
            file.write(Piece::Data(content.clone().into())).await.expect("written");
            file.finish().await.expect("finished");
        }
        sink
    };
    let (id, aborted, abandoned) =
        (BackupId::generate(), BackupId::generate(), BackupId::generate());
    fill(&aborted).await.abort().await;
    assert!(open(&place).await.incomplete().await.expect("listed").is_empty());
    drop(fill(&abandoned).await);
    fill(&id).await.commit(manifest(&id)).await.expect("committed");
    let repository = open(&place).await;
    assert_eq!(repository.latest().await.expect("there"), id);
    assert_eq!(repository.list().await.expect("listed").len(), 1);
    let Ok(Stored::Chunks(backup)) = repository.open_backup(&id).await else {
        panic!("a backup in chunks")
    };
    for (name, content) in &contents {
        let pieces = backup.read_file(&entry(name).path).expect("there");
        let pieces: Vec<bytes::Bytes> = pieces.try_collect().await.expect("readable");
        assert!(pieces.concat() == *content, "{name}");
    }
    // Nothing is wrong but that this is no server's backup.
    let report = backup.verify(&ReadConfig::default()).await.expect("verifies");
    let damage: Vec<_> = report.damage.iter().map(|damage| format!("{damage:?}")).collect();
    assert!(damage.len() == 1 && damage[0].contains("Closing"), "{damage:?}");

    let directory = tempfile::tempdir().expect("temporary directory");
    let url = RepositoryUrl::from_directory(directory.path());
    let local = CopyTarget::open(&url, &StoreOptions::default(), UploadConfig::default()).await;
    let local = local.expect("opens");
    assert!(matches!(local.copy(&repository, &id).await, Ok(Copied::Now(_))));
    assert!(matches!(local.copy(&repository, &id).await, Ok(Copied::Before)));

    assert_eq!(sweep(&place).await.swept, [abandoned]);
    swept_clean(&place).await;
    repository.remove(&id).await.expect("removed");
    assert!(repository.list().await.expect("listed").is_empty());
    assert!(repository.incomplete().await.expect("listed").is_empty());
}

fn entry(name: &str) -> Entry {
    Entry { path: EntryPath::parse(name.as_bytes()).expect("valid name"), size: None }
}

#[tokio::test]
async fn chunks_are_served_by_every_store() {
    let server = Google::start().await;
    serves_chunks(servers::google_at(server.port(), "chunks")).await;
    assert_eq!(server.unfinished_uploads(), 0);
    serves_chunks(servers::s3("chunks")).await;
    serves_chunks(servers::azure("chunks").await).await;
}

/// A request that was on its way when its sender went away may arrive after a sweep; `prune` waits
/// for a safe age for that reason.
async fn swept_clean(place: &Place) {
    let clean = async {
        while !open(place).await.incomplete().await.expect("listed").is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
            sweep(place).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), clean).await.expect("nothing is left");
}

#[tokio::test]
async fn s3_serves() {
    serves(servers::s3("serves")).await;
}

#[tokio::test]
async fn azure_serves() {
    serves(servers::azure("serves").await).await;
}

#[tokio::test]
async fn google_serves() {
    let server = Google::start().await;
    serves(servers::google_at(server.port(), "serves")).await;
    assert_eq!(server.unfinished_uploads(), 0);
}

#[tokio::test]
async fn a_copy_goes_the_other_way_as_well() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let url = RepositoryUrl::from_directory(directory.path());
    let local = Place { url, options: StoreOptions::default() };
    let id = BackupId::generate();
    write(&local, &id).await.expect("written");
    let place = servers::s3("copies");
    let target = CopyTarget::open(&place.url, &place.options, UploadConfig::default()).await;
    target.expect("opens").copy(&open(&local).await, &id).await.expect("copied");
    check(&place, &id).await.expect("whole");
}

#[tokio::test]
async fn wrong_credentials_and_missing_buckets_are_told_at_the_start_without_secrets() {
    let mut place = servers::s3("refusals");
    let wrong = [("AWS_ACCESS_KEY_ID", servers::ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", "wr0ng")];
    let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    place.options.environment = wrong.into_iter().map(own).collect();
    let error = PackSink::create(&place.url, BackupId::generate(), config(&place)).await;
    let error = format!("{:?}", error.expect_err("refused"));
    assert!(error.contains("403"), "{error}");
    assert!(!error.contains("wr0ng"), "{error}");
    assert!(!format!("{:?}", config(&place)).contains("wr0ng"));
}

#[tokio::test]
async fn prune_keeps_what_the_rules_keep_and_never_the_last_one_goes() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let url = RepositoryUrl::from_directory(directory.path());
    let place = Place { url, options: StoreOptions::default() };
    let ids: Vec<BackupId> = ["20250101T000000Z-00000001", "20250102T000000Z-00000002"]
        .iter()
        .map(|id| id.parse().expect("valid"))
        .collect();
    for id in &ids {
        write(&place, id).await.expect("written");
    }
    let config = |force, dry_run| PruneConfig {
        keep: KeepRules { last: 1, ..KeepRules::default() },
        force,
        incomplete_after: Duration::from_secs(86_400),
        dry_run,
    };
    let repository = open(&place).await;
    let told = repository.prune(&config(false, true)).await.expect("prunes");
    assert_eq!((told.removed, told.kept), (vec![ids[0].clone()], vec![ids[1].clone()]));
    assert_eq!(repository.list().await.expect("listed").len(), 2);
    repository.prune(&config(false, false)).await.expect("prunes");
    let left: Vec<_> =
        repository.list().await.expect("listed").into_iter().map(|it| it.id).collect();
    assert_eq!(left, ids[1..]);
    check(&place, &ids[1]).await.expect("whole");
}
