//! Why decoding failed, and in which exit code.

use std::io;

use crate::capture::CaptureError;
use crate::decode::tls::KeyLogError;
use crate::exit::ExitCode;

#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    #[error("open {path}")]
    Open {
        path: String,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Capture(#[from] CaptureError),
    #[error(transparent)]
    KeyLog(#[from] KeyLogError),
    #[error("read the input")]
    Read(#[source] io::Error),
    #[error("line {0} has something other than pairs of hexadecimal digits")]
    Hex(usize),
    #[error("start dumpcap, which comes with Wireshark; it must be allowed to capture")]
    Dumpcap(#[source] io::Error),
    #[error("dumpcap failed; it may need the right to capture")]
    DumpcapFailed,
    #[error("write {path}")]
    Page {
        path: String,
        #[source]
        source: io::Error,
    },
    /// Somebody has seen enough.
    #[error("standard output was closed")]
    OutputClosed,
}

impl Error {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Open { .. } | Self::Dumpcap(_) | Self::KeyLog(_) => ExitCode::Configuration,
            Self::Capture(_) | Self::Hex(_) => ExitCode::BadData,
            Self::Page { .. } => ExitCode::SinkFailed,
            Self::Read(_) | Self::DumpcapFailed | Self::OutputClosed => ExitCode::Other,
        }
    }
}
