//! Percona's dialect behind a real group: MariaDB servers whose `wsrep_sst_xtrabackup-v2` is the scripted
//! donor, with real data in its stream. What goes wrong in the usual pipelines because of the group is
//! here too, named as in `tests/sst/percona`.

use std::path::Path;

use serde_json::json;

use crate::{
    support::{
        cluster::Cluster,
        fault::Fault,
        job::{Job, Outcome},
        ledger,
        ports::Ports,
        server::{Server, Start},
        wait::seconds,
        writer::Writer,
    },
    verdict::{Repository, check_failure, expect_failure},
};

/// A generation, and the version of its backup tool.
const GENERATIONS: [(&str, &str); 3] =
    [("5.7", "2.4.29"), ("8.0.29", "8.0.35-30"), ("8.4", "8.4.0-2")];

/// A group of two in which every member donates as that generation does.
fn group_of(generation: &str) -> Cluster {
    let cluster = Cluster::start(2);
    for node in &cluster.nodes {
        node.play_percona(&json!({ "generation": generation, "payload": "server", "pause": 1 }));
    }
    cluster
}

fn backup(cluster: &Cluster, repository: &Repository) -> Job {
    Job::backup(cluster, &repository.url).flag("--method", "xtrabackup-v2")
}

fn restore(repository: &Repository, directory: &Path, version: &str) -> Outcome {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/donor/xtrabackup");
    Job::restore(&repository.url, directory)
        .switch("--prepare")
        .switch("--bootstrap")
        .flag("--prepare-tool", &tool.display().to_string())
        .flag("--server-binary", "/usr/sbin/mariadbd")
        .environment("XTRABACKUP_VERSION", version)
        .environment("XTRABACKUP_REAL", "yes")
        .run(seconds(300))
}

#[test]
#[ignore = "starts real servers"]
fn every_generation_is_backed_up_from_a_real_group_and_a_server_starts_from_it() {
    let mut cluster = group_of("8.0.29");
    ledger::create(cluster.node(0));
    for (generation, version) in GENERATIONS {
        cluster.node(1).play_percona(
            &json!({ "generation": generation, "payload": "server", "pause": 1, "compress": "zstd" }),
        );
        let repository = Repository::create(&cluster, &format!("repository-{generation}"));
        let writer = Writer::start(1, cluster.node(0));
        writer.wait_progress(20);
        backup(&cluster, &repository).flag("--donor", "n2").run(seconds(120)).expect(&[0]);
        writer.stop();
        let directory = cluster.path(&format!("restored-{generation}"));
        restore(&repository, &directory, version).expect(&[0]);
        let mut server = cluster.adopt(&format!("restored-node-{generation}"), &directory);
        server.start(&Start::Bootstrap);
        server.wait_synced();
        let entries = ledger::verify(&server);
        assert!(entries > 0, "{generation}");
        assert_eq!(ledger::digest(&server, entries), ledger::digest(cluster.node(0), entries));
        server.stop();
    }
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn f10_a_donor_that_fails_after_a_whole_stream_is_heard_in_the_group() {
    let mut cluster = group_of("8.0.29");
    cluster.expect_donor_failures();
    let repository = Repository::create(&cluster, "repository");
    let failing = json!({ "payload": "server", "pause": 1, "status": 22 });
    cluster.node(1).play_percona(&failing);
    let job = backup(&cluster, &repository).flag("--donor", "n2");
    expect_failure(&mut cluster, &repository, job, &[101], &["code -22"]);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn f16_a_name_that_only_begins_like_a_member_is_no_donor() {
    let mut cluster = group_of("8.0.29");
    let repository = Repository::create(&cluster, "repository");
    let job = backup(&cluster, &repository).flag("--donor", "n");
    expect_failure(&mut cluster, &repository, job, &[78], &["donor"]);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn f16_another_donor_is_tried_when_one_fails() {
    let mut cluster = group_of("8.0.29");
    cluster.expect_donor_failures();
    let repository = Repository::create(&cluster, "repository");
    cluster.node(1).set_fault(Fault::Breaks);
    let job = backup(&cluster, &repository).flag("--donor", "n2,").flag("--attempts", "2");
    let outcome = job.run(seconds(120)).expect(&[0]);
    assert!(outcome.stderr.contains("trying again without n2"), "{}", outcome.stderr);
    assert_eq!(outcome.json()["manifest"]["donor"]["name"], "n1");
    assert_eq!(repository.backups(), 1);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn g02_a_wrong_group_is_told_within_the_limit() {
    let mut cluster = group_of("8.0.29");
    let repository = Repository::create(&cluster, "repository");
    let job = Job::backup_of(&cluster.peers(), "no-such-group", &repository.url);
    expect_failure(&mut cluster, &repository, job, &[78], &["group"]);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn g03_a_busy_group_is_waited_for_and_then_left_alone() {
    let mut cluster = group_of("8.0.29");
    let repository = Repository::create(&cluster, "repository");
    cluster.node(1).set_fault(Fault::Stalls);
    let first = backup(&cluster, &repository).flag("--donor", "n2").start();
    cluster.node(1).wait_fault();
    let second = backup(&cluster, &repository).flag("--donor-timeout", "4");
    let outcome = second.run(seconds(60));
    let words = ["another state transfer in the group"];
    check_failure_while_busy(&outcome, &words);
    cluster.node(1).set_fault(Fault::None);
    first.finish(seconds(120)).expect(&[0]);
    assert_eq!(repository.backups(), 1);
    cluster.assert_unharmed();
}

/// The group is not as it was: a transfer runs.
fn check_failure_while_busy(outcome: &Outcome, words: &[&str]) {
    assert_eq!(outcome.code, Some(69), "{}", outcome.stderr);
    for word in words {
        assert!(outcome.stderr.contains(word), "{}", outcome.stderr);
    }
}

#[test]
#[ignore = "starts real servers"]
fn g09_one_port_for_the_group_and_the_donor_is_refused_at_once() {
    let mut cluster = group_of("8.0.29");
    let repository = Repository::create(&cluster, "repository");
    let ports = Ports::reserve();
    let job = backup(&cluster, &repository)
        .option(&format!("gmcast.listen_addr=tcp://{}", ports.address(1)));
    let job = job.flag("--listen", &ports.address(1)).holding(ports);
    expect_failure(&mut cluster, &repository, job, &[78], &["address"]);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn a_donor_that_takes_too_long_is_set_free() {
    let mut cluster = group_of("8.0.29");
    cluster.expect_donor_failures();
    let repository = Repository::create(&cluster, "repository");
    cluster.node(1).set_fault(Fault::Stalls);
    let job = backup(&cluster, &repository).flag("--donor", "n2").flag("--max-donor-time", "6");
    let running = job.start();
    cluster.node(1).wait_fault();
    let outcome = running.finish(seconds(60));
    cluster.node(1).set_fault(Fault::None);
    check_failure(&mut cluster, &repository, outcome, &[75], &["--max-donor-time"]);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn too_few_synced_members_or_none_of_the_segment_are_refused_politely() {
    let mut cluster = group_of("8.0.29");
    let repository = Repository::create(&cluster, "repository");
    let few = backup(&cluster, &repository)
        .flag("--when-synced-at-least", "3")
        .flag("--donor-timeout", "3");
    expect_failure(&mut cluster, &repository, few, &[69], &["more members to become SYNCED"]);
    let far = backup(&cluster, &repository).flag("--donor-segment", "7");
    expect_failure(&mut cluster, &repository, far, &[69], &["no member is left"]);
    let writer = backup(&cluster, &repository).flag("--avoid-donor", "n1");
    let outcome = writer.run(seconds(120)).expect(&[0]);
    assert_eq!(outcome.json()["manifest"]["donor"]["name"], "n2");
    cluster.assert_unharmed();
}
