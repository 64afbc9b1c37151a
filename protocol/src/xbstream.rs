//! The xbstream container: chunk codec, push reader and what makes a backup stream complete (spec 06).
//!
//! A stream is a bare concatenation of chunks. Each carries the name of the file that it belongs to,
//! so files interleave freely; there is no header, no trailer and no end mark:
//!
//! ```text
//!  P ibdata1 0..10M | P db/t.ibd 0..10M | P ibdata1 10M..12M | E ibdata1 | P db/t.ibd … | E db/t.ibd
//! ```
//!
//! Percona and MariaDB extended the format in ways that exclude each other ([`Dialect`]).
//!
//! | module | does |
//! |---|---|
//! | [`chunk`] | chunk headers: parse and encode |
//! | [`reader`] | bytes in, events out: order, offsets, checksums, names |
//! | [`completeness`] | whether the files that close a backup are there |
//!
//! Not here: decompression, decryption, and what is done with the files.

pub mod chunk;
pub mod completeness;
mod error;
mod names;
mod path;
mod payload;
pub mod reader;
mod sparse;

pub use chunk::{Body, ChunkHeader, Dialect, Extent, Flags};
pub use completeness::{ClosingFile, ClosingFiles, Completeness, Expected, Flavour, Gap};
pub use error::{Fault, StreamError};
pub use names::{FILES_MAX, OPEN_FILES_MAX};
pub use path::{EntryPath, PATH_BYTES_MAX, PathError};
pub use reader::{Event, FileId, Reader, ReaderConfig};
