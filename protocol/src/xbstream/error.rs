//! Why a stream is refused: which chunk, which file, what is wrong.

use super::path::{EntryPath, PathError};
use crate::decode::Problem;

/// A stream that cannot be a backup. Nothing after it is read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("xbstream chunk at byte {chunk_offset}{}: {fault}", of_file(self.path.as_ref()))]
pub struct StreamError {
    /// Where the chunk starts in the stream.
    pub chunk_offset: u64,
    /// The file it belongs to, once its name was read and accepted.
    pub path: Option<EntryPath>,
    /// What is wrong.
    pub fault: Fault,
}

fn of_file(path: Option<&EntryPath>) -> String {
    path.map(|path| format!(" (file {path})")).unwrap_or_default()
}

/// What can be wrong with a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A header's field is malformed: wrong magic, or a name that is too long.
    #[error("malformed header, {field}: {problem}")]
    Header {
        /// The field.
        field: &'static str,
        /// What is wrong with it.
        problem: Problem,
    },
    /// A type that this reader does not know, without leave to skip it.
    #[error("unknown chunk type {0:#04x}")]
    UnknownType(u8),
    /// A name that must not be used.
    #[error("unsafe name: {0}")]
    Path(#[from] PathError),
    /// A payload over the configured limit.
    #[error("payload of {length} bytes is over the limit of {limit}")]
    PayloadTooLarge {
        /// What the header claims.
        length: u64,
        /// What is allowed.
        limit: u64,
    },
    /// A chunk does not continue its file.
    #[error("offset {found} where {expected} was due")]
    Offset {
        /// Where the file's bytes so far end.
        expected: u64,
        /// What the header says.
        found: u64,
    },
    /// A file would be larger than any file can be.
    #[error("file offset out of range")]
    OffsetRange,
    /// The payload is not what was sent.
    #[error("checksum {found:08x} where {expected:08x} was sent")]
    Checksum {
        /// What the header says.
        expected: u32,
        /// What the bytes give.
        found: u32,
    },
    /// A sparse map without entries, with too many, or whose runs are not the payload.
    #[error("sparse map does not fit its payload")]
    SparseMap,
    /// A finished file appears again without the flag that allows it.
    #[error("the file was complete already")]
    Duplicate,
    /// One name would be a file and a directory.
    #[error("the name is both a file and a directory")]
    NameConflict,
    /// A file that is not complete is renamed, replaced or removed.
    #[error("renamed or removed before its end")]
    StillOpen,
    /// More files open at once than a backup tool could hold.
    #[error("more than {0} files open at once")]
    TooManyOpen(usize),
    /// More files than this reader keeps names of.
    #[error("more than {0} files")]
    TooManyFiles(usize),
    /// The stream ends inside a chunk.
    #[error("the stream ends inside the chunk")]
    Truncated,
    /// The stream ends between chunks, but files are not complete.
    #[error("the stream ends with {count} files incomplete")]
    OpenAtEnd {
        /// How many; the error's path is the first of them.
        count: usize,
    },
}

impl Fault {
    /// True if nothing is wrong but that the stream ended: that is how a part of a stream looks.
    pub const fn is_early_end(&self) -> bool {
        matches!(self, Self::Truncated | Self::OpenAtEnd { .. })
    }
}
