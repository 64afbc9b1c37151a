//! Which raw bytes are wanted, and where they go: the index turned round, in the order of the packs.

use std::ops::Range;

use galera_protocol::xbstream::EntryPath;

use super::error::{Fault, RepositoryError};
use super::index::{Extent, FileRecord};

/// A run of raw bytes and the file that wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Placement {
    /// The file's number in the plan.
    pub(crate) file: usize,
    pub(crate) extent: Extent,
}

/// The files to be read, and their extents in the order of the raw bytes.
#[derive(Debug)]
pub(crate) struct Plan {
    files: Vec<PlannedFile>,
    placements: Vec<Placement>,
}

/// A file to be read.
#[derive(Debug)]
pub(crate) struct PlannedFile {
    pub(crate) record: FileRecord,
    /// Bytes in its extents.
    pub(crate) data_bytes: u64,
    /// Its extents overlap, so they must be written in order.
    pub(crate) in_order: bool,
}

/// A part of a block that belongs to a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) file: usize,
    pub(crate) file_offset: u64,
    /// Where in the block.
    pub(crate) within: Range<usize>,
    /// Nothing of the file follows.
    pub(crate) is_last: bool,
}

impl Plan {
    /// Plans to read these files.
    pub(crate) fn new(files: impl Iterator<Item = FileRecord>) -> Result<Self, RepositoryError> {
        let files: Vec<_> = files.map(PlannedFile::new).collect();
        let mut placements: Vec<_> = files
            .iter()
            .enumerate()
            .flat_map(|(file, planned)| {
                let extents = planned.record.extents.iter();
                extents.map(move |&extent| Placement { file, extent })
            })
            .collect();
        placements.sort_unstable_by_key(|placement| placement.extent.raw_offset);
        let plan = Self { files, placements };
        plan.refuse_sharing()?;
        Ok(plan)
    }

    /// Has these files' bytes come in their order.
    pub(crate) fn in_order(mut self, is_wanted: impl Fn(&EntryPath) -> bool) -> Self {
        for file in &mut self.files {
            file.in_order |= is_wanted(file.record.path());
        }
        self
    }

    /// No two files have raw bytes in common: each byte is written once.
    fn refuse_sharing(&self) -> Result<(), RepositoryError> {
        for pair in self.placements.windows(2) {
            if pair[0].extent.raw_end() > pair[1].extent.raw_offset {
                let path = self.files[pair[1].file].record.path.to_string();
                return Err(RepositoryError::damaged(path, Fault::Extents));
            }
        }
        Ok(())
    }

    pub(crate) fn files(&self) -> &[PlannedFile] {
        &self.files
    }

    pub(crate) fn data_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.data_bytes).sum()
    }

    /// True if any of these raw bytes are wanted.
    pub(crate) fn wants(&self, raw: &Range<u64>) -> bool {
        let first = self.first_ending_after(raw.start);
        self.placements.get(first).is_some_and(|placement| placement.extent.raw_offset < raw.end)
    }

    /// What a block that begins at `raw_offset` holds, in order.
    pub(crate) fn parts(&self, raw_offset: u64, length: usize) -> impl Iterator<Item = Part> {
        let end = raw_offset + length as u64;
        let from = self.first_ending_after(raw_offset);
        self.placements[from..]
            .iter()
            .take_while(move |placement| placement.extent.raw_offset < end)
            .map(move |placement| self.part(placement, raw_offset, end))
    }

    fn part(&self, placement: &Placement, start: u64, end: u64) -> Part {
        let extent = placement.extent;
        let from = extent.raw_offset.max(start);
        let to = extent.raw_end().min(end);
        let last = self.files[placement.file].record.extents.last();
        Part {
            file: placement.file,
            file_offset: extent.file_offset + (from - extent.raw_offset),
            within: within_block(from - start)..within_block(to - start),
            is_last: last.is_some_and(|last| last.raw_end() == to),
        }
    }

    fn first_ending_after(&self, raw_offset: u64) -> usize {
        self.placements.partition_point(|placement| placement.extent.raw_end() <= raw_offset)
    }
}

impl PlannedFile {
    fn new(record: FileRecord) -> Self {
        let data_bytes = record.extents.iter().map(|extent| extent.length).sum();
        Self { data_bytes, in_order: record.is_overwritten(), record }
    }
}

/// Offsets in a block are below 16 MiB.
fn within_block(offset: u64) -> usize {
    usize::try_from(offset).expect("an offset in a block")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::manifest::Digest;

    fn file(path: &str, extents: &[(u64, u64, u64)]) -> FileRecord {
        let extents = extents.iter().map(|&(file_offset, raw_offset, length)| Extent {
            file_offset,
            raw_offset,
            length,
        });
        FileRecord {
            path: EntryPath::parse(path.as_bytes()).expect("valid path"),
            bytes: 1000,
            hash: Digest::of(b""),
            extents: extents.collect(),
        }
    }

    fn part(file: usize, file_offset: u64, within: Range<usize>, is_last: bool) -> Part {
        Part { file, file_offset, within, is_last }
    }

    #[test]
    fn a_block_is_parted_among_its_files() {
        let files = [file("a", &[(0, 0, 30), (30, 50, 100)]), file("b", &[(0, 30, 20)])];
        let plan = Plan::new(files.into_iter()).expect("possible");
        let parts: Vec<_> = plan.parts(20, 60).collect();
        assert_eq!(
            parts,
            [part(0, 20, 0..10, false), part(1, 0, 10..30, true), part(0, 30, 30..60, false)]
        );
        assert_eq!(plan.parts(80, 100).collect::<Vec<_>>(), [part(0, 60, 0..70, true)]);
        assert_eq!(plan.parts(150, 10).count(), 0);
    }

    #[test]
    fn only_blocks_with_wanted_bytes_are_wanted() {
        let plan = Plan::new([file("a", &[(0, 100, 50)])].into_iter()).expect("possible");
        assert!(!plan.wants(&(0..100)));
        assert!(plan.wants(&(0..101)));
        assert!(plan.wants(&(149..200)));
        assert!(!plan.wants(&(150..200)));
    }

    #[test]
    fn files_that_share_raw_bytes_are_refused() {
        let files = [file("a", &[(0, 0, 30)]), file("b", &[(0, 29, 20)])];
        assert!(Plan::new(files.into_iter()).is_err());
    }
}
