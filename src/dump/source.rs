//! The command that dumps: its output, its exit status, its end.

use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;

use super::error::DumpError;

/// Size of a read buffer: what sinks are used to.
const BUFFER_BYTES: usize = 1 << 20;

/// How long to wait for a killed command: the kernel needs a moment, not more.
const KILL_LIMIT: Duration = Duration::from_secs(5);

/// A running command.
#[derive(Debug)]
pub(super) struct Source {
    child: Child,
    output: ChildStdout,
}

/// The name of the program, without its directory and its arguments.
pub(super) fn program(command: &[OsString]) -> String {
    let name = command.first().map(Path::new).and_then(Path::file_name).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

impl Source {
    /// Starts the command in a process group of its own; what it says as an error is people's to see.
    pub(super) fn start(command: &[OsString]) -> Result<Self, DumpError> {
        let failed = |source| DumpError::Start { program: program(command), source };
        let [program, arguments @ ..] = command else {
            return Err(failed(io::ErrorKind::InvalidInput.into()));
        };
        let mut child = Command::new(program)
            .args(arguments)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let output = child.stdout.take().ok_or_else(|| failed(io::ErrorKind::BrokenPipe.into()))?;
        Ok(Self { child, output })
    }

    /// What it wrote next; nothing at the end of its output.
    pub(super) async fn next(&mut self, limit: Duration) -> Result<Option<Bytes>, DumpError> {
        let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
        let read = timeout(limit, self.output.read_buf(&mut buffer)).await;
        let length = read.map_err(|_| DumpError::Silent { limit })?.map_err(DumpError::Read)?;
        Ok((length > 0).then(|| buffer.freeze()))
    }

    /// Its exit status, which decides.
    pub(super) async fn finish(&mut self, limit: Duration) -> Result<(), DumpError> {
        let ended = timeout(limit, self.child.wait()).await;
        let status = ended.map_err(|_| DumpError::Silent { limit })?.map_err(DumpError::Read)?;
        if status.success() { Ok(()) } else { Err(DumpError::Command { status }) }
    }

    /// Kills it and all that it started, unless it has ended.
    pub(super) async fn kill(&mut self) {
        let number = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(group) = number.and_then(Pid::from_raw)
            && let Err(error) = kill_process_group(group, Signal::KILL)
        {
            tracing::warn!(%error, "kill the dump command");
        }
        let _ = timeout(KILL_LIMIT, self.child.wait()).await;
    }
}
