//! One file out of a backup, as a stream of bytes.
//!
//! Blocks are checked before a byte of them is given away. The file's own hash can only be known to be
//! wrong at the end, and then the stream ends with an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{Stream, stream};
use galera_protocol::xbstream::EntryPath;

use super::compress::{self, Lock};
use super::error::{Fault, RepositoryError};
use super::index::{Extent, FileRecord};
use super::pack;
use super::reader::{Backup, PackTable};
use crate::pipeline::manifest::Digest;

/// Zeros of a hole are given in pieces of this size.
const ZEROS: &[u8] = &[0; 64 << 10];

/// A part of a file, in its final order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Segment {
    Data { raw_offset: u64, length: u64 },
    Hole { length: u64 },
}

struct Cat {
    backup: Backup,
    record: FileRecord,
    /// What is still to be given, last first.
    segments: Vec<Segment>,
    table: Option<(usize, Arc<PackTable>)>,
    block: Option<Block>,
    /// Of the bytes given; none where extents overlap, for then it speaks of bytes that are not.
    hasher: Option<blake3::Hasher>,
}

/// A decompressed block.
struct Block {
    raw_offset: u64,
    raw: Bytes,
}

impl Backup {
    /// Reads one file, holes as zeros. Memory is one block and its pack's table.
    pub fn read_file(
        &self,
        path: &EntryPath,
    ) -> Result<impl Stream<Item = Result<Bytes, RepositoryError>> + Send + use<>, RepositoryError>
    {
        self.refuse_sealed()?;
        let record = self.index().file(path).cloned();
        let record = record.ok_or_else(|| RepositoryError::NoFile { path: path.to_string() })?;
        let cat = Cat::new(self.clone(), record);
        Ok(stream::try_unfold(cat, |mut cat| async move {
            Ok(cat.next().await?.map(|bytes| (bytes, cat)))
        }))
    }
}

impl Cat {
    fn new(backup: Backup, record: FileRecord) -> Self {
        let mut segments = resolve(&record);
        segments.reverse();
        let hasher = (!record.is_overwritten()).then(blake3::Hasher::new);
        Self { backup, record, segments, table: None, block: None, hasher }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, RepositoryError> {
        let Some(segment) = self.segments.pop() else { return self.judge().map(|()| None) };
        let bytes = match segment {
            Segment::Data { raw_offset, length } => {
                let bytes = self.raw(raw_offset, length).await?;
                if let Some(hasher) = &mut self.hasher {
                    hasher.update(&bytes);
                }
                bytes
            }
            Segment::Hole { length } => Bytes::from_static(within(ZEROS, length)),
        };
        self.segments.extend(segment.after(bytes.len() as u64));
        Ok(Some(bytes))
    }

    fn judge(&mut self) -> Result<(), RepositoryError> {
        match self.hasher.take().map(|hasher| Digest::from(hasher.finalize())) {
            Some(found) if found != self.record.hash => {
                Err(RepositoryError::damaged(self.record.path.to_string(), Fault::Hash))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Raw bytes from `raw_offset`, at least one, as many of `length` as their block holds.
    async fn raw(&mut self, raw_offset: u64, length: u64) -> Result<Bytes, RepositoryError> {
        let block = match self.block.take() {
            Some(block) if block.holds(raw_offset) => block,
            Some(_) | None => self.read_block(raw_offset).await?,
        };
        let from = usize::try_from(raw_offset - block.raw_offset).unwrap_or(usize::MAX);
        let available = block.raw.slice(from..);
        self.block = Some(block);
        Ok(available.slice(..within(&available, length).len()))
    }

    async fn read_block(&mut self, raw_offset: u64) -> Result<Block, RepositoryError> {
        let (pack, table) = self.table(raw_offset).await?;
        let record = &self.backup.index().packs[pack];
        let mut at = (pack::HEADER_BYTES as u64, record.raw_offset);
        for (number, block) in table.blocks.iter().enumerate() {
            let (stored_end, raw_end) =
                (at.0 + u64::from(block.stored_bytes), at.1 + u64::from(block.raw_bytes));
            if raw_offset < raw_end {
                let frame = self.backup.read_pack(record, at.0..stored_end).await?;
                let raw = open(table.clone(), number, frame, self.backup.lock().clone()).await?;
                return Ok(Block { raw_offset: at.1, raw });
            }
            at = (stored_end, raw_end);
        }
        Err(RepositoryError::damaged(&*record.name, Fault::BlockTable))
    }

    /// The pack with these raw bytes and its table.
    async fn table(&mut self, raw_offset: u64) -> Result<(usize, Arc<PackTable>), RepositoryError> {
        let pack = self.backup.index().pack_with(raw_offset);
        match &self.table {
            Some((number, table)) if *number == pack => Ok((pack, Arc::clone(table))),
            Some(_) | None => {
                let table = Arc::new(self.backup.table(pack).await?);
                self.table = Some((pack, Arc::clone(&table)));
                Ok((pack, table))
            }
        }
    }
}

async fn open(
    table: Arc<PackTable>,
    number: usize,
    frame: Bytes,
    lock: Lock,
) -> Result<Bytes, RepositoryError> {
    let opened = tokio::task::spawn_blocking(move || {
        let mut decompressor =
            zstd::bulk::Decompressor::new().map_err(RepositoryError::Compress)?;
        compress::open_frame(&mut decompressor, number, &table.blocks[number], &frame, &lock)
            .map(Bytes::from)
            .map_err(|fault| RepositoryError::damaged(&*table.object, fault))
    });
    opened.await.map_err(|_| RepositoryError::WorkerLost)?
}

impl Block {
    fn holds(&self, raw_offset: u64) -> bool {
        (self.raw_offset..self.raw_offset + self.raw.len() as u64).contains(&raw_offset)
    }
}

impl Segment {
    /// What is left after so many bytes.
    fn after(self, given: u64) -> Option<Self> {
        match self {
            Self::Data { raw_offset, length } if length > given => {
                Some(Self::Data { raw_offset: raw_offset + given, length: length - given })
            }
            Self::Hole { length } if length > given => Some(Self::Hole { length: length - given }),
            Self::Data { .. } | Self::Hole { .. } => None,
        }
    }
}

/// The beginning of a slice, at most `length` bytes of it.
fn within(bytes: &[u8], length: u64) -> &[u8] {
    &bytes[..usize::try_from(length).map_or(bytes.len(), |length| length.min(bytes.len()))]
}

/// A file's parts in the order of its bytes, where later extents cover earlier ones.
fn resolve(record: &FileRecord) -> Vec<Segment> {
    let mut covered: BTreeMap<u64, Extent> = BTreeMap::new();
    for extent in &record.extents {
        cover(&mut covered, *extent);
    }
    let mut segments = Vec::with_capacity(covered.len());
    let mut position = 0;
    for extent in covered.values() {
        if extent.file_offset > position {
            segments.push(Segment::Hole { length: extent.file_offset - position });
        }
        segments.push(Segment::Data { raw_offset: extent.raw_offset, length: extent.length });
        position = extent.file_end();
    }
    if record.bytes > position {
        segments.push(Segment::Hole { length: record.bytes - position });
    }
    segments
}

/// Puts an extent over what is there; at most one extent is cut at either end.
fn cover(covered: &mut BTreeMap<u64, Extent>, new: Extent) {
    let before = covered.range(..new.file_offset).next_back().map(|(_, extent)| *extent);
    if let Some(before) = before.filter(|before| before.file_end() > new.file_offset) {
        let head = before.cut(before.file_offset, new.file_offset);
        covered.insert(head.file_offset, head);
        if before.file_end() > new.file_end() {
            let tail = before.cut(new.file_end(), before.file_end());
            covered.insert(tail.file_offset, tail);
        }
    }
    while let Some((&at, &under)) = covered.range(new.file_offset..new.file_end()).next() {
        covered.remove(&at);
        if under.file_end() > new.file_end() {
            let tail = under.cut(new.file_end(), under.file_end());
            covered.insert(tail.file_offset, tail);
        }
    }
    covered.insert(new.file_offset, new);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record(bytes: u64, extents: &[(u64, u64, u64)]) -> FileRecord {
        let extents = extents.iter().map(|&(file_offset, raw_offset, length)| Extent {
            file_offset,
            raw_offset,
            length,
        });
        FileRecord {
            path: EntryPath::parse(b"a").expect("valid path"),
            bytes,
            hash: Digest::of(b""),
            extents: extents.collect(),
        }
    }

    #[test]
    fn holes_and_overwritten_parts_are_resolved() {
        let record = record(130, &[(0, 0, 100), (37, 100, 7), (110, 107, 10)]);
        assert_eq!(
            resolve(&record),
            [
                Segment::Data { raw_offset: 0, length: 37 },
                Segment::Data { raw_offset: 100, length: 7 },
                Segment::Data { raw_offset: 44, length: 56 },
                Segment::Hole { length: 10 },
                Segment::Data { raw_offset: 107, length: 10 },
                Segment::Hole { length: 10 },
            ]
        );
    }

    proptest! {
        #[test]
        fn resolving_is_writing_in_order(
            writes in prop::collection::vec((0_u64..40, 1_u64..20), 0..12),
        ) {
            let mut raw_offset = 0;
            let extents: Vec<_> = writes.iter().map(|&(file_offset, length)| {
                raw_offset += length;
                (file_offset, raw_offset - length, length)
            }).collect();
            let mut expected = [None; 60];
            for &(file_offset, raw_offset, length) in &extents {
                for at in 0..length {
                    expected[(file_offset + at) as usize] = Some(raw_offset + at);
                }
            }
            let mut found = Vec::new();
            for segment in resolve(&record(60, &extents)) {
                match segment {
                    Segment::Data { raw_offset, length } => {
                        found.extend((raw_offset..raw_offset + length).map(Some));
                    }
                    Segment::Hole { length } => found.extend((0..length).map(|_| None)),
                }
            }
            prop_assert_eq!(found, expected);
        }
    }
}
