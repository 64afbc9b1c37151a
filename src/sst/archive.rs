//! Conn 2 as the pipeline sees it, and the watch that the driver keeps on it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use galera_protocol::sst::conversation::{End, Progress, Waiting};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{oneshot, watch};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::clock::Clock;
use super::stream::{ShutdownHandle, Stream};

/// The backup as the donor sends it.
///
/// End of file means that the donor closed its side in an orderly way, no more: whether the backup
/// is complete is for the pipeline and the group to say. A connection that breaks is an error, and
/// stays one. Read with a large buffer (256 KiB or more); not reading for longer than
/// `drain_gap` fails the transfer.
pub struct ArchiveReader {
    stream: Stream,
    head: Bytes,
    end: Option<End>,
    cancel: CancellationToken,
    cancelled: Pin<Box<WaitForCancellationFutureOwned>>,
    clock: Clock,
    progress: watch::Sender<Progress>,
    ended: Option<oneshot::Sender<End>>,
}

/// The driver's side of an [`ArchiveReader`].
#[derive(Debug)]
pub(super) struct ArchiveWatch {
    pub(super) progress: watch::Receiver<Progress>,
    /// Resolves when the reader has seen the end; an error if it was dropped before.
    pub(super) ended: oneshot::Receiver<End>,
    cancel: CancellationToken,
    socket: Option<ShutdownHandle>,
}

impl ArchiveWatch {
    /// Makes the reader fail and ends the connection, even if nobody reads it.
    pub(super) fn abort(self) {
        self.cancel.cancel();
        if let Some(socket) = self.socket {
            socket.shutdown();
        }
    }
}

/// Splits a connection into its reader and the watch on it. `head` was read already.
pub(super) fn open(stream: Stream, head: Bytes, clock: Clock) -> (ArchiveReader, ArchiveWatch) {
    let start = Progress { bytes: 0, waiting: Waiting::ForUs, since: clock.now() };
    let (progress, progress_watch) = watch::channel(start);
    let (ended, ended_watch) = oneshot::channel();
    let cancel = CancellationToken::new();
    let watch = ArchiveWatch {
        progress: progress_watch,
        ended: ended_watch,
        cancel: cancel.clone(),
        socket: stream.shutdown_handle().ok(),
    };
    let cancelled = Box::pin(cancel.clone().cancelled_owned());
    let ended = Some(ended);
    let reader =
        ArchiveReader { stream, head, end: None, cancel, cancelled, clock, progress, ended };
    (reader, watch)
}

impl ArchiveReader {
    /// Version of TLS that protects the stream, if any does.
    pub fn tls_version(&self) -> Option<&'static str> {
        self.stream.tls_version()
    }

    fn on_bytes(&self, count: usize) {
        let since = self.clock.now();
        let count = u64::try_from(count).unwrap_or(u64::MAX);
        self.progress.send_modify(|progress| {
            progress.bytes = progress.bytes.saturating_add(count);
            progress.waiting = Waiting::ForUs;
            progress.since = since;
        });
    }

    fn on_pending(&self) {
        let since = self.clock.now();
        self.progress.send_if_modified(|progress| {
            let changes = progress.waiting == Waiting::ForUs;
            if changes {
                progress.waiting = Waiting::ForDonor;
                progress.since = since;
            }
            changes
        });
    }

    /// Remembers the end: the system tells about a reset once, and then shows an orderly end.
    fn finish(&mut self, end: End) {
        self.end = Some(end);
        if let Some(ended) = self.ended.take() {
            // The driver is gone if the transfer has failed already.
            let _ = ended.send(end);
        }
    }

    fn read_head(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.head.len().min(buffer.remaining());
        buffer.put_slice(&self.head[..count]);
        self.head.advance(count);
        self.on_bytes(count);
    }

    fn poll_stream(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => {
                self.on_pending();
                Poll::Pending
            }
            Poll::Ready(Ok(())) => {
                match buffer.filled().len() - before {
                    0 => self.finish(End::Clean),
                    count => self.on_bytes(count),
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                self.finish(self.stream.end_of(&error));
                Poll::Ready(Err(error))
            }
        }
    }
}

impl AsyncRead for ArchiveReader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.cancel.is_cancelled() {
            return Poll::Ready(Err(stopped()));
        }
        match self.end {
            Some(End::Clean) => return Poll::Ready(Ok(())),
            Some(
                End::Reset
                | End::TimedOut
                | End::Truncated
                | End::NoHandshake(_)
                | End::Undeciphered
                | End::Unpackable
                | End::Failed
                | End::Abandoned,
            ) => {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            None => {}
        }
        if buffer.remaining() == 0 {
            return Poll::Ready(Ok(()));
        }
        if !self.head.is_empty() {
            self.read_head(buffer);
            return Poll::Ready(Ok(()));
        }
        let poll = self.poll_stream(context, buffer);
        if poll.is_pending() && self.cancelled.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(stopped()));
        }
        poll
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "the transfer was stopped")
}

impl fmt::Debug for ArchiveReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArchiveReader")
            .field("progress", &*self.progress.borrow())
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
