//! Peers that misbehave on the group port, against the built binary: they lose their link, and
//! nothing else happens.
//!
//! No group is needed: an arbitrator that waits for one listens all the same. What a group does
//! meanwhile is shown in `tests/cluster`.

#[path = "../support/attack.rs"]
mod attack;

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use attack::{Attack, Target};

const LIMIT: Duration = Duration::from_secs(20);

/// What the process may need at most, whatever it is sent: a few times its size at rest.
const MEMORY_KIB_MAX: u64 = 64 * 1024;

/// An arbitrator that looks for a group that is not there.
struct Victim {
    child: Child,
    target: Target,
    http: SocketAddr,
}

impl Victim {
    fn start() -> Self {
        let (group_port, http) = (free_port(), free_port());
        let mut child = Command::new(env!("CARGO_BIN_EXE_galera-sst"))
            .args(["arbitrator", "--address", "gcomm://127.0.0.1:9", "--group", "attacked"])
            .args(["--options", &format!("pc.wait_prim=no;gmcast.listen_addr=tcp://{group_port}")])
            .args(["--http", &http.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .expect("start galera-sst");
        let stderr = child.stderr.take().expect("standard error is a pipe");
        let mut lines = BufReader::new(stderr).lines();
        lines.next();
        // Nobody reads the rest, and it must not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        let target = Target { address: group_port, group: "attacked".into() };
        let victim = Self { child, target, http };
        victim.wait("it to listen", || TcpStream::connect(group_port).is_ok());
        victim
    }

    fn wait(&self, what: &str, mut ask: impl FnMut() -> bool) {
        let deadline = Instant::now() + LIMIT;
        while !ask() {
            assert!(Instant::now() < deadline, "waited {LIMIT:?} in vain for {what}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn get(&self, path: &str) -> String {
        let mut stream = TcpStream::connect(self.http).expect("connect");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("ask");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read the answer");
        answer
    }

    fn metric(&self, name: &str) -> u64 {
        let metrics = self.get("/metrics");
        let line = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.parse().ok()).expect("a metric of that name")
    }

    /// Runs, answers, accepts callers, and has not grown.
    fn assert_well(&mut self) {
        assert_eq!(self.child.try_wait().expect("ask for its status"), None, "it has ended");
        assert!(self.get("/livez").contains(" 200 "), "its member stands still");
        assert!(attack::is_greeted(&self.target), "it does not greet callers any more");
        let memory = self.peak_kib();
        assert!(memory < MEMORY_KIB_MAX, "it needed {memory} KiB");
    }

    fn peak_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.expect("read its status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a size")
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn free_port() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a listener has an address")
}

#[test]
fn every_breach_of_the_protocol_costs_exactly_that_link() {
    let mut victim = Victim::start();
    let bystander = attack::Peer::linked(&victim.target).expect("a link").behave();
    for attack in Attack::ALL {
        let took = attack.run(&victim.target).expect("a link");
        assert!(took < attack.limit(), "{attack:?}: the link was kept for {took:?}");
        victim.assert_well();
    }
    assert!(victim.metric("galera_sst_link_violations_total") >= Attack::VIOLATIONS);
    assert!(bystander.kept_its_link(), "a link of somebody else was lost");
}

#[test]
fn thousands_of_silent_connections_give_way_to_each_other_and_cost_no_memory() {
    let mut victim = Victim::start();
    let linked = attack::Peer::linked(&victim.target).expect("a link").behave();
    let mut held = Vec::new();
    for _ in 0..3000 {
        held.push(TcpStream::connect(victim.target.address).expect("connect"));
        if held.len() > 200 {
            // Ours is not the only process with a limit on descriptors.
            held.remove(0);
        }
    }
    victim.assert_well();
    assert!(linked.kept_its_link(), "a link in use was given up for strangers");
    assert!(victim.metric("galera_sst_links_accepted_total") >= 3000);
}

#[test]
fn a_flood_of_frames_does_not_stop_the_clock() {
    let mut victim = Victim::start();
    let mut flood = attack::Peer::linked(&victim.target).expect("a link");
    let before = victim.metric("galera_sst_frames_received_total");
    let deadline = Instant::now() + Duration::from_secs(2);
    while Instant::now() < deadline && flood.send_keepalives(100) {}
    assert!(victim.metric("galera_sst_frames_received_total") > before + 1000);
    // A silent caller is given up by a timer.
    assert!(Attack::Silence.run(&victim.target).expect("a link") < Attack::Silence.limit());
    victim.assert_well();
}
