//! The files of a stream as they come, for the summary.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use galera_protocol::xbstream::completeness::{self, KEPT_BYTES_MAX};
use galera_protocol::xbstream::{EntryPath, Event, FileId};

use super::hash::Content;
use super::progress::Snapshot;
use super::summary::FileSummary;

/// Follows the events of a stream.
#[derive(Debug, Default)]
pub(super) struct Catalogue {
    pub(super) files: BTreeMap<EntryPath, FileSummary>,
    pub(super) about: BTreeMap<EntryPath, Bytes>,
    pub(super) data_bytes: u64,
    hash_files: bool,
    open: BTreeMap<FileId, OpenFile>,
    current: Option<FileId>,
    last_complete: Option<EntryPath>,
}

#[derive(Debug)]
struct OpenFile {
    path: EntryPath,
    content: Content,
    /// Content of a small file about the backup.
    about: Option<BytesMut>,
}

impl Catalogue {
    pub(super) fn new(hash_files: bool) -> Self {
        Self { hash_files, ..Self::default() }
    }

    /// Takes note of an event.
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Opened { file, path, .. } => self.open(*file, path),
            Event::Data { file, bytes } => self.write(*file, bytes),
            Event::Hole { file, length } => self.change(*file, |content| content.hole(*length)),
            Event::Seek { file, offset } => self.change(*file, |content| content.seek(*offset)),
            Event::Closed { file } => self.close(*file),
            Event::Renamed { from, to } => self.rename(from, to),
            Event::Removed { path } => self.remove(path),
        }
    }

    /// How far the stream is.
    pub(super) fn snapshot(&self, stream_bytes: u64) -> Snapshot {
        let current = self.current.and_then(|file| self.open.get(&file));
        Snapshot {
            stream_bytes,
            data_bytes: self.data_bytes,
            files_complete: self.files.len() as u64,
            files_open: self.open.len() as u64,
            current: current.map(|file| file.path.clone()),
            last_complete: self.last_complete.clone(),
        }
    }

    fn open(&mut self, file: FileId, path: &EntryPath) {
        // What it replaces is gone from now on.
        self.remove(path);
        let about = completeness::is_about_backup(path).then(BytesMut::new);
        let content = Content::new(self.hash_files);
        self.open.insert(file, OpenFile { path: path.clone(), content, about });
        self.current = Some(file);
    }

    fn write(&mut self, file: FileId, bytes: &[u8]) {
        self.data_bytes += bytes.len() as u64;
        self.current = Some(file);
        let Some(open) = self.open.get_mut(&file) else { return };
        open.content.write(bytes);
        open.about.take_if(|about| about.len() + bytes.len() > KEPT_BYTES_MAX);
        if let Some(about) = &mut open.about {
            about.extend_from_slice(bytes);
        }
    }

    /// A file with holes or seeks is none of the small texts about the backup.
    fn change(&mut self, file: FileId, change: impl FnOnce(&mut Content)) {
        if let Some(open) = self.open.get_mut(&file) {
            open.about = None;
            change(&mut open.content);
        }
    }

    fn close(&mut self, file: FileId) {
        let Some(OpenFile { path, content, about }) = self.open.remove(&file) else { return };
        let (size, hash) = content.finish();
        self.last_complete = Some(path.clone());
        if let Some(about) = about {
            self.about.insert(path.clone(), about.freeze());
        }
        self.files.insert(path, FileSummary { size, hash });
    }

    fn rename(&mut self, from: &EntryPath, to: &EntryPath) {
        self.about.remove(to);
        if let Some(summary) = self.files.remove(from) {
            self.files.insert(to.clone(), summary);
        }
        if let Some(about) = self.about.remove(from) {
            self.about.insert(to.clone(), about);
        }
    }

    fn remove(&mut self, path: &EntryPath) {
        self.files.remove(path);
        self.about.remove(path);
    }
}
