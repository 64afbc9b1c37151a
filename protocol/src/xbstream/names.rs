//! Which files a stream has opened and completed, and what may happen to each.

use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};

use super::error::Fault;
use super::path::EntryPath;
use super::reader::FileId;

/// Files that may be open at once. Each costs the tool that writes the stream 10 MiB, and us a file
/// descriptor; tools keep one per copy thread plus the redo log.
pub const OPEN_FILES_MAX: usize = 256;

/// Files of a stream. Names are kept to notice a second one; at about 100 bytes each this bounds them
/// to some 100 MiB, far beyond the tables of any server.
pub const FILES_MAX: usize = 1 << 20;

/// A file between its first chunk and its end chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OpenFile {
    pub(super) id: FileId,
    /// Where the next payload must lie.
    pub(super) position: u64,
}

/// What file systems and system calls can express.
const FILE_OFFSET_MAX: u64 = i64::MAX as u64;

impl OpenFile {
    /// A chunk from `offset` to `end` continues the file; none: its end is beyond all numbers.
    pub(super) fn advance(&mut self, offset: u64, end: Option<u64>) -> Result<(), Fault> {
        if offset != self.position {
            return Err(Fault::Offset { expected: self.position, found: offset });
        }
        self.seek(end.ok_or(Fault::OffsetRange)?)
    }

    pub(super) fn seek(&mut self, offset: u64) -> Result<(), Fault> {
        if offset > FILE_OFFSET_MAX {
            return Err(Fault::OffsetRange);
        }
        self.position = offset;
        Ok(())
    }
}

/// The files of a stream by name.
#[derive(Debug, Default)]
pub(super) struct Names {
    open: BTreeMap<EntryPath, OpenFile>,
    complete: BTreeSet<EntryPath>,
    opened: u64,
}

impl Names {
    pub(super) fn open_file(&mut self, path: &EntryPath) -> Option<&mut OpenFile> {
        self.open.get_mut(path)
    }

    /// The open file of that name, and whether it was opened now; `rewrite` allows a file that opens
    /// to replace a complete one.
    pub(super) fn open(
        &mut self,
        path: &EntryPath,
        rewrite: bool,
    ) -> Result<(&mut OpenFile, bool), Fault> {
        let is_new = !self.open.contains_key(path);
        if is_new {
            self.check_new(path, rewrite)?;
            self.complete.remove(path);
            self.opened += 1;
        }
        let new = OpenFile { id: FileId(self.opened), position: 0 };
        Ok((self.open.entry(path.clone()).or_insert(new), is_new))
    }

    fn check_new(&self, path: &EntryPath, rewrite: bool) -> Result<(), Fault> {
        if self.open.len() >= OPEN_FILES_MAX {
            return Err(Fault::TooManyOpen(OPEN_FILES_MAX));
        }
        if self.complete.contains(path) && !rewrite {
            return Err(Fault::Duplicate);
        }
        if self.complete.len() + self.open.len() >= FILES_MAX {
            return Err(Fault::TooManyFiles(FILES_MAX));
        }
        self.check_conflict(path)
    }

    pub(super) fn close(&mut self, path: EntryPath) -> Option<OpenFile> {
        let file = self.open.remove(&path)?;
        self.complete.insert(path);
        Some(file)
    }

    /// Whether there is such a file to rename; it gets its new name.
    pub(super) fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<bool, Fault> {
        self.check_closed(from)?;
        self.check_closed(to)?;
        if !self.complete.contains(from) {
            return Ok(false);
        }
        self.check_conflict(to)?;
        self.complete.remove(from);
        self.complete.insert(to.clone());
        Ok(true)
    }

    /// Whether there is such a file to remove; it is forgotten.
    pub(super) fn remove(&mut self, path: &EntryPath) -> Result<bool, Fault> {
        self.check_closed(path)?;
        Ok(self.complete.remove(path))
    }

    /// How many files are open, and the first of them.
    pub(super) fn still_open(&self) -> Option<(usize, &EntryPath)> {
        self.open.keys().next().map(|first| (self.open.len(), first))
    }

    fn check_closed(&self, path: &EntryPath) -> Result<(), Fault> {
        if self.open.contains_key(path) { Err(Fault::StillOpen) } else { Ok(()) }
    }

    /// A name may not lie below a file, nor a file where names lie below.
    fn check_conflict(&self, path: &EntryPath) -> Result<(), Fault> {
        let is_file = |path: &[u8]| self.open.contains_key(path) || self.complete.contains(path);
        if self.is_directory(path) || path.ancestors().any(is_file) {
            return Err(Fault::NameConflict);
        }
        Ok(())
    }

    fn is_directory(&self, path: &EntryPath) -> bool {
        let below = [path.as_bytes(), b"/"].concat();
        let from = (Bound::Included(below.as_slice()), Bound::Unbounded);
        let open = self.open.range::<[u8], _>(from).next().map(|(path, _)| path);
        let complete = self.complete.range::<[u8], _>(from).next();
        open.into_iter().chain(complete).any(|path| path.as_bytes().starts_with(&below))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> EntryPath {
        EntryPath::parse(name.as_bytes()).expect("valid path")
    }

    fn with_complete(names: &[&str]) -> Names {
        let mut table = Names::default();
        for name in names {
            table.open(&path(name), false).expect("new name");
            table.close(path(name)).expect("open file");
        }
        table
    }

    #[test]
    fn a_complete_file_opens_again_only_with_the_rewrite_flag() {
        let mut names = with_complete(&["a"]);
        assert_eq!(names.open(&path("a"), false), Err(Fault::Duplicate));
        let again = OpenFile { id: FileId(2), position: 0 };
        assert_eq!(names.open(&path("a"), true), Ok((&mut again.clone(), true)));
        assert_eq!(names.open(&path("a"), false), Ok((&mut again.clone(), false)));
    }

    #[test]
    fn a_name_is_free_again_after_rename_or_removal() {
        let mut names = with_complete(&["a", "b"]);
        assert_eq!(names.rename(&path("a"), &path("c")), Ok(true));
        assert_eq!(names.remove(&path("b")), Ok(true));
        assert!(names.open(&path("a"), false).is_ok());
        assert!(names.open(&path("b"), false).is_ok());
        assert_eq!(names.open(&path("c"), false), Err(Fault::Duplicate));
    }

    #[test]
    fn files_that_never_were_are_renamed_and_removed_without_effect() {
        let mut names = Names::default();
        assert_eq!(names.rename(&path("a"), &path("b")), Ok(false));
        assert_eq!(names.remove(&path("a")), Ok(false));
    }

    #[test]
    fn open_files_are_neither_renamed_nor_replaced_nor_removed() {
        let mut names = with_complete(&["done"]);
        names.open(&path("open"), false).expect("new name");
        assert_eq!(names.rename(&path("open"), &path("x")), Err(Fault::StillOpen));
        assert_eq!(names.rename(&path("done"), &path("open")), Err(Fault::StillOpen));
        assert_eq!(names.remove(&path("open")), Err(Fault::StillOpen));
        assert_eq!(names.still_open(), Some((1, &path("open"))));
    }

    #[test]
    fn a_name_is_never_both_file_and_directory() {
        let mut names = with_complete(&["db/t.ibd", "ab", "x"]);
        assert_eq!(names.open(&path("db"), false), Err(Fault::NameConflict));
        assert_eq!(names.open(&path("ab/c/d"), false), Err(Fault::NameConflict));
        assert_eq!(names.rename(&path("x"), &path("db/t.ibd/x")), Err(Fault::NameConflict));
        assert!(names.open(&path("d"), false).is_ok());
        assert!(names.open(&path("db-"), false).is_ok());
    }

    #[test]
    fn open_files_are_limited() {
        let mut names = Names::default();
        for number in 0..OPEN_FILES_MAX {
            names.open(&path(&format!("f{number}")), false).expect("under the limit");
        }
        assert_eq!(names.open(&path("more"), false), Err(Fault::TooManyOpen(OPEN_FILES_MAX)));
    }
}
