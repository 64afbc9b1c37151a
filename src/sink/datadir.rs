//! `datadir:DIR` — a data directory as the donor had it, not yet prepared.
//!
//! ```text
//!  DIR.partial/…files…   manifest   grastate.dat     fsync all     rename to DIR
//!  └─────── while the stream runs ───────┘└───────────── commit ─────────────┘
//! ```
//!
//! Nothing is ever at `DIR` but a whole backup. Where `DIR` is a mount point, nothing can be built
//! beside it: then `DIR/.partial` is filled and its content moved up at commit, `grastate.dat` last;
//! while `DIR/.partial` exists, `DIR` is no backup.
//!
//! Names come from a stranger, so every path is walked from a handle of the root, one component at a
//! time, without following links. Modes are set, not left to the umask. A file's pages are written by
//! one of a few threads and synced by another; an error there fails the next call, or the commit.
//!
//! Not here: preparing (replaying the redo log), and the position for `grastate.dat`, which only
//! preparing tells: until then its seqno is -1 and bootstrapping from it is refused.

mod contents;
mod extract;
mod grastate;
pub(crate) mod ground;
mod place;
mod tree;
mod writer;

use std::io;
use std::path::{Path, PathBuf};

use galera_protocol::xbstream::EntryPath;

use super::{Entry, Needs, Receipt, Sink, SinkError, blocking};
use crate::pipeline::manifest::Manifest;
use place::Place;

pub(crate) use contents::Contents;
pub use contents::DatadirFile;
pub use extract::{Extract, ExtractOptions};
pub use grastate::Grastate;

/// The manifest's name in the directory. Servers ignore files that they do not know.
pub const MANIFEST_NAME: &str = "galera-sst-manifest.json";

/// Mode of the directories.
const DIRECTORY_MODE: u32 = 0o750;

/// Mode of the files.
const FILE_MODE: u32 = 0o640;

/// How to make a data directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatadirOptions {
    /// Where it appears; must not exist, or be empty.
    pub target: PathBuf,
    /// Whether everything is on stable storage before the directory appears.
    pub sync: bool,
}

/// Builds a data directory.
#[derive(Debug)]
pub struct Datadir {
    place: Place,
    contents: Contents,
}

impl Datadir {
    /// Claims the target; fails if there is something, or if another process is building there.
    pub async fn create(options: DatadirOptions) -> Result<Self, SinkError> {
        let target = options.target.clone();
        let (place, tree) = blocking(move || {
            let place = Place::claim(&target)?;
            let tree = place.tree().map_err(|source| create_error(&target, source))?;
            Ok::<_, SinkError>((place, tree))
        })
        .await?;
        let contents = Contents::new(place.building(), tree, options.sync);
        Ok(Self { place, contents })
    }

    /// Waits until all finished files are written, and synced if asked for. What fails later than here
    /// is only names.
    pub async fn flush(&self) -> Result<(), SinkError> {
        self.contents.flush().await
    }

    fn finish(&self, manifest: &Manifest) -> Result<(), SinkError> {
        let write_error = |source| SinkError::Write {
            target: self.place.building().display().to_string(),
            source,
        };
        self.write_last_files(manifest).map_err(write_error)?;
        self.contents.sync_directories().map_err(write_error)?;
        self.place.publish().map_err(write_error)
    }

    fn write_last_files(&self, manifest: &Manifest) -> io::Result<()> {
        self.contents.write_small(MANIFEST_NAME, &manifest.encode()?)?;
        let uuid = manifest.state.uuid;
        let unprepared = Grastate { uuid, seqno: -1, safe_to_bootstrap: false };
        self.contents.write_small(Grastate::NAME, unprepared.to_string().as_bytes())
    }
}

impl Sink for Datadir {
    type File = DatadirFile;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    async fn create(&mut self, entry: &Entry) -> Result<DatadirFile, SinkError> {
        self.contents.create(entry).await
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        self.contents.rename(from, to).await
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        self.contents.remove(path).await
    }

    async fn commit(self, manifest: Manifest) -> Result<Receipt, SinkError> {
        let written = self.contents.flush().await;
        blocking(move || match written.and_then(|()| self.finish(&manifest)) {
            Ok(()) => Ok(Receipt::new(
                format!("datadir:{}", self.place.target().display()),
                self.contents.stored_bytes(),
            )),
            Err(error) => {
                self.place.discard();
                Err(error)
            }
        })
        .await
    }

    async fn abort(self) {
        self.contents.stop();
        blocking(move || self.place.discard()).await;
    }
}

fn create_error(target: &Path, source: io::Error) -> SinkError {
    SinkError::Create { target: target.display().to_string(), source }
}
