//! Walks a data directory, without following links.

use std::fs::{self, FileType};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{Gid, Uid};

use super::error::RestoreError;

/// Directories below each other: a backup has two levels, subpartitions and undo directories a few.
const DEPTH_MAX: usize = 64;

/// Whom the files of a data directory belong to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Modes of a data directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes {
    /// Of the files.
    pub file: u32,
    /// Of the directories.
    pub directory: u32,
}

impl Default for Modes {
    fn default() -> Self {
        Self { file: 0o640, directory: 0o750 }
    }
}

/// Visits everything below a directory, directories before what they hold.
pub(super) fn walk(
    directory: &Path,
    visit: &mut dyn FnMut(&Path, FileType) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    walk_level(directory, DEPTH_MAX, visit)
}

fn walk_level(
    directory: &Path,
    levels: usize,
    visit: &mut dyn FnMut(&Path, FileType) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    let failed = || RestoreError::read(directory);
    for entry in fs::read_dir(directory).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let kind = entry.file_type().map_err(failed())?;
        visit(&entry.path(), kind)?;
        if kind.is_dir() && levels > 0 {
            walk_level(&entry.path(), levels - 1, visit)?;
        }
    }
    Ok(())
}

/// Gives everything its mode and owner, and waits until all of it is on stable storage.
pub(super) fn seal(
    directory: &Path,
    owner: Option<Owner>,
    modes: Modes,
) -> Result<(), RestoreError> {
    walk(directory, &mut |path, kind| seal_one(path, kind, owner, modes))?;
    sync(directory)?;
    let root = fs::symlink_metadata(directory).map_err(RestoreError::read(directory))?;
    seal_one(directory, root.file_type(), owner, modes)
}

fn seal_one(
    path: &Path,
    kind: FileType,
    owner: Option<Owner>,
    modes: Modes,
) -> Result<(), RestoreError> {
    let mode = if kind.is_dir() { modes.directory } else { modes.file };
    if !kind.is_symlink() {
        let permissions = fs::Permissions::from_mode(mode);
        fs::set_permissions(path, permissions).map_err(RestoreError::write(path))?;
    }
    match owner {
        Some(owner) => std::os::unix::fs::lchown(path, Some(owner.uid), Some(owner.gid))
            .map_err(RestoreError::write(path)),
        None => Ok(()),
    }
}

/// Syncs the whole file system: the preparing program wrote files that we never opened.
pub(super) fn sync(directory: &Path) -> Result<(), RestoreError> {
    let opened = fs::File::open(directory).map_err(RestoreError::read(directory))?;
    rustix::fs::syncfs(&opened).map_err(|error| RestoreError::write(directory)(error.into()))
}

/// The owner of an existing directory, if we are allowed to give files to him.
pub(super) fn owner_to_keep(directory: &Path) -> Option<Owner> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::metadata(directory).ok()?;
    let owner = Owner { uid: found.uid(), gid: found.gid() };
    let is_root = rustix::process::geteuid().is_root();
    let is_other = Uid::from_raw(owner.uid) != rustix::process::geteuid()
        || Gid::from_raw(owner.gid) != rustix::process::getegid();
    (is_root && is_other).then_some(owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_set_whatever_the_umask() {
        let directory = tempfile::tempdir().expect("a directory");
        let place = |name: &str| directory.path().join(name);
        fs::create_dir(place("db")).expect("makes a directory");
        fs::write(place("db/t.ibd"), b"").expect("writes");
        fs::set_permissions(place("db/t.ibd"), fs::Permissions::from_mode(0o777)).expect("sets");
        std::os::unix::fs::symlink("/nonexistent", place("link")).expect("links");
        seal(directory.path(), None, Modes::default()).expect("seals");
        let mode = |path: &Path| fs::metadata(path).expect("exists").permissions().mode() & 0o7777;
        assert_eq!(mode(directory.path()), 0o750);
        assert_eq!(mode(&place("db")), 0o750);
        assert_eq!(mode(&place("db/t.ibd")), 0o640);
        let others = Modes { file: 0o660, directory: 0o2770 };
        seal(directory.path(), None, others).expect("seals");
        assert_eq!((mode(&place("db")), mode(&place("db/t.ibd"))), (0o2770, 0o660));
    }
}
