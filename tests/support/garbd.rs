//! The stock arbitrator, as company and as the measure of things.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::process::Signal;

use super::{
    ports::Ports,
    process::{self, Process},
    wait::seconds,
};

/// A running garbd.
pub(crate) struct Garbd {
    process: Process,
    log: PathBuf,
    _ports: Ports,
}

impl Garbd {
    /// Starts one that stays in the group.
    pub(crate) fn start(name: &str, group: &str, peers: &str, directory: &Path) -> Self {
        Self::start_with(name, group, peers, directory, &[])
    }

    /// Starts one with more arguments, such as `--sst`.
    pub(crate) fn start_with(
        name: &str,
        group: &str,
        peers: &str,
        directory: &Path,
        arguments: &[&str],
    ) -> Self {
        Self::run(Path::new("garbd"), name, group, peers, directory, arguments)
    }

    /// Starts a program that takes garbd's command line.
    pub(crate) fn run(
        program: &Path,
        name: &str,
        group: &str,
        peers: &str,
        directory: &Path,
        arguments: &[&str],
    ) -> Self {
        let place = directory.join(name);
        fs::create_dir_all(&place).expect("make garbd's directory");
        let log = place.join("log");
        let ports = Ports::reserve();
        let mut command = process::command(program);
        command
            .args(["--name", name, "--group", group])
            .args(["--address", &format!("gcomm://{peers}")])
            .args(["--options", &format!("gmcast.listen_addr=tcp://{}", ports.address(2))])
            .args(arguments)
            .arg("--workdir")
            .arg(&place);
        let process = Process::spawn(name, &mut command, &log);
        Self { process, log, _ports: ports }
    }

    /// Asks it to leave the group and waits until it has ended.
    pub(crate) fn leave(&mut self) {
        self.process.terminate(seconds(40));
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Sends it a signal.
    pub(crate) fn signal(&mut self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end; the exit code, or none after a signal.
    pub(crate) fn finish(&mut self, limit: Duration) -> Option<i32> {
        self.process.wait(limit).code()
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Whether it has not ended by itself.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// What it said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// Our binary under garbd's name, below `directory`.
pub(crate) fn our_garbd(directory: &Path) -> PathBuf {
    let place = directory.join("bin-garbd");
    fs::create_dir_all(&place).expect("make a directory");
    let link = place.join("garbd");
    if !link.exists() {
        symlink(env!("CARGO_BIN_EXE_galera-sst"), &link).expect("make a symlink");
    }
    link
}
