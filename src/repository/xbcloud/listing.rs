//! What a listing says of a backup: its files, and whether they are whole.
//!
//! Names and sizes tell much: numbers without gaps; the size of an end chunk, which follows from the
//! path; the files that close a backup. They do not tell that a whole file is missing, for which there
//! is the list of sums, nor what is inside of chunks.

use std::collections::BTreeMap;

use galera_protocol::xbstream::{ClosingFiles, EntryPath, Expected, Gap};
use jiff::Timestamp;

use super::name::parse_chunk_name;
use crate::pipeline::manifest::BackupId;
use crate::repository::error::{Fault, RepositoryError};
use crate::repository::index::ENTRIES_MAX;
use crate::repository::store::{ObjectSeen, Store};
use crate::repository::{MANIFEST_NAME, STARTED_NAME};

/// Size of an end chunk without its path.
const END_BYTES: u64 = 14;

/// The objects of a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Listing {
    /// By path.
    pub(super) files: Vec<ListedFile>,
    /// It is being written, or its writer was killed.
    pub(super) is_started: bool,
    pub(super) has_manifest: bool,
    /// A name that no file of a backup can have.
    odd: Option<String>,
    /// When the last chunk appeared.
    pub(super) newest: Option<Timestamp>,
    pub(super) chunks: u64,
    pub(super) bytes: u64,
}

/// A file and the sizes of its chunks, by number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ListedFile {
    pub(super) path: EntryPath,
    pub(super) chunks: Vec<u64>,
    /// What is wrong with it, as far as names and sizes tell.
    pub(super) fault: Option<Fault>,
}

#[derive(Default)]
struct Raw {
    files: BTreeMap<Box<str>, Vec<(u64, u64)>>,
    listing: Listing,
}

impl Listing {
    /// Lists a backup's objects.
    pub(super) async fn read(store: &Store, id: &BackupId) -> Result<Self, RepositoryError> {
        let raw = store.list_below(id.as_str(), Raw::default, Raw::add).await?;
        if raw.listing.chunks > ENTRIES_MAX {
            return Err(RepositoryError::Limit { what: "chunks in a backup", limit: ENTRIES_MAX });
        }
        Ok(raw.finish())
    }

    pub(super) fn file(&self, path: &EntryPath) -> Option<&ListedFile> {
        let at = self.files.binary_search_by(|file| file.path.cmp(path)).ok()?;
        self.files.get(at)
    }

    /// What names and sizes find wrong first.
    pub(super) fn first_fault(&self) -> Option<(String, Fault)> {
        self.first_damage().or_else(|| self.closing_gap())
    }

    /// The same without the files that close a backup.
    pub(super) fn first_damage(&self) -> Option<(String, Fault)> {
        let of_file = |file: &ListedFile| Some((file.path.to_string(), file.fault.clone()?));
        let odd = || self.odd.clone().map(|name| (name, Fault::Chunk));
        self.files.iter().find_map(of_file).or_else(odd)
    }

    /// The first file that should close the backup and does not. Whether the info file says that the
    /// backup ended is not known from here.
    fn closing_gap(&self) -> Option<(String, Fault)> {
        let files = self.files.iter().map(|file| (&file.path, file.bytes()));
        let gaps = ClosingFiles::new(files, None).judge(Expected::default()).gaps;
        let gap = gaps.into_iter().find(|gap| *gap != Gap::UnreadableInfo)?;
        Some(("its last files".to_owned(), Fault::Closing(gap)))
    }
}

impl ListedFile {
    /// Bytes of the file, about: without the ends, with the headers.
    fn bytes(&self) -> u64 {
        self.chunks.iter().rev().skip(1).sum()
    }

    fn new(name: &str, mut chunks: Vec<(u64, u64)>) -> Option<Self> {
        let path = EntryPath::parse(name.as_bytes()).ok()?;
        chunks.sort_unstable();
        let end_bytes = END_BYTES + name.len() as u64;
        let fault = fault(&path, name, &chunks, end_bytes);
        Some(Self { path, chunks: chunks.into_iter().map(|(_, bytes)| bytes).collect(), fault })
    }
}

fn fault(path: &EntryPath, name: &str, chunks: &[(u64, u64)], end_bytes: u64) -> Option<Fault> {
    if path.as_bytes() != name.as_bytes() {
        return Some(Fault::Chunk);
    }
    let gap = (0_u64..).zip(chunks).find(|(index, (found, _))| index != found);
    if let Some((index, _)) = gap {
        return Some(Fault::ChunkMissing { index });
    }
    if chunks.last().is_none_or(|&(_, bytes)| bytes != end_bytes) {
        return Some(Fault::NoEnd);
    }
    chunks.iter().any(|&(_, bytes)| bytes < end_bytes).then_some(Fault::Chunk)
}

impl Raw {
    fn add(&mut self, object: ObjectSeen<'_>) {
        let Some((path, index)) = parse_chunk_name(object.name) else {
            self.listing.is_started |= object.name == STARTED_NAME;
            self.listing.has_manifest |= object.name == MANIFEST_NAME;
            return;
        };
        self.listing.newest = self.listing.newest.max(Some(object.modified));
        self.listing.chunks += 1;
        self.listing.bytes += object.bytes;
        if self.listing.chunks <= ENTRIES_MAX {
            let chunk = (index, object.bytes);
            match self.files.get_mut(path) {
                Some(chunks) => chunks.push(chunk),
                None => drop(self.files.insert(path.into(), vec![chunk])),
            }
        }
    }

    fn finish(self) -> Listing {
        let mut listing = self.listing;
        for (name, chunks) in self.files {
            match ListedFile::new(&name, chunks) {
                Some(file) => listing.files.push(file),
                None => listing.odd = Some(name.into()),
            }
        }
        listing.files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        listing.files.dedup_by(|second, first| {
            let is_same = first.path == second.path;
            if is_same {
                first.fault = Some(Fault::Duplicate);
            }
            is_same
        });
        listing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(objects: &[(&str, u64)]) -> Listing {
        let mut raw = Raw::default();
        for &(name, bytes) in objects {
            raw.add(ObjectSeen { name, bytes, modified: Timestamp::UNIX_EPOCH });
        }
        raw.finish()
    }

    fn chunk(path: &str, index: u64) -> String {
        super::super::name::chunk_name(path, index)
    }

    /// What a whole MariaDB backup has, without one chunk.
    fn without(missing: Option<(&str, u64)>) -> Listing {
        let names = [
            "ibdata1",
            "ib_logfile0",
            "xtrabackup_checkpoints",
            "backup-my.cnf",
            "xtrabackup_info",
        ];
        let mut objects = Vec::new();
        for name in names {
            for (index, bytes) in [(0, 5000), (1, 14 + name.len() as u64)] {
                if missing != Some((name, index)) {
                    objects.push((chunk(name, index), bytes));
                }
            }
        }
        let objects: Vec<_> = objects.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect();
        listing(&objects)
    }

    #[test]
    fn a_whole_backup_has_no_fault() {
        assert_eq!(without(None).first_fault(), None);
    }

    #[test]
    fn every_missing_chunk_is_seen() {
        for name in ["ibdata1", "ib_logfile0", "xtrabackup_info"] {
            let gap = without(Some((name, 0))).first_fault();
            assert_eq!(gap, Some((name.to_owned(), Fault::ChunkMissing { index: 0 })));
            let no_end = without(Some((name, 1))).first_fault();
            assert_eq!(no_end, Some((name.to_owned(), Fault::NoEnd)));
        }
    }

    #[test]
    fn a_backup_without_its_last_files_is_not_whole() {
        let only_data = listing(&[(&chunk("ibdata1", 0), 900), (&chunk("ibdata1", 1), 21)]);
        assert!(matches!(only_data.first_fault(), Some((_, Fault::Closing(_)))));
    }

    #[test]
    fn what_is_no_chunk_is_noted_or_passed_over() {
        let listing = listing(&[("started", 36), ("manifest.json", 9), ("readme", 1)]);
        assert!(listing.is_started && listing.has_manifest && listing.files.is_empty());
    }

    #[test]
    fn names_that_mean_another_file_are_faults() {
        let odd = listing(&[(&chunk("a//b", 0), 17)]);
        assert_eq!(odd.first_fault(), Some(("a/b".to_owned(), Fault::Chunk)));
        let escaping = listing(&[(&chunk("../b", 0), 18)]);
        assert_eq!(escaping.first_damage(), Some(("../b".to_owned(), Fault::Chunk)));
    }
}
