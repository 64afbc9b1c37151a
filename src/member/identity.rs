//! Who we are in the group, and how that survives a restart (`gvwstate.dat`, spec 03 §4.4).

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use galera_protocol::NodeId;
use galera_protocol::gmcast::config::UNIX_EPOCH_100NS;
use galera_protocol::pc::SavedView;
use rustix::fs::{FlockOperation, flock};

const FILE_NAME: &str = "gvwstate.dat";
const TEMPORARY_NAME: &str = "gvwstate.dat.tmp";
const LOCK_NAME: &str = "galera-sst.lock";

/// A saved view is some hundred bytes; a file beyond this is not one.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// Why the state directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It cannot be opened or made.
    #[error("open state directory {path}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Another process uses it: two members with one identity would throw each other out.
    #[error("state directory {path} is in use by another process")]
    InUse {
        /// The directory.
        path: PathBuf,
    },
}

/// The directory that holds the saved view, locked for this process.
#[derive(Debug)]
pub struct StateDirectory {
    path: PathBuf,
    _lock: File,
}

impl StateDirectory {
    /// Makes the directory if needed and locks it.
    pub fn open(path: &Path) -> Result<Self, IdentityError> {
        let failed = |source| IdentityError::Open { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(failed)?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path.join(LOCK_NAME))
            .map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| IdentityError::InUse { path: path.to_owned() })?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// The saved view, if there is a readable one; anything else means a fresh start.
    pub fn load(&self) -> Option<SavedView> {
        let mut text = String::new();
        let file = File::open(self.path.join(FILE_NAME)).ok()?;
        file.take(FILE_BYTES_MAX).read_to_string(&mut text).ok()?;
        text.parse().ok()
    }

    /// Replaces the saved view durably.
    pub fn save(&self, view: &SavedView) -> io::Result<()> {
        let temporary = self.path.join(TEMPORARY_NAME);
        let mut file = File::create(&temporary)?;
        file.write_all(view.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&temporary, self.path.join(FILE_NAME))?;
        File::open(&self.path)?.sync_all()
    }

    /// Forgets the saved view, after a completed leave from a primary component.
    pub fn forget(&self) -> io::Result<()> {
        match fs::remove_file(self.path.join(FILE_NAME)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }
}

/// A new identity: RFC 4122 version 1, with random node bytes and incarnation.
pub(super) fn fresh_node_id(random: [u8; 8]) -> NodeId {
    let [i0, i1, node @ ..] = random;
    NodeId::version1(uuid_timestamp(), u16::from_be_bytes([i0, i1]), node)
}

/// The present in UUID time: 100 ns units since 1582-10-15.
pub(super) fn uuid_timestamp() -> u64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let units = u64::try_from(since_1970.as_nanos() / 100).unwrap_or(0);
    UNIX_EPOCH_100NS.saturating_add(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_process_cannot_take_the_same_identity() {
        let directory = tempfile::tempdir().expect("directory");
        let first = StateDirectory::open(directory.path()).expect("first");
        let second = StateDirectory::open(directory.path());
        assert!(matches!(second, Err(IdentityError::InUse { .. })));
        drop(first);
        assert!(StateDirectory::open(directory.path()).is_ok());
    }

    #[test]
    fn fresh_identities_carry_the_present_time() {
        let (one, two) = (fresh_node_id([1; 8]), fresh_node_id([2; 8]));
        assert!(!one.is_same_node(&two));
        assert!(two.timestamp() >= one.timestamp());
        assert!(one.timestamp() > UNIX_EPOCH_100NS);
    }
}
