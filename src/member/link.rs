//! One connection to a peer: cuts what it reads into frames, and writes frames.
//!
//! The driver polls it, together with all others: no task and no queue stands between a socket and
//! the core, so that what has come in on all links is handled, and answered, in one go.

use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use galera_protocol::checksum::Checksum;
use galera_protocol::frame::{FrameDecoder, FrameError};
use galera_protocol::gmcast::LinkEnd;
use galera_protocol::tls::Stranger;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;
use tokio_util::io::poll_read_buf;
use tracing::{debug, trace};

use super::outbox::{Full, Outbox};
use crate::net::stream::{ConnectError, Stream};
use crate::net::tls;

/// How long a closing link may take to flush what was sent on it (spec 01 §5).
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Bytes asked for in one read.
const READ_BYTES: usize = 64 * 1024;

/// Reads of one link until the others have their turn.
const READS_MAX: usize = 16;

/// What a link tells the driver.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// A whole, intact frame body.
    Frame(Bytes),
    /// The link is gone.
    Closed(LinkEnd),
}

/// A connection to a peer.
pub(super) struct Link {
    stream: Stream,
    pub(super) remote: SocketAddr,
    outbox: Outbox,
    decoder: FrameDecoder,
    /// The beginning of a frame.
    cut_off: BytesMut,
    is_first: bool,
    stranger: Option<Stranger>,
    has_ended: bool,
}

impl Link {
    pub(super) fn new(stream: Stream, remote: SocketAddr) -> Self {
        Self {
            stream,
            remote,
            outbox: Outbox::default(),
            decoder: FrameDecoder::new(),
            cut_off: BytesMut::new(),
            is_first: true,
            stranger: None,
            has_ended: false,
        }
    }

    /// Has one frame body written at the next [`Self::poll_write`].
    pub(super) fn send(&mut self, checksum: Checksum, body: &[u8]) -> Result<(), Full> {
        self.outbox.push(checksum, body)
    }

    /// Writes as much as the connection takes; the rest once it takes more.
    pub(super) fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<()> {
        self.outbox.poll_write(context, &mut self.stream).map(|written| {
            if let Err(error) = written {
                debug!(remote = %self.remote, %error, "link write failed");
            }
        })
    }

    /// Reads what there is and tells of it. Ready if there may be more.
    ///
    /// `lent` is an empty buffer for all links, and empty again afterwards.
    pub(super) fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        lent: &mut BytesMut,
        tell: &mut impl FnMut(LinkEvent),
    ) -> Poll<()> {
        for _ in 0..READS_MAX {
            if self.has_ended {
                return Poll::Pending;
            }
            ready!(self.poll_read_once(context, lent, tell));
        }
        Poll::Ready(())
    }

    fn poll_read_once(
        &mut self,
        context: &mut Context<'_>,
        lent: &mut BytesMut,
        tell: &mut impl FnMut(LinkEvent),
    ) -> Poll<()> {
        let mut own = std::mem::take(&mut self.cut_off);
        let target = if own.is_empty() { &mut *lent } else { &mut own };
        target.reserve(READ_BYTES);
        let read = poll_read_buf(Pin::new(&mut self.stream), context, target);
        let taken = read.map(|read| self.take_in(read, target, tell));
        // A cut-off frame is rare enough to be copied.
        self.cut_off = if own.is_empty() { BytesMut::from(&lent[..]) } else { own };
        lent.clear();
        if let Err(end) = ready!(taken) {
            debug!(remote = %self.remote, %end, "link ended");
            self.has_ended = true;
            tell(LinkEvent::Closed(end));
        }
        Poll::Ready(())
    }

    /// Cuts frames off what was read; says how the link has ended, if it has.
    fn take_in(
        &mut self,
        read: io::Result<usize>,
        buffer: &mut BytesMut,
        tell: &mut impl FnMut(LinkEvent),
    ) -> Result<(), LinkEnd> {
        if read.map_err(|error| end_of(&error))? == 0 {
            return Err(self.stranger.map_or(LinkEnd::EndOfStream, LinkEnd::Stranger));
        }
        if std::mem::take(&mut self.is_first) {
            // Nobody known, unless the bytes turn out to be a frame.
            match Stranger::from_head(buffer) {
                Some(Stranger::Unknown) => self.stranger = Some(Stranger::Unknown),
                Some(known) => return Err(LinkEnd::Stranger(known)),
                None => {}
            }
        }
        while let Some(body) = self.decode(buffer)? {
            self.stranger = None;
            trace!(remote = %self.remote, bytes = body.len(), "frame received");
            tell(LinkEvent::Frame(body));
        }
        Ok(())
    }

    /// The next body, in memory of its own: messages are kept until everybody has them, and must
    /// not keep the whole buffer.
    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, LinkEnd> {
        match self.decoder.decode(buffer) {
            Ok(body) => Ok(body.map(|body| Bytes::copy_from_slice(&body))),
            Err(error) => Err(end_of_frames(error, self.stranger)),
        }
    }

    /// Flushes what was sent and ends the connection.
    pub(super) async fn close(mut self) {
        let flushed = async {
            poll_fn(|context| self.poll_write(context)).await;
            self.stream.shutdown().await
        };
        if !matches!(timeout(FLUSH_LIMIT, flushed).await, Ok(Ok(()))) {
            debug!("link not closed in order");
        }
    }
}

/// Bytes that are no frame at the very beginning are somebody else's; a member's damaged frame is
/// still a member's.
fn end_of_frames(error: FrameError, stranger: Option<Stranger>) -> LinkEnd {
    let is_damage = matches!(error, FrameError::Checksum(_) | FrameError::Empty);
    match stranger {
        Some(Stranger::Unknown) if is_damage => LinkEnd::Frame(error),
        Some(stranger) => LinkEnd::Stranger(stranger),
        None => LinkEnd::Frame(error),
    }
}

/// What the operating system's error means for a link.
pub(super) fn end_of(error: &io::Error) -> LinkEnd {
    if let Some(failure) = tls::of_io(error) {
        return LinkEnd::Tls(failure);
    }
    const ENDS: [(io::ErrorKind, LinkEnd); 6] = [
        (io::ErrorKind::ConnectionRefused, LinkEnd::ConnectionRefused),
        (io::ErrorKind::ConnectionReset, LinkEnd::Reset),
        (io::ErrorKind::BrokenPipe, LinkEnd::Reset),
        (io::ErrorKind::HostUnreachable, LinkEnd::Unreachable),
        (io::ErrorKind::NetworkUnreachable, LinkEnd::Unreachable),
        (io::ErrorKind::TimedOut, LinkEnd::TimedOut),
    ];
    let known = ENDS.into_iter().find(|(kind, _)| *kind == error.kind());
    known.map_or(LinkEnd::Other, |(_, end)| end)
}

/// What the failure of a dial means for a link.
pub(super) fn end_of_dial(error: &ConnectError) -> LinkEnd {
    match error {
        ConnectError::Tcp(error) => end_of(error),
        ConnectError::Tls(failure) => LinkEnd::Tls(*failure),
    }
}
