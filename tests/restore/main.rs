//! A real MariaDB server's backup through a repository and back into a cluster.
//!
//! Needs `mariadbd`, `mariadb-backup`, `mbstream`, `mariadb` and Galera's library on this machine;
//! run with `cargo test --test restore -- --ignored`. `RESTORE_TEST_PORT` moves the ports (a hundred
//! from there on loopback).

mod pages;
mod server;
mod speed;

use std::path::{Path, PathBuf};
use std::process::Command;

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;
use galera_sst::pipeline::manifest::{
    BackupId, ClosingFilesSeen, Donor, FORMAT_VERSION, Flavour, Manifest, Method, StateSeen,
    StreamSeen, Times, Totals, TransportEnd, TransportSeen, Versions, Witness, Witnesses,
};
use galera_sst::repository::{PackConfig, PackSink, ReadConfig, Repository, RepositoryUrl};
use galera_sst::restore::{
    FinishConfig, PositionConfig, PositionSource, PrepareConfig, RestoreConfig, Restored, Role,
    finish_directory, restore,
};
use galera_sst::sink::{Entry, Piece, Sink, SinkFile};

use server::{Server, port_base};

/// Everything a test makes.
struct Lab {
    directory: tempfile::TempDir,
    url: RepositoryUrl,
}

impl Lab {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let url = RepositoryUrl::from_directory(&directory.path().join("repository"));
        Self { directory, url }
    }

    fn place(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    async fn restore(&self, id: &BackupId, name: &str, role: Role) -> Restored {
        let repository = Repository::open(&self.url).await.expect("opens");
        let backup = repository.backup(id).await.expect("opens");
        let config = RestoreConfig {
            target: self.place(name),
            force: false,
            finish: FinishConfig {
                prepare: Some(PrepareConfig::default()),
                role: Some(role),
                position: PositionConfig { cross_check: true, ..PositionConfig::default() },
                ..FinishConfig::default()
            },
            read: ReadConfig::default(),
        };
        restore(&backup, &config).await.expect("restores")
    }
}

/// Takes a backup with the real tool, while `during` runs; gives the unpacked directory.
fn take_backup(server: &Server, lab: &Lab, during: impl FnOnce()) -> PathBuf {
    let (stream, unpacked) = (lab.place("stream.xb"), lab.place("unpacked"));
    std::fs::create_dir(&unpacked).expect("makes a directory");
    let mut tool = server.backup_to(&stream);
    during();
    assert!(tool.wait().expect("a tool").success());
    let stream = std::fs::File::open(stream).expect("a stream");
    let extract = Command::new("mbstream").arg("-x").stdin(stream).current_dir(&unpacked).status();
    assert!(extract.expect("runs mbstream").success());
    unpacked
}

/// Feeds a directory's files to a sink, several open at once, as a stream would.
async fn store(lab: &Lab, unpacked: &Path) -> BackupId {
    let id = BackupId::generate();
    let mut sink =
        PackSink::create(&lab.url, id.clone(), PackConfig::default()).await.expect("makes a sink");
    for together in files_below(unpacked, unpacked).chunks(7) {
        feed(&mut sink, unpacked, together).await;
    }
    let state = position_in(&unpacked.join("xtrabackup_galera_info"));
    sink.commit(manifest(&id, state)).await.expect("commits");
    id
}

async fn feed(sink: &mut PackSink, root: &Path, names: &[PathBuf]) {
    const CHUNK_BYTES: usize = 1 << 20;
    let mut open = Vec::new();
    for name in names {
        let path = EntryPath::parse(name.as_os_str().as_encoded_bytes()).expect("valid path");
        let content = Bytes::from(std::fs::read(root.join(name)).expect("reads"));
        let file = sink.create(&Entry { path, size: None }).await.expect("creates");
        open.push((file, content));
    }
    while !open.is_empty() {
        let mut still_open = Vec::new();
        for (mut file, mut content) in open {
            let chunk = content.split_to(content.len().min(CHUNK_BYTES));
            file.write(Piece::Data(chunk)).await.expect("writes");
            if content.is_empty() {
                file.finish().await.expect("finishes");
            } else {
                still_open.push((file, content));
            }
        }
        open = still_open;
    }
}

fn files_below(root: &Path, directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("reads");
    let mut files = Vec::new();
    for entry in entries.map(|entry| entry.expect("an entry")) {
        if entry.file_type().expect("a type").is_dir() {
            files.extend(files_below(root, &entry.path()));
        } else {
            files.push(entry.path().strip_prefix(root).expect("below").to_path_buf());
        }
    }
    files
}

fn position_in(file: &Path) -> StateSeen {
    let text = std::fs::read_to_string(file).expect("a position");
    let (uuid, rest) = text.split_once(':').expect("a position");
    let seqno = rest.split_whitespace().next().expect("a seqno");
    StateSeen {
        uuid: uuid.parse().expect("a UUID"),
        seqno_at_least: seqno.parse().expect("a seqno"),
    }
}

fn manifest(id: &BackupId, state: StateSeen) -> Manifest {
    Manifest {
        format_version: FORMAT_VERSION,
        backup_id: id.clone(),
        group: "restore-test".into(),
        state,
        donor: Donor {
            uuid: "6a1b2c3d-4e5f-11ee-8a7b-0123456789ab".parse().expect("a UUID"),
            name: "n1".into(),
            address: "127.0.0.1".into(),
        },
        method: Method::Mariabackup,
        flavour: Flavour::Mariadb,
        versions: Versions::default(),
        times: Times {
            started: "2026-01-01T00:00:00Z".parse().expect("a time"),
            requested: None,
            first_byte: None,
            received: None,
            stored: None,
        },
        totals: Totals::default(),
        witnesses: Witnesses {
            stream: Witness { holds: true, seen: StreamSeen { files: 1, bytes: 1 } },
            closing_files: Witness { holds: true, seen: ClosingFilesSeen::default() },
            transport: Witness {
                holds: true,
                seen: TransportSeen { end: TransportEnd::EndOfFile, tls: None },
            },
            group: None,
            command: None,
            sink: None,
        },
        storage: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers"]
async fn a_restored_pair_continues_the_cluster_without_an_sst() {
    let lab = Lab::new();
    let original = Server::install(lab.directory.path(), "original", port_base());
    let running = original.start(&["--wsrep-new-cluster"]);
    original.sql(
        "create database shop; use shop; create table t (id int primary key, v text);
        create table a (id int) engine=aria; insert into a values (1), (2), (3);
        insert into t select seq, repeat('x', 500) from seq_1_to_20000;",
    );
    let unpacked = take_backup(&original, &lab, || {
        for id in 0..50 {
            original.sql(&format!("insert into shop.t values ({}, 'during')", 100_000 + id));
        }
        original.sql(
            "create table shop.ddl_during (id int primary key); rename table shop.a to shop.b;",
        );
    });
    let uuid = original.status("wsrep_cluster_state_uuid");
    drop(running);
    let id = store(&lab, &unpacked).await;
    let report = {
        let repository = Repository::open(&lab.url).await.expect("opens");
        let backup = repository.backup(&id).await.expect("opens");
        backup.verify(&ReadConfig::default()).await.expect("verifies")
    };
    assert!(report.is_sound(), "{:?}", report.damage);

    let first = lab.restore(&id, "first", Role::Bootstrap).await;
    let second = lab.restore(&id, "second", Role::Ordinal(1)).await;
    assert_eq!(first.position, second.position);
    let position = first.position.expect("a position");
    assert_eq!(position.source, PositionSource::Prepared);
    assert_eq!(position.uuid.to_string(), uuid);

    let first = Server::restored(lab.directory.path(), "first", port_base() + 20, None);
    let _first = first.start(&["--wsrep-new-cluster"]);
    assert_eq!(first.status("wsrep_cluster_state_uuid"), uuid);
    assert_eq!(first.sql("select count(*) from shop.t where v = repeat('x', 500)"), "20000");
    let during: u64 =
        first.sql("select count(*) from shop.t where v = 'during'").parse().expect("a number");
    assert!(during <= 50);
    first.sql("insert into shop.t values (200000, 'after')");

    let second = Server::restored(lab.directory.path(), "second", port_base() + 40, Some(&first));
    let _second = second.start(&[]);
    assert_eq!(second.sql("select count(*) from shop.t where v = 'after'"), "1");
    let checksum = "checksum table shop.t";
    assert_eq!(first.sql(checksum), second.sql(checksum));
    let log = second.log();
    assert!(log.contains("Receiving IST"), "no IST:\n{log}");
    // The SST script runs on a joiner in either case; with this word the donor sends no data.
    assert!(log.contains("'xtrabackup_ist' received from donor"), "an SST ran:\n{log}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs real servers"]
async fn a_directory_is_finished_in_place() {
    let lab = Lab::new();
    let original = Server::install(lab.directory.path(), "original", port_base() + 60);
    let running = original.start(&["--wsrep-new-cluster"]);
    original.sql(
        "create database shop; create table shop.t (id int primary key);
        insert into shop.t values (1), (2), (3);",
    );
    let uuid = original.status("wsrep_cluster_state_uuid");
    let unpacked = take_backup(&original, &lab, || {});
    drop(running);
    let config = FinishConfig {
        prepare: Some(PrepareConfig::default()),
        role: Some(Role::Ordinal(0)),
        ..FinishConfig::default()
    };
    let restored = finish_directory(&unpacked, &config).await.expect("finishes");
    assert_eq!(restored.position.expect("a position").uuid.to_string(), uuid);
    let server = Server::restored(lab.directory.path(), "unpacked", port_base() + 80, None);
    let _running = server.start(&["--wsrep-new-cluster"]);
    assert_eq!(server.status("wsrep_cluster_state_uuid"), uuid);
    assert_eq!(server.sql("select count(*) from shop.t"), "3");
}
