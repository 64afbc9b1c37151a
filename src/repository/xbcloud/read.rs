//! Reads chunks: ranges of objects fetched ahead, in the order of the files, each object checked.
//!
//! Memory is the ranges ahead, whatever the size of a chunk: its writer chose that.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use galera_protocol::xbstream::EntryPath;
use md5::{Digest as _, Md5};

use super::chunk::check_head;
use super::name::chunk_name;
use super::reader::ChunkedBackup;
use super::sums::Md5Sum;
use crate::repository::error::{Fault, RepositoryError};

/// Size of what is read at once.
const RANGE_BYTES: u64 = 2 << 20;

/// Ranges that are read ahead; ends of files are ranges of their own, so many are tiny.
pub(super) const RANGES_AHEAD: usize = 16;

/// A part of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    /// Number of the file in the listing.
    pub(super) file: usize,
    pub(super) index: u64,
    pub(super) range: Range<u64>,
    /// Nothing of the chunk follows.
    pub(super) ends_chunk: bool,
    /// Nothing of the file follows.
    pub(super) ends_file: bool,
}

/// The parts of some files, in order.
#[derive(Debug)]
pub(super) struct Segments {
    backup: ChunkedBackup,
    files: Range<usize>,
    index: usize,
    offset: u64,
}

impl Segments {
    pub(super) fn of_all(backup: &ChunkedBackup) -> Self {
        Self::of(backup, 0..backup.listing().files.len())
    }

    pub(super) fn of(backup: &ChunkedBackup, files: Range<usize>) -> Self {
        Self { backup: backup.clone(), files, index: 0, offset: 0 }
    }
}

impl Iterator for Segments {
    type Item = Segment;

    fn next(&mut self) -> Option<Segment> {
        loop {
            let file = self.files.start;
            if self.files.is_empty() {
                return None;
            }
            let chunks = &self.backup.inner.listing.files[file].chunks;
            let Some(&size) = chunks.get(self.index) else {
                (self.files.start, self.index) = (file + 1, 0);
                continue;
            };
            let range = self.offset..size.min(self.offset + RANGE_BYTES);
            let (index, ends_chunk) = (self.index, range.end == size);
            let ends_file = ends_chunk && index + 1 == chunks.len();
            self.offset = if ends_chunk { 0 } else { range.end };
            self.index += usize::from(ends_chunk);
            return Some(Segment { file, index: index as u64, range, ends_chunk, ends_file });
        }
    }
}

/// A part of a chunk, or why there is none.
pub(super) type Fetched = (Segment, Result<Bytes, RepositoryError>);

/// Fetches parts ahead.
pub(super) fn fetch(
    backup: &ChunkedBackup,
    segments: Segments,
    ahead: usize,
) -> impl Stream<Item = Fetched> + Send + use<> {
    let backup = backup.clone();
    let fetches = stream::iter(segments).map(move |segment| {
        let backup = backup.clone();
        async move {
            let bytes = backup.read_segment(&segment).await;
            (segment, bytes)
        }
    });
    fetches.buffered(ahead.max(1))
}

impl ChunkedBackup {
    async fn read_segment(&self, segment: &Segment) -> Result<Bytes, RepositoryError> {
        let name = self.object(&self.chunk_name(segment));
        let expected = segment.range.end - segment.range.start;
        let bytes = self.store.read_range(&name, segment.range.clone()).await?;
        match bytes.len() as u64 {
            found if found == expected => Ok(bytes),
            found => Err(RepositoryError::damaged(name, Fault::Size { expected, found })),
        }
    }

    pub(super) fn path(&self, file: usize) -> &EntryPath {
        &self.inner.listing.files[file].path
    }

    fn chunk_name(&self, segment: &Segment) -> String {
        chunk_name(&self.path(segment.file).to_string(), segment.index)
    }
}

/// Checks objects as they pass: that each is the chunk that its name says, and its sum.
#[derive(Debug)]
pub(super) struct Checker {
    backup: ChunkedBackup,
    md5: Md5,
}

impl Checker {
    pub(super) fn new(backup: &ChunkedBackup) -> Self {
        Self { backup: backup.clone(), md5: Md5::new() }
    }

    /// Looks at the next part of an object.
    pub(super) async fn take(
        &mut self,
        segment: &Segment,
        bytes: &Bytes,
    ) -> Result<(), RepositoryError> {
        let file = &self.backup.listing().files[segment.file];
        let damaged = |fault| {
            RepositoryError::damaged(self.backup.object(&self.backup.chunk_name(segment)), fault)
        };
        if segment.range.start == 0 {
            self.md5 = Md5::new();
            let is_last = segment.index + 1 == file.chunks.len() as u64;
            check_head(bytes, &file.path, is_last).map_err(damaged)?;
        }
        let Some(expected) = self.backup.sum(file, segment.index) else { return Ok(()) };
        self.md5 = digest(core::mem::take(&mut self.md5), bytes.clone()).await?;
        if segment.ends_chunk {
            let found: Md5Sum = core::mem::take(&mut self.md5).finalize().into();
            if found != expected {
                return Err(damaged(Fault::Hash));
            }
        }
        Ok(())
    }
}

/// Small parts are not worth a thread.
const INLINE_BYTES: usize = 32 << 10;

async fn digest(mut md5: Md5, bytes: Bytes) -> Result<Md5, RepositoryError> {
    if bytes.len() <= INLINE_BYTES {
        md5.update(&bytes);
        return Ok(md5);
    }
    let digested = tokio::task::spawn_blocking(move || {
        md5.update(&bytes);
        md5
    });
    digested.await.map_err(|_| RepositoryError::WorkerLost)
}

impl ChunkedBackup {
    /// The whole backup as one stream, every object checked before it is handed on.
    ///
    /// It holds at most a few parts of 2 MiB. The stream's own checksums are its reader's to check.
    pub fn stream(&self) -> impl Stream<Item = Result<Bytes, RepositoryError>> + Send + use<> {
        self.stream_of(Segments::of_all(self))
    }

    /// Some of its files as a stream.
    pub(super) fn stream_of(
        &self,
        segments: Segments,
    ) -> impl Stream<Item = Result<Bytes, RepositoryError>> + Send + use<> {
        let fetched = Box::pin(fetch(self, segments, RANGES_AHEAD));
        stream::try_unfold((fetched, Checker::new(self)), |(mut fetched, mut checker)| async {
            let Some((segment, bytes)) = fetched.next().await else { return Ok(None) };
            let bytes = bytes?;
            checker.take(&segment, &bytes).await?;
            Ok(Some((bytes, (fetched, checker))))
        })
    }

    /// An error if list of sums and listing disagree, or a file has a gap.
    pub(crate) fn refuse_damaged(&self) -> Result<(), RepositoryError> {
        let fault = self.listing().first_damage();
        let unlisted = || Some((self.inner.unlisted().first()?.to_string(), Fault::Listed));
        match fault.or_else(unlisted) {
            Some((path, fault)) => Err(RepositoryError::damaged(self.object(&path), fault)),
            None => Ok(()),
        }
    }
}
