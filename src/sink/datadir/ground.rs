//! What it takes to build a directory beside its target or inside of it, for backups and restores
//! alike.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, StatxAttributes, StatxFlags};

/// What a fresh file system may have at its top.
pub(crate) const LOST_AND_FOUND: &str = "lost+found";

/// Where a directory is built: behind the target's name, or a name inside of it.
pub(crate) const PARTIAL: &str = ".partial";

/// A name beside the target's.
pub(crate) fn beside(target: &Path, suffix: &str) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// Opens a directory and claims it against other processes for as long as it is open; `WouldBlock` if
/// another one has it. A link in its place would let us fill or empty somebody else's.
pub(crate) fn lock(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = rustix::fs::open(directory, flags, Mode::empty())?;
    rustix::fs::flock(&handle, FlockOperation::NonBlockingLockExclusive)?;
    Ok(handle)
}

/// Puts a directory's names on stable storage.
pub(crate) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes a directory that nobody will miss; a failure is only told.
pub(crate) fn remove_tree(directory: &Path) {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(directory = %directory.display(), %error, "cannot remove");
        }
        Ok(()) | Err(_) => {}
    }
}

/// Mount points, bind mounts of one file system included, are told by the kernel; old ones tell only
/// other devices, and a list.
pub(crate) fn is_mount_point(directory: &Path) -> bool {
    let told = rustix::fs::statx(CWD, directory, AtFlags::empty(), StatxFlags::BASIC_STATS);
    let is_told = |mask: StatxAttributes| mask.contains(StatxAttributes::MOUNT_ROOT);
    if let Some(told) = told.ok().filter(|told| is_told(told.stx_attributes_mask)) {
        return is_told(told.stx_attributes);
    }
    let device = |path: &Path| fs::metadata(path).map(|found| found.dev()).ok();
    let own = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_path_buf());
    let above = own.parent().unwrap_or(&own);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let is_listed =
        || mounts.lines().any(|line| line.split(' ').nth(4).map(Path::new) == Some(&own));
    device(&own).is_some_and(|own| device(above).is_some_and(|above| above != own)) || is_listed()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_point_is_told_from_a_directory() {
        assert!(is_mount_point(Path::new("/proc")));
        let directory = tempfile::tempdir().expect("temporary directory");
        assert!(!is_mount_point(directory.path()));
        assert!(!is_mount_point(&directory.path().join("missing")));
    }

    #[test]
    fn a_locked_directory_is_locked_for_others_and_a_link_is_none() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let locked = lock(directory.path()).expect("free");
        let error = lock(directory.path()).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(locked);
        let link = directory.path().join("link");
        std::os::unix::fs::symlink("/tmp", &link).expect("linked");
        assert!(lock(&link).is_err());
        assert!(lock(directory.path()).is_ok());
    }
}
