//! Why an `xbstream` command failed, and in which exit code.

use std::io;

use galera_protocol::xbstream::{Gap, PathError};

use crate::exit::ExitCode;
use crate::pipeline::{PipelineError, Side};
use crate::sink::SinkError;
use crate::unpack::KeyError;
use crate::xbstream::chunks::ChunkError;
use crate::xbstream::create::CreateError;
use crate::xbstream::input::InputError;

/// Why it failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error(transparent)]
    Input(#[from] InputError),
    #[error(transparent)]
    Stream(#[from] PipelineError),
    #[error(transparent)]
    Sink(#[from] SinkError),
    #[error(transparent)]
    Chunk(#[from] ChunkError),
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error("{0} chunks with a wrong checksum")]
    Damaged(u64),
    #[error("not a whole backup")]
    Incomplete(#[source] Gap),
    #[error("the stream has no file named {0}; `galera-sst xbstream list` shows its files")]
    NoSuchFile(String),
    #[error("file name {name:?}")]
    Name {
        name: String,
        #[source]
        source: PathError,
    },
    #[error("read key file {path}")]
    KeyFile {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error("key file {path}")]
    Key {
        path: String,
        #[source]
        source: KeyError,
    },
    #[error("a stream is not for a terminal; redirect standard output to a file or pipe")]
    Terminal,
    #[error("write to standard output")]
    Output(#[source] io::Error),
    #[error("listen for signals")]
    Signals(#[source] io::Error),
    #[error("stopped before the end of the stream")]
    Stopped(ExitCode),
}

impl Error {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Input(_) | Self::KeyFile { .. } | Self::Key { .. } => ExitCode::Configuration,
            Self::Stream(error) => of_stream(error),
            Self::Sink(error) => of_sink(error),
            Self::Chunk(ChunkError::Read(_)) => ExitCode::Other,
            Self::Chunk(_) | Self::Damaged(_) | Self::Incomplete(_) => ExitCode::BadData,
            Self::Create(CreateError::Write(_)) | Self::Output(_) => ExitCode::SinkFailed,
            Self::Create(_) | Self::Signals(_) => ExitCode::Other,
            Self::NoSuchFile(_) | Self::Name { .. } | Self::Terminal => ExitCode::Usage,
            Self::Stopped(code) => *code,
        }
    }
}

fn of_stream(error: &PipelineError) -> ExitCode {
    if let PipelineError::Sink(error) = error {
        return of_sink(error);
    }
    match error.side() {
        Side::Stream => ExitCode::BadData,
        Side::Sink => ExitCode::SinkFailed,
        // A file or pipe: to try again does not help by itself.
        Side::Transport | Side::Stopped | Side::Internal => ExitCode::Other,
    }
}

fn of_sink(error: &SinkError) -> ExitCode {
    match error {
        SinkError::Member { .. } | SinkError::SameName { .. } => ExitCode::BadData,
        SinkError::Create { .. } | SinkError::Occupied { .. } => ExitCode::CannotCreate,
        SinkError::Write { .. } | SinkError::Copies { .. } => ExitCode::SinkFailed,
    }
}
