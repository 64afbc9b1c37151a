//! A donor's connection: dialled, written until the end or until something goes wrong, and ended.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use galera_protocol::sst::request::SstRequest;
use galera_protocol::tls::TlsFailure;
use socket2::SockRef;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::fault::{Ending, StreamFaults};
use super::stream::ReadError;
use crate::net::socket::Options;
use crate::net::stream::Stream;
use crate::net::tls::{Keys, handshake};

/// Limit for TCP and for TLS, each: as donors' scripts have it.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// How long the receiver may take to close after the end of the stream.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// Bytes per write where a rate is to be kept or a place to be hit.
const PIECE_BYTES: usize = 64 << 10;

/// Why a connection failed.
#[derive(Debug, thiserror::Error)]
pub enum LineError {
    /// Nobody took it.
    #[error("connect to the joiner")]
    Connect(#[source] io::Error),
    /// Not in time.
    #[error("connect to the joiner: no answer within {} s", CONNECT_LIMIT.as_secs())]
    Silent,
    /// TLS was refused.
    #[error("speak TLS with the joiner: {0}")]
    Tls(TlsFailure),
    /// The joiner closed it, or the network did.
    #[error("send to the joiner")]
    Broken(#[source] io::Error),
    /// A file went away.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Dials a joiner, with TLS if there are keys.
pub(super) async fn dial(request: &SstRequest, keys: Option<&Keys>) -> Result<Stream, LineError> {
    let host = request.host.to_string();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let connected = timeout(CONNECT_LIMIT, TcpStream::connect((bare, request.port))).await;
    let tcp = connected.map_err(|_| LineError::Silent)?.map_err(LineError::Connect)?;
    Options::TRANSFER.apply(&tcp).map_err(LineError::Connect)?;
    let Some(keys) = keys else { return Ok(Stream::Plain(tcp)) };
    let stream = handshake::dial(keys.material().dialler(), tcp, CONNECT_LIMIT).await;
    stream.map(|stream| Stream::Tls(Box::new(stream))).map_err(LineError::Tls)
}

/// How much was sent, and whether that was all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) bytes: u64,
    pub(super) is_whole: bool,
}

/// Sends what comes, as the faults allow, and ends the connection.
pub(super) async fn send(
    mut stream: Stream,
    mut chunks: mpsc::Receiver<Result<Bytes, ReadError>>,
    faults: StreamFaults,
) -> Result<Sent, LineError> {
    let mut pace = Pace { faults, started: Instant::now(), sent: 0 };
    while let Some(chunk) = chunks.recv().await {
        let written = pace.write(&mut stream, chunk?).await.map_err(LineError::Broken)?;
        if let Some(ending) = written {
            end(stream, ending).await?;
            return Ok(Sent { bytes: pace.sent, is_whole: false });
        }
    }
    end(stream, Ending::InOrder).await?;
    Ok(Sent { bytes: pace.sent, is_whole: true })
}

/// Where the stream is, and what is to happen to it.
struct Pace {
    faults: StreamFaults,
    started: Instant,
    sent: u64,
}

impl Pace {
    /// Writes a chunk; an ending if the stream stops within it.
    async fn write(&mut self, stream: &mut Stream, mut chunk: Bytes) -> io::Result<Option<Ending>> {
        while !chunk.is_empty() {
            let Some(room) = self.room() else {
                return Ok(self.faults.stop.map(|(_, ending)| ending));
            };
            let piece = self.spoil(chunk.split_to(chunk.len().min(room)));
            stream.write_all(&piece).await?;
            self.sent += piece.len() as u64;
            self.wait().await;
        }
        Ok(None)
    }

    /// Bytes that may be written at once; none if the stream is to stop here.
    fn room(&self) -> Option<usize> {
        let piece = if self.faults == StreamFaults::default() { usize::MAX } else { PIECE_BYTES };
        let per_turn = self.faults.bytes_per_second.map_or(piece, |rate| {
            let tenth = usize::try_from(rate / 10).unwrap_or(piece);
            tenth.clamp(1, piece)
        });
        let Some((at, _)) = self.faults.stop else { return Some(per_turn) };
        let left = usize::try_from(at.saturating_sub(self.sent)).unwrap_or(usize::MAX);
        (left > 0).then(|| left.min(per_turn))
    }

    fn spoil(&self, piece: Bytes) -> Bytes {
        let at = self.faults.corrupt.and_then(|at| at.checked_sub(self.sent));
        let at = at.and_then(|at| usize::try_from(at).ok()).filter(|at| *at < piece.len());
        let Some(at) = at else { return piece };
        let mut bytes = piece.to_vec();
        bytes[at] ^= 1;
        bytes.into()
    }

    async fn wait(&self) {
        if let Some(rate) = self.faults.bytes_per_second {
            let micros = self.sent.saturating_mul(1_000_000) / rate.max(1);
            sleep_until(self.started + Duration::from_micros(micros)).await;
        }
    }
}

async fn end(mut stream: Stream, ending: Ending) -> Result<(), LineError> {
    match ending {
        Ending::InOrder => {
            stream.shutdown().await.map_err(LineError::Broken)?;
            // What the receiver still has to say must not reset the connection under its stream.
            let _ = timeout(CLOSE_LIMIT, until_closed(&mut stream)).await;
            Ok(())
        }
        Ending::Reset => {
            let linger = SockRef::from(stream.tcp()).set_linger(Some(Duration::ZERO));
            linger.map_err(LineError::Broken)
        }
        Ending::Never => {
            until_closed(&mut stream).await;
            Err(LineError::Broken(io::ErrorKind::ConnectionAborted.into()))
        }
    }
}

async fn until_closed(stream: &mut Stream) {
    let mut ignored = [0; 1024];
    while matches!(stream.read(&mut ignored).await, Ok(1..)) {}
}
