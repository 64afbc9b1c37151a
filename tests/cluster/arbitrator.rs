//! Our arbitrator beside garbd: the same command line, the same effect on the group, and scripts
//! that were written for garbd.

use std::{fs, path::Path, time::Duration};

use rustix::process::Signal;

use crate::support::{
    cluster::Cluster,
    fault::Fault,
    garbd, ledger,
    ports::Ports,
    process::{self, Process},
    server::Server,
    wait::{self, seconds},
    writer::Writer,
};

#[test]
#[ignore = "starts real servers"]
fn ours_does_to_the_group_what_garbd_does_and_desyncs_nobody() {
    let mut cluster = Cluster::start(2);
    let without = weight(&cluster);
    for is_ours in [false, true] {
        let requests = requests(&cluster);
        let start = if is_ours { Cluster::our_garbd_with } else { Cluster::garbd_with };
        let mut arbitrator = start(&cluster, "arbitrator", &[]);
        cluster.wait_healthy(3);
        assert_eq!(weight(&cluster), without + 1, "it has one vote");
        if is_ours {
            assert_eq!(self::requests(&cluster), requests, "we asked a server for a state");
        }
        arbitrator.signal(Signal::INT);
        assert_eq!(arbitrator.finish(seconds(40)), Some(0), "{}", arbitrator.log());
        cluster.wait_healthy(2);
        assert_eq!(weight(&cluster), without);
    }
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn our_vote_keeps_the_last_server_primary_and_the_group_survives_every_loss() {
    let mut cluster = Cluster::start(2);
    ledger::create(cluster.node(0));
    let mut ours = cluster.our_garbd_with("arbitrator", &[]);
    cluster.wait_healthy(3);
    let writer = Writer::start(1, cluster.node(0));
    writer.wait_progress(20);
    cluster.nodes[1].kill();
    cluster.wait_healthy(2);
    writer.wait_progress(20);
    cluster.restart(1);
    cluster.wait_healthy(3);
    // Lost without a word: the servers have two votes of three.
    ours.kill();
    cluster.wait_healthy(2);
    writer.wait_progress(20);
    assert_eq!(writer.stop().failed, 0);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn after_a_total_outage_of_the_servers_the_group_comes_back_by_itself() {
    let mut cluster = Cluster::start(2);
    let mut ours = cluster.our_garbd_with("arbitrator", &[]);
    cluster.wait_healthy(3);
    for node in &mut cluster.nodes {
        node.kill();
    }
    wait::until_true("our arbitrator to see it", seconds(30), || {
        ours.log().contains("Primary component lost")
    });
    cluster.start_again();
    cluster.wait_healthy(3);
    assert!(ours.is_running(), "{}", ours.log());
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn a_script_written_for_garbd_works_unchanged_exit_codes_included() {
    let mut cluster = Cluster::start(2);
    cluster.expect_donor_failures();
    let receiver = |script: &Script| format!("{RECEIVER} {} {}", script.place(), script.port());
    let whole = Script::new(&cluster, "whole").run(&cluster, "n2", receiver).expect(0);
    assert!(whole.contains("backup complete"), "{whole}");
    cluster.wait_healthy(2);

    let failed = Script::new(&cluster, "own-status")
        .run(&cluster, "n2", |script| format!("{} && exit 37", receiver(script)));
    assert!(failed.expect(37).contains("ended with 37"));
    cluster.wait_healthy(2);

    let nobody = Script::new(&cluster, "nobody").run(&cluster, "nobody", receiver).expect(100);
    assert!(nobody.contains("the request failed"), "{nobody}");
    cluster.wait_healthy(2);

    cluster.node(1).set_fault(Fault::ScriptFails);
    let failed = Script::new(&cluster, "failed").run(&cluster, "n2", receiver).expect(102);
    assert!(failed.contains("the state transfer failed"), "{failed}");
    cluster.node(1).set_fault(Fault::None);
    cluster.wait_healthy(2);

    let slow = Script::new(&cluster, "slow")
        .run(&cluster, "n2", |script| format!("{}; sleep 100", receiver(script)));
    assert!(slow.expect(103).contains("terminated"));
    cluster.wait_healthy(2);
    cluster.assert_unharmed();
}

#[test]
#[ignore = "starts real servers"]
fn a_donor_that_dies_is_told_by_its_own_exit_code() {
    let mut cluster = Cluster::start(3);
    cluster.node(1).set_fault(Fault::Stalls);
    let mut script = Script::new(&cluster, "dies");
    script
        .start(&cluster, "n2", |script| format!("{RECEIVER} {} {}", script.place(), script.port()));
    cluster.node(1).wait_fault();
    cluster.nodes[1].kill();
    let died = script.finish().expect(101);
    assert!(died.contains("the donor disappeared"), "{died}");
    cluster.wait_healthy(2);
}

#[test]
#[ignore = "starts real servers"]
fn without_a_receiver_the_request_is_made_and_the_donor_serves_who_listens() {
    let mut cluster = Cluster::start(2);
    cluster.expect_donor_failures();
    let before = requests(&cluster);
    let mut ours =
        cluster.our_garbd_with("requester", &["--sst", "mariabackup:127.0.0.1:15999/x//1"]);
    assert_eq!(ours.finish(seconds(40)), Some(0), "{}", ours.log());
    assert_eq!(requests(&cluster), before + 1);
    cluster.wait_healthy(2);
    cluster.assert_unharmed();
}

/// `tests/cluster/receive-for-garbd`.
const RECEIVER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/receive-for-garbd");
/// `tests/cluster/backup-with-garbd`.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/backup-with-garbd");

/// A run of the script that was written for garbd, with ours in its search path.
struct Script {
    place: std::path::PathBuf,
    ports: Ports,
    process: Option<Process>,
}

/// What came of it.
struct Ended {
    code: Option<i32>,
    said: String,
    log: String,
}

impl Script {
    fn new(cluster: &Cluster, name: &str) -> Self {
        let place = cluster.path(name);
        fs::create_dir_all(&place).expect("make a directory");
        Self { place, ports: Ports::reserve(), process: None }
    }

    fn place(&self) -> String {
        self.place.display().to_string()
    }

    fn port(&self) -> u16 {
        self.ports.at(1)
    }

    fn start(&mut self, cluster: &Cluster, donor: &str, receiver: impl Fn(&Self) -> String) {
        let ours = garbd::our_garbd(&cluster.path(""));
        let bin = ours.parent().map(Path::display).expect("it is in a directory");
        let mut command = process::command(SCRIPT);
        command
            .args([&cluster.peers(), cluster.group(), donor, &self.port().to_string()])
            .arg(&self.place)
            .arg(format!("gmcast.listen_addr=tcp://{};pc.weight=0", self.ports.address(2)))
            .arg(receiver(self))
            .env("PATH", format!("{bin}:{}", std::env::var("PATH").unwrap_or_default()));
        let said = self.place.join("said");
        self.process = Some(Process::spawn("backup-with-garbd", &mut command, &said));
    }

    fn finish(mut self) -> Ended {
        let mut process = self.process.take().expect("it was started");
        let status = process.wait(Duration::from_secs(90));
        let read = |name: &str| fs::read_to_string(self.place.join(name)).unwrap_or_default();
        Ended { code: status.code(), said: read("said"), log: read("garbd.log") }
    }

    fn run(mut self, cluster: &Cluster, donor: &str, receiver: impl Fn(&Self) -> String) -> Ended {
        self.start(cluster, donor, receiver);
        self.finish()
    }
}

impl Ended {
    fn expect(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{}\n{}", self.said, self.log);
        self.said
    }
}

fn weight(cluster: &Cluster) -> u32 {
    cluster.node(0).status("wsrep_cluster_weight").parse().expect("a weight is a number")
}

fn requests(cluster: &Cluster) -> usize {
    cluster.node(0).log().matches("requested state transfer from").count()
}
