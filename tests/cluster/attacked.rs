//! Strangers on our group port while we are a member: they lose their links, the group notices
//! nothing.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::support::{
    attack::{self, Attack, Target},
    cluster::Cluster,
    job::Job,
    ledger,
    ports::Ports,
    wait::seconds,
    writer::Writer,
};

/// How long the strangers go on, each attack again and again.
const SIEGE: Duration = Duration::from_secs(15);

#[test]
#[ignore = "starts real servers"]
fn strangers_on_our_port_cost_the_group_nothing() {
    let mut cluster = Cluster::start(2);
    ledger::create(cluster.node(0));
    let ports = Ports::reserve();
    let mut ours = Job::member("arbitrator", &cluster)
        .flag("--options", &format!("gmcast.listen_addr=tcp://{}", ports.address(4)))
        .start();
    cluster.wait_healthy(3);
    let writer = Writer::start(1, cluster.node(0));
    let address = ports.address(4).parse().expect("an address");
    let target = Target { address, group: cluster.group().to_owned() };
    besiege(&target);
    writer.wait_progress(20);
    let report = writer.stop();
    assert_eq!(report.failed, 0, "{report:?}");
    assert!(report.longest < seconds(3), "the group was held up: {report:?}");
    assert!(ours.is_running(), "{}", ours.talk());
    assert!(attack::is_greeted(&target), "it takes no callers any more");
    cluster.wait_healthy(3);
    ours.signal(Signal::TERM);
    let outcome = ours.finish(seconds(40)).expect(&[0]);
    assert!(outcome.peak_kib < 64 * 1024, "it needed {} KiB", outcome.peak_kib);
    cluster.wait_healthy(2);
    cluster.assert_unharmed();
}

/// Every attack at once, each by a stranger of its own, and one who only opens connections.
fn besiege(target: &Target) {
    let until = Instant::now() + SIEGE;
    thread::scope(|scope| {
        for attack in Attack::ALL {
            scope.spawn(move || {
                while Instant::now() < until {
                    // Among so many some have to give way at once, which is as well.
                    attack.run(target).ok();
                }
            });
        }
        scope.spawn(|| {
            let mut held = Vec::new();
            while Instant::now() < until {
                held.extend(TcpStream::connect(target.address));
                held.truncate(100);
            }
        });
    });
}
