//! What happens to the conversation: connections, what the group says, what the pipeline found.

use core::net::IpAddr;

use bytes::Bytes;

use super::ConnectionId;
use crate::time::Instant;
use crate::tls::TlsFailure;
use crate::xbstream::StreamError;

/// What the group and the pipeline tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The group accepted our request; these are the chosen donor's addresses.
    RequestAccepted {
        /// From gmcast: the address of its link, or of its entry in the peer list.
        donor: Vec<IpAddr>,
    },
    /// The donor's JOIN that counts for this transfer. Below zero: minus an errno.
    DonorJoined {
        /// The code.
        code: i64,
    },
    /// The donor is in no primary view any more.
    DonorGone,
    /// The donor is no longer donating, and its JOIN was not seen.
    TransferUnknown,
    /// The pipeline's judgement of conn 2.
    Judged(Judgement),
}

/// What the pipeline found in conn 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Every file ended well and the closing files are there.
    Whole,
    /// The stream ended before that.
    Incomplete,
    /// The stream is not what it should be: framing, checksum, offset, name.
    Damaged,
    /// The sink did not take it.
    NotStored,
}

impl Judgement {
    /// What an error of the stream's reader means. One that says no more than that the stream ended
    /// is what a killed backup program leaves behind: the donor knows the cause, and is waited for.
    pub const fn of_stream_error(error: &StreamError) -> Self {
        if error.fault.is_early_end() { Self::Incomplete } else { Self::Damaged }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// FIN, and with TLS a `close_notify` before it.
    Clean,
    /// The peer reset it.
    Reset,
    /// The network stopped answering.
    TimedOut,
    /// TLS ended without `close_notify`, or a compressor or cipher within its data.
    Truncated,
    /// The TLS handshake was not completed.
    NoHandshake(TlsFailure),
    /// What came cannot be decrypted with the key that we have.
    Undeciphered,
    /// What came cannot be decompressed, or is not the archive that it began as.
    Unpackable,
    /// Another error of the connection.
    Failed,
    /// We stopped reading before the end.
    Abandoned,
}

/// How far conn 2 is. A sample that the driver takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes handed to the pipeline so far.
    pub bytes: u64,
    /// Who is waited for.
    pub waiting: Waiting,
    /// Since when.
    pub since: Instant,
}

/// Who is waited for while conn 2 runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The pipeline reads, no bytes have come.
    ForDonor,
    /// The pipeline has bytes and does not read on.
    ForUs,
}

/// What happens to the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody connected.
    Accepted {
        /// The new connection.
        connection: ConnectionId,
        /// Who.
        peer: IpAddr,
    },
    /// A requested read gave bytes, at least one.
    Received {
        /// The connection.
        connection: ConnectionId,
        /// What came.
        bytes: Bytes,
    },
    /// A connection ended; for conn 2, the pipeline has got all its bytes.
    Ended {
        /// The connection.
        connection: ConnectionId,
        /// How.
        end: End,
    },
    /// How far conn 2 is.
    ArchiveProgress(Progress),
    /// What the group or the pipeline tells.
    Event(Event),
    /// A deadline has passed.
    Timeout,
}
