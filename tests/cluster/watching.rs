//! What people and programs see of a group through us: `status`, metrics, readiness.

use std::{
    io::{Read, Write},
    net::TcpStream,
    os::unix::net::UnixDatagram,
    time::Duration,
};

use rustix::process::Signal;

use crate::support::{
    cluster::Cluster,
    job::Job,
    ledger,
    ports::Ports,
    server::Server,
    wait::{self, seconds},
    writer::Writer,
};

#[test]
#[ignore = "starts real servers"]
fn status_shows_what_the_servers_say_and_leaves_the_group_as_it_was() {
    let mut cluster = Cluster::start(2);
    let garbd = cluster.garbd("arbitrator");
    cluster.wait_healthy(3);
    let outcome = Job::member("status", &cluster).flag("--output", "json").run(seconds(40));
    let report = outcome.expect(&[0]).json();
    assert_eq!(report["is_primary"], true);
    assert_eq!((&report["votes"], &report["quorum_margin"]), (&3.into(), &1.into()));
    let members = report["members"].as_array().expect("a list");
    let of = |name: &str| members.iter().find(|member| member["name"] == name).expect("a member");
    for node in &cluster.nodes {
        let member = of(node.name());
        assert_eq!(member["state"], "SYNCED");
        assert_eq!(member["weight"], 1);
        assert_eq!(
            member["incoming_address"],
            node.status("wsrep_incoming_addresses")
                .split(',')
                .find(|address| member["incoming_address"] == *address)
                .unwrap_or("another")
        );
    }
    assert_eq!(of("arbitrator")["is_stateless"], true);
    assert_eq!(report["state_uuid"], cluster.node(0).status("wsrep_cluster_state_uuid"));
    let table = Job::member("status", &cluster).run(seconds(40)).expect(&[0]).stdout;
    assert!(table.contains("n1") && table.contains("representative"), "{table}");
    cluster.wait_healthy(3);
    drop(garbd);
    cluster.wait_healthy(2);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn metrics_readiness_and_the_service_manager_follow_the_group() {
    let mut cluster = Cluster::start(2);
    ledger::create(cluster.node(0));
    let socket = cluster.path("notify");
    let manager = UnixDatagram::bind(&socket).expect("bind a socket");
    manager.set_read_timeout(Some(Duration::from_secs(30))).expect("set a limit");
    let ports = Ports::reserve();
    let http = ports.address(3);
    let mut arbitrator = Job::member("arbitrator", &cluster)
        .flag("--http", &http)
        .environment("NOTIFY_SOCKET", &socket.display().to_string())
        .start();
    wait_notice(&manager, "READY=1");
    cluster.wait_healthy(3);
    assert!(get(&http, "/readyz").contains(" 200 "));
    assert!(get(&http, "/livez").contains(" 200 "));

    let before = write_sets(&http);
    let writer = Writer::start(1, cluster.node(0));
    writer.wait_progress(50);
    let report = writer.stop();
    wait::until_true("every write-set to be counted", seconds(10), || {
        write_sets(&http) >= before + report.committed
    });
    let metrics = get(&http, "/metrics");
    assert!(metrics.contains("galera_sst_quorum_margin_votes 1"), "{metrics}");
    assert!(metrics.contains("galera_sst_link_round_trip_seconds{"), "{metrics}");

    for node in &mut cluster.nodes {
        node.kill();
    }
    wait::until_true("readiness to end", seconds(30), || get(&http, "/readyz").contains(" 503 "));
    assert!(get(&http, "/livez").contains(" 200 "), "it waits, and is well");
    cluster.start_again();
    cluster.wait_healthy(3);
    assert!(get(&http, "/readyz").contains(" 200 "));
    assert!(get(&http, "/metrics").contains("galera_sst_primary_losses_total 1"));

    arbitrator.signal(Signal::INT);
    wait_notice(&manager, "STOPPING=1");
    arbitrator.finish(seconds(40)).expect(&[0]);
    cluster.wait_healthy(2);
    cluster.assert_unharmed();
}

fn wait_notice(manager: &UnixDatagram, wanted: &str) {
    let mut buffer = [0; 1024];
    loop {
        let length = manager.recv(&mut buffer).expect("the notice comes in time");
        if String::from_utf8_lossy(&buffer[..length]).lines().any(|line| line == wanted) {
            return;
        }
    }
}

fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connect");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("ask");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("read the answer");
    answer
}

fn write_sets(address: &str) -> u64 {
    let metrics = get(address, "/metrics");
    let line = metrics.lines().find(|line| line.starts_with("galera_sst_write_sets_total "));
    line.and_then(|line| line.split(' ').nth(1)?.parse().ok()).expect("a count")
}
