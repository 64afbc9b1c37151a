//! Where a data directory is built, and how it appears whole.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::Mode;

use super::grastate::Grastate;
use super::ground::{LOST_AND_FOUND, PARTIAL, beside, is_mount_point, lock, remove_tree, sync};
use super::tree::Tree;
use super::{DIRECTORY_MODE, create_error};
use crate::sink::SinkError;

/// A claimed target.
#[derive(Debug)]
pub(super) struct Place {
    target: PathBuf,
    building: PathBuf,
    kind: Kind,
    /// The building directory; its lock lasts as long as the process.
    directory: OwnedFd,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Beside the target, to be renamed to it.
    Beside,
    /// Inside a target that cannot be renamed to, being a mount point.
    Inside,
}

impl Place {
    /// Makes the building directory; what a dead process left there goes away.
    pub(super) fn claim(target: &Path) -> Result<Self, SinkError> {
        Self::claim_as(target, Kind::of(target)?)
    }

    fn claim_as(target: &Path, kind: Kind) -> Result<Self, SinkError> {
        let failed = |source| create_error(target, source);
        let building = kind.building(target).map_err(failed)?;
        if fs::symlink_metadata(&building).is_ok() {
            let stale = lock(&building).map_err(failed)?;
            fs::remove_dir_all(&building).map_err(failed)?;
            drop(stale);
        }
        fs::DirBuilder::new().mode(DIRECTORY_MODE).create(&building).map_err(failed)?;
        let directory = lock(&building).map_err(failed)?;
        rustix::fs::fchmod(&directory, Mode::from_raw_mode(DIRECTORY_MODE))
            .map_err(|errno| failed(errno.into()))?;
        Ok(Self { target: target.to_path_buf(), building, kind, directory })
    }

    pub(super) fn target(&self) -> &Path {
        &self.target
    }

    pub(super) fn building(&self) -> &Path {
        &self.building
    }

    pub(super) fn tree(&self) -> io::Result<Tree> {
        Ok(Tree::new(self.directory.try_clone()?))
    }

    /// Makes what was built visible as the target, or nothing at all.
    pub(super) fn publish(&self) -> io::Result<()> {
        match self.kind {
            Kind::Beside => self.rename(),
            Kind::Inside => self.move_up(),
        }
    }

    /// Removes what was built.
    pub(super) fn discard(&self) {
        remove_tree(&self.building);
    }

    /// Replaces an empty directory, and fails on any other.
    fn rename(&self) -> io::Result<()> {
        fs::rename(&self.building, &self.target)?;
        let synced = parent(&self.target).and_then(sync);
        if synced.is_err() {
            // What may not survive a power cut must not be taken for a backup.
            fs::rename(&self.target, &self.building)?;
        }
        synced
    }

    /// Moves everything up one level, `grastate.dat` last; or back, if that fails half-way.
    fn move_up(&self) -> io::Result<()> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.building)? {
            names.push(entry?.file_name());
        }
        names.sort_by_key(|name| name == Grastate::NAME);
        for (done, name) in names.iter().enumerate() {
            if let Err(error) = move_new(&self.building.join(name), &self.target.join(name)) {
                for name in &names[..done] {
                    fs::rename(self.target.join(name), self.building.join(name))?;
                }
                return Err(error);
            }
        }
        sync(&self.target)?;
        fs::remove_dir(&self.building)
    }
}

/// Moves, unless something came to be at the new name meanwhile.
fn move_new(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(_) => fs::rename(from, to),
    }
}

impl Kind {
    /// How to build for a target; refuses one that is in use.
    fn of(target: &Path) -> Result<Self, SinkError> {
        let metadata = match fs::symlink_metadata(target) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::Beside),
            Err(error) => return Err(create_error(target, error)),
        };
        let occupied = || SinkError::Occupied { target: target.display().to_string() };
        if !metadata.is_dir() {
            return Err(occupied());
        }
        let is_mount = is_mount_point(target);
        let kind = if is_mount { Self::Inside } else { Self::Beside };
        let ours = kind.building(target).map_err(|error| create_error(target, error))?;
        for entry in fs::read_dir(target).map_err(|error| create_error(target, error))? {
            let entry = entry.map_err(|error| create_error(target, error))?;
            let is_nothing = is_mount && entry.file_name() == LOST_AND_FOUND;
            if !is_nothing && entry.path() != ours {
                return Err(occupied());
            }
        }
        Ok(kind)
    }

    fn building(self, target: &Path) -> io::Result<PathBuf> {
        match self {
            Self::Inside => Ok(target.join(PARTIAL)),
            Self::Beside => {
                let name = target.file_name().ok_or(io::ErrorKind::InvalidInput)?;
                Ok(beside(&target.with_file_name(name), PARTIAL))
            }
        }
    }
}

fn parent(target: &Path) -> io::Result<&Path> {
    match target.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Ok(Path::new(".")),
        Some(parent) => Ok(parent),
        None => Err(io::ErrorKind::InvalidInput.into()),
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// As if the temporary directory were a volume's mount point.
    fn mounted() -> (TempDir, Place) {
        let directory = tempfile::tempdir().expect("temporary directory");
        fs::create_dir(directory.path().join(LOST_AND_FOUND)).expect("made");
        let place = Place::claim_as(directory.path(), Kind::Inside).expect("claimed");
        for name in ["grastate.dat", "ibdata1", "db"] {
            fs::write(place.building().join(name), name).expect("written");
        }
        (directory, place)
    }

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).expect("directory");
        let name = |entry: io::Result<fs::DirEntry>| entry.expect("entry").file_name();
        let mut names: Vec<_> =
            entries.map(|entry| name(entry).into_string().expect("UTF-8")).collect();
        names.sort();
        names
    }

    #[test]
    fn in_a_mount_point_everything_moves_up() {
        let (directory, place) = mounted();
        place.publish().expect("published");
        assert_eq!(names(directory.path()), ["db", "grastate.dat", "ibdata1", LOST_AND_FOUND]);
    }

    #[test]
    fn in_a_mount_point_nothing_stays_after_a_failure() {
        let (directory, place) = mounted();
        fs::write(directory.path().join("grastate.dat"), "theirs").expect("written");
        place.publish().expect_err("occupied meanwhile");
        assert_eq!(names(place.building()), ["db", "grastate.dat", "ibdata1"]);
        place.discard();
        assert_eq!(names(directory.path()), ["grastate.dat", LOST_AND_FOUND]);
    }
}
