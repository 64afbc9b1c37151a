//! Parts of files, in any order and from several threads, onto the disk.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use galera_protocol::xbstream::EntryPath;

use super::error::RestoreError;
use crate::repository::{FileRecord, Plan, PlannedFile, RepositoryError, Target};

/// Writes the files of a backup below one directory. Holes stay holes.
///
/// Names come from a stranger by way of the index, so every one is resolved beneath a handle of
/// the directory, without leaving it.
pub(super) struct Files {
    root: Dir,
    display: PathBuf,
    /// Files under way: as many as were open at once when the backup was written.
    open: Mutex<HashMap<usize, Open>>,
}

struct Open {
    file: Arc<File>,
    missing_bytes: u64,
}

impl Files {
    /// Opens the directory, which is empty.
    pub(super) fn below(directory: &Path) -> Result<Self, RestoreError> {
        let root = Dir::open_ambient_dir(directory, ambient_authority())
            .map_err(RestoreError::read(directory))?;
        Ok(Self { root, display: directory.to_path_buf(), open: Mutex::default() })
    }

    /// Makes all directories, and the files without data: no part of them will come.
    pub(super) fn lay_out(&self, plan: &Plan) -> Result<(), RestoreError> {
        let paths = plan.files().iter().map(|file| as_path(file.record.path()));
        let parents: BTreeSet<&Path> = paths.filter_map(Path::parent).collect();
        for parent in parents.into_iter().filter(|parent| !parent.as_os_str().is_empty()) {
            let failed = RestoreError::write(self.display.join(parent));
            self.root.create_dir_all(parent).map_err(failed)?;
        }
        for file in plan.files().iter().filter(|file| file.data_bytes == 0) {
            let failed = RestoreError::write(self.display.join(as_path(file.record.path())));
            self.create(&file.record).map_err(failed)?;
        }
        Ok(())
    }

    fn create(&self, record: &FileRecord) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let file = self.root.open_with(as_path(record.path()), &options)?.into_std();
        file.set_len(record.bytes())?;
        Ok(file)
    }

    fn open(&self, number: usize, planned: &PlannedFile) -> io::Result<Arc<File>> {
        let mut open = self.lock();
        if let Some(found) = open.get(&number) {
            return Ok(Arc::clone(&found.file));
        }
        let file = Arc::new(self.create(&planned.record)?);
        let made = Open { file: Arc::clone(&file), missing_bytes: planned.data_bytes };
        open.insert(number, made);
        Ok(file)
    }

    /// Counts written bytes; the last ones close the file.
    fn count(&self, number: usize, bytes: usize) {
        let mut open = self.lock();
        if let Some(found) = open.get_mut(&number) {
            found.missing_bytes = found.missing_bytes.saturating_sub(bytes as u64);
            if found.missing_bytes == 0 {
                open.remove(&number);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<usize, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Target for Files {
    fn place(
        &self,
        plan: &Plan,
        number: usize,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), RepositoryError> {
        let planned = &plan.files()[number];
        let opened = self.open(number, planned);
        match opened.and_then(|file| file.write_all_at(bytes, offset)) {
            Ok(()) => {
                self.count(number, bytes.len());
                Ok(())
            }
            Err(source) => {
                let path = self.display.join(as_path(planned.record.path()));
                Err(RepositoryError::Place { path: path.display().to_string(), source })
            }
        }
    }
}

fn as_path(path: &EntryPath) -> &Path {
    Path::new(std::ffi::OsStr::from_bytes(path.as_bytes()))
}
