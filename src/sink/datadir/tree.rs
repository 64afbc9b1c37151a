//! Changes of names below one directory, safe against every name that a stream can hold.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use galera_protocol::xbstream::EntryPath;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::{DIRECTORY_MODE, FILE_MODE};

/// Directory handles that are kept open. A server may have more databases than a process may have
/// open files.
const HANDLES_MAX: usize = 64;

/// A directory that is being filled.
#[derive(Debug)]
pub(super) struct Tree {
    root: OwnedFd,
    /// Handles by path below the root.
    handles: BTreeMap<Vec<u8>, OwnedFd>,
    /// Every directory that was made.
    directories: BTreeSet<Vec<u8>>,
}

impl Tree {
    pub(super) fn new(root: OwnedFd) -> Self {
        Self { root, handles: BTreeMap::new(), directories: BTreeSet::new() }
    }

    /// Makes a new file, and the directories above it; a file of that name goes away.
    pub(super) fn create(&mut self, path: &EntryPath) -> io::Result<File> {
        let (directory, name) = self.locate(path)?;
        let file = match create_new(directory, name) {
            Err(Errno::EXIST) => {
                rustix::fs::unlinkat(directory, name, AtFlags::empty())?;
                create_new(directory, name)?
            }
            created => created?,
        };
        rustix::fs::fchmod(&file, Mode::from_raw_mode(FILE_MODE))?;
        Ok(File::from(file))
    }

    /// As [`Self::create`], but fails if there is a file of that name.
    pub(super) fn create_new(&mut self, path: &EntryPath) -> io::Result<File> {
        let (directory, name) = self.locate(path)?;
        let file = create_new(directory, name)?;
        rustix::fs::fchmod(&file, Mode::from_raw_mode(FILE_MODE))?;
        Ok(File::from(file))
    }

    /// Removes the directories that were made and are empty again.
    pub(super) fn remove_directories(&mut self) -> io::Result<()> {
        let directories = core::mem::take(&mut self.directories);
        // A path sorts before what lies below it.
        for path in directories.iter().rev() {
            let (above, name) = split(path);
            match rustix::fs::unlinkat(self.directory(above)?, name, AtFlags::REMOVEDIR) {
                Ok(()) | Err(Errno::NOTEMPTY | Errno::NOENT) => {}
                Err(error) => return Err(error.into()),
            }
            self.handles.remove(path);
        }
        Ok(())
    }

    /// Renames a file, replacing one of the new name; a missing one stays missing.
    pub(super) fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> io::Result<()> {
        // The handle of the one may be dropped to make room for the other's.
        let (directory, _) = self.locate(from)?;
        let from_directory = directory.try_clone_to_owned()?;
        let (to_directory, to_name) = self.locate(to)?;
        let from_name = OsStr::from_bytes(from.file_name());
        match rustix::fs::renameat(from_directory, from_name, to_directory, to_name) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a file, if it is there.
    pub(super) fn remove(&mut self, path: &EntryPath) -> io::Result<()> {
        let (directory, name) = self.locate(path)?;
        match rustix::fs::unlinkat(directory, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Puts the names on stable storage: every directory, deepest first, then the root.
    pub(super) fn sync_directories(&mut self) -> io::Result<()> {
        let directories = core::mem::take(&mut self.directories);
        // A path sorts before what lies below it.
        for path in directories.iter().rev() {
            rustix::fs::fsync(self.directory(path)?)?;
        }
        Ok(rustix::fs::fsync(&self.root)?)
    }

    /// The directory that holds a file, made if it is not there, and the file's name in it.
    fn locate<'a>(&mut self, path: &'a EntryPath) -> io::Result<(BorrowedFd<'_>, &'a OsStr)> {
        let name = OsStr::from_bytes(path.file_name());
        let mut above: Vec<&[u8]> = path.ancestors().collect();
        // The nearest directory is usually known already.
        let known = above.iter().position(|path| self.handles.contains_key(*path));
        above.truncate(known.unwrap_or(above.len()));
        for directory in above.into_iter().rev() {
            self.make_directory(directory)?;
        }
        let parent = path.ancestors().next().unwrap_or_default();
        Ok((self.directory(parent)?, name))
    }

    fn make_directory(&mut self, path: &[u8]) -> io::Result<()> {
        let (above, name) = split(path);
        let above = self.directory(above)?;
        let made = rustix::fs::mkdirat(above, name, Mode::from_raw_mode(DIRECTORY_MODE));
        if !matches!(made, Ok(()) | Err(Errno::EXIST)) {
            made?;
        }
        let handle = open_directory(above, name)?;
        if made.is_ok() {
            rustix::fs::fchmod(&handle, Mode::from_raw_mode(DIRECTORY_MODE))?;
            self.directories.insert(path.to_vec());
        }
        self.keep(path, handle);
        Ok(())
    }

    /// A directory that exists; the empty path is the root.
    fn directory(&mut self, path: &[u8]) -> io::Result<BorrowedFd<'_>> {
        if !path.is_empty() && !self.handles.contains_key(path) {
            let handle = self.open_from_root(path)?;
            self.keep(path, handle);
        }
        Ok(self.handles.get(path).unwrap_or(&self.root).as_fd())
    }

    fn open_from_root(&self, path: &[u8]) -> io::Result<OwnedFd> {
        let mut at = self.root.try_clone()?;
        for component in path.split(|&byte| byte == b'/') {
            at = open_directory(at.as_fd(), OsStr::from_bytes(component))?;
        }
        Ok(at)
    }

    fn keep(&mut self, path: &[u8], handle: OwnedFd) {
        if self.handles.len() >= HANDLES_MAX {
            self.handles.clear();
        }
        self.handles.insert(path.to_vec(), handle);
    }
}

fn split(path: &[u8]) -> (&[u8], &OsStr) {
    let slash = path.iter().rposition(|&byte| byte == b'/');
    let (above, name) = slash.map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]));
    (above, OsStr::from_bytes(name))
}

fn create_new(directory: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(directory, name, flags, Mode::from_raw_mode(FILE_MODE))
}

fn open_directory(above: BorrowedFd<'_>, name: &OsStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(above, name, flags, Mode::empty())
}

#[cfg(test)]
mod tests;
