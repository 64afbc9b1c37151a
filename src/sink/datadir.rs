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

mod extract;
mod grastate;
mod place;
mod tree;
mod writer;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use galera_protocol::xbstream::EntryPath;

use super::{Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile, blocking};
use crate::pipeline::manifest::Manifest;
use place::Place;
use tree::Tree;
use writer::{FileWriter, Writers};

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
    tree: Arc<Mutex<Tree>>,
    writers: Writers,
    stored_bytes: Arc<AtomicU64>,
    sync: bool,
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
        Ok(Self {
            writers: Writers::start(place.building(), options.sync),
            place,
            tree: Arc::new(Mutex::new(tree)),
            stored_bytes: Arc::default(),
            sync: options.sync,
        })
    }

    /// Waits until all finished files are written, and synced if asked for. What fails later than here
    /// is only names.
    pub async fn flush(&self) -> Result<(), SinkError> {
        self.writers.drain().await
    }

    /// Runs a change of names beside the runtime; what it is about names it in an error.
    async fn change<T: Send + 'static>(
        &self,
        about: &EntryPath,
        change: impl FnOnce(&mut Tree) -> io::Result<T> + Send + 'static,
    ) -> Result<T, SinkError> {
        let tree = Arc::clone(&self.tree);
        let changed = blocking(move || {
            // The lock only keeps threads apart; a tree is whole after every call.
            change(&mut tree.lock().unwrap_or_else(PoisonError::into_inner))
        });
        changed.await.map_err(|source| self.write_error(about, source))
    }

    fn write_error(&self, path: &EntryPath, source: io::Error) -> SinkError {
        SinkError::Write { target: format!("{}/{path}", self.place.building().display()), source }
    }

    fn finish(&self, manifest: &Manifest) -> Result<(), SinkError> {
        let write_error = |source| SinkError::Write {
            target: self.place.building().display().to_string(),
            source,
        };
        let mut tree = self.tree.lock().unwrap_or_else(PoisonError::into_inner);
        self.write_last_files(&mut tree, manifest).map_err(write_error)?;
        if self.sync {
            tree.sync_directories().map_err(write_error)?;
        }
        self.place.publish().map_err(write_error)
    }

    fn write_last_files(&self, tree: &mut Tree, manifest: &Manifest) -> io::Result<()> {
        self.write_small(tree, MANIFEST_NAME, &manifest.encode()?)?;
        let uuid = manifest.state.uuid;
        let unprepared = Grastate { uuid, seqno: -1, safe_to_bootstrap: false };
        self.write_small(tree, Grastate::NAME, unprepared.to_string().as_bytes())
    }

    fn write_small(&self, tree: &mut Tree, name: &str, content: &[u8]) -> io::Result<()> {
        let path = EntryPath::parse(name.as_bytes()).map_err(io::Error::other)?;
        let mut file = tree.create(&path)?;
        file.write_all(content)?;
        if self.sync { file.sync_all() } else { Ok(()) }
    }
}

impl Sink for Datadir {
    type File = DatadirFile;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    async fn create(&mut self, entry: &Entry) -> Result<DatadirFile, SinkError> {
        let path = entry.path.clone();
        let file = self.change(&entry.path, move |tree| tree.create(&path)).await?;
        let writer = self.writers.open(file, &entry.path);
        Ok(DatadirFile::new(writer, Arc::clone(&self.stored_bytes)))
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        let (old, new) = (from.clone(), to.clone());
        self.change(from, move |tree| tree.rename(&old, &new)).await
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        let gone = path.clone();
        self.change(path, move |tree| tree.remove(&gone)).await
    }

    async fn commit(self, manifest: Manifest) -> Result<Receipt, SinkError> {
        let written = self.writers.drain().await;
        blocking(move || match written.and_then(|()| self.finish(&manifest)) {
            Ok(()) => Ok(Receipt {
                location: format!("datadir:{}", self.place.target().display()),
                stored_bytes: self.stored_bytes.load(Ordering::Relaxed),
            }),
            Err(error) => {
                self.place.discard();
                Err(error)
            }
        })
        .await
    }

    async fn abort(self) {
        self.writers.stop();
        blocking(move || self.place.discard()).await;
    }
}

/// A file of a data directory.
#[derive(Debug)]
pub struct DatadirFile {
    writer: FileWriter,
    stored_bytes: Arc<AtomicU64>,
    position: u64,
    size: u64,
}

impl SinkFile for DatadirFile {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        match piece {
            Piece::Data(bytes) => {
                let (offset, length) = (self.position, bytes.len() as u64);
                self.advance(length);
                self.stored_bytes.fetch_add(length, Ordering::Relaxed);
                self.writer.write(offset, bytes).await
            }
            Piece::Hole(length) => {
                self.advance(length);
                Ok(())
            }
            Piece::Seek(offset) => {
                self.position = offset;
                Ok(())
            }
        }
    }

    async fn finish(self) -> Result<(), SinkError> {
        self.writer.finish(self.size).await
    }
}

impl DatadirFile {
    fn new(writer: FileWriter, stored_bytes: Arc<AtomicU64>) -> Self {
        Self { writer, stored_bytes, position: 0, size: 0 }
    }

    /// A seek alone does not make a file longer, a hole does.
    fn advance(&mut self, length: u64) {
        self.position = self.position.saturating_add(length);
        self.size = self.size.max(self.position);
    }
}

fn create_error(target: &Path, source: io::Error) -> SinkError {
    SinkError::Create { target: target.display().to_string(), source }
}
