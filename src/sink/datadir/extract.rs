//! Files of a stream into a directory that exists already, as `mbstream -x` does: nothing is renamed
//! into place, and what was there before is never touched.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use galera_protocol::xbstream::EntryPath;
use rustix::fs::{Mode, OFlags};

use super::tree::Tree;
use super::writer::Writers;
use super::{DatadirFile, create_error};
use crate::pipeline::manifest::Manifest;
use crate::sink::{Entry, Needs, Receipt, Sink, SinkError, blocking};

/// How to extract.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtractOptions {
    /// The directory; it must exist.
    pub target: PathBuf,
    /// Whether files and directories are on stable storage in the end.
    pub sync: bool,
    /// Whether what was extracted stays there if the stream turns out to be bad.
    pub keep_on_failure: bool,
}

/// Extracts into a directory.
#[derive(Debug)]
pub struct Extract {
    options: ExtractOptions,
    tree: Arc<Mutex<Tree>>,
    writers: Writers,
    /// The files that are ours, and so may be replaced.
    made: BTreeSet<EntryPath>,
    stored_bytes: Arc<std::sync::atomic::AtomicU64>,
    tell: fn(&EntryPath),
}

impl Extract {
    /// Opens the directory.
    pub fn open(options: ExtractOptions) -> Result<Self, SinkError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&options.target, flags, Mode::empty())
            .map_err(|errno| create_error(&options.target, errno.into()))?;
        Ok(Self {
            writers: Writers::start(&options.target, options.sync),
            tree: Arc::new(Mutex::new(Tree::new(root))),
            made: BTreeSet::new(),
            stored_bytes: Arc::default(),
            tell: |_| {},
            options,
        })
    }

    /// Has somebody told of each file that is opened.
    pub fn tell(&mut self, listener: fn(&EntryPath)) {
        self.tell = listener;
    }

    /// Waits until everything is written, and synced if asked for.
    pub async fn finish(self) -> Result<(), SinkError> {
        self.writers.drain().await?;
        if !self.options.sync {
            return Ok(());
        }
        let target = self.options.target.clone();
        self.change(&target, Tree::sync_directories).await
    }

    async fn change<T: Send + 'static>(
        &self,
        about: &Path,
        change: impl FnOnce(&mut Tree) -> io::Result<T> + Send + 'static,
    ) -> Result<T, SinkError> {
        let tree = Arc::clone(&self.tree);
        let changed = blocking(move || {
            // The lock only keeps threads apart; a tree is whole after every call.
            change(&mut tree.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let target = about.display().to_string();
        changed.await.map_err(|source| SinkError::Write { target, source })
    }

    fn path(&self, path: &EntryPath) -> PathBuf {
        self.options.target.join(path.to_string())
    }
}

impl Sink for Extract {
    type File = DatadirFile;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    async fn create(&mut self, entry: &Entry) -> Result<DatadirFile, SinkError> {
        let (path, target) = (entry.path.clone(), self.path(&entry.path));
        let is_ours = self.made.contains(&path);
        let create = move |tree: &mut Tree| {
            if is_ours { tree.create(&path) } else { tree.create_new(&path) }
        };
        let file = self.change(&target, create).await?;
        (self.tell)(&entry.path);
        self.made.insert(entry.path.clone());
        let writer = self.writers.open(file, &entry.path);
        Ok(DatadirFile::new(writer, Arc::clone(&self.stored_bytes)))
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        let target = self.path(to);
        if !self.made.contains(to) {
            // Claims the name, so that nothing of somebody else's is replaced.
            let claimed = to.clone();
            self.change(&target, move |tree| tree.create_new(&claimed)).await?;
        }
        let (old, new) = (from.clone(), to.clone());
        self.change(&target, move |tree| tree.rename(&old, &new)).await?;
        self.made.remove(from);
        self.made.insert(to.clone());
        Ok(())
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        if !self.made.remove(path) {
            return Ok(());
        }
        let (target, gone) = (self.path(path), path.clone());
        self.change(&target, move |tree| tree.remove(&gone)).await
    }

    async fn commit(self, _: Manifest) -> Result<Receipt, SinkError> {
        let location = self.options.target.display().to_string();
        let stored_bytes = self.stored_bytes.load(std::sync::atomic::Ordering::Relaxed);
        self.finish().await?;
        Ok(Receipt::new(location, stored_bytes))
    }

    async fn abort(self) {
        if self.options.keep_on_failure {
            // What arrived is written out; an error is not worse than the one that brought us here.
            let _ = self.writers.drain().await;
            return;
        }
        self.writers.stop();
        let (made, target) = (self.made.clone(), self.options.target.clone());
        let removed = self.change(&target, move |tree| {
            for path in &made {
                tree.remove(path)?;
            }
            tree.remove_directories()
        });
        if let Err(error) = removed.await {
            tracing::warn!(%error, "remove what was extracted");
        }
    }
}
