//! Stream → files → sink: verification, manifest, progress.
//!
//! ```text
//!  socket ─▶ source ──buffers──▶ parse ──batches──▶ deliver ─▶ sink
//!            (task)              (thread)           (caller)
//!            idle limit          framing, CRC-32,   stall limit,
//!                                names, hashes      cancellation
//! ```
//!
//! Both arrows are short queues, so memory does not depend on the stream: a slow sink stops the
//! parser, the parser stops the source, and TCP stops the donor.
//!
//! Not here: the verdict. [`run`] proves what the stream itself can prove and gives the sink back
//! *uncommitted*; whoever knows what the group said commits or aborts it.

mod catalogue;
mod deliver;
mod error;
pub(crate) mod hash;
pub mod manifest;
mod parse;
mod progress;
mod source;
mod summary;

use std::io::Read;
use std::time::Duration;

use galera_protocol::xbstream::{Expected, ReaderConfig};
use tokio::io::AsyncRead;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::sink::Sink;
use crate::throttle::{Limit, Throttled};

pub use error::{PipelineError, Side};
pub use progress::{Progress, Snapshot};
pub use summary::{FileSummary, StreamSummary};

/// Buffers of [`source::BUFFER_BYTES`] that wait for the parser.
const BUFFERS_QUEUED: usize = 4;

/// Batches that wait for the sink; each holds on to one buffer.
const BATCHES_QUEUED: usize = 4;

/// A limit for work that nobody waits for. Far enough, and no clock overflows.
pub const NO_LIMIT: Duration = Duration::from_secs(10 * 365 * 86_400);

/// How to take a stream.
#[derive(Clone, Debug)]
pub struct Options {
    /// How to read its framing.
    pub reader: ReaderConfig,
    /// What must be in it.
    pub expected: Expected,
    /// Longest silence of the source.
    pub idle_limit: Duration,
    /// Longest time that the sink may take for one buffer. Donors give up after 120 s without
    /// progress, with an end of stream that looks clean; we must fail earlier (spec 05 §2.5).
    pub stall_limit: Duration,
    /// Limit for the bytes that the source sends.
    pub limit: Option<Limit>,
    /// Whether to compute a strong hash of each file.
    pub hash_files: bool,
    /// Whether a stream may end between chunks with files incomplete, as a part of one does.
    pub allow_open_files: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            reader: ReaderConfig::default(),
            expected: Expected::default(),
            idle_limit: Duration::from_secs(600),
            stall_limit: Duration::from_secs(60),
            limit: None,
            hash_files: true,
            allow_open_files: false,
        }
    }
}

/// A stream that arrived whole, and the sink that has it.
#[derive(Debug)]
pub struct Received<S> {
    /// Has every file, finished; neither committed nor aborted.
    pub sink: S,
    /// What the stream was.
    pub summary: StreamSummary,
}

/// Takes a stream from a connection into a sink, which is aborted if that fails.
///
/// Success means that the source ended cleanly between two chunks, with every file complete and every
/// checksum right. Whether the files are a whole backup stands in the summary.
pub async fn run<R, S>(
    source: R,
    sink: S,
    options: &Options,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Received<S>, PipelineError>
where
    R: AsyncRead + Unpin + Send + 'static,
    S: Sink,
{
    // Ends the source when we return, however that comes.
    let stop = cancel.child_token();
    let _stop_at_return = stop.clone().drop_guard();
    let (to_parser, buffers) = mpsc::channel(BUFFERS_QUEUED);
    let source = Throttled::new(source, options.limit.clone());
    let reading = source::read(source, to_parser, options.idle_limit);
    tokio::spawn(async move {
        let _ = stop.run_until_cancelled(reading).await;
    });
    parse_and_deliver(buffers, sink, options, progress, cancel).await
}

/// As [`run`], from a file or pipe. A read that is under way cannot be cancelled: its thread ends with
/// it, and there is no idle limit.
pub async fn run_blocking<R, S>(
    source: R,
    sink: S,
    options: &Options,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Received<S>, PipelineError>
where
    R: Read + Send + 'static,
    S: Sink,
{
    let (to_parser, buffers) = mpsc::channel(BUFFERS_QUEUED);
    // A plain thread: the runtime would wait for one of its own that hangs in a read.
    std::thread::spawn(move || source::read_blocking(source, &to_parser));
    parse_and_deliver(buffers, sink, options, progress, cancel).await
}

async fn parse_and_deliver<S: Sink>(
    buffers: mpsc::Receiver<source::Input>,
    mut sink: S,
    options: &Options,
    progress: &Progress,
    cancel: &CancellationToken,
) -> Result<Received<S>, PipelineError> {
    let (to_sink, batches) = mpsc::channel(BATCHES_QUEUED);
    let parser = parse::Parser::new(options, sink.needs(), progress.clone(), to_sink);
    let parsing = tokio::task::spawn_blocking(move || parser.run(buffers));
    let delivered = deliver::deliver(&mut sink, batches, options.stall_limit, cancel).await;
    match delivered {
        Ok(summary) => {
            // It sent its last word; the thread ends at once.
            parsing.await.map_err(|_| PipelineError::ParserLost)?;
            Ok(Received { sink, summary })
        }
        Err(error) => {
            sink.abort().await;
            Err(error)
        }
    }
}

#[cfg(test)]
mod tests;
