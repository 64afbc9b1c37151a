//! The harness itself: what the other tests take for granted, without our own member.

use std::{
    io,
    net::{TcpListener, TcpStream},
    thread,
};

use crate::support::{
    cluster::Cluster,
    content,
    fault::{Fault, OFFSET_BYTES},
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
fn donors_fail_in_the_way_they_are_told_to() {
    let mut cluster = Cluster::start(2);
    cluster.expect_donor_failures();
    let whole = transfer(&mut cluster, Fault::None);
    assert!(whole.bytes > 2 * OFFSET_BYTES, "{whole:?}");
    assert_eq!(whole.donor_code, 0);
    let truncated = transfer(&mut cluster, Fault::Truncates);
    assert_eq!((truncated.bytes, truncated.donor_code), (OFFSET_BYTES, 0));
    let corrupted = transfer(&mut cluster, Fault::Corrupts);
    assert!(corrupted.bytes > 2 * OFFSET_BYTES, "{corrupted:?}");
    assert_eq!(corrupted.donor_code, 0);
    let broken = transfer(&mut cluster, Fault::Breaks);
    assert_eq!((broken.bytes, broken.donor_code), (OFFSET_BYTES, -22));
    let stalled = transfer(&mut cluster, Fault::Stalls);
    assert!(stalled.bytes > 2 * OFFSET_BYTES, "{stalled:?}");
    assert_eq!(stalled.donor_code, 0);
    let failed = transfer(&mut cluster, Fault::ScriptFails);
    assert_eq!((failed.bytes, failed.donor_code), (0, -22));
    cluster.assert_unharmed();
}

/// What came of a transfer.
#[derive(Debug)]
struct Transfer {
    bytes: u64,
    donor_code: i32,
}

/// Has garbd request a transfer from the second node, and receives it.
fn transfer(cluster: &mut Cluster, fault: Fault) -> Transfer {
    let donor = cluster.node(1);
    donor.set_fault(fault);
    let past = donor.log().len();
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen for the donor");
    let address = listener.local_addr().expect("a listener has an address");
    let received = thread::spawn(move || receive(&listener));
    let request = format!("mariabackup:{address}/xtrabackup_sst//1");
    let mut garbd = cluster.garbd_with("requester", &["--sst", &request, "--donor", "n2"]);
    if fault == Fault::Stalls {
        cluster.node(1).wait_fault();
        cluster.node(1).set_fault(Fault::None);
    }
    let donor_code = wait::until("the donor's verdict", seconds(40), || {
        donor_code(&cluster.node(1).log()[past..])
    });
    wait::until_true("garbd to end", seconds(20), || !garbd.is_running());
    // A donor that never connected leaves the listener waiting: these stand in for it.
    for _ in 0..2 {
        TcpStream::connect(address).ok();
    }
    cluster.wait_healthy(2);
    Transfer { bytes: received.join().expect("the stream was received"), donor_code }
}

/// Takes two connections and counts what the second one carries.
fn receive(listener: &TcpListener) -> u64 {
    let mut count = 0;
    for _ in 0..2 {
        let (mut connection, _) = listener.accept().expect("accept a connection");
        count = io::copy(&mut connection, &mut io::sink()).expect("read a connection");
    }
    count
}

fn donor_code(log: &str) -> Option<i32> {
    if log.contains("SST sent: ") {
        return Some(0);
    }
    let (_, rest) = log.split_once("SST sending failed: ")?;
    rest.split_whitespace().next()?.parse().ok()
}

#[test]
#[ignore = "starts real servers"]
fn a_node_added_later_takes_over_bulk_data_by_a_full_state_transfer() {
    let mut cluster = Cluster::start(1);
    content::generate(cluster.node(0), 64);
    cluster.add_node();
    cluster.add_node();
    cluster.wait_healthy(3);
    assert_eq!(content::checksums(cluster.node(0)), content::checksums(cluster.node(1)));
    cluster.assert_unharmed();
}
