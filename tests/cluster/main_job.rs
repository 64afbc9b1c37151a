//! Backup under load, restore, and proof that the restored server holds exactly the snapshot.
//!
//! Two proofs. Started alone, the restored server has the ledger's entries 1 to N, all that depends
//! on them, and N is the number that follows from the restored seqno. Joined to the living group,
//! which must bring it up to date from that seqno by write-sets alone, it ends with the same
//! checksum as its peers in every table: a row too many or too few at the start would have stopped
//! it or would show.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::Path,
    process::Command,
};

use crate::{
    support::{
        cluster::Cluster,
        content,
        job::Job,
        ledger,
        server::{Server, Start},
        wait::seconds,
        writer::Writer,
    },
    verdict::Repository,
};

const MEMORY_LIMIT_KIB: u64 = 128 * 1024;

#[test]
#[ignore = "starts real servers"]
fn a_backup_under_load_restores_to_exactly_the_snapshot() {
    let mut cluster = Cluster::start(3);
    let snapshot = back_up_under_load(&mut cluster);
    check_restored_alone(&cluster, &snapshot);
    check_restored_as_member(&mut cluster, &snapshot);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers; two gibibytes of data"]
fn two_gibibytes_are_backed_up_under_load_within_128_mebibytes_of_memory() {
    let settings = ["innodb-log-file-size=256M", "innodb-buffer-pool-size=256M"];
    let mut cluster = Cluster::start_with(1, &settings);
    content::generate(cluster.node(0), 2048);
    cluster.add_node();
    cluster.add_node();
    cluster.wait_healthy(3);
    let snapshot = back_up_under_load(&mut cluster);
    assert!(snapshot.peak_kib < MEMORY_LIMIT_KIB, "peak memory {} KiB", snapshot.peak_kib);
    check_restored_alone(&cluster, &snapshot);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn a_backup_straight_into_a_data_directory_starts_after_prepare() {
    let mut cluster = Cluster::start(2);
    ledger::create(cluster.node(0));
    let directory = cluster.path("restored");
    let to = format!("datadir:{}", directory.display());
    Job::backup(&cluster, &to).flag("--donor", "n2").run(seconds(120)).expect(&[0]);
    prepare(&directory, &cluster.path("prepare.log"));
    allow_bootstrap(&directory);
    let mut server = cluster.adopt("restored-node", &directory);
    server.start(&Start::Bootstrap);
    server.wait_synced();
    assert_eq!(ledger::verify(&server), 0);
    assert_eq!(content::checksums(&server), content::checksums(cluster.node(0)));
    cluster.assert_unharmed();
}

/// Prepares a data directory as an administrator would, with the packaged program.
fn prepare(directory: &Path, log: &Path) {
    let output = File::create(log).expect("make a log file");
    let status = Command::new("mariadb-backup")
        .arg("--prepare")
        .arg(format!("--target-dir={}", directory.display()))
        .stdout(output.try_clone().expect("share a log file"))
        .stderr(output)
        .status()
        .expect("run mariadb-backup");
    assert!(status.success(), "{}", fs::read_to_string(log).unwrap_or_default());
}

/// Lets the first server on this directory start a cluster, as an administrator would.
fn allow_bootstrap(directory: &Path) {
    let file = directory.join("grastate.dat");
    let text = fs::read_to_string(&file).expect("read grastate.dat");
    let text = text.replace("safe_to_bootstrap: 0", "safe_to_bootstrap: 1");
    fs::write(&file, text).expect("write grastate.dat");
}

/// A finished backup and what is known about the group when its data was empty.
struct Snapshot {
    repository: Repository,
    seqno_of_entry_zero: u64,
    conf_id_of_entry_zero: u64,
    conf_id_during_backup: u64,
    peak_kib: u64,
}

/// Takes a backup while two writers go on; they have stopped when this returns.
fn back_up_under_load(cluster: &mut Cluster) -> Snapshot {
    let repository = Repository::create(cluster, "repository");
    ledger::create(cluster.node(0));
    cluster.wait_level();
    let seqno_of_entry_zero = cluster.node(0).last_committed();
    let conf_id_of_entry_zero = conf_id(cluster);
    // Writers on one node alone: then each seqno is one entry or one configuration.
    let writers = [Writer::start(1, cluster.node(0)), Writer::start(2, cluster.node(0))];
    writers[0].wait_progress(20);

    let mut backup = Job::backup(cluster, &repository.url).flag("--donor", "n2").start();
    backup.wait_phase("receiving", seconds(60));
    let conf_id_during_backup = conf_id(cluster);
    let outcome = backup.finish(seconds(600)).expect(&[0]);
    assert!(outcome.json().is_object(), "{}", outcome.stdout);
    writers[0].wait_progress(20);

    for writer in writers {
        let report = writer.stop();
        assert_eq!(report.failed, 0, "{report:?}");
        assert!(report.longest < seconds(5), "a commit took as long as after a crash: {report:?}");
    }
    assert_eq!(repository.backups(), 1);
    let size = cluster.nodes.len();
    cluster.wait_healthy(size);
    Snapshot {
        repository,
        seqno_of_entry_zero,
        conf_id_of_entry_zero,
        conf_id_during_backup,
        peak_kib: outcome.peak_kib,
    }
}

fn check_restored_alone(cluster: &Cluster, snapshot: &Snapshot) {
    let directory = cluster.path("restored-alone");
    Job::restore(&snapshot.repository.url, &directory)
        .flag("--id", "latest")
        .switch("--prepare")
        .switch("--bootstrap")
        .run(seconds(600))
        .expect(&[0]);
    let (state_uuid, seqno) = saved_position(&directory);
    assert_eq!(state_uuid, cluster.node(0).status("wsrep_cluster_state_uuid"));

    let mut server = cluster.adopt("restored-alone-node", &directory);
    server.start(&Start::Bootstrap);
    server.wait_synced();
    assert_eq!(server.status("wsrep_cluster_state_uuid"), state_uuid, "history was not continued");
    let entries = ledger::verify(&server);
    let configurations = snapshot.conf_id_during_backup - snapshot.conf_id_of_entry_zero;
    assert_eq!(entries, seqno - snapshot.seqno_of_entry_zero - configurations, "wrong seqno");
    assert_eq!(ledger::digest(&server, entries), ledger::digest(cluster.node(0), entries));
    assert_eq!(ledger::accounts(&server), ledger::accounts_at(cluster.node(0), entries));
    assert_eq!(unchanging_tables(&server), unchanging_tables(cluster.node(0)));
    server.stop();
}

fn check_restored_as_member(cluster: &mut Cluster, snapshot: &Snapshot) {
    let directory = cluster.path("restored-member");
    Job::restore(&snapshot.repository.url, &directory)
        .switch("--prepare")
        .flag("--ordinal", "1")
        .run(seconds(600))
        .expect(&[0]);
    let mut server = cluster.adopt("restored-member-node", &directory);
    server.start(&Start::Join(cluster.peers()));
    server.wait_synced();
    assert!(server.log().contains("IST received"), "it took a full state transfer");
    assert_eq!(content::checksums(&server), content::checksums(cluster.node(0)));
    server.stop();
    cluster.wait_healthy(cluster.nodes.len());
}

/// The checksums of the tables that no writer changes.
fn unchanging_tables(server: &impl Server) -> BTreeMap<String, String> {
    let changing = ["shop.ledger", "shop.position", "shop.account"];
    let mut checksums = content::checksums(server);
    checksums.retain(|table, _| !changing.contains(&table.as_str()));
    checksums
}

fn conf_id(cluster: &Cluster) -> u64 {
    cluster.node(0).status("wsrep_cluster_conf_id").parse().expect("a configuration has a number")
}

/// State UUID and seqno of a data directory that no server uses.
fn saved_position(directory: &Path) -> (String, u64) {
    let text = fs::read_to_string(directory.join("grastate.dat")).expect("read grastate.dat");
    let value = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().to_owned()
    };
    (value("uuid:"), value("seqno:").parse().expect("the restored seqno is a number"))
}
