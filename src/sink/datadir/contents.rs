//! The files of a data directory, in a directory that somebody else publishes or removes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use galera_protocol::xbstream::EntryPath;

use super::tree::Tree;
use super::writer::{FileWriter, Writers};
use crate::pipeline::manifest::Manifest;
use crate::sink::{Cursor, Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile, blocking};

/// Fills a directory.
#[derive(Debug)]
pub(crate) struct Contents {
    root: PathBuf,
    tree: Arc<Mutex<Tree>>,
    writers: Writers,
    stored_bytes: Arc<AtomicU64>,
    sync: bool,
}

impl Contents {
    /// Fills the directory that `tree` is of, and that errors call `root`.
    pub(super) fn new(root: &Path, tree: Tree, sync: bool) -> Self {
        Self {
            root: root.to_path_buf(),
            tree: Arc::new(Mutex::new(tree)),
            writers: Writers::start(root, sync),
            stored_bytes: Arc::default(),
            sync,
        }
    }

    /// Fills an empty directory.
    pub(crate) fn below(root: &Path, sync: bool) -> io::Result<Self> {
        Ok(Self::new(root, Tree::new(File::open(root)?.into()), sync))
    }

    /// Waits until all finished files are written, and synced if asked for.
    pub(crate) async fn flush(&self) -> Result<(), SinkError> {
        self.writers.drain().await
    }

    /// What is still queued is not written.
    pub(super) fn stop(&self) {
        self.writers.stop();
    }

    pub(super) fn stored_bytes(&self) -> u64 {
        self.stored_bytes.load(Ordering::Relaxed)
    }

    pub(super) fn sync_directories(&self) -> io::Result<()> {
        if self.sync { self.lock().sync_directories() } else { Ok(()) }
    }

    pub(super) fn write_small(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let path = EntryPath::parse(name.as_bytes()).map_err(io::Error::other)?;
        let mut file = self.lock().create(&path)?;
        file.write_all(content)?;
        if self.sync { file.sync_all() } else { Ok(()) }
    }

    /// The lock only keeps threads apart; a tree is whole after every call.
    fn lock(&self) -> std::sync::MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As [`Sink::create`], but fails if there is a file of that name.
    pub(super) async fn create_new(&mut self, entry: &Entry) -> Result<DatadirFile, SinkError> {
        let path = entry.path.clone();
        let file = self.change(&entry.path, move |tree| tree.create_new(&path)).await?;
        Ok(self.open(file, entry))
    }

    /// Takes a name that nobody has.
    pub(super) async fn claim(&self, path: &EntryPath) -> Result<(), SinkError> {
        let claimed = path.clone();
        self.change(path, move |tree| tree.create_new(&claimed).map(drop)).await
    }

    /// Removes files, and the directories that were made for them.
    pub(super) async fn take_back(&self, paths: BTreeSet<EntryPath>) -> Result<(), SinkError> {
        let Some(first) = paths.first().cloned() else { return Ok(()) };
        let take_back = move |tree: &mut Tree| {
            paths.iter().try_for_each(|path| tree.remove(path))?;
            tree.remove_directories()
        };
        self.change(&first, take_back).await
    }

    fn open(&mut self, file: File, entry: &Entry) -> DatadirFile {
        let writer = self.writers.open(file, &entry.path);
        DatadirFile::new(writer, Arc::clone(&self.stored_bytes))
    }

    /// Runs a change of names beside the runtime; what it is about names it in an error.
    async fn change<T: Send + 'static>(
        &self,
        about: &EntryPath,
        change: impl FnOnce(&mut Tree) -> io::Result<T> + Send + 'static,
    ) -> Result<T, SinkError> {
        let tree = Arc::clone(&self.tree);
        let changed =
            blocking(move || change(&mut tree.lock().unwrap_or_else(PoisonError::into_inner)));
        changed.await.map_err(|source| self.write_error(about, source))
    }

    fn write_error(&self, path: &EntryPath, source: io::Error) -> SinkError {
        SinkError::Write { target: format!("{}/{path}", self.root.display()), source }
    }
}

/// As a sink of its own it commits nothing and takes nothing back: that is for the directory's owner.
impl Sink for Contents {
    type File = DatadirFile;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    async fn create(&mut self, entry: &Entry) -> Result<DatadirFile, SinkError> {
        let path = entry.path.clone();
        let file = self.change(&entry.path, move |tree| tree.create(&path)).await?;
        Ok(self.open(file, entry))
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        let (old, new) = (from.clone(), to.clone());
        self.change(from, move |tree| tree.rename(&old, &new)).await
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        let gone = path.clone();
        self.change(path, move |tree| tree.remove(&gone)).await
    }

    async fn commit(self, _: Manifest) -> Result<Receipt, SinkError> {
        self.flush().await?;
        Ok(Receipt::new(self.root.display().to_string(), self.stored_bytes()))
    }

    async fn abort(self) {
        self.stop();
    }
}

/// A file of a data directory.
#[derive(Debug)]
pub struct DatadirFile {
    writer: FileWriter,
    stored_bytes: Arc<AtomicU64>,
    cursor: Cursor,
}

impl SinkFile for DatadirFile {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        let offset = self.cursor.pass(&piece);
        match piece {
            Piece::Data(bytes) => {
                self.stored_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                self.writer.write(offset, bytes).await
            }
            Piece::Hole(_) | Piece::Seek(_) => Ok(()),
        }
    }

    async fn finish(self) -> Result<(), SinkError> {
        self.writer.finish(self.cursor.size()).await
    }
}

impl DatadirFile {
    fn new(writer: FileWriter, stored_bytes: Arc<AtomicU64>) -> Self {
        Self { writer, stored_bytes, cursor: Cursor::default() }
    }
}
