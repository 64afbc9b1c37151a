//! `exec:COMMAND` — a command that takes the stream on its standard input.
//!
//! To such a command an end of input means that the stream is whole, so it may only ever see one if
//! that is true. Our own death closes the pipe as well; a guard therefore holds a second handle of the
//! writing end, and lets go of it only when it is told that the stream is whole:
//!
//! ```text
//!                 ┌─ control ─► guard ─┐ holds the pipe open,
//!  galera-sst ────┤                    ├ one process group
//!                 └─── data ─► COMMAND ┘
//!
//!  whole:    data closed, "done" to the guard, which ends ─► end of input ─► exit status
//!  failure:  the group is killed while the pipe is still open
//!  our end:  control closes without "done"; the guard kills the group, itself included
//! ```
//!
//! Killed, not asked: a command that is asked to stop may answer by storing what it has. A command
//! that leaves the process group (`setsid`) leaves this protection as well.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// A command and what it is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    /// What `sh -c` runs.
    pub command: String,
    /// The shell's positional parameters, from `$1` on.
    pub arguments: Vec<OsString>,
    /// Added to our own environment.
    pub environment: Vec<(String, String)>,
    /// How long it may take from the end of its input to its own.
    pub limit: Duration,
}

impl CommandLine {
    /// A program with its arguments, untouched by the shell.
    pub fn of_program(arguments: Vec<OsString>, limit: Duration) -> Self {
        let command = "exec \"$@\"".to_owned();
        Self { command, arguments, environment: Vec::new(), limit }
    }

    /// What people are shown: never a program's arguments, which may hold secrets.
    pub(super) fn shown(&self) -> String {
        match self.arguments.first() {
            Some(program) => program.to_string_lossy().into_owned(),
            None => self.command.clone(),
        }
    }
}

/// Why a command did not store the stream.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// Its exit status says so.
    #[error("the command failed ({status})")]
    Failed {
        /// Its exit status.
        status: ExitStatus,
    },
    /// It ended before its input did.
    #[error("the command ended ({status}) before it had read everything")]
    EndedEarly {
        /// Its exit status.
        status: ExitStatus,
    },
    /// It took too long after the end of its input, and was killed.
    #[error("the command did not end within {} s after the end of its input", .limit.as_secs())]
    TimeLimit {
        /// How long it had.
        limit: Duration,
    },
    /// Its end could not be observed.
    #[error("the command was lost")]
    Lost,
}

/// Ends with the shell that reads it; a group's leader kills the group with number 0.
const GUARD: &str = "read -r word && [ \"$word\" = done ] || kill -KILL 0";

/// What a command says on its standard output is kept from the end, up to this size: a summary.
const SAID_BYTES_MAX: usize = 64 << 10;

/// How long a command's standard output may stay open after it has ended.
const SAID_LIMIT: Duration = Duration::from_secs(2);

/// How long to wait for the exit status of a command that stopped reading.
const STATUS_LIMIT: Duration = Duration::from_secs(2);

/// What the kernel may hold between us and the command: fewer, larger wake-ups.
const PIPE_BYTES: usize = 1 << 20;

/// A running command.
#[derive(Debug)]
pub(in crate::sink) struct Running {
    limit: Duration,
    /// The guard, which leads the process group. Not reaped as long as we may kill by its number.
    guard: Child,
    control: Option<ChildStdin>,
    end: watch::Receiver<Option<End>>,
    said: JoinHandle<Vec<u8>>,
}

/// How a command ended.
#[derive(Clone, Copy, Debug)]
struct End {
    status: ExitStatus,
    /// Bytes in the pipe that it did not read.
    unread: u64,
}

impl Running {
    /// Starts the command; gives the writing end of its standard input.
    ///
    /// Must be called on a runtime.
    pub(super) fn start(line: &CommandLine) -> io::Result<(Self, File)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        // Only speed.
        let _ = rustix::pipe::fcntl_setpipe_size(&writer, PIPE_BYTES);
        let mut guard = start_guard(writer.try_clone()?)?;
        let control = guard.stdin.take();
        let group = group_of(&guard)?;
        let mut child = Command::new("sh")
            .args(["-c", &line.command, "sh"])
            .args(&line.arguments)
            .envs(line.environment.iter().map(|(name, value)| (name, value)))
            .process_group(group.as_raw_nonzero().get())
            .stdin(Stdio::from(reader.try_clone()?))
            .stdout(Stdio::piped())
            .spawn()?;
        let said = tokio::spawn(listen(child.stdout.take()));
        let (ended, end) = watch::channel(None);
        tokio::spawn(observe(child, reader, ended));
        Ok((Self { limit: line.limit, guard, control, end, said }, File::from(writer)))
    }

    /// Waits for a good end. Our own handle of the pipe must be closed, or about to be.
    pub(super) async fn finish(mut self) -> Result<String, CommandError> {
        if let Some(mut control) = self.control.take() {
            // Without a guard there is nobody who holds the pipe open.
            let _ = control.write_all(b"done\n").await;
        }
        let Ok(end) = timeout(self.limit, ended(&mut self.end)).await else {
            let limit = self.limit;
            self.kill().await;
            return Err(CommandError::TimeLimit { limit });
        };
        let End { status, unread } = end.ok_or(CommandError::Lost)?;
        let said = timeout(SAID_LIMIT, self.said).await;
        let _ = self.guard.wait().await;
        match unread {
            _ if !status.success() => Err(CommandError::Failed { status }),
            0 => {
                let said = said.ok().and_then(Result::ok).unwrap_or_default();
                Ok(String::from_utf8_lossy(&said).into_owned())
            }
            _ => Err(CommandError::EndedEarly { status }),
        }
    }

    /// Kills the command and all that it started, before it can see an end of its input.
    pub(super) async fn kill(mut self) {
        if let Ok(group) = group_of(&self.guard)
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::warn!(%error, "kill the command");
        }
        let _ = ended(&mut self.end).await;
        let _ = self.guard.wait().await;
    }

    /// Why the command takes nothing more, if it has ended.
    pub(super) async fn why_closed(&mut self) -> Option<CommandError> {
        let end = timeout(STATUS_LIMIT, ended(&mut self.end)).await.ok().flatten()?;
        Some(CommandError::EndedEarly { status: end.status })
    }
}

/// The guard's standard output is the second handle of the pipe: it never writes there.
fn start_guard(writer: OwnedFd) -> io::Result<Child> {
    Command::new("sh")
        .args(["-c", GUARD])
        .process_group(0)
        .stdin(Stdio::piped())
        .stdout(Stdio::from(writer))
        .stderr(Stdio::null())
        .spawn()
}

fn group_of(guard: &Child) -> io::Result<Pid> {
    let id = guard.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    id.ok_or_else(|| io::Error::other("the command's guard has ended"))
}

/// Waits for the command's end; then lets its pipe break, which a writer is waiting for.
async fn observe(mut child: Child, reader: OwnedFd, ended: watch::Sender<Option<End>>) {
    let Ok(status) = child.wait().await else { return };
    let unread = rustix::io::ioctl_fionread(&reader).unwrap_or(0);
    drop(reader);
    ended.send_replace(Some(End { status, unread }));
}

async fn ended(end: &mut watch::Receiver<Option<End>>) -> Option<End> {
    end.wait_for(Option::is_some).await.ok().and_then(|end| *end)
}

/// Keeps the end of what the command says, and logs it.
async fn listen(stdout: Option<ChildStdout>) -> Vec<u8> {
    let Some(mut stdout) = stdout else { return Vec::new() };
    let mut said = Vec::new();
    let mut buffer = [0; 4096];
    while let Ok(length @ 1..) = stdout.read(&mut buffer).await {
        tracing::info!(said = %String::from_utf8_lossy(&buffer[..length]).trim_end(), "command");
        said.extend_from_slice(&buffer[..length]);
        let surplus = said.len().saturating_sub(SAID_BYTES_MAX);
        said.drain(..surplus);
    }
    said
}
