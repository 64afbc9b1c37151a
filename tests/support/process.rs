//! Child processes that cannot outlive their owner.

use std::{
    ffi::OsStr,
    fs::{self, File},
    os::unix::process::{CommandExt, ExitStatusExt},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::wait;

/// In the environment of a process and of all that it starts: whose they are.
const OWNER: &str = "GALERA_SST_TEST_OWNER";

/// A running program, its output in a file. Dropping it kills it and everything that it forked.
pub(crate) struct Process {
    name: String,
    owner: String,
    child: Child,
}

/// A command that is killed by the kernel when the calling thread ends.
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

impl Process {
    /// Starts `command` with its output appended to `log`.
    pub(crate) fn spawn(name: &str, command: &mut Command, log: &Path) -> Self {
        let open = || File::options().create(true).append(true).open(log).expect("open a log file");
        command.stdout(open()).stderr(open());
        Self::spawn_as_set_up(name, command)
    }

    /// Starts `command` with the output it was given.
    pub(crate) fn spawn_as_set_up(name: &str, command: &mut Command) -> Self {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let owner = format!("{}-{number}", std::process::id());
        command.env(OWNER, &owner).stdin(Stdio::null()).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("start {name}: {error}"));
        Self { name: name.to_owned(), owner, child }
    }

    /// The child itself, for its pipes.
    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended yet.
    pub(crate) fn is_running(&mut self) -> bool {
        self.exit_status().is_none()
    }

    /// How it ended, once it has.
    pub(crate) fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("ask for a child's status")
    }

    /// Sends a signal; a process that has ended does not mind.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            send(self.child.id(), signal);
        }
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("the end of {}", self.name);
        wait::until(&what, limit, || self.exit_status())
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        let status = self.wait(limit);
        self.kill_forked();
        status
    }

    /// Ends it at once, as a crash would, with everything that it forked.
    pub(crate) fn kill(&mut self) {
        self.signal(Signal::KILL);
        let status = self.child.wait().expect("wait for a killed child");
        debug_assert!(status.signal().is_some() || status.code().is_some());
        self.kill_forked();
    }

    /// Ends what it left behind, found by the name in the environment, for a server's scripts are
    /// adopted by init when it dies.
    fn kill_forked(&self) {
        let mark = format!("{OWNER}={}", self.owner);
        for process in fs::read_dir("/proc").expect("read /proc").flatten() {
            let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            if has_variable(id, mark.as_bytes()) {
                send(id, Signal::KILL);
            }
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn has_variable(id: u32, assignment: &[u8]) -> bool {
    fs::read(format!("/proc/{id}/environ"))
        .is_ok_and(|environment| environment.split(|byte| *byte == 0).any(|one| one == assignment))
}

fn send(id: u32, signal: Signal) {
    let id = i32::try_from(id).ok().and_then(Pid::from_raw).expect("a process id is positive");
    // It may have ended since; there is nobody left to tell then.
    kill_process(id, signal).ok();
}
