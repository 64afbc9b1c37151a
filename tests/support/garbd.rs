//! The stock arbitrator, as company and as the measure of things.

use std::{
    fs,
    path::{Path, PathBuf},
};

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
        let place = directory.join(name);
        fs::create_dir_all(&place).expect("make garbd's directory");
        let log = place.join("log");
        let ports = Ports::reserve();
        let mut command = process::command("garbd");
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

    /// Whether it has not ended by itself.
    pub(crate) fn is_running(&mut self) -> bool {
        self.process.is_running()
    }

    /// What it said.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}
