//! What the donor says before it sends the backup: the small archive of conn 1 (spec 05 §2.3, 2.4).
//!
//! PXC sends one file, `sst_info`; MariaDB sends `xtrabackup_galera_info` (from 11.1 on
//! `mariadb_backup_galera_info`) and `donor_galera_info`. All of them carry a position that is a
//! *lower bound* of the data in conn 2: a restore must take the one that InnoDB holds after
//! `--prepare` (spec 05 §4.4). Every file is kept as it came.

mod archive;
mod galera_info;
mod position;
mod sst_info;
mod tar;

use core::fmt;

use bytes::Bytes;

use crate::decode::{DecodeError, Problem};
use crate::sst::sniff::{Container, base_name};
use crate::xbstream::Flavour as Tool;
use crate::xbstream::{EntryPath, Expected, StreamError};

pub use position::{ParsePositionError, Position};

/// Longest conn 1 that is read, in bytes. Real ones have a few hundred.
pub const METADATA_BYTES_MAX: usize = 1 << 20;

/// Files in one metadata archive; real ones have three at most.
const FILES_MAX: usize = 64;

/// Names that MariaDB gives to the file that holds its position, `donor_galera_info` apart.
const GALERA_INFO_NAMES: [&str; 2] = ["xtrabackup_galera_info", "mariadb_backup_galera_info"];

/// The content of conn 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Where the donor stood when it took the request: the backup is at this position *or later*.
    pub position: Position,
    /// `wsrep_gtid_domain_id` of a MariaDB donor, as text.
    pub domain: Option<String>,
    /// Which server the donor is, if the files tell.
    pub flavour: Option<Flavour>,
    /// The donor's server version, from PXC 5.7.19 on.
    pub server_version: Option<String>,
    /// Base name of the donor's binary log; `None` if it keeps none, or did not say.
    pub binlog_name: Option<String>,
    /// Without it, encrypted tables in this backup are lost. Store it protected.
    pub transition_key: Option<Secret>,
    /// The secret of our own request, if the donor saw one there.
    pub secret: Option<Secret>,
    /// The donor's estimate of the size of conn 2, in bytes.
    pub total_bytes: Option<u64>,
    /// Every file of the archive, in its order.
    pub files: Vec<MetadataFile>,
}

/// The kind of server that donates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Percona XtraDB Cluster.
    PerconaXtraDbCluster,
    /// MariaDB Server.
    MariaDb,
}

/// One file of conn 1. It may hold the transition key, so `Debug` shows its size only.
#[derive(Clone, PartialEq, Eq)]
pub struct MetadataFile {
    /// Its name in the archive.
    pub name: EntryPath,
    /// Its bytes.
    pub bytes: Bytes,
}

impl fmt::Debug for MetadataFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} bytes", self.name, self.bytes.len())
    }
}

/// Text that must not appear in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub const fn new(text: String) -> Self {
        Self(text)
    }

    /// The text itself, for the place where it is stored or compared.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// Why the metadata of a transfer cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// The archive itself is damaged, or cut short ([`MetadataError::is_truncated`]).
    #[error("read the metadata archive")]
    Archive(#[from] StreamError),
    /// The same of a tar archive.
    #[error("read the metadata archive")]
    Tar(#[from] DecodeError),
    /// The archive has chunks that only a backup has.
    #[error("the metadata archive has chunks that only a backup has")]
    UnexpectedChunk,
    /// The archive has more files than any metadata.
    #[error("the metadata archive has more than {FILES_MAX} files")]
    TooManyFiles,
    /// The donor decided to send write-sets only; there is no backup in this transfer.
    #[error("donor chose an incremental transfer (IST), no backup was sent")]
    Bypass,
    /// Neither `sst_info` nor a `galera_info` file is in the archive.
    #[error("the metadata has neither sst_info nor a galera_info file")]
    NoKnownFile,
    /// The file with the position is compressed or encrypted.
    #[error("metadata file {name} is compressed or encrypted")]
    Wrapped {
        /// The file.
        name: EntryPath,
    },
    /// There is no position where one must be.
    #[error("{name} has no position")]
    NoPosition {
        /// The file.
        name: EntryPath,
    },
    /// The position cannot be read.
    #[error("read position in {name}")]
    Position {
        /// The file.
        name: EntryPath,
        /// What is wrong with it.
        #[source]
        source: ParsePositionError,
    },
}

impl MetadataError {
    /// True if the archive ended early: the donor may dial again, later PXC scripts do.
    pub fn is_truncated(&self) -> bool {
        match self {
            Self::Archive(error) => error.fault.is_early_end(),
            Self::Tar(error) => error.problem == Problem::Truncated,
            Self::UnexpectedChunk
            | Self::TooManyFiles
            | Self::Bypass
            | Self::NoKnownFile
            | Self::Wrapped { .. }
            | Self::NoPosition { .. }
            | Self::Position { .. } => false,
        }
    }
}

impl Metadata {
    /// Reads the whole of conn 1, at most [`METADATA_BYTES_MAX`] bytes.
    pub fn decode(container: Container, input: Bytes) -> Result<Self, MetadataError> {
        let files = archive::decode(container, input)?;
        if files.iter().any(|file| base_name(file.name.as_bytes()) == b"xtrabackup_ist") {
            return Err(MetadataError::Bypass);
        }
        match find(&files, "sst_info")? {
            Some(file) => sst_info::read(&file.clone(), files),
            None => Self::from_galera_info(files),
        }
    }

    /// Reads a file `sst_info` by itself, as a backup keeps it.
    pub fn from_sst_info(bytes: Bytes) -> Result<Self, MetadataError> {
        let name = EntryPath::parse(b"sst_info").map_err(|_| MetadataError::NoKnownFile)?;
        let file = MetadataFile { name, bytes };
        sst_info::read(&file.clone(), vec![file])
    }

    fn from_galera_info(files: Vec<MetadataFile>) -> Result<Self, MetadataError> {
        let [old_name, new_name] = GALERA_INFO_NAMES;
        let tool = match find(&files, old_name)? {
            Some(file) => Some(file),
            None => find(&files, new_name)?,
        };
        let donor = find(&files, "donor_galera_info")?;
        let file = donor.or(tool).ok_or(MetadataError::NoKnownFile)?.clone();
        let tool = tool.cloned();
        galera_info::read(&file, tool.as_ref(), files)
    }
}

impl Metadata {
    /// What must be in the backup of a donor that sent this.
    pub fn expected(&self) -> Expected {
        let tool = match self.flavour {
            Some(Flavour::MariaDb) => Some(Tool::MariaDb),
            Some(Flavour::PerconaXtraDbCluster) => self.percona_tool(),
            None => None,
        };
        Expected { flavour: tool, transition_key: self.transition_key.is_some() }
    }

    /// A donor that does not tell its version is older than 5.7.19, or a fork: its files will tell.
    fn percona_tool(&self) -> Option<Tool> {
        let version = self.server_version.as_deref()?;
        Some(if version.starts_with("5.") { Tool::XtraBackup24 } else { Tool::XtraBackup })
    }
}

/// The file of that name; one that is there only compressed or encrypted is an error.
fn find<'a>(
    files: &'a [MetadataFile],
    name: &str,
) -> Result<Option<&'a MetadataFile>, MetadataError> {
    if let Some(file) = files.iter().find(|file| file.name.as_bytes() == name.as_bytes()) {
        return Ok(Some(file));
    }
    match files.iter().find(|file| base_name(file.name.as_bytes()) == name.as_bytes()) {
        Some(file) => Err(MetadataError::Wrapped { name: file.name.clone() }),
        None => Ok(None),
    }
}

/// Reads an archive of the extra keyring connection (spec 05 §2.7).
pub fn decode_keyring(
    container: Container,
    input: Bytes,
) -> Result<Vec<MetadataFile>, MetadataError> {
    archive::decode(container, input)
}

#[cfg(test)]
mod tests;
