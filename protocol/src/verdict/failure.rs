//! Why there is no backup: the sentence, the witness and the exit code.

use super::Witness;
use crate::sst::conversation::{CloseReason, Failure as TransferFailure};
use crate::sst::metadata::MetadataError;
use crate::sst::sniff::Layer;
use crate::xbstream::{Gap, StreamError};

/// Why there is no backup. Its text is the sentence for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The target cannot be made.
    #[error("the target of the backup cannot be created")]
    SinkNotCreated,
    /// The target failed.
    #[error("the target of the backup failed")]
    SinkFailed,
    /// Nobody committed although all was well.
    #[error("the target did not commit the backup")]
    SinkNotCommitted,
    /// The stream is damaged.
    #[error("the backup stream is damaged: {0}")]
    Damaged(StreamError),
    /// The transfer failed.
    #[error(transparent)]
    Transfer(TransferFailure),
    /// The stream ended too early.
    #[error("the backup is incomplete: {0}")]
    Unfinished(StreamError),
    /// The stream ended well, but too early all the same.
    #[error("the backup is incomplete: {0}")]
    ClosingFiles(Gap),
    /// The stream was not read to its end.
    #[error("the backup stream was not read to its end")]
    Unread,
    /// The connection has not ended.
    #[error("the donor's stream did not come to its end")]
    NotEnded,
    /// The donor was not heard.
    #[error("the donor's own word about the transfer was not heard")]
    NotHeard,
}

/// Classes of failure, by what the caller should do about them. The numbers are exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ExitClass {
    /// Bad data in the stream.
    BadData = 65,
    /// Somebody cannot be reached.
    Unavailable = 69,
    /// The target cannot be created.
    SinkNotCreated = 73,
    /// The target failed.
    SinkFailed = 74,
    /// Worth a retry: lost contact, time limits.
    Retry = 75,
    /// TLS or identity.
    Identity = 77,
    /// Configuration, of ours or of the donor.
    Configuration = 78,
    /// Anything else.
    Other = 100,
    /// The donor failed or disappeared.
    DonorFailed = 101,
    /// The donor refused what was asked for.
    RequestRefused = 102,
}

impl ExitClass {
    /// The exit code.
    pub const fn code(self) -> u8 {
        self as u8
    }
}

impl Failure {
    /// Which witness disagrees.
    pub const fn witness(&self) -> Witness {
        match self {
            Self::SinkNotCreated | Self::SinkFailed | Self::SinkNotCommitted => Witness::Sink,
            Self::Damaged(_) | Self::Unfinished(_) | Self::Unread => Witness::Files,
            Self::ClosingFiles(_) => Witness::ClosingFiles,
            Self::NotEnded => Witness::Transport,
            Self::NotHeard => Witness::Group,
            Self::Transfer(failure) => match witness_of(failure) {
                Some(witness) => witness,
                None => Witness::Transport,
            },
        }
    }

    /// What the caller should do about it.
    pub const fn exit_class(&self) -> ExitClass {
        match self {
            Self::SinkNotCreated => ExitClass::SinkNotCreated,
            Self::SinkFailed => ExitClass::SinkFailed,
            Self::SinkNotCommitted | Self::Unread => ExitClass::Other,
            Self::Damaged(_) | Self::Unfinished(_) | Self::ClosingFiles(_) => ExitClass::BadData,
            Self::NotEnded | Self::NotHeard => ExitClass::Retry,
            Self::Transfer(failure) => class_of(failure),
        }
    }
}

/// Which witness speaks through a failed conversation; `None` if it never came to one.
pub(super) const fn witness_of(failure: &TransferFailure) -> Option<Witness> {
    match failure {
        TransferFailure::DonorAddressUnknown
        | TransferFailure::NoFirstConnection { .. }
        | TransferFailure::NoSecondConnection { .. }
        | TransferFailure::NoMetadata { .. }
        | TransferFailure::Metadata(_)
        | TransferFailure::MetadataTooLong { .. }
        | TransferFailure::Wrapped { .. }
        | TransferFailure::NotEncrypted
        | TransferFailure::Undeciphered
        | TransferFailure::Unpackable
        | TransferFailure::Interrupted { .. }
        | TransferFailure::Idle { .. }
        | TransferFailure::TooSlow { .. } => Some(Witness::Transport),
        TransferFailure::DonorFailed { .. }
        | TransferFailure::NotReached { .. }
        | TransferFailure::DonorGone
        | TransferFailure::OutcomeUnknown
        | TransferFailure::NoVerdict { .. }
        | TransferFailure::SentElsewhere { .. } => Some(Witness::Group),
        TransferFailure::Incomplete | TransferFailure::Damaged => Some(Witness::Files),
        TransferFailure::NotStored => Some(Witness::Sink),
    }
}

/// What the caller should do about a failed conversation.
pub const fn class_of(failure: &TransferFailure) -> ExitClass {
    if follows_from_distrust(failure) {
        return ExitClass::Identity;
    }
    match failure {
        TransferFailure::DonorAddressUnknown => ExitClass::Configuration,
        TransferFailure::NotReached { .. } => ExitClass::Unavailable,
        TransferFailure::Wrapped { layer } => match layer {
            Layer::Tls => ExitClass::Identity,
            Layer::Xbstream
            | Layer::Tar
            | Layer::OpensslEnc
            | Layer::Xbcrypt
            | Layer::Gzip
            | Layer::Zstd
            | Layer::Lz4
            | Layer::Bzip2
            | Layer::Xz
            | Layer::Qpress => ExitClass::Configuration,
        },
        TransferFailure::NotEncrypted | TransferFailure::Undeciphered => ExitClass::Identity,
        TransferFailure::Metadata(MetadataError::Bypass) => ExitClass::RequestRefused,
        TransferFailure::NoMetadata { .. }
        | TransferFailure::Metadata(_)
        | TransferFailure::MetadataTooLong { .. }
        | TransferFailure::Unpackable
        | TransferFailure::Incomplete
        | TransferFailure::Damaged => ExitClass::BadData,
        TransferFailure::NoFirstConnection { .. }
        | TransferFailure::NoSecondConnection { .. }
        | TransferFailure::Interrupted { .. }
        | TransferFailure::Idle { .. }
        | TransferFailure::OutcomeUnknown
        | TransferFailure::NoVerdict { .. }
        | TransferFailure::SentElsewhere { .. } => ExitClass::Retry,
        TransferFailure::TooSlow { .. } | TransferFailure::NotStored => ExitClass::SinkFailed,
        TransferFailure::DonorFailed { .. } | TransferFailure::DonorGone => ExitClass::DonorFailed,
    }
}

/// The donor fails, or goes away content, because one side does not trust the other.
const fn follows_from_distrust(failure: &TransferFailure) -> bool {
    matches!(
        failure,
        TransferFailure::DonorFailed { refusal: Some(refusal), .. }
        | TransferFailure::SentElsewhere { refusal: Some(refusal) }
            if matches!(refusal.reason, CloseReason::NoHandshake(_) | CloseReason::HungUp)
    )
}
