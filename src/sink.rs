//! Where a backup goes: the trait, and one backend per file.
//!
//! The stream that feeds a sink has no end mark. `commit` is reached only when every file was
//! closed, every checksum was right and the group said that the transfer succeeded; everything else
//! ends in `abort`, after which nothing that looks like a backup may be visible. `Drop` does no IO.

pub mod any;
pub mod copies;
mod cursor;
pub mod datadir;
pub mod discard;
pub mod raw;
mod spool;
pub mod spooled;
pub mod tar;
pub mod unpacked;

pub(crate) use cursor::Cursor;

use std::future::Future;

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;

use crate::pipeline::manifest::Manifest;

/// What a sink asks of the stream that feeds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// It wants the stream as the donor sent it, by [`Sink::stream`], and no files.
    pub stream_as_sent: bool,
    /// With `stream_as_sent`: it wants the files as well.
    pub files_as_well: bool,
}

/// A file that appeared in the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it lies below the data directory: relative, without `..`.
    pub path: EntryPath,
    /// Its size in bytes, where the stream's reader knows it (after spooling).
    pub size: Option<u64>,
}

/// The next part of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Bytes at the current position, which they advance.
    Data(Bytes),
    /// That many zero bytes that were never written at the donor.
    Hole(u64),
    /// Moves the current position (MariaDB's seek chunk; later bytes may overwrite earlier ones).
    Seek(u64),
}

/// Takes the files of one backup.
pub trait Sink: Send {
    /// A file being written.
    type File: SinkFile;

    /// What it asks of the stream.
    fn needs(&self) -> Needs;

    /// Opens a file, replacing a finished one of that name. Several may be open at once.
    fn create(
        &mut self,
        entry: &Entry,
    ) -> impl Future<Output = Result<Self::File, SinkError>> + Send;

    /// Gives a finished file another name; one of that name is replaced, a missing source is not an
    /// error (MariaDB's rename chunk, spec 06 §1.8).
    fn rename(
        &mut self,
        from: &EntryPath,
        to: &EntryPath,
    ) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Removes a finished file; a missing one is not an error (spec 06 §1.9).
    fn remove(&mut self, path: &EntryPath) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Takes the next part of the stream, found good but not taken apart; only if `needs` asks for it.
    fn stream(&mut self, bytes: Bytes) -> impl Future<Output = Result<(), SinkError>> + Send {
        drop(bytes);
        async { Ok(()) }
    }

    /// Makes the backup visible, last and atomically.
    fn commit(self, manifest: Manifest) -> impl Future<Output = Result<Receipt, SinkError>> + Send;

    /// Takes back everything that was written.
    fn abort(self) -> impl Future<Output = ()> + Send;
}

/// One file of a [`Sink`].
pub trait SinkFile: Send {
    /// Appends. Waits while the backend is slow: that is how a slow sink slows the donor.
    ///
    /// Data is a slice of a read buffer of 1 MiB, which lives as long as the slice does: a file that
    /// keeps small pieces copies them.
    fn write(&mut self, piece: Piece) -> impl Future<Output = Result<(), SinkError>> + Send;

    /// Ends the file; its bytes are complete.
    fn finish(self) -> impl Future<Output = Result<(), SinkError>> + Send;
}

/// What `commit` made, for people and for `--output json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Where the backup is now, as a URL or path that `restore` takes.
    pub location: String,
    /// Bytes that the sink stored.
    pub stored_bytes: u64,
    /// The end of what a command said on its standard output.
    pub said: Option<String>,
    /// What became of each of several copies; empty where there was one.
    pub copies: Vec<CopyReport>,
}

impl Receipt {
    /// What a single sink made.
    pub fn new(location: impl Into<String>, stored_bytes: u64) -> Self {
        Self { location: location.into(), stored_bytes, said: None, copies: Vec::new() }
    }
}

/// What became of one of several copies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// Where it was to go, or where it is.
    pub location: String,
    /// Bytes that were stored; 0 for a failed copy.
    pub stored_bytes: u64,
    /// Why there is none.
    pub failure: Option<String>,
}

/// Why a sink failed.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The target cannot be made: it exists, or we may not write there.
    #[error("create {target}")]
    Create {
        /// What was to be made.
        target: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The target is there already and must not be touched.
    #[error("{target} already exists and is not empty")]
    Occupied {
        /// The target.
        target: String,
    },
    /// Fewer copies were made than asked for.
    #[error("{} of {} copies failed: {failed}{}", .failures, .copies, complete(.made))]
    Copies {
        /// How many failed.
        failures: usize,
        /// Of so many.
        copies: usize,
        /// Which, and why.
        failed: String,
        /// Where the complete ones are.
        made: Vec<String>,
    },
    /// A member is not what its suffix says, or was packed with another key.
    #[error("unpack {path}")]
    Member {
        /// Its name in the stream.
        path: String,
        /// What is wrong.
        #[source]
        source: crate::unpack::UnpackError,
    },
    /// Two members would have the same plain name.
    #[error("{first} and {second} would be the same file")]
    SameName {
        /// The name that came first.
        first: String,
        /// The other.
        second: String,
    },
    /// Writing failed half-way.
    #[error("write {target}")]
    Write {
        /// What was being written.
        target: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
}

fn complete(made: &[String]) -> String {
    if made.is_empty() { String::new() } else { format!("; complete: {}", made.join(", ")) }
}

/// Runs file system calls beside the runtime.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        // A panic goes on here; nothing else ends a task that somebody waits for.
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
