//! One connection to a peer: a task that reads frames and one that writes them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use galera_protocol::checksum::Checksum;
use galera_protocol::frame::{self, FrameDecoder, FrameError};
use galera_protocol::gmcast::{LinkEnd, LinkId};
use galera_protocol::tls::Stranger;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, trace};

use super::queue::{Queued, SendQueue, send_queue};
use crate::net::stream::{ConnectError, Stream};
use crate::net::tls;

/// How long a closing link may take to flush what was sent on it (spec 01 §5).
const FLUSH_LIMIT: Duration = Duration::from_secs(5);

/// Bytes asked for in one read.
const READ_BYTES: usize = 64 * 1024;

/// Most bytes that the writer gathers into one write.
const WRITE_BYTES: usize = 256 * 1024;

/// What a link's tasks tell the driver.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// A whole, intact frame body.
    Frame(Bytes),
    /// The link is gone.
    Closed(LinkEnd),
}

/// The driver's end of a link.
pub(super) struct Link {
    queue: SendQueue,
    reader: CancellationToken,
    pub(super) remote: SocketAddr,
}

impl Link {
    /// Queues one frame body for sending; false if the queue is full.
    pub(super) fn send(&self, body: Bytes) -> bool {
        self.queue.push(body).is_ok()
    }

    /// Stops reading at once; the writer flushes and ends when `self` is gone.
    pub(super) fn close(self) {
        self.reader.cancel();
    }
}

/// Starts both tasks of a link in `tasks`.
pub(super) fn start(
    id: LinkId,
    stream: Stream,
    remote: SocketAddr,
    checksum: Checksum,
    events: mpsc::Sender<(LinkId, LinkEvent)>,
    tasks: &mut tokio::task::JoinSet<()>,
) -> Link {
    let (read, write) = tokio::io::split(stream);
    let (queue, frames) = send_queue();
    let reader = CancellationToken::new();
    let stop = reader.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = stop.cancelled() => {}
            end = read_frames(id, read, &events) => {
                debug!(?id, %end, "link ended");
                let _ = events.send((id, LinkEvent::Closed(end))).await;
            }
        }
    });
    tasks.spawn(write_frames(id, write, frames, checksum));
    Link { queue, reader, remote }
}

/// Reads until the link ends, and says how it did.
async fn read_frames(
    id: LinkId,
    mut read: ReadHalf<Stream>,
    events: &mpsc::Sender<(LinkId, LinkEvent)>,
) -> LinkEnd {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let mut decoder = FrameDecoder::new();
    let (mut is_first, mut stranger) = (true, None);
    loop {
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(body)) => {
                    stranger = None;
                    trace!(?id, bytes = body.len(), "frame received");
                    if events.send((id, LinkEvent::Frame(body))).await.is_err() {
                        return LinkEnd::Other;
                    }
                }
                Ok(None) => break,
                Err(error) => return end_of_frames(error, stranger),
            }
        }
        buffer.reserve(READ_BYTES);
        match read.read_buf(&mut buffer).await {
            Ok(0) => return stranger.map_or(LinkEnd::EndOfStream, LinkEnd::Stranger),
            // Nobody known, unless the bytes turn out to be a frame.
            Ok(_) if is_first => match Stranger::from_head(&buffer) {
                Some(Stranger::Unknown) => stranger = Some(Stranger::Unknown),
                Some(known) => return LinkEnd::Stranger(known),
                None => {}
            },
            Ok(_) => {}
            Err(error) => return end_of(&error),
        }
        is_first = false;
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

/// Writes until the queue is closed and empty, or the link fails; the reader sees the failure too.
async fn write_frames(
    id: LinkId,
    mut write: WriteHalf<Stream>,
    mut frames: mpsc::Receiver<Queued>,
    checksum: Checksum,
) {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    while let Some(first) = frames.recv().await {
        put_frame(id, &first, checksum, &mut buffer);
        while buffer.len() < WRITE_BYTES {
            let Ok(next) = frames.try_recv() else { break };
            put_frame(id, &next, checksum, &mut buffer);
        }
        if let Err(error) = write.write_all_buf(&mut buffer).await {
            debug!(?id, %error, "link write failed");
            return;
        }
    }
    let _ = tokio::time::timeout(FLUSH_LIMIT, write.shutdown()).await;
}

/// A body that is no frame is left out: the core made it, so this is our own mistake.
fn put_frame(id: LinkId, queued: &Queued, checksum: Checksum, buffer: &mut BytesMut) {
    if let Err(error) = frame::encode(checksum, &queued.body, buffer) {
        error!(?id, %error, "own message withheld");
    }
}
