//! Layout `xbcloud`: what Percona's `xbcloud put` writes and `xbcloud get` reads (spec 06 §6).
//!
//! ```text
//! <backup>/<path>.00000000000000000000   a file's chunks as they stand in a stream, one object each,
//!         /<path>.00000000000000000001   numbered without gaps; the last one is the file's end
//! <backup>.md5                           MD5 of every chunk, if it was asked for
//! <backup>.sst_info/sst_info.0000…       the donor's first stream, for Percona's operator
//! ```
//!
//! All chunks one after the other, those of one file in order, are the backup's stream again.
//!
//! What [`ChunkedSink`] writes has in addition `started` while it is being written and `manifest.json`
//! at the end, which `xbcloud get` passes over: as in layout `packs`, the manifest makes the backup.
//! Backups of other programs have none. There, wholeness is judged from the names ([`listing`]), which
//! `xbcloud` itself does not do; what cannot be told from them, `verify` says.

mod cat;
mod chunk;
mod copy;
mod foreign;
mod listing;
mod name;
mod pending;
mod puts;
mod read;
mod reader;
mod sums;
mod verify;
mod writer;

pub(super) use copy::copy;
pub use foreign::Foreign;
pub(super) use name::{backup_of, first_stream_name, of_first_stream, sums_name};
pub use reader::{ChunkedBackup, Stored};
pub use writer::{ChunkConfig, ChunkedFile, ChunkedSink};

/// Name of the layout in the manifest.
const LAYOUT: &str = "xbcloud";
