//! The index of a backup: which packs there are, and where each file's bytes lie in them.
//!
//! All blocks of all packs, decompressed and in order, form one long sequence, the *raw bytes* of the
//! backup. A pack is a piece of it; a file is a list of extents, each a run of raw bytes and the
//! place in the file where they go. Extents stand in the order in which they were written: where
//! two overlap, the later one wins (MariaDB seeks back into its Aria logs). What no extent covers is
//! a hole.
//!
//! Stored as JSON lines in one zstd frame (`docs/format.md`).

mod codec;

use galera_protocol::xbstream::EntryPath;

pub(crate) use codec::{decode, decode_files, encode};

use super::error::{Fault, RepositoryError};
use super::pack;
use crate::pipeline::manifest::Digest;

/// Most extents in an index, and most files: a bound on memory, a few hundred MiB for a reader of
/// the largest. A backup of 10 TiB in chunks of 10 MiB has a million extents.
pub(crate) const ENTRIES_MAX: u64 = 8_000_000;

/// What an index holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Index {
    /// In the order of the raw bytes.
    pub(crate) packs: Vec<PackRecord>,
    /// By path.
    pub(crate) files: Vec<FileRecord>,
}

/// One pack.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PackRecord {
    /// Name below the backup's prefix.
    pub(crate) name: String,
    /// Its size.
    pub(crate) bytes: u64,
    /// Hash of all its bytes.
    pub(crate) hash: Digest,
    /// Where its raw bytes begin.
    pub(crate) raw_offset: u64,
    /// How many they are.
    pub(crate) raw_bytes: u64,
    /// Number of its blocks.
    pub(crate) blocks: u64,
    /// Hash of its block table.
    pub(crate) table_hash: Digest,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRecord {
    pub(crate) path: EntryPath,
    pub(crate) bytes: u64,
    pub(crate) hash: Digest,
    pub(crate) extents: Vec<Extent>,
}

/// A run of raw bytes and its place in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) file_offset: u64,
    pub(crate) raw_offset: u64,
    pub(crate) length: u64,
}

impl FileRecord {
    /// Its name below the data directory.
    pub const fn path(&self) -> &EntryPath {
        &self.path
    }

    /// Its size, holes included.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Hash of the bytes of its extents in their order; for a file without holes and overwritten
    /// parts, which nearly all are, that is the hash of its content.
    pub const fn hash(&self) -> Digest {
        self.hash
    }

    /// True if its extents are its bytes from the beginning to the end: no holes, nothing written twice.
    pub(crate) fn is_plain(&self) -> bool {
        let mut position = 0;
        let adjoin = self.extents.iter().all(|extent| {
            let is_next = extent.file_offset == position;
            position = extent.file_end();
            is_next
        });
        adjoin && position == self.bytes
    }

    /// True if later extents overwrite earlier ones: then the order of writing matters.
    pub(crate) fn is_overwritten(&self) -> bool {
        let ends = self.extents.iter().map(Extent::file_end);
        let starts = self.extents.iter().skip(1).map(|extent| extent.file_offset);
        ends.zip(starts).any(|(end, start)| start < end)
    }
}

impl Extent {
    /// True if `next` goes on where this one ends, in the file and in the raw bytes.
    pub(crate) const fn adjoins(&self, next: &Self) -> bool {
        self.file_end() == next.file_offset && self.raw_end() == next.raw_offset
    }

    /// The part of it between two offsets in the file.
    pub(crate) const fn cut(&self, from: u64, to: u64) -> Self {
        let raw_offset = self.raw_offset + (from - self.file_offset);
        Self { file_offset: from, raw_offset, length: to - from }
    }

    pub(crate) const fn file_end(&self) -> u64 {
        self.file_offset + self.length
    }

    pub(crate) const fn raw_end(&self) -> u64 {
        self.raw_offset + self.length
    }
}

impl PackRecord {
    pub(crate) const fn raw_end(&self) -> u64 {
        self.raw_offset + self.raw_bytes
    }

    /// Size of the block table.
    pub(crate) fn table_bytes(&self) -> u64 {
        usize::try_from(self.blocks).map_or(u64::MAX, |blocks| pack::table_bytes(blocks) as u64)
    }
}

impl Index {
    /// All files, by path.
    pub fn files(&self) -> &[FileRecord] {
        &self.files
    }

    /// Finds a file by its name.
    pub fn file(&self, path: &EntryPath) -> Option<&FileRecord> {
        let at = self.files.binary_search_by(|file| file.path.cmp(path)).ok()?;
        self.files.get(at)
    }

    /// Number of the pack with these raw bytes, which some extent has.
    pub(crate) fn pack_with(&self, raw_offset: u64) -> usize {
        self.packs.partition_point(|pack| pack.raw_end() <= raw_offset)
    }

    /// Checks what readers rely on, and sorts the files by path.
    fn check(mut self) -> Result<Self, RepositoryError> {
        self.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let raw_end = self.check_packs()?;
        for file in &self.files {
            if !has_possible_extents(file, raw_end) {
                return Err(RepositoryError::damaged(file.path.to_string(), Fault::Extents));
            }
        }
        for pair in self.files.windows(2) {
            if pair[0].path == pair[1].path {
                return Err(RepositoryError::damaged(pair[0].path.to_string(), Fault::Duplicate));
            }
        }
        Ok(self)
    }

    /// Packs adjoin each other from 0; gives the end of the last.
    fn check_packs(&self) -> Result<u64, RepositoryError> {
        let mut end = 0_u64;
        for pack in &self.packs {
            let is_next = pack.raw_offset == end && has_sane_name(&pack.name);
            end = match end.checked_add(pack.raw_bytes) {
                Some(end) if is_next && has_possible_size(pack) => end,
                Some(_) | None => {
                    return Err(RepositoryError::damaged(&pack.name, Fault::Packs));
                }
            };
        }
        Ok(end)
    }
}

/// Objects are only ever looked for below the backup's prefix.
fn has_sane_name(name: &str) -> bool {
    EntryPath::parse(name.as_bytes()).is_ok_and(|path| path.as_bytes() == name.as_bytes())
}

fn has_possible_size(pack: &PackRecord) -> bool {
    if pack.blocks > pack::BLOCKS_MAX as u64 {
        return false;
    }
    let around = (pack::HEADER_BYTES as u64).checked_add(pack.table_bytes());
    let at_most = pack.blocks.checked_mul(u64::from(pack::BLOCK_BYTES_MAX));
    around.is_some_and(|around| around < pack.bytes)
        && at_most.is_some_and(|at_most| pack.raw_bytes <= at_most)
}

/// Extents lie inside file and packs, and their raw bytes come in order.
fn has_possible_extents(file: &FileRecord, raw_end: u64) -> bool {
    let mut raw_position = 0;
    file.extents.iter().all(|extent| {
        let in_file = extent.file_offset.checked_add(extent.length);
        let in_packs = extent.raw_offset.checked_add(extent.length);
        let is_possible = extent.length > 0
            && extent.raw_offset >= raw_position
            && in_file.is_some_and(|end| end <= file.bytes)
            && in_packs.is_some_and(|end| end <= raw_end);
        raw_position = in_packs.unwrap_or(u64::MAX);
        is_possible
    })
}

#[cfg(test)]
pub(crate) mod tests;
