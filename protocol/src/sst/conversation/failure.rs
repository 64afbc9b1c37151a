//! How a conversation ends: what was witnessed, or one reason why there is no backup.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;

use super::End;
use crate::sst::metadata::MetadataError;
use crate::sst::sniff::{ForeignHead, Layer};
use crate::tls::TlsFailure;

/// What a successful conversation saw with its own eyes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Evidence {
    /// Bytes of conn 2, up to its clean end.
    pub archive_bytes: u64,
    /// The code of the donor's JOIN, zero or more; `None` if nobody could tell.
    pub join_code: Option<i64>,
}

/// Why a connection was closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// It was read to its end and did what it came for.
    #[error("read to its end")]
    Done,
    /// The conversation is over.
    #[error("the transfer is over")]
    TransferOver,
    /// It does not come from the chosen donor.
    #[error("not the donor's address")]
    NotTheDonor,
    /// Too many connections are open.
    #[error("too many connections")]
    TooMany,
    /// It came before the donor was known, and no donor was chosen in time.
    #[error("no donor was chosen while it waited")]
    HeldTooLong,
    /// It sent nothing, or too little to tell what it is.
    #[error("silent")]
    Silent,
    /// It ended without a byte.
    #[error("empty")]
    Empty,
    /// It ended inside TLS without a byte: the peer saw our certificate and had enough.
    #[error("closed by the peer after the TLS handshake")]
    HungUp,
    /// Our key does not open it.
    #[error("cannot be decrypted with our key")]
    Undeciphered,
    /// Its compressor's data is damaged.
    #[error("cannot be decompressed")]
    Unpackable,
    /// Nothing that a donor sends.
    #[error("unknown content, first bytes {0}")]
    Foreign(ForeignHead),
    /// A layer around the archive that is not supported here.
    #[error("wrapped in {0}")]
    Wrapped(Layer),
    /// Not encrypted although it must be.
    #[error("not encrypted")]
    NotEncrypted,
    /// An archive that did not come to its end.
    #[error("archive cut short")]
    Truncated,
    /// It broke before it was of use.
    #[error("broken connection")]
    Broken,
    /// The TLS handshake failed: one side does not trust the other's certificate.
    #[error("TLS handshake failed: {0}")]
    NoHandshake(TlsFailure),
    /// There is a metadata connection already.
    #[error("second metadata connection")]
    SecondMetadata,
    /// There is a backup connection already.
    #[error("second backup connection")]
    SecondArchive,
}

impl CloseReason {
    /// Why a connection that ended like this was of no use.
    pub(super) const fn of_end(end: End) -> Self {
        if let End::NoHandshake(failure) = end { Self::NoHandshake(failure) } else { Self::Broken }
    }
}

/// The last connection that was turned away: often the cause of what follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Who connected.
    pub peer: IpAddr,
    /// Why it was turned away.
    pub reason: CloseReason,
}

/// Formats what is known, or nothing.
struct Hint<'a>(&'a Option<Refusal>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(Refusal { peer, reason }) => {
                write!(f, " (last connection turned away: {peer}, {reason})")
            }
            None => Ok(()),
        }
    }
}

/// Why there is no backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Only the donor may connect, and the group does not tell where it is.
    #[error("the donor's address is unknown, so nobody may connect: allow its network explicitly")]
    DonorAddressUnknown,
    /// Conn 1 was not read in time.
    #[error(
        "the donor did not send its metadata within {} s of the accepted request: can it reach \
         the advertised address?{}", limit.as_secs(), Hint(refusal)
    )]
    NoFirstConnection {
        /// The time limit.
        limit: Duration,
        /// Who was turned away last.
        refusal: Option<Refusal>,
    },
    /// Conn 2 did not come in time.
    #[error(
        "the donor did not start the backup within {} s of its metadata{}",
        limit.as_secs(), Hint(refusal)
    )]
    NoSecondConnection {
        /// The time limit.
        limit: Duration,
        /// Who was turned away last.
        refusal: Option<Refusal>,
    },
    /// The backup came, but nothing in front of it.
    #[error("the donor sent the backup without its metadata connection{}", Hint(refusal))]
    NoMetadata {
        /// Who was turned away last.
        refusal: Option<Refusal>,
    },
    /// Conn 1 cannot be used.
    #[error("read the donor's metadata")]
    Metadata(#[from] MetadataError),
    /// Conn 1 is longer than any metadata.
    #[error("the donor's metadata is longer than {limit} bytes")]
    MetadataTooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The donor's stream is wrapped in something that is not supported or not configured.
    #[error("the donor sends {layer}: {}", remedy(*layer))]
    Wrapped {
        /// What it is wrapped in.
        layer: Layer,
    },
    /// TLS is required and the donor does not speak it.
    #[error("the donor sends plain text, but TLS is required: configure it on both sides or none")]
    NotEncrypted,
    /// Our key does not open what the donor sends.
    #[error("the donor's stream cannot be decrypted: it uses another key or algorithm than ours")]
    Undeciphered,
    /// What the donor's compressor made is not what it says.
    #[error("the donor's metadata cannot be decompressed: is --sst-decompressor the right one?")]
    Unpackable,
    /// Conn 2 broke.
    #[error("the donor's stream {} after {bytes} bytes", end_text(*end))]
    Interrupted {
        /// How.
        end: End,
        /// Bytes received until then.
        bytes: u64,
    },
    /// The donor fell silent within conn 2.
    #[error("the donor sent nothing for {} s, after {bytes} bytes", limit.as_secs())]
    Idle {
        /// The time limit.
        limit: Duration,
        /// Bytes received until then.
        bytes: u64,
    },
    /// We did not read conn 2 for too long.
    #[error("the target took no data for {} s, after {bytes} bytes", limit.as_secs())]
    TooSlow {
        /// The time limit.
        limit: Duration,
        /// Bytes received until then.
        bytes: u64,
    },
    /// The donor says that it failed.
    #[error("the donor reported that the transfer failed, code {code}{}", Hint(refusal))]
    DonorFailed {
        /// Below zero; [`DonorCode`](crate::sst::donor_code::DonorCode) says what it means.
        code: i64,
        /// Who was turned away last.
        refusal: Option<Refusal>,
    },
    /// The donor failed to deliver its first connection, and none of it has arrived here.
    #[error(
        "the donor could not connect to the advertised address (code {code}): nothing of it has \
         arrived here"
    )]
    NotReached {
        /// Below zero.
        code: i64,
    },
    /// The donor left the group, or crashed.
    #[error("the donor disappeared from the group")]
    DonorGone,
    /// The transfer ended while nobody could see how.
    #[error("the transfer has ended, but the donor's own word about it was not seen")]
    OutcomeUnknown,
    /// The stream ended well and the donor says nothing.
    #[error("no word from the donor within {} s of the end of its stream", limit.as_secs())]
    NoVerdict {
        /// The time limit.
        limit: Duration,
    },
    /// The donor says that it is done, but no backup has come.
    #[error("the donor reported success, but its backup did not arrive here{}", Hint(refusal))]
    SentElsewhere {
        /// Who was turned away last.
        refusal: Option<Refusal>,
    },
    /// The stream ended, files or closing files are missing.
    #[error("the backup is incomplete: its stream ended too early")]
    Incomplete,
    /// The stream is damaged.
    #[error("the backup stream is damaged")]
    Damaged,
    /// The sink failed.
    #[error("the backup could not be stored")]
    NotStored,
}

const fn end_text(end: End) -> &'static str {
    match end {
        End::Clean => "ended",
        End::Reset => "was reset",
        End::TimedOut => "broke (no answer from its host)",
        End::Truncated => "was cut (no close_notify of TLS, or no end of its compressor or cipher)",
        End::NoHandshake(_) => "failed in the TLS handshake",
        End::Undeciphered => "could not be decrypted any further",
        End::Unpackable => "could not be decompressed any further",
        End::Failed => "broke",
        End::Abandoned => "was abandoned by us",
    }
}

const fn remedy(layer: Layer) -> &'static str {
    match layer {
        Layer::Tls => "configure TLS for the transfer here, or switch it off on the donor",
        Layer::OpensslEnc | Layer::Xbcrypt => {
            "give its key with --sst-encrypt-key-file, or use encrypt=4 (TLS) in its [sst] section"
        }
        Layer::Bzip2 | Layer::Xz => {
            "give the `decompressor` of its [sst] section with --sst-decompressor"
        }
        Layer::Gzip | Layer::Zstd | Layer::Lz4 | Layer::Qpress => {
            "a compressor within a compressor"
        }
        Layer::Xbstream | Layer::Tar => "an archive within an archive",
    }
}
