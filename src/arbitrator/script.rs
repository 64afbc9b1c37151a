//! The receiver script: a shell command in a process group of its own, its output in our log.
//!
//! It counts as ended when its standard error is: a background child that keeps that open is still
//! at work. What it leaves behind is ended with it.

use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use bytes::BytesMut;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tracing::{info, warn};

/// How long a script may take to end after SIGTERM until it gets SIGKILL.
const KILL_AFTER: Duration = Duration::from_secs(10);

/// A line of output beyond this is shown in pieces.
const LINE_BYTES_MAX: usize = 8 * 1024;

/// Why there is no script.
#[derive(Debug, thiserror::Error)]
#[error("start sh -c {command:?}")]
pub struct ScriptError {
    /// What was to be run.
    command: String,
    /// What the system said.
    #[source]
    source: io::Error,
}

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptEnd {
    /// With this status.
    Exited(u8),
    /// By this signal.
    Signalled(i32),
    /// Its end could not be seen.
    Unknown,
}

impl ScriptEnd {
    /// True for status 0.
    pub fn is_success(self) -> bool {
        self == Self::Exited(0)
    }

    /// What garbd makes of it: the shell's own statuses become errno values.
    pub fn garbd_status(self) -> u8 {
        const EACCES: u8 = 13;
        const ENOENT: u8 = 2;
        const EINTR: u8 = 4;
        const ECHILD: u8 = 10;
        match self {
            Self::Exited(126) => EACCES,
            Self::Exited(127) => ENOENT,
            Self::Exited(143) => EINTR,
            Self::Exited(status) => status,
            Self::Signalled(_) | Self::Unknown => ECHILD,
        }
    }
}

impl From<ExitStatus> for ScriptEnd {
    fn from(status: ExitStatus) -> Self {
        match (status.code().and_then(|code| u8::try_from(code).ok()), status.signal()) {
            (Some(code), _) => Self::Exited(code),
            (None, Some(signal)) => Self::Signalled(signal),
            (None, None) => Self::Unknown,
        }
    }
}

impl fmt::Display for ScriptEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(status) => write!(f, "status {status}"),
            Self::Signalled(signal) => write!(f, "signal {signal}"),
            Self::Unknown => f.write_str("an unknown status"),
        }
    }
}

/// A running script. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Script {
    child: Child,
    group: Option<Pid>,
    /// Kept open and never written: some scripts end when it closes.
    _stdin: Option<ChildStdin>,
    stdout: Option<JoinHandle<()>>,
    stderr: Option<JoinHandle<()>>,
    has_ended: bool,
}

impl Script {
    /// Starts `sh -c COMMAND`.
    pub(super) fn start(command: &str) -> Result<Self, ScriptError> {
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(command)
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child =
            shell.spawn().map_err(|source| ScriptError { command: command.to_owned(), source })?;
        let group = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        info!("Started the receiver script: {command}");
        Ok(Self {
            group,
            _stdin: child.stdin.take(),
            stdout: child.stdout.take().map(|output| tokio::spawn(show(output))),
            stderr: child.stderr.take().map(|output| tokio::spawn(show(output))),
            child,
            has_ended: false,
        })
    }

    /// Waits until it has closed its standard error. Can be given up and asked again.
    pub(super) async fn ended(&mut self) {
        if let Some(stderr) = &mut self.stderr {
            let _ = stderr.await;
            self.stderr = None;
        }
    }

    /// Asks it and all that it started to end.
    pub(super) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    fn signal(&self, signal: Signal) {
        let Some(group) = self.group.filter(|_| !self.has_ended) else { return };
        if let Err(error) = kill_process_group(group, signal) {
            warn!(%error, "signal the receiver script");
        }
    }

    /// Waits for its status; one that was told to end and does not is killed.
    pub(super) async fn wait(mut self, was_terminated: bool) -> ScriptEnd {
        if was_terminated && timeout(KILL_AFTER, self.child.wait()).await.is_err() {
            warn!("The receiver script does not end: killing it");
            self.signal(Signal::KILL);
        }
        let status = self.child.wait().await;
        self.has_ended = true;
        if let Some(stdout) = self.stdout.take() {
            // A child that it left behind may hold it open for ever.
            let _ = timeout(Duration::from_secs(1), stdout).await;
        }
        status.map_or(ScriptEnd::Unknown, ScriptEnd::from)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// Copies output into the log, line by line.
async fn show(mut output: impl AsyncRead + Unpin) {
    let mut buffer = BytesMut::with_capacity(LINE_BYTES_MAX);
    loop {
        match output.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => break,
            Ok(_) => {}
        }
        while let Some(line) = take_line(&mut buffer) {
            say(&line);
        }
    }
    if !buffer.is_empty() {
        say(&buffer);
    }
}

fn take_line(buffer: &mut BytesMut) -> Option<BytesMut> {
    if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
        let mut line = buffer.split_to(end + 1);
        line.truncate(end);
        return Some(line);
    }
    (buffer.len() >= LINE_BYTES_MAX).then(|| buffer.split_to(LINE_BYTES_MAX))
}

fn say(line: &[u8]) {
    info!("[SST script] {}", String::from_utf8_lossy(line).trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn end_of(command: &str) -> ScriptEnd {
        let mut script = Script::start(command).expect("there is a shell");
        script.ended().await;
        script.wait(false).await
    }

    #[tokio::test]
    async fn a_script_is_run_by_the_shell_and_its_status_is_told() {
        assert_eq!(end_of("exit 37").await, ScriptEnd::Exited(37));
        assert_eq!(end_of("no-such-command-here").await.garbd_status(), 2);
        assert_eq!(end_of("kill -9 $$").await, ScriptEnd::Signalled(9));
    }

    #[tokio::test]
    async fn a_script_that_is_told_to_end_takes_its_children_along() {
        let mut script = Script::start("sleep 1000 & sleep 1000").expect("there is a shell");
        script.terminate();
        // Both sleeps hold standard error: it ends only when both have.
        script.ended().await;
        assert_eq!(script.wait(true).await, ScriptEnd::Signalled(15));
    }

    #[test]
    fn lines_are_cut_at_their_end_and_at_the_limit() {
        let mut buffer = BytesMut::from(&b"one\ntwo"[..]);
        assert_eq!(take_line(&mut buffer).as_deref(), Some(&b"one"[..]));
        assert_eq!(take_line(&mut buffer), None);
        buffer.resize(LINE_BYTES_MAX + 1, b'x');
        assert_eq!(take_line(&mut buffer).map(|line| line.len()), Some(LINE_BYTES_MAX));
    }
}
