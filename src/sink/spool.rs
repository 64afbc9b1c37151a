//! Files that have to wait on disk, below a limit.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

/// A directory of our own for waiting files, removed with everything in it when dropped.
#[derive(Debug)]
pub(crate) struct Spool {
    directory: PathBuf,
    limit_bytes: u64,
    used_bytes: u64,
    next: u64,
}

/// The spool is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than {limit_bytes} bytes have to wait in the spool; --spool-max allows more")]
pub(crate) struct SpoolFull {
    limit_bytes: u64,
}

impl Spool {
    /// Makes the directory below `parent`; what a dead process left under that name goes.
    pub(crate) fn create(parent: PathBuf, name: &str, limit_bytes: u64) -> io::Result<Self> {
        let directory = parent.join(name);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Ok(()) | Err(_) => {}
        }
        fs::DirBuilder::new().mode(0o700).create(&directory)?;
        Ok(Self { directory, limit_bytes, used_bytes: 0, next: 0 })
    }

    /// Makes a file in it, and its name.
    pub(crate) fn file(&mut self) -> io::Result<(PathBuf, File)> {
        let path = self.directory.join(self.next.to_string());
        self.next += 1;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        Ok((path, file))
    }

    /// Counts bytes that are about to be written.
    pub(crate) fn take(&mut self, bytes: u64) -> Result<(), SpoolFull> {
        self.used_bytes = self.used_bytes.saturating_add(bytes);
        let limit_bytes = self.limit_bytes;
        if self.used_bytes > limit_bytes { Err(SpoolFull { limit_bytes }) } else { Ok(()) }
    }

    /// Removes a file of so many counted bytes.
    pub(crate) fn remove(&mut self, path: &std::path::Path, bytes: u64) -> io::Result<()> {
        self.used_bytes = self.used_bytes.saturating_sub(bytes);
        fs::remove_file(path)
    }
}

impl Spool {
    /// Removes everything, now.
    pub(crate) fn clear(&mut self) {
        match fs::remove_dir_all(&self.directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(directory = %self.directory.display(), %error, "remove spool");
            }
            Ok(()) | Err(_) => {}
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spool_counts_what_waits_and_goes_with_its_files() {
        let parent = tempfile::tempdir().expect("temporary directory");
        let mut spool = Spool::create(parent.path().into(), "spool", 10).expect("made");
        let (path, _file) = spool.file().expect("made");
        assert_eq!(spool.take(10), Ok(()));
        assert_eq!(spool.take(1), Err(SpoolFull { limit_bytes: 10 }));
        spool.remove(&path, 11).expect("removed");
        assert_eq!(spool.take(10), Ok(()));
        drop(spool);
        assert!(!parent.path().join("spool").exists());
    }
}
