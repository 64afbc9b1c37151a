//! What an interrupted restore left and can be used: files whose content has the backup's hash.
//!
//! Nothing is believed but bytes: no journal, no sizes, no times. So it does not matter how the
//! earlier run ended, whether what it wrote was synced, or that preparing had begun.

use std::collections::{BTreeSet, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::{Mode, OFlags};

use super::error::RestoreError;
use super::tree;
use crate::pipeline::manifest::Digest;
use crate::repository::{FileRecord, Index};

/// Size of what is read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Numbers, in the index, of the files that are there and sound; everything else below the directory
/// goes. Reads with so many threads.
pub(super) fn keep_sound(
    directory: &Path,
    index: &Index,
    jobs: usize,
) -> Result<BTreeSet<usize>, RestoreError> {
    let found = Found::below(directory, index)?;
    if !found.candidates.is_empty() {
        tracing::info!(files = found.candidates.len(), "checking what an earlier restore left");
    }
    let sound = check(&found.candidates, index.files(), jobs);
    for (number, path) in &found.candidates {
        if !sound.contains(number) {
            fs::remove_file(path).map_err(RestoreError::write(path))?;
        }
    }
    found.remove_strangers()?;
    let bytes: u64 = sound.iter().map(|&number| index.files()[number].bytes()).sum();
    if !sound.is_empty() {
        tracing::info!(files = sound.len(), bytes, "kept of an earlier restore");
    }
    Ok(sound)
}

/// What is below the directory.
#[derive(Default)]
struct Found {
    /// Files that may be the backup's, by number in the index.
    candidates: Vec<(usize, PathBuf)>,
    stranger_files: Vec<PathBuf>,
    stranger_directories: Vec<PathBuf>,
}

impl Found {
    fn below(directory: &Path, index: &Index) -> Result<Self, RestoreError> {
        let files = index.files().iter().enumerate();
        let numbers: HashMap<&[u8], usize> =
            files.map(|(number, file)| (file.path().as_bytes(), number)).collect();
        let parents: BTreeSet<&[u8]> =
            index.files().iter().flat_map(|file| file.path().ancestors()).collect();
        let mut found = Self::default();
        tree::walk(directory, &mut |path, kind| {
            let name = path.strip_prefix(directory).unwrap_or(path).as_os_str().as_bytes();
            match numbers.get(name) {
                _ if kind.is_dir() && parents.contains(name) => {}
                _ if kind.is_dir() => found.stranger_directories.push(path.to_path_buf()),
                Some(&number) if kind.is_file() => {
                    found.candidates.push((number, path.to_path_buf()));
                }
                Some(_) | None => found.stranger_files.push(path.to_path_buf()),
            }
            Ok(())
        })?;
        Ok(found)
    }

    fn remove_strangers(&self) -> Result<(), RestoreError> {
        for path in &self.stranger_files {
            fs::remove_file(path).map_err(RestoreError::write(path))?;
        }
        // What lies deeper was found later.
        for path in self.stranger_directories.iter().rev() {
            fs::remove_dir(path).map_err(RestoreError::write(path))?;
        }
        Ok(())
    }
}

/// The candidates that are sound.
fn check(candidates: &[(usize, PathBuf)], files: &[FileRecord], jobs: usize) -> BTreeSet<usize> {
    let (next, sound) = (AtomicUsize::new(0), Mutex::new(BTreeSet::new()));
    let work = || {
        while let Some((number, path)) = candidates.get(next.fetch_add(1, Ordering::Relaxed)) {
            // One that cannot be read is fetched again.
            if is_sound(path, &files[*number]).unwrap_or(false) {
                sound.lock().unwrap_or_else(std::sync::PoisonError::into_inner).insert(*number);
            }
        }
    };
    std::thread::scope(|scope| {
        (0..jobs.clamp(1, candidates.len().max(1))).for_each(|_| drop(scope.spawn(work)));
    });
    sound.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Only of a file without holes and rewritten parts does the hash speak of the content alone; the few
/// others are fetched again.
fn is_sound(path: &Path, record: &FileRecord) -> std::io::Result<bool> {
    if !record.is_plain() {
        return Ok(false);
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if file.metadata()?.len() != record.bytes() {
        return Ok(false);
    }
    let mut hasher = blake3::Hasher::new();
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        match file.read(&mut piece)? {
            0 => return Ok(Digest::from(hasher.finalize()) == record.hash()),
            length => drop(hasher.update(&piece[..length])),
        }
    }
}

/// The records that are still to be fetched.
pub(super) fn missing<'a>(
    index: &'a Index,
    kept: &'a BTreeSet<usize>,
) -> impl Iterator<Item = FileRecord> + 'a {
    let files = index.files().iter().enumerate();
    files.filter(|(number, _)| !kept.contains(number)).map(|(_, record)| record.clone())
}
