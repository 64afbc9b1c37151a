//! Why a member cannot be unpacked.

use std::io;

use super::Format;

/// A member that is not what its suffix says, or not whole.
#[derive(Debug, thiserror::Error)]
#[error("{} member: {fault}", format.suffix())]
pub struct UnpackError {
    /// What it should be.
    pub format: Format,
    /// What is wrong.
    pub fault: Fault,
}

impl UnpackError {
    pub(super) fn new(format: Format, fault: Fault) -> Self {
        Self { format, fault }
    }
}

/// What can be wrong with a member.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A unit does not start as one of this format does.
    #[error("no unit of this format where one was due")]
    Magic,
    /// It ends inside a unit.
    #[error("it ends too early")]
    Truncated,
    /// A checksum does not fit.
    #[error("wrong {0} checksum")]
    Checksum(&'static str),
    /// A length is beyond what the format or its writers allow.
    #[error("{0} out of range")]
    Range(&'static str),
    /// The format has this, but no backup tool writes it.
    #[error("{0} is not supported")]
    Unsupported(&'static str),
    /// The compressed bytes mean nothing.
    #[error("malformed {0}")]
    Malformed(&'static str),
    /// The library refuses it.
    #[error("{0}")]
    Codec(io::Error),
    /// The plain content's own hash does not fit: in all likelihood another key is needed.
    #[error("the content does not fit its hash: is this the right key?")]
    WrongKey,
}
