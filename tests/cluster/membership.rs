//! Our member among others: joining, leaving, being lost, and never doing harm.

use crate::{
    support::{
        cluster::Cluster,
        fault::Fault,
        id_clock::{self, Rank},
        job::{Job, Running},
        ledger,
        server::Server,
        server_log,
        wait::{self, seconds},
        writer::Writer,
    },
    verdict::Repository,
};

/// What our member's node name begins with.
const OUR_NAME: &str = "galera-sst";

#[test]
#[ignore = "starts real servers"]
fn twenty_joins_under_a_writer_disturb_nobody_wherever_our_uuid_lies() {
    id_clock::wait_for_room();
    let mut cluster = Cluster::start(3);
    ledger::create(cluster.node(0));
    let writer = Writer::start(1, cluster.node(0));
    for join in 0..20 {
        let rank = if join % 2 == 0 { Rank::Lowest } else { Rank::Highest };
        // A donor that does not exist: it joins, sees that, and leaves.
        let outcome = Job::backup(&cluster, "null:")
            .flag("--donor", "nobody")
            .within(&id_clock::shifted_to(rank, &node_ids(&cluster)))
            .run(seconds(60));
        let outcome = outcome.expect(&[69]);
        assert!(outcome.reached("joined"), "{}", outcome.stderr);
        cluster.wait_healthy(3);
    }
    assert!(has_been(&cluster, Rank::Lowest) && has_been(&cluster, Rank::Highest));
    writer.wait_progress(20);
    let report = writer.stop();
    assert_eq!(report.failed, 0, "{report:?}");
    // A membership change costs one or more periods of a second, for the servers drop what comes too
    // early; only an install time-out (7.5 s) or worse would mean that we disturbed the group.
    assert!(report.longest < seconds(8), "a commit took as long as an outage: {report:?}");
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn three_of_ours_and_three_servers_form_one_group_and_take_three_backups() {
    let mut cluster = Cluster::start(3);
    ledger::create(cluster.node(0));
    for node in &cluster.nodes {
        node.set_fault(Fault::Stalls);
    }
    let writer = Writer::start(1, cluster.node(0));
    let mut held: Vec<_> = ["n1", "n2", "n3"].map(|donor| hold(&cluster, donor)).into();
    wait_size(&cluster, 6);
    writer.wait_progress(20);
    held.iter_mut().for_each(|backup| backup.signal(rustix::process::Signal::TERM));
    for backup in held {
        backup.finish(seconds(40)).expect(&[143]);
    }
    for node in &cluster.nodes {
        node.set_fault(Fault::None);
    }
    cluster.wait_healthy(3);

    let repository = Repository::create(&cluster, "repository");
    let running: Vec<_> = ["n1", "n2", "n3"]
        .map(|donor| {
            let job = Job::backup(&cluster, &repository.url).flag("--donor", donor);
            job.switch("--beside-others").start()
        })
        .into();
    for backup in running {
        backup.finish(seconds(180)).expect(&[0]);
    }
    assert_eq!(repository.backups(), 3);
    assert_eq!(writer.stop().failed, 0);
    cluster.wait_healthy(3);
    cluster.expect_donor_failures();
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn our_member_joins_a_group_with_garbd_and_either_can_be_lost() {
    let mut cluster = Cluster::start(2);
    let mut garbd = cluster.garbd("arbitrator");
    cluster.wait_healthy(3);
    cluster.node(1).set_fault(Fault::Stalls);
    let weight = cluster.node(0).status("wsrep_cluster_weight");
    let mut ours = hold(&cluster, "n2");
    wait_size(&cluster, 4);
    assert_eq!(cluster.node(0).status("wsrep_cluster_weight"), weight, "we must not vote");

    garbd.kill();
    wait_size(&cluster, 3);
    assert!(ours.is_running(), "we gave up when garbd was lost:\n{}", ours.talk());
    ours.kill();
    cluster.node(1).set_fault(Fault::None);
    cluster.wait_healthy(2);
    cluster.expect_donor_failures();
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn garbd_joins_a_group_with_our_member_and_either_can_be_lost() {
    let mut cluster = Cluster::start(2);
    cluster.node(1).set_fault(Fault::Stalls);
    let mut ours = hold(&cluster, "n2");
    wait_size(&cluster, 3);
    let mut garbd = cluster.garbd("arbitrator");
    wait_size(&cluster, 4);

    ours.kill();
    wait_size(&cluster, 3);
    assert!(garbd.is_running(), "garbd ended when we were lost:\n{}", garbd.log());
    garbd.leave();
    cluster.node(1).set_fault(Fault::None);
    cluster.wait_healthy(2);
    cluster.expect_donor_failures();
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn a_backup_goes_on_while_other_nodes_come_and_go() {
    let mut cluster = Cluster::start(3);
    ledger::create(cluster.node(0));
    let repository = Repository::create(&cluster, "repository");
    cluster.node(1).set_fault(Fault::Stalls);
    let backup = Job::backup(&cluster, &repository.url).flag("--donor", "n2").start();
    cluster.node(1).wait_fault();
    let mut garbd = cluster.garbd("passer-by");
    wait_size(&cluster, 5);
    garbd.leave();
    // Two of the four votes would be no majority.
    wait_size(&cluster, 4);
    cluster.nodes[2].kill();
    wait_size(&cluster, 3);
    cluster.node(1).set_fault(Fault::None);
    backup.finish(seconds(120)).expect(&[0]);
    assert_eq!(repository.backups(), 1);
    cluster.wait_healthy(2);
    cluster.restart(2);
    cluster.wait_healthy(3);
    cluster.assert_unharmed();
}

/// Starts a backup and waits until its donor has stalled in the middle of the stream.
fn hold(cluster: &Cluster, donor: &str) -> Running {
    let job = Job::backup(cluster, "null:").flag("--donor", donor).switch("--beside-others");
    let backup = job.start();
    let node = cluster.nodes.iter().find(|node| node.name() == donor).expect("the donor exists");
    node.wait_fault();
    backup
}

fn wait_size(cluster: &Cluster, size: usize) {
    let size = size.to_string();
    wait::until_true(&format!("a group of {size}"), seconds(30), || {
        cluster.node(0).try_status("wsrep_cluster_size").as_deref() == Some(&size)
            && cluster.node(0).try_status("wsrep_cluster_status").as_deref() == Some("Primary")
    });
}

/// The servers' ids in the group.
fn node_ids(cluster: &Cluster) -> Vec<String> {
    cluster.nodes.iter().map(|node| node.status("wsrep_gcomm_uuid")).collect()
}

/// Whether our member once had that place among the four of a view.
fn has_been(cluster: &Cluster, rank: Rank) -> bool {
    server_log::views(&cluster.node(0).log()).iter().any(|members| {
        let member = match rank {
            Rank::Lowest => members.first(),
            Rank::Highest => members.last(),
        };
        member.is_some_and(|name| name.starts_with(OUR_NAME))
    })
}
