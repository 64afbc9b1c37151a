//! Captured traffic into what it says: one record per message, names for UUIDs, views as they change.
//!
//! ```text
//!  segments ─▶ dissector ─▶ records ─▶ follow ─▶ filter ─▶ text, JSON, HTML
//!              (per link)              (names, views, statuses)
//! ```
//!
//! What the bytes of a message are stands in [`galera_protocol::describe`]; this module finds the
//! messages in streams that may begin in the middle and have gaps, and tells them to people.

pub mod dissector;
pub mod filter;
pub mod follow;
pub mod html;
pub mod json;
pub mod link;
pub mod lua;
pub mod text;
pub mod tls;

use std::fmt;
use std::net::SocketAddr;

use bytes::Bytes;
use galera_protocol::describe::{Description, Layer};

use crate::capture::Timestamp;

pub use dissector::Dissector;
pub use filter::Filter;
pub use follow::{Follow, Note};

/// Something that happened on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Counted from 1.
    pub number: u64,
    /// When its last byte was captured.
    pub time: Timestamp,
    /// Who sent it.
    pub from: SocketAddr,
    /// To whom.
    pub to: SocketAddr,
    /// What it was.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A frame of the group's protocol.
    Frame {
        /// From its net header on.
        bytes: Bytes,
        /// What is in it.
        description: Description,
    },
    /// Something about the connection itself.
    Link(LinkEvent),
    /// A part of a state transfer.
    Sst(SstEvent),
}

/// What can happen to a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkEvent {
    /// It was opened.
    Opened,
    /// The sender ended it.
    Ended,
    /// The sender broke it.
    Reset,
    /// Bytes are missing in the capture.
    Gap(u64),
    /// From here on it is TLS, and cannot be read.
    Tls,
    /// Bytes that are no frame; after them another one was looked for.
    Unreadable(u64),
}

/// What can happen to a state transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SstEvent {
    /// A stream begins.
    Began(&'static str),
    /// A file of it is complete.
    File {
        /// Its name.
        path: String,
        /// Its size in bytes.
        size: u64,
    },
    /// The stream is damaged, or bytes of it were not captured.
    Damaged(String),
    /// It is over.
    Ended {
        /// Bytes of the stream.
        bytes: u64,
        /// Complete files.
        files: u64,
    },
}

impl Record {
    /// The innermost layer, for filters: `gmcast`, `evs`, `pc`, `gcs`, `link` or `sst`.
    pub fn layer(&self) -> &'static str {
        match &self.what {
            What::Frame { description, .. } => {
                description.sections.last().map_or(Layer::Frame, |section| section.layer).name()
            }
            What::Link(_) => "link",
            What::Sst(_) => "sst",
        }
    }

    /// The type of its innermost message.
    pub fn kind(&self) -> &'static str {
        match &self.what {
            What::Frame { description, .. } => {
                description.sections.last().map_or("FRAME", |section| section.kind)
            }
            What::Link(event) => event.kind(),
            What::Sst(event) => event.kind(),
        }
    }
}

impl LinkEvent {
    fn kind(&self) -> &'static str {
        match self {
            Self::Opened => "OPENED",
            Self::Ended => "ENDED",
            Self::Reset => "RESET",
            Self::Gap(_) => "GAP_IN_CAPTURE",
            Self::Tls => "TLS",
            Self::Unreadable(_) => "UNREADABLE",
        }
    }
}

impl SstEvent {
    fn kind(&self) -> &'static str {
        match self {
            Self::Began(_) => "BEGAN",
            Self::File { .. } => "FILE",
            Self::Damaged(_) => "DAMAGED",
            Self::Ended { .. } => "ENDED",
        }
    }
}

impl fmt::Display for LinkEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened => f.write_str("connection opened"),
            Self::Ended => f.write_str("connection ended"),
            Self::Reset => f.write_str("connection reset"),
            Self::Gap(bytes) => write!(f, "{bytes} bytes were not captured"),
            Self::Tls => f.write_str("TLS: what follows cannot be read"),
            Self::Unreadable(bytes) => write!(f, "{bytes} bytes that are no frame"),
        }
    }
}

impl fmt::Display for SstEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Began(format) => write!(f, "state transfer begins: {format}"),
            Self::File { path, size } => write!(f, "file {path}, {size} bytes"),
            Self::Damaged(why) => write!(f, "stream damaged: {why}"),
            Self::Ended { bytes, files } => {
                write!(f, "state transfer connection over: {bytes} bytes, {files} files")
            }
        }
    }
}
