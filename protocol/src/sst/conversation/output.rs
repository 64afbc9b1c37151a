//! What the conversation wants done.

use bytes::Bytes;

use super::{CloseReason, ConnectionId, Evidence, Failure};
use crate::sst::metadata::{Metadata, MetadataFile};
use crate::sst::sniff::Layer;

/// What the conversation wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Read this connection once; answer with `Received` or `Ended`.
    Read {
        /// The connection.
        connection: ConnectionId,
    },
    /// Do the TLS handshake as the server; what it yields is read like a new connection.
    StartTls {
        /// The connection.
        connection: ConnectionId,
        /// Bytes read so far, to be replayed.
        head: Bytes,
    },
    /// Take a layer off from its beginning; what that yields is read like a new connection.
    Unwrap {
        /// The connection.
        connection: ConnectionId,
        /// What the donor put around its archive.
        wrapper: Wrapper,
        /// Bytes read so far, to be replayed.
        head: Bytes,
    },
    /// Close a connection. Nothing more will be said about it.
    Close {
        /// The connection.
        connection: ConnectionId,
        /// Why, for the log.
        reason: CloseReason,
    },
    /// Conn 1 was read.
    Metadata(Box<Metadata>),
    /// The donor's keyring came in a connection of its own (PXC before 5.7.22).
    Keyring(Vec<MetadataFile>),
    /// Hand this connection to the pipeline.
    StartArchive {
        /// The connection.
        connection: ConnectionId,
        /// Bytes read so far, to be replayed.
        head: Bytes,
    },
    /// The conversation is over. Last output.
    Ended(Result<Evidence, Failure>),
}

/// What a donor puts around its archive, and who takes it off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrapper {
    /// A layer that is known by its first bytes.
    Known(Layer),
    /// A compressor that the operator's command undoes.
    Command,
}
