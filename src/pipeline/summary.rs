//! What a stream was, once it arrived whole.

use std::collections::BTreeMap;

use bytes::Bytes;
use galera_protocol::xbstream::{Completeness, Dialect, EntryPath};

/// What a stream was.
#[derive(Clone, Debug)]
pub struct StreamSummary {
    /// Bytes of the stream.
    pub stream_bytes: u64,
    /// Bytes of file content that arrived.
    pub data_bytes: u64,
    /// The files that it made, by the names that they have at its end.
    pub files: BTreeMap<EntryPath, FileSummary>,
    /// Content of the small files about the backup itself.
    pub about: BTreeMap<EntryPath, Bytes>,
    /// Whose extensions of the format it used, if any.
    pub dialect: Option<Dialect>,
    /// Whether the files that close a backup are there.
    pub completeness: Completeness,
}

/// One file of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileSummary {
    /// Its size in bytes, holes included.
    pub size: u64,
    /// BLAKE3 of its content, holes read as zeros. None if not asked for, or if the stream overwrote
    /// bytes beyond the first 4 KiB, which no known tool does.
    pub hash: Option<blake3::Hash>,
}

impl StreamSummary {
    /// Sum of the sizes of all files.
    pub fn file_bytes(&self) -> u64 {
        self.files.values().map(|file| file.size).sum()
    }
}
