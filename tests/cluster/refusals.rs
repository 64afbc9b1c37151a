//! Backups that cannot begin or cannot be kept: who is told, and what is left alone.

use std::fs;

use rustix::process::Signal;

use crate::{
    support::{
        cluster::Cluster, fault::Fault, job::Job, ports::Ports, server::Server, wait::seconds,
    },
    verdict::{Repository, check_failure, expect_failure, files_below},
};

#[test]
#[ignore = "starts real servers"]
fn a_wrong_group_name_is_a_matter_of_configuration() {
    let mut cluster = Cluster::start(2);
    let repository = Repository::create(&cluster, "repository");
    let job = Job::backup_of(&cluster.peers(), "another-group", &repository.url);
    expect_failure(&mut cluster, &repository, job, &[78], &["group"]);
    assert_nobody_was_asked(&cluster);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn addresses_where_nobody_listens_are_named() {
    let mut cluster = Cluster::start(2);
    let repository = Repository::create(&cluster, "repository");
    let nobody = Ports::reserve();
    let job = Job::backup_of(&nobody.address(2), cluster.group(), &repository.url)
        .flag("--connect-timeout", "5");
    let outcome = expect_failure(&mut cluster, &repository, job, &[69], &["group", "address"]);
    assert!(outcome.stderr.contains(&nobody.address(2)), "{}", outcome.stderr);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn a_donor_that_cannot_reach_our_listener_fails_the_backup() {
    let mut cluster = Cluster::start(2);
    cluster.expect_donor_failures();
    let repository = Repository::create(&cluster, "repository");
    let nobody = Ports::reserve();
    let job = Job::backup(&cluster, &repository.url)
        .flag("--donor", "n2")
        .flag("--advertise", &nobody.address(1));
    expect_failure(
        &mut cluster,
        &repository,
        job,
        &[69],
        &["could not connect to the advertised address"],
    );
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn a_donor_that_does_not_exist_is_not_replaced_by_another() {
    let mut cluster = Cluster::start(2);
    let repository = Repository::create(&cluster, "repository");
    let job = Job::backup(&cluster, &repository.url).flag("--donor", "n20");
    expect_failure(&mut cluster, &repository, job, &[69], &["n20"]);
    assert_nobody_was_asked(&cluster);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn a_busy_donor_is_waited_for_and_then_given_up() {
    let mut cluster = Cluster::start(2);
    cluster.expect_donor_failures();
    let repository = Repository::create(&cluster, "repository");
    cluster.node(1).set_fault(Fault::Stalls);
    let mut holder = Job::backup(&cluster, &repository.url).flag("--donor", "n2").start();
    cluster.node(1).wait_fault();

    let second = Job::backup(&cluster, &repository.url)
        .flag("--donor", "n2")
        .flag("--donor-timeout", "5")
        .run(seconds(60));
    second.expect(&[69]).expect_sentence(&["donor"]);
    assert!(holder.is_running(), "the first backup was disturbed:\n{}", holder.talk());

    holder.signal(Signal::TERM);
    let outcome = holder.finish(seconds(40));
    cluster.node(1).set_fault(Fault::None);
    check_failure(&mut cluster, &repository, outcome, &[143], &["stop", "signal"]);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn a_full_disk_fails_the_backup() {
    let mut cluster = Cluster::start(2);
    cluster.expect_donor_failures();
    let repository = Repository::create(&cluster, "repository");
    // A small file system that only this backup sees and that goes with it.
    let script = format!(
        "exec unshare --mount $([ $(id -u) = 0 ] || echo --map-root-user) bash -c '
           mount -t tmpfs -o size=512k small \"$0\" || exit 99
           \"$@\"; code=$?; find \"$0\" -name manifest.json >\"$0.seen\"; exit $code' '{}' \"$@\"",
        repository.path.display()
    );
    let job = Job::backup(&cluster, &repository.url).flag("--donor", "n2").within(&script);
    expect_failure(&mut cluster, &repository, job, &[74], &["space"]);
    let seen = fs::read_to_string(repository.path.with_extension("seen")).expect("read a list");
    assert_eq!(seen, "", "a failed backup could be seen in the repository");
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn a_data_directory_in_use_is_refused_before_anybody_is_disturbed() {
    let mut cluster = Cluster::start(2);
    let repository = Repository::create(&cluster, "repository");
    let target = cluster.path("target");
    fs::create_dir(&target).expect("make a directory");
    fs::write(target.join("ibdata1"), "precious").expect("write a file");

    let to = format!("datadir:{}", target.display());
    let job = Job::backup(&cluster, &to).flag("--donor", "n2");
    expect_failure(&mut cluster, &repository, job, &[73], &["empty"]);
    assert_nobody_was_asked(&cluster);

    Job::backup(&cluster, &repository.url).run(seconds(120)).expect(&[0]);
    let restore = Job::restore(&repository.url, &target).run(seconds(60));
    restore.expect(&[73]).expect_sentence(&["empty"]);
    assert_eq!(files_below(&target), [target.join("ibdata1")]);
    assert_eq!(fs::read_to_string(target.join("ibdata1")).expect("read a file"), "precious");
    cluster.wait_healthy(2);
    cluster.assert_unharmed();
}

/// Fails if any member requested a state transfer from these nodes after they had come up.
fn assert_nobody_was_asked(cluster: &Cluster) {
    for node in &cluster.nodes {
        let requests = node.log().matches("(galera-sst").count();
        let asked = node
            .log()
            .lines()
            .any(|line| line.contains("requested state transfer") && line.contains("(galera-sst"));
        assert!(!asked, "{} was asked; it mentions us {requests} times", node.name());
    }
}
