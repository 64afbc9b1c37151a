//! Files of a stream into a directory that exists already, as `mbstream -x` does: nothing is renamed
//! into place, and what was there before is never touched.

use std::collections::BTreeSet;
use std::path::PathBuf;

use galera_protocol::xbstream::EntryPath;
use rustix::fs::{Mode, OFlags};

use super::contents::Contents;
use super::tree::Tree;
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
    contents: Contents,
    /// The files that are ours, and so may be replaced.
    made: BTreeSet<EntryPath>,
    tell: fn(&EntryPath),
}

impl Extract {
    /// Opens the directory.
    pub fn open(options: ExtractOptions) -> Result<Self, SinkError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(&options.target, flags, Mode::empty())
            .map_err(|errno| create_error(&options.target, errno.into()))?;
        let contents = Contents::new(&options.target, Tree::new(root), options.sync);
        Ok(Self { options, contents, made: BTreeSet::new(), tell: |_| {} })
    }

    /// Has somebody told of each file that is opened.
    pub fn tell(&mut self, listener: fn(&EntryPath)) {
        self.tell = listener;
    }

    /// Waits until everything is written, and synced if asked for.
    pub async fn finish(self) -> Result<(), SinkError> {
        self.contents.flush().await?;
        let target = self.options.target.display().to_string();
        let synced = blocking(move || self.contents.sync_directories()).await;
        synced.map_err(|source| SinkError::Write { target, source })
    }
}

impl Sink for Extract {
    type File = DatadirFile;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    async fn create(&mut self, entry: &Entry) -> Result<DatadirFile, SinkError> {
        let file = if self.made.contains(&entry.path) {
            self.contents.create(entry).await?
        } else {
            self.contents.create_new(entry).await?
        };
        (self.tell)(&entry.path);
        self.made.insert(entry.path.clone());
        Ok(file)
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        if !self.made.contains(to) {
            // So that nothing of somebody else's is replaced.
            self.contents.claim(to).await?;
        }
        self.contents.rename(from, to).await?;
        self.made.remove(from);
        self.made.insert(to.clone());
        Ok(())
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        if self.made.remove(path) { self.contents.remove(path).await } else { Ok(()) }
    }

    async fn commit(self, _: Manifest) -> Result<Receipt, SinkError> {
        let location = self.options.target.display().to_string();
        let stored_bytes = self.contents.stored_bytes();
        self.finish().await?;
        Ok(Receipt::new(location, stored_bytes))
    }

    async fn abort(self) {
        if self.options.keep_on_failure {
            // What arrived is written out; an error is not worse than the one that brought us here.
            let _ = self.contents.flush().await;
            return;
        }
        self.contents.stop();
        if let Err(error) = self.contents.take_back(self.made).await {
            tracing::warn!(%error, "remove what was extracted");
        }
    }
}
