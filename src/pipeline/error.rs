//! Why a stream did not arrive, and on whose side.

use std::io;
use std::time::Duration;

use galera_protocol::xbstream::StreamError;

use crate::sink::SinkError;

/// Why a stream did not arrive in its sink.
#[derive(Debug, thiserror::Error)]
pub enum PipelineError {
    /// The stream is damaged, malformed or unsafe.
    #[error(transparent)]
    Stream(#[from] StreamError),
    /// The connection broke.
    #[error("read the stream")]
    Transport(#[source] io::Error),
    /// Nothing arrived for too long.
    #[error("nothing arrived for {} s", .limit.as_secs())]
    Idle {
        /// The limit.
        limit: Duration,
    },
    /// The sink failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The sink took too long, and the donor would have given up.
    #[error("the sink took nothing for {} s", .limit.as_secs())]
    SinkStalled {
        /// The limit.
        limit: Duration,
    },
    /// We were told to stop.
    #[error("stopped")]
    Cancelled,
    /// The parser's thread ended without a word: a bug.
    #[error("the parser stopped unexpectedly")]
    ParserLost,
}

/// On whose side a failure lies; decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// What was sent is wrong (65).
    Stream,
    /// What was sent did not get here; worth a retry (75).
    Transport,
    /// What got here could not be stored (74).
    Sink,
    /// We stopped by ourselves (130, 143).
    Stopped,
    /// A bug (100).
    Internal,
}

impl PipelineError {
    /// On whose side it lies.
    pub fn side(&self) -> Side {
        match self {
            Self::Stream(_) => Side::Stream,
            Self::Transport(_) | Self::Idle { .. } => Side::Transport,
            Self::Sink(_) | Self::SinkStalled { .. } => Side::Sink,
            Self::Cancelled => Side::Stopped,
            Self::ParserLost => Side::Internal,
        }
    }
}
