//! The main promises once more on separate hosts, each with an address, a disk and a kernel's network
//! stack of its own: backup and restore, a cut network, the loss of a donor, a rolling restart.
//!
//! Images come from `docker compose build`; `scripts/test-containers` makes them and runs this.

mod group;
mod job;

use std::time::Duration;

use group::Group;
use job::Job;

/// A donor waits ten seconds between its connections, so no backup is quicker than about fifteen. This
/// is also the time in which the tests do something to it.
const BACKUP_LIMIT: Duration = Duration::from_secs(180);

/// `evs.inactive_timeout` and the time limits of a transfer, with room for a busy machine.
const FAILURE_LIMIT: Duration = Duration::from_secs(180);

#[test]
#[ignore = "needs Docker: scripts/test-containers"]
fn what_one_host_backs_up_another_restores_and_serves() {
    let group = Group::start("restore");
    group.sql(0, "CREATE DATABASE shop; CREATE TABLE shop.t (id INT PRIMARY KEY, v TEXT)");
    group.sql(1, "USE shop; INSERT INTO t SELECT seq, REPEAT(MD5(seq), 20) FROM seq_1_to_20000");
    let expected = group.sql(2, "CHECKSUM TABLE shop.t");

    let backup = Job::backup(&group).finish(BACKUP_LIMIT);
    assert_eq!(backup.code, 0, "{}", backup.said);
    group.wait_synced();

    let restored = group.restore();
    assert_eq!(restored.sql("CHECKSUM TABLE shop.t"), expected);
}

#[test]
#[ignore = "needs Docker: scripts/test-containers"]
fn a_job_that_loses_its_network_leaves_neither_a_backup_nor_a_donor_that_waits() {
    let group = Group::start("cut");
    let job = Job::backup(&group);
    job.wait_for("phase: waiting", BACKUP_LIMIT);
    group.disconnect(job.name());

    let end = job.finish(FAILURE_LIMIT);
    assert!([69, 74, 75, 101].contains(&end.code), "exit code {}: {}", end.code, end.said);
    assert_eq!(group.backups(), "[]");
    group.wait_synced();
    assert_eq!(group.size(0), 3);
}

#[test]
#[ignore = "needs Docker: scripts/test-containers"]
fn the_loss_of_the_donor_s_host_ends_the_backup_and_the_group_goes_on() {
    let group = Group::start("loss");
    let job = Job::backup_from(&group, 2);
    job.wait_for("phase: waiting", BACKUP_LIMIT);
    group.kill(2);

    let end = job.finish(FAILURE_LIMIT);
    assert!([75, 101].contains(&end.code), "exit code {}: {}", end.code, end.said);
    assert_eq!(group.backups(), "[]");
    group.wait_until("the group is its two servers", || group.size(0) == 2);
    group.sql(0, "CREATE DATABASE still_writable");

    group.restart(2);
    group.wait_synced();
    let again = Job::backup_from(&group, 2).finish(BACKUP_LIMIT);
    assert_eq!(again.code, 0, "{}", again.said);
}

#[test]
#[ignore = "needs Docker: scripts/test-containers"]
fn a_rolling_restart_during_a_backup_costs_neither_the_backup_nor_the_group() {
    let group = Group::start("rolling");
    let job = Job::backup_from(&group, 2);
    job.wait_for("phase: waiting", BACKUP_LIMIT);
    for server in [0, 1] {
        group.stop(server);
        group.restart(server);
        group.wait_until("the server is back", || group.is_synced(server));
    }
    let end = job.finish(BACKUP_LIMIT);
    assert_eq!(end.code, 0, "{}", end.said);

    group.stop(2);
    group.restart(2);
    group.wait_synced();
    assert_eq!(group.size(1), 3);
}
