//! A donor's connection, and how it ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use galera_protocol::sst::conversation::End;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

/// A connection of a donor. Nothing is ever written to it (spec 05 R14).
#[derive(Debug)]
pub(super) enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
}

impl Stream {
    /// A second handle of the socket, with which it can be shut down while another task owns it.
    pub(super) fn shutdown_handle(&self) -> io::Result<ShutdownHandle> {
        match self {
            Self::Plain(stream) => Ok(ShutdownHandle(stream.as_fd().try_clone_to_owned()?)),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

/// Ends a connection from outside.
#[derive(Debug)]
pub(super) struct ShutdownHandle(OwnedFd);

impl ShutdownHandle {
    /// Ends both directions at once: the donor's next write fails, and so does its backup.
    pub(super) fn shutdown(&self) {
        // The connection may be gone already, which is what we want.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}

/// What the system's errors say about the end of a connection; any other is just a failure.
const ENDS: [(io::ErrorKind, End); 6] = [
    (io::ErrorKind::ConnectionReset, End::Reset),
    (io::ErrorKind::BrokenPipe, End::Reset),
    (io::ErrorKind::TimedOut, End::TimedOut),
    (io::ErrorKind::HostUnreachable, End::TimedOut),
    (io::ErrorKind::NetworkUnreachable, End::TimedOut),
    (io::ErrorKind::UnexpectedEof, End::Truncated),
];

/// How a connection ended, by the error of its last read.
pub(super) fn end_of(error: &io::Error) -> End {
    let known = ENDS.iter().find(|(kind, _)| *kind == error.kind());
    known.map_or(End::Failed, |(_, end)| *end)
}
