//! `donate` against real programs: garbd as joiner, and a real backup as what is served.

use std::{
    io::{BufRead, BufReader, Read},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
};

use crate::support::{
    cluster::Cluster,
    content,
    garbd::Garbd,
    job::Job,
    ledger,
    ports::Ports,
    process::{self, Process},
    server::{Server, Start},
    wait::seconds,
};

/// A group of three members without a database.
struct Donate {
    _process: Process,
    peers: String,
    _ports: Ports,
}

impl Donate {
    fn start(arguments: &[&str]) -> Self {
        let ports = Ports::reserve();
        let mut command = process::command(env!("CARGO_BIN_EXE_galera-sst"));
        command
            .args(["donate", "--group-of", "3", "--pause", "0.2", "--listen", &ports.address(1)])
            .args(arguments)
            .stdout(Stdio::piped());
        let mut process = Process::spawn_as_set_up("donate", &mut command);
        let stdout = process.child().stdout.take().expect("standard output is a pipe");
        let mut address = String::new();
        BufReader::new(stdout).read_line(&mut address).expect("read the group's address");
        let peers = address.trim().strip_prefix("gcomm://").expect("the group is there").to_owned();
        Self { _process: process, peers, _ports: ports }
    }
}

#[test]
#[ignore = "starts real servers"]
fn garbd_is_served_a_whole_backup_by_a_group_without_a_database() {
    let directory = tempfile::tempdir().expect("a directory");
    let donate = Donate::start(&["--generate", "20M"]);
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let joiner = listener.local_addr().expect("an address");
    let receiver = thread::spawn(move || {
        let receive = || {
            let mut bytes = Vec::new();
            listener.accept().expect("a donor").0.read_to_end(&mut bytes).expect("a stream");
            bytes
        };
        [receive(), receive()]
    });
    let request = format!("mariabackup:{joiner}/xtrabackup_sst//1");
    let place = directory.path();
    let arguments = ["--sst", request.as_str()];
    let mut garbd = Garbd::start_with("garb", "donate", &donate.peers, place, &arguments);
    assert_eq!(garbd.finish(seconds(60)), Some(0), "{}", garbd.log());
    let [metadata, backup] = receiver.join().expect("received");
    assert_eq!(metadata.len(), 256);
    let stream = directory.path().join("backup.xb");
    std::fs::write(&stream, backup).expect("write the stream");
    galera_sst(&["xbstream", "verify", "--backup"], &stream);
}

#[test]
#[ignore = "starts real servers"]
fn a_real_backup_that_donate_serves_starts_a_server() {
    let mut cluster = Cluster::start(2);
    ledger::create(cluster.node(0));
    let (stream, directory) = (cluster.path("backup.xb"), cluster.path("served"));
    let to = format!("xbstream:{}", stream.display());
    Job::backup(&cluster, &to).run(seconds(120)).expect(&[0]);
    std::fs::create_dir(&directory).expect("make a directory");
    let target = directory.display().to_string();
    galera_sst(&["xbstream", "extract", "-C", &target], &stream);
    let donate = Donate::start(&[&target]);
    let repository = format!("file://{}", cluster.path("repository").display());
    Job::backup_of(&donate.peers, "donate", &repository).run(seconds(60)).expect(&[0]);
    let restored = cluster.path("restored");
    let restore = Job::restore(&repository, &restored).switch("--prepare").switch("--bootstrap");
    restore.run(seconds(120)).expect(&[0]);
    let mut server = cluster.adopt("restored-node", &restored);
    server.start(&Start::Bootstrap);
    server.wait_synced();
    assert_eq!(ledger::verify(&server), 0);
    assert_eq!(content::checksums(&server), content::checksums(cluster.node(0)));
    cluster.assert_unharmed();
}

/// Runs it on a stream; it must succeed.
fn galera_sst(arguments: &[&str], stream: &Path) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galera-sst"));
    let output = command.args(arguments).arg(stream).output().expect("run galera-sst");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
