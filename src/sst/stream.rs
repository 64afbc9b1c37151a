//! A donor's connection, plain or inside TLS, and how it ends.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use galera_protocol::sst::conversation::End;
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;

use super::filter::Filtered;
use super::tls::{TlsAcceptor, TlsStream};
use super::unwrap::{self, Unwrapped};

/// A connection of a donor. Nothing but TLS records is ever written to it (spec 05 R14).
#[derive(Debug)]
pub(super) enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
    /// TLS, with us as the server. The first read does the handshake.
    Tls(Box<TlsStream>),
    /// Any of them, with a cipher, a compressor or tar taken off.
    Unwrapped(Box<Unwrapped>),
    /// Any of them, through the operator's decompressor.
    Filtered(Box<Filtered>),
    /// One that has ended before anybody knew what it was.
    Ended,
}

impl Stream {
    /// A second handle of the socket, with which it can be shut down while another task owns it.
    pub(super) fn shutdown_handle(&self) -> io::Result<ShutdownHandle> {
        let socket = match self {
            Self::Plain(stream) => stream.as_fd(),
            Self::Tls(stream) => stream.tcp().as_fd(),
            Self::Unwrapped(stream) => return stream.inner().shutdown_handle(),
            Self::Filtered(stream) => stream.socket()?,
            Self::Ended => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok(ShutdownHandle(socket.try_clone_to_owned()?))
    }

    /// Goes on with TLS; `head` was read already.
    pub(super) fn start_tls(self, acceptor: &TlsAcceptor, head: Bytes) -> io::Result<Self> {
        match self {
            Self::Plain(stream) => Ok(Self::Tls(Box::new(acceptor.accept(stream, head)?))),
            Self::Tls(_) | Self::Unwrapped(_) | Self::Filtered(_) | Self::Ended => {
                Err(io::Error::other("the connection is encrypted already"))
            }
        }
    }

    /// How the connection ended, by the error of its last read.
    pub(super) fn end_of(&self, error: &io::Error) -> End {
        match self {
            Self::Tls(stream) if !stream.is_established() => {
                End::NoHandshake(stream.failure(error))
            }
            Self::Plain(_)
            | Self::Tls(_)
            | Self::Unwrapped(_)
            | Self::Filtered(_)
            | Self::Ended => {
                let known = ENDS.iter().find(|(kind, _)| *kind == error.kind());
                let known = known.map(|(_, end)| *end);
                unwrap::end_of(error).or(known).unwrap_or(End::Failed)
            }
        }
    }

    /// Version of TLS, once it is established.
    pub(super) fn tls_version(&self) -> Option<&'static str> {
        match self {
            Self::Plain(_) | Self::Ended => None,
            Self::Tls(stream) => Some(stream.version()),
            Self::Unwrapped(stream) => stream.inner().tls_version(),
            Self::Filtered(stream) => stream.tls_version(),
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
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            Self::Unwrapped(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            Self::Filtered(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
            Self::Ended => Poll::Ready(Ok(())),
        }
    }
}

/// Ends a connection from outside.
#[derive(Debug)]
pub(super) struct ShutdownHandle(OwnedFd);

impl ShutdownHandle {
    /// The handle itself.
    pub(super) fn into_socket(self) -> OwnedFd {
        self.0
    }

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
