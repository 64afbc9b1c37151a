//! Why a repository cannot do what was asked.

use super::store::NoContact;
use crate::exit::ExitCode;
use crate::pipeline::manifest::{BackupId, ManifestError};

/// Why a repository cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RepositoryError {
    /// The repository or a backup's place in it cannot be made.
    #[error("create {target}")]
    Create {
        /// What was to be made.
        target: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// The repository cannot be opened.
    #[error("open repository {target}")]
    Open {
        /// Its URL.
        target: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// Writing or removing an object failed.
    #[error("write {object}")]
    Write {
        /// The object.
        object: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// A store said that it had taken an object, and does not have it.
    #[error("{object} is not there although the store said that it took it")]
    Lost {
        /// The object.
        object: String,
    },
    /// Another backup of the same name is there.
    #[error("{object} is there already, of another backup")]
    OtherBackup {
        /// Its manifest.
        object: String,
    },
    /// Reading an object failed.
    #[error("read {object}")]
    Read {
        /// The object.
        object: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// There is no complete backup of that name.
    #[error("no backup {id} in {repository}")]
    NoBackup {
        /// The name.
        id: BackupId,
        /// The repository's URL.
        repository: String,
    },
    /// There is no complete backup at all.
    #[error("no backup in {repository}")]
    Empty {
        /// The repository's URL.
        repository: String,
    },
    /// The backup has no such file.
    #[error("no file {path} in the backup")]
    NoFile {
        /// The name that was asked for.
        path: String,
    },
    /// The backup is encrypted, and there is no key.
    #[error("backup {id} is encrypted; give a key with --identity-file")]
    Sealed {
        /// The backup.
        id: BackupId,
    },
    /// None of the keys opens the backup.
    #[error("none of the keys opens backup {id}")]
    WrongKey {
        /// The backup.
        id: BackupId,
    },
    /// A manifest cannot be read.
    #[error("read manifest of {id}")]
    Manifest {
        /// The backup.
        id: BackupId,
        /// Why.
        #[source]
        source: ManifestError,
    },
    /// An object is not what the manifest or the index says.
    #[error("{object} is damaged")]
    Damaged {
        /// The object or file.
        object: String,
        /// In what way.
        #[source]
        fault: Fault,
    },
    /// What is there of a backup is not all of it.
    #[error("backup {id} is not whole: {object}")]
    NotWhole {
        /// The backup.
        id: BackupId,
        /// What is not there or wrong.
        object: String,
        /// In what way.
        #[source]
        fault: Fault,
    },
    /// A name that the layout cannot hold.
    #[error("{name:?} cannot be a name in layout xbcloud")]
    Name {
        /// The name.
        name: String,
    },
    /// A named limit was exceeded.
    #[error("more than {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much there may be.
        limit: u64,
    },
    /// A backup was to be committed while one of its files was not finished.
    #[error("{path} is not finished")]
    Unfinished {
        /// The file.
        path: String,
    },
    /// Compression failed.
    #[error("compress")]
    Compress(#[source] std::io::Error),
    /// The manifest or the index cannot be written as JSON.
    #[error("encode {object}")]
    Encode {
        /// The object.
        object: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// A local file could not be written while a backup was being read.
    #[error("write {path}")]
    Place {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// A worker ended without a result: it was stopped or it is a bug.
    #[error("a worker ended early")]
    WorkerLost,
}

/// In what way an object is damaged.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It is shorter or longer than it should be.
    #[error("size {found}, expected {expected}")]
    Size {
        /// Bytes there should be.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// Its bytes hash to something else.
    #[error("hash mismatch")]
    Hash,
    /// It does not begin as a pack does.
    #[error("not a pack of a known version")]
    PackHeader,
    /// A pack's block table does not add up.
    #[error("malformed block table")]
    BlockTable,
    /// A block's bytes hash to something else.
    #[error("hash mismatch in block {block}")]
    Block {
        /// Number of the block in its pack.
        block: usize,
    },
    /// A block's hash is right but none of the keys opens it.
    #[error("no key opens block {block}")]
    Decrypt {
        /// Number of the block in its pack.
        block: usize,
    },
    /// A block's hash is right but it does not decompress to what the table says.
    #[error("block {block} does not decompress")]
    Decompress {
        /// Number of the block in its pack.
        block: usize,
    },
    /// The index is not JSON lines of the documented form.
    #[error("malformed index at line {line}")]
    IndexLine {
        /// Counted from 1.
        line: usize,
    },
    /// The index ends before its end line, or its counts are wrong.
    #[error("incomplete index")]
    IndexEnd,
    /// Packs of the index leave gaps or overlap.
    #[error("packs do not adjoin")]
    Packs,
    /// A file's extents lie outside the packs, overlap or are out of order.
    #[error("impossible extents")]
    Extents,
    /// The same name twice.
    #[error("listed twice")]
    Duplicate,
    /// The manifest says nothing of packs, or names another layout.
    #[error("not a backup of this layout")]
    Layout,
    /// A file's chunks are numbered with a gap.
    #[error("chunk {index} is missing")]
    ChunkMissing {
        /// Number of the first one that is not there.
        index: u64,
    },
    /// A file's last chunk does not end it.
    #[error("the last chunk is no end")]
    NoEnd,
    /// An object is not the chunk that its name says.
    #[error("not the chunk that its name says")]
    Chunk,
    /// A chunk of a kind that this way of reading cannot follow.
    #[error("it was written over after it was written; restore the backup to read it")]
    Rewritten,
    /// The chunks of a file do not make it up.
    #[error("{0}")]
    Content(galera_protocol::xbstream::Fault),
    /// A file that closes a backup is not as it has to be.
    #[error("{0}")]
    Closing(galera_protocol::xbstream::Gap),
    /// The list of sums has an object that is not there, or the other way round.
    #[error("the list of sums has other chunks")]
    Listed,
    /// The list of sums is not one.
    #[error("malformed list of sums")]
    Sums,
}

impl RepositoryError {
    /// The exit code that this error stands for.
    pub fn exit_code(&self) -> u8 {
        if NoContact::is_refusal_behind(self) {
            return ExitCode::Refused.number();
        }
        match self {
            Self::NoBackup { .. } | Self::Empty { .. } | Self::NoFile { .. } => 64,
            Self::Damaged { .. } | Self::Manifest { .. } | Self::NotWhole { .. } => 65,
            Self::Sealed { .. } | Self::WrongKey { .. } => 77,
            Self::Create { .. } | Self::OtherBackup { .. } => 73,
            Self::Write { .. }
            | Self::Lost { .. }
            | Self::Place { .. }
            | Self::Name { .. }
            | Self::Compress(_) => 74,
            Self::Open { .. } | Self::Read { .. } => {
                let contact = NoContact::behind(self).map(NoContact::exit_code);
                contact.unwrap_or(ExitCode::Other).number()
            }
            Self::Limit { .. }
            | Self::Unfinished { .. }
            | Self::Encode { .. }
            | Self::WorkerLost => 100,
        }
    }

    pub(crate) fn damaged(object: impl Into<String>, fault: Fault) -> Self {
        Self::Damaged { object: object.into(), fault }
    }
}
