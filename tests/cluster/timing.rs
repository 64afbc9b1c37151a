//! How fast we are to make our request, beside garbd on the same cluster.

use std::time::{Duration, Instant};

use crate::support::{
    cluster::Cluster,
    job::Job,
    server::Server,
    wait::{self, seconds},
};

const ROUNDS: usize = 5;

#[test]
#[ignore = "starts real servers"]
#[expect(clippy::print_stdout, reason = "the measurement is worth reading")]
fn our_request_is_accepted_about_as_soon_as_garbds() {
    let mut cluster = Cluster::start(3);
    cluster.expect_donor_failures();
    let mut ours = Vec::new();
    let mut garbds = Vec::new();
    for round in 0..ROUNDS {
        garbds.push(time_of_garbd(&mut cluster, round));
        ours.push(time_of_ours(&mut cluster));
    }
    let (ours, garbds) = (median(ours), median(garbds));
    let ratio = ours.as_secs_f64() / garbds.as_secs_f64();
    println!("start to accepted request: ours {ours:?}, garbd {garbds:?}, ratio {ratio:.2}");
    // The ratio is what to read; a noisy machine must not fail the run, a broken start shall.
    assert!(ours <= garbds * 3, "ours {ours:?}, garbd {garbds:?}");
    cluster.assert_unharmed();
}

fn time_of_garbd(cluster: &mut Cluster, round: usize) -> Duration {
    let before = requests(cluster);
    let started = Instant::now();
    let listener = "mariabackup:127.0.0.1:15999/xtrabackup_sst//1";
    let garbd =
        cluster.garbd_with(&format!("garbd-{round}"), &["--sst", listener, "--donor", "n2"]);
    wait_request(cluster, before);
    let took = started.elapsed();
    drop(garbd);
    cluster.wait_healthy(3);
    took
}

fn time_of_ours(cluster: &mut Cluster) -> Duration {
    let before = requests(cluster);
    let mut backup = Job::backup(cluster, "null:").flag("--donor", "n2").start();
    wait_request(cluster, before);
    let took = backup.started().elapsed();
    backup.signal(rustix::process::Signal::TERM);
    backup.finish(seconds(40)).expect(&[143]);
    cluster.wait_healthy(3);
    took
}

fn wait_request(cluster: &Cluster, before: usize) {
    wait::until_true("the request to be accepted", seconds(40), || requests(cluster) > before);
}

/// How many requests the group has accepted, as the first node logs them.
fn requests(cluster: &Cluster) -> usize {
    cluster.node(0).log().matches("requested state transfer from").count()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}
