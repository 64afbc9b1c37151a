//! SIGHUP: keys are read again, and a bad file changes nothing.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::peer::Peer;
use crate::row::LAB;

#[test]
fn a_hangup_reads_the_keys_again_and_the_job_goes_on() {
    let live = LAB.howto.path("hangup.pem");
    std::fs::copy(&LAB.good.certificate, &live).expect("copy");
    let address = format!("gcomm://{}", Peer::Silent.listen());
    let mut job = Command::new(env!("CARGO_BIN_EXE_galera-sst"))
        .args(["backup", "--group", "g", "--to", "null:", "--listen", "127.0.0.1:0"])
        .args(["--options", "gmcast.listen_addr=tcp://127.0.0.1:0", "--address", &address])
        .arg("--ssl-cert")
        .arg(&live)
        .arg("--ssl-key")
        .arg(&LAB.good.key)
        .arg("--ssl-ca")
        .arg(LAB.howto.ca())
        .stderr(Stdio::piped())
        .spawn()
        .expect("start a backup");
    let mut said = BufReader::new(job.stderr.take().expect("a pipe")).lines().map_while(Result::ok);
    let hang_up = || kill_process(Pid::from_child(&job), Signal::HUP).expect("send a signal");
    let mut wait_for = |words: &str| {
        assert!(said.any(|line| line.contains(words)), "it never said {words:?}");
    };
    wait_for("phase: joining");
    hang_up();
    wait_for("hangup.pem: read again");
    std::fs::write(&live, "nonsense").expect("write");
    hang_up();
    wait_for("the keys in use stay as they are");
    job.kill().expect("end it");
    job.wait().expect("it ends");
}
