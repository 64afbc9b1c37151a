//! The harness itself: what the other tests take for granted, without our own member.

use crate::support::{
    cluster::Cluster,
    content,
    fault::Fault,
    ledger,
    server::Server,
    wait::{self, seconds},
    writer::Writer,
};

#[test]
#[ignore = "starts real servers"]
fn three_nodes_replicate_a_writer_and_survive_the_loss_of_one() {
    let mut cluster = Cluster::start(3);
    ledger::create(cluster.node(0));
    let writer = Writer::start(1, cluster.node(0));
    writer.wait_progress(50);

    cluster.nodes[2].kill();
    cluster.wait_healthy(2);
    writer.wait_progress(50);
    cluster.restart(2);
    cluster.wait_healthy(3);
    writer.wait_progress(50);

    let report = writer.stop();
    assert_eq!(report.failed, 0, "{report:?}");
    cluster.wait_level();
    let entries = ledger::verify(cluster.node(2));
    assert_eq!(entries, report.committed);
    assert_eq!(ledger::digest(cluster.node(0), entries), ledger::digest(cluster.node(2), entries));
    assert_eq!(content::checksums(cluster.node(0)), content::checksums(cluster.node(2)));
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn garbd_joins_leaves_and_crashes() {
    let mut cluster = Cluster::start(2);
    let mut polite = cluster.garbd("arbitrator-1");
    cluster.wait_healthy(3);
    polite.leave();
    cluster.wait_healthy(2);
    let mut rude = cluster.garbd("arbitrator-2");
    cluster.wait_healthy(3);
    rude.kill();
    cluster.wait_healthy(2);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn a_donor_script_can_be_made_to_fail_and_mended_again() {
    let mut cluster = Cluster::start(2);
    cluster.expect_error("wsrep_sst_mariabackup");
    cluster.node(1).set_fault(Fault::ScriptFails);
    let request = "mariabackup:127.0.0.1:15999/xtrabackup_sst//1";
    let mut garbd = cluster.garbd_with("requester", &["--sst", request, "--donor", "n2"]);
    wait::until_true("the donor to fail", seconds(20), || {
        cluster.node(1).log().contains("SST sending failed: -22")
    });
    wait::until_true("garbd to end", seconds(20), || !garbd.is_running());
    cluster.wait_healthy(2);
    cluster.node(1).set_fault(Fault::None);
    cluster.assert_unharmed();
}
