//! Being told to stop: at every phase we leave the group in order and leave no half a backup.

use rustix::process::Signal;

use crate::{
    support::{
        cluster::Cluster, fault::Fault, job::Job, ledger, server::Server, wait::seconds,
        writer::Writer,
    },
    verdict::{Repository, check_failure},
};

/// Every phase that the backup reports, in order.
const PHASES: [&str; 8] = [
    "joining",
    "joined",
    "requesting",
    "waiting",
    "receiving",
    "verifying",
    "committing",
    "leaving",
];

#[test]
#[ignore = "starts real servers"]
fn sigterm_at_every_phase_leaves_the_group_in_order() {
    let mut cluster = Cluster::start(3);
    cluster.expect_donor_failures();
    ledger::create(cluster.node(0));
    let writer = Writer::start(1, cluster.node(0));
    for phase in PHASES {
        let repository = Repository::create(&cluster, phase);
        let mut backup = Job::backup(&cluster, &repository.url).flag("--donor", "n2").start();
        backup.wait_phase(phase, seconds(90));
        backup.signal(Signal::TERM);
        // The last phases are short: it may have finished first. Never anything in between.
        let outcome = backup.finish(seconds(40)).expect(&[0, 143]);
        let may_be_done = ["verifying", "committing", "leaving"].contains(&phase);
        assert!(may_be_done || outcome.code == Some(143), "{phase}: {}", outcome.stderr);
        let visible = repository.backups();
        assert!(visible == usize::from(outcome.code == Some(0)), "{phase}: {visible} visible");
        cluster.wait_healthy(3);
    }
    let report = writer.stop();
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(report.longest < seconds(5), "a commit took as long as after a crash: {report:?}");
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn sigint_in_the_middle_of_the_stream_frees_the_donor() {
    let mut cluster = Cluster::start(2);
    cluster.expect_donor_failures();
    let repository = Repository::create(&cluster, "repository");
    cluster.node(1).set_fault(Fault::Stalls);
    let mut backup = Job::backup(&cluster, &repository.url).flag("--donor", "n2").start();
    cluster.node(1).wait_fault();
    backup.signal(Signal::INT);
    let outcome = backup.finish(seconds(20));
    cluster.node(1).set_fault(Fault::None);
    check_failure(&mut cluster, &repository, outcome, &[130], &["stop", "signal", "interrupt"]);
    cluster.assert_unharmed();
}
