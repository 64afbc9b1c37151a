//! A donor's connection through the operator's `decompressor`, for compressors that are not known here.
//!
//! ```text
//!  socket ──feed (task)──▶ command ──▶ reader
//! ```
//!
//! The command's end of output counts only when it exits with 0 after all that the donor sent has been
//! fed to it: a connection that breaks stays a broken connection, whatever the command makes of it.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::process::Stdio;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWriteExt, ReadBuf};
use tokio::process::{Child, ChildStdout, Command};
use tokio_util::task::AbortOnDropHandle;

use super::stream::{ShutdownHandle, Stream};
use super::unwrap::Broken;

/// Bytes copied at once.
const COPY_BYTES: usize = 256 * 1024;

type Ending = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// A connection that a command reads for us.
pub(super) struct Filtered {
    output: ChildStdout,
    /// Resolves to how it all ended; `None` once it has.
    ending: Option<Ending>,
    socket: Option<OwnedFd>,
    tls_version: Option<&'static str>,
}

impl std::fmt::Debug for Filtered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Filtered").field("output", &self.output).finish_non_exhaustive()
    }
}

impl Filtered {
    /// Starts the command; `head` was read already. Must be called within a Tokio runtime.
    pub(super) fn start(command: &str, stream: Stream, head: Bytes) -> io::Result<Self> {
        let tls_version = stream.tls_version();
        let socket = stream.shutdown_handle().ok().map(ShutdownHandle::into_socket);
        let mut child = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let output = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let feeding = AbortOnDropHandle::new(tokio::spawn(feed(stream, head, input)));
        let ending = Some(Box::pin(end(feeding, child)) as Ending);
        Ok(Self { output, ending, socket, tls_version })
    }

    pub(super) fn socket(&self) -> io::Result<BorrowedFd<'_>> {
        let socket = self.socket.as_ref().ok_or(io::ErrorKind::NotConnected)?;
        Ok(socket.as_fd())
    }

    pub(super) fn tls_version(&self) -> Option<&'static str> {
        self.tls_version
    }
}

/// How feeding ended: the connection's own error comes before the command's.
async fn feed(
    mut stream: Stream,
    head: Bytes,
    mut input: tokio::process::ChildStdin,
) -> io::Result<()> {
    use tokio::io::AsyncReadExt;

    // A command that reads no further says why by its exit status.
    let mut takes_more = input.write_all(&head).await.is_ok();
    let mut buffer = vec![0; COPY_BYTES];
    while takes_more {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            break;
        }
        takes_more = input.write_all(&buffer[..count]).await.is_ok();
    }
    Ok(())
}

async fn end(feeding: AbortOnDropHandle<io::Result<()>>, mut child: Child) -> io::Result<()> {
    feeding.await.map_err(|_| io::ErrorKind::ConnectionAborted)??;
    let status = child.wait().await?;
    if status.success() { Ok(()) } else { Err(Broken::Command(status).into()) }
}

impl AsyncRead for Filtered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.output).poll_read(context, buffer))?;
        if buffer.filled().len() > before || buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        let Some(ending) = &mut self.ending else { return Poll::Ready(Ok(())) };
        let ended = ready!(ending.as_mut().poll(context));
        self.ending = None;
        Poll::Ready(ended)
    }
}
