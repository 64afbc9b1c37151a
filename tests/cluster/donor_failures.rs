//! Donors that fail: the backup says so, nothing of it stays, and the group is as before.

use crate::{
    support::{cluster::Cluster, fault::Fault, job::Job, server::Server, wait::seconds},
    verdict::{Repository, check_failure, expect_failure},
};

#[test]
#[ignore = "starts real servers"]
fn a_donor_killed_in_the_middle_of_the_stream_fails_the_backup() {
    let mut cluster = Cluster::start(3);
    let repository = Repository::create(&cluster, "repository");
    cluster.node(1).set_fault(Fault::Stalls);
    let backup = Job::backup(&cluster, &repository.url).flag("--donor", "n2").start();
    cluster.node(1).wait_fault();
    cluster.nodes[1].kill();
    let outcome = backup.finish(seconds(60));
    check_failure(&mut cluster, &repository, outcome, &[101], &["donor"]);
    cluster.restart(1);
    cluster.wait_healthy(3);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn a_donor_whose_script_fails_fails_the_backup() {
    expect_donor_failure(Fault::ScriptFails, &[101], &["donor"]);
}

#[test]
#[ignore = "starts real servers"]
fn a_connection_that_breaks_fails_the_backup() {
    expect_donor_failure(Fault::Breaks, &[65, 101], &["donor", "stream"]);
}

#[test]
#[ignore = "starts real servers"]
fn a_truncated_stream_fails_the_backup_although_the_donor_reports_success() {
    expect_donor_failure(Fault::Truncates, &[65], &["stream", "incomplete", "ended"]);
}

#[test]
#[ignore = "starts real servers"]
fn a_corrupted_stream_fails_the_backup_although_the_donor_reports_success() {
    expect_donor_failure(Fault::Corrupts, &[65], &["checksum", "chunk", "stream"]);
}

/// One backup from a donor with this fault, then one from the same donor without it.
fn expect_donor_failure(fault: Fault, codes: &[i32], words: &[&str]) {
    let mut cluster = Cluster::start(2);
    let repository = Repository::create(&cluster, "repository");
    cluster.node(1).set_fault(fault);
    let job = Job::backup(&cluster, &repository.url).flag("--donor", "n2");
    expect_failure(&mut cluster, &repository, job, codes, words);

    cluster.node(1).set_fault(Fault::None);
    let job = Job::backup(&cluster, &repository.url).flag("--donor", "n2");
    job.run(seconds(120)).expect(&[0]);
    assert_eq!(repository.backups(), 1);
    cluster.wait_healthy(2);
    // What the packaged script writes when it fails, or when we hang up on a bad stream.
    cluster.expect_donor_failures();
    cluster.assert_unharmed();
}
