//! The place where a data directory is built, and the moment when it takes its name.
//!
//! ```text
//!  beside:  DIR.partial ── rename ──► DIR          (or swapped with the old DIR, which then goes)
//!  inside:  DIR/.partial/* ── renames ──► DIR/*    (DIR is a mount point: nothing can be beside it)
//! ```
//!
//! Inside a mount point there is no single step, so the old content is kept in `DIR/.old` until the
//! new is complete, `grastate.dat` moves last, and a failure half-way is rolled back.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags};

use super::error::RestoreError;
use super::grastate;
use crate::sink::datadir::ground::{
    LOST_AND_FOUND, PARTIAL, beside, is_mount_point, lock, remove_tree, sync,
};

const OLD: &str = ".old";

/// A place to build in, locked while we do.
#[derive(Debug)]
pub(super) struct Staging {
    target: PathBuf,
    place: PathBuf,
    kind: Kind,
    force: bool,
    _lock: File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Beside,
    Inside,
}

/// What becomes of what an interrupted restore left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leftovers {
    /// It goes.
    Remove,
    /// It stays, for whoever knows what of it is right.
    Use,
}

impl Staging {
    /// Claims a target; with `force` it may hold something, which stays until [`Staging::publish`].
    pub(super) fn claim(
        target: &Path,
        force: bool,
        leftovers: Leftovers,
    ) -> Result<Self, RestoreError> {
        let failed = |source| RestoreError::Create { target: target.to_path_buf(), source };
        let target = std::path::absolute(target).map_err(failed)?;
        let target = fs::canonicalize(&target).unwrap_or(target);
        if !force && !is_vacant(&target).map_err(failed)? {
            return Err(RestoreError::Occupied { target });
        }
        let kind = if is_mount_point(&target) { Kind::Inside } else { Kind::Beside };
        let place = match kind {
            Kind::Inside => target.join(PARTIAL),
            Kind::Beside => beside(&target, PARTIAL),
        };
        let lock = make_place(&place, leftovers)?;
        Ok(Self { target, place, kind, force, _lock: lock })
    }

    /// Where to build.
    pub(super) fn place(&self) -> &Path {
        &self.place
    }

    /// Gives the finished directory its name.
    pub(super) fn publish(self) -> Result<PathBuf, RestoreError> {
        let published = match self.kind {
            Kind::Beside => self.publish_beside(),
            Kind::Inside => self.publish_inside(),
        };
        if published.is_err() {
            remove_tree(&self.place);
        }
        published.map(|()| self.target)
    }

    /// Takes back what was built.
    pub(super) fn discard(self) {
        remove_tree(&self.place);
    }

    fn publish_beside(&self) -> Result<(), RestoreError> {
        match fs::rename(&self.place, &self.target) {
            Ok(()) => {}
            Err(error) if self.force && error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                self.replace().map_err(RestoreError::write(&self.target))?;
            }
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                return Err(RestoreError::Occupied { target: self.target.clone() });
            }
            Err(error) => return Err(RestoreError::write(&self.target)(error)),
        }
        let parent = self.target.parent().unwrap_or(Path::new("/"));
        sync(parent).map_err(RestoreError::write(parent))
    }

    /// Swaps old and new in one step, and removes the old.
    fn replace(&self) -> io::Result<()> {
        match rustix::fs::renameat_with(CWD, &self.place, CWD, &self.target, RenameFlags::EXCHANGE)
        {
            Ok(()) => {
                remove_tree(&self.place);
                Ok(())
            }
            // Not every file system can swap.
            Err(
                rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS | rustix::io::Errno::OPNOTSUPP,
            ) => self.replace_in_two_steps(),
            Err(error) => Err(error.into()),
        }
    }

    fn replace_in_two_steps(&self) -> io::Result<()> {
        let old = free_name(&self.target, |suffix| beside(&self.target, suffix));
        fs::rename(&self.target, &old)?;
        if let Err(error) = fs::rename(&self.place, &self.target) {
            fs::rename(&old, &self.target)?;
            return Err(error);
        }
        remove_tree(&old);
        Ok(())
    }

    fn publish_inside(&self) -> Result<(), RestoreError> {
        let failed = || RestoreError::write(&self.target);
        let held = content(&self.target).map_err(failed())?;
        let (old_places, held): (Vec<_>, Vec<_>) = held.into_iter().partition(|name| is_old(name));
        if !self.force && !held.is_empty() {
            return Err(RestoreError::Occupied { target: self.target.clone() });
        }
        let old = free_name(&self.target, |suffix| self.target.join(suffix));
        fs::create_dir(&old).map_err(failed())?;
        if let Err(error) = self.move_up(&old, held) {
            // Everything was moved back, so this is empty again; if not, it is worth keeping.
            drop(fs::remove_dir(&old));
            return Err(failed()(error));
        }
        remove_tree(&self.place);
        remove_tree(&old);
        old_places.iter().for_each(|name| remove_tree(&self.target.join(name)));
        sync(&self.target).map_err(failed())
    }

    fn move_up(&self, old: &Path, held: Vec<OsString>) -> io::Result<()> {
        let new = new_content(&self.place)?;
        let mut moves = Moves::default();
        let moved = moves
            .run(&self.target, old, held)
            .and_then(|()| moves.run(&self.place, &self.target, new))
            .and_then(|()| sync(&self.target));
        if moved.is_err() {
            moves.undo();
        }
        moved
    }
}

/// Renames that are taken back if a later one fails.
#[derive(Default)]
struct Moves {
    done: Vec<(PathBuf, PathBuf)>,
}

impl Moves {
    fn run(&mut self, from: &Path, to: &Path, names: Vec<OsString>) -> io::Result<()> {
        for name in names {
            let (old, new) = (from.join(&name), to.join(&name));
            fs::rename(&old, &new)?;
            self.done.push((old, new));
        }
        Ok(())
    }

    fn undo(&self) {
        for (old, new) in self.done.iter().rev() {
            if let Err(error) = fs::rename(new, old) {
                tracing::error!(file = %new.display(), %error, "cannot move back");
            }
        }
    }
}

/// What is to be moved up, `grastate.dat` last: with it a server believes the rest.
fn new_content(place: &Path) -> io::Result<Vec<OsString>> {
    let mut names = content(place)?;
    names.sort_by_key(|name| name == grastate::NAME);
    Ok(names)
}

/// Names in a directory but for what belongs to the file system or to us.
fn content(directory: &Path) -> io::Result<Vec<OsString>> {
    let names = fs::read_dir(directory)?.map(|entry| entry.map(|entry| entry.file_name()));
    let is_foreign = |name: &OsString| name != LOST_AND_FOUND && name != PARTIAL;
    names.filter(|name| name.as_ref().map_or(true, is_foreign)).collect()
}

/// True if there is nothing, or only an empty directory.
fn is_vacant(target: &Path) -> io::Result<bool> {
    match content(target) {
        Ok(names) => Ok(names.is_empty()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn is_old(name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| name == OLD || name.starts_with(".old."))
}

/// `.old`, or if an interrupted restore left one, the next free name.
fn free_name(target: &Path, place: impl Fn(&str) -> PathBuf) -> PathBuf {
    let numbered = (1_u32..).map(|number| format!("{OLD}.{number}"));
    std::iter::once(OLD.to_owned())
        .chain(numbered)
        .map(|suffix| place(&suffix))
        .find(|candidate| !candidate.exists())
        .unwrap_or_else(|| target.join(OLD))
}

/// Makes a private, locked directory.
fn make_place(place: &Path, leftovers: Leftovers) -> Result<File, RestoreError> {
    let failed = || {
        let target = place.to_path_buf();
        |source| RestoreError::Create { target, source }
    };
    if let Some(parent) = place.parent() {
        fs::create_dir_all(parent).map_err(failed())?;
    }
    match fs::DirBuilder::new().mode(0o700).create(place) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(failed()(error)),
        Ok(()) | Err(_) => {}
    }
    let lock = match lock(place) {
        Ok(lock) => File::from(lock),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(RestoreError::Busy { place: place.to_path_buf() });
        }
        Err(error) => return Err(failed()(error)),
    };
    // It may have been given its final mode already.
    fs::set_permissions(place, fs::Permissions::from_mode(0o700)).map_err(failed())?;
    match leftovers {
        Leftovers::Remove => empty(place).map_err(failed())?,
        Leftovers::Use => {}
    }
    Ok(lock)
}

fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
