//! Why a restore fails.

use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use galera_protocol::id::StateId;

use super::tool::Version;
use crate::pipeline::manifest::Flavour;
use crate::pipeline::{PipelineError, Side};
use crate::repository::RepositoryError;

/// Why a restore fails.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The target holds something and nobody said that it may go.
    #[error("{} is not empty; --force replaces it", target.display())]
    Occupied {
        /// The target.
        target: PathBuf,
    },
    /// Somebody else is restoring there now.
    #[error("{} is in use by another restore", place.display())]
    Busy {
        /// The place where it is being built.
        place: PathBuf,
    },
    /// The target cannot be made.
    #[error("create {}", target.display())]
    Create {
        /// What was to be made.
        target: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file of the target cannot be written, moved or removed.
    #[error("write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The directory to be finished cannot be read.
    #[error("read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The repository does not give the backup.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// A stream does not arrive in the target.
    #[error(transparent)]
    Stream(#[from] PipelineError),
    /// A stream or archive ends before its end.
    #[error("{} is not a whole backup", file.display())]
    Incomplete {
        /// The file.
        file: PathBuf,
    },
    /// An archive cannot be read.
    #[error("read archive {}", file.display())]
    Archive {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
    /// A member of an archive is not what the archive's list says.
    #[error("{member} in {} is damaged or missing", file.display())]
    DamagedMember {
        /// The archive.
        file: PathBuf,
        /// The member.
        member: String,
    },
    /// The directory does not hold a backup.
    #[error("{} holds no backup: no {missing}", directory.display())]
    NoBackup {
        /// The directory.
        directory: PathBuf,
        /// The file that was looked for.
        missing: &'static str,
    },
    /// The backup's own summary is incomplete: the donor did not finish it.
    #[error("the donor did not finish this backup: no end_time in its summary")]
    Unfinished,
    /// A role in the new cluster needs a position, and that needs a prepared backup.
    #[error("grastate.dat needs a prepared backup; add --prepare")]
    NotPrepared,
    /// The program that prepares is not installed.
    #[error("no program to prepare a backup of {flavour:?}: looked for {} in PATH", names.join(", "))]
    NoTool {
        /// Whose backup it is.
        flavour: Flavour,
        /// Names that were looked for.
        names: &'static [&'static str],
    },
    /// The program that prepares is of another release series than the one that made the backup.
    #[error("{} is version {found}, but the backup was made by {expected}", tool.display())]
    ToolVersion {
        /// The program.
        tool: PathBuf,
        /// Its version.
        found: Version,
        /// Version of the donor's.
        expected: Version,
    },
    /// The program does not tell its version.
    #[error("{} does not tell its version", tool.display())]
    NoVersion {
        /// The program.
        tool: PathBuf,
    },
    /// Files were encrypted one by one by the backup program.
    #[error("{} is encrypted: give its key with --decrypt-key-file", path.display())]
    EncryptedFiles {
        /// One of them.
        path: PathBuf,
    },
    /// Tablespaces are encrypted, which needs the keyring of the new server.
    #[error(
        "the backup has encrypted tablespaces: name the new server's keyring with --move-back-argument, as \
         its xtrabackup takes it (--component-keyring-config=FILE, --keyring-vault-config=FILE, …)"
    )]
    EncryptedTablespaces,
    /// Tablespaces are encrypted, and what opens them is not with the backup.
    #[error("the backup has encrypted tablespaces, but no sst_info with their transition key")]
    NoTransitionKey,
    /// A file is not what its suffix says, or another key is needed.
    #[error("unwrap {}", path.display())]
    Wrapped {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: crate::unpack::UnpackError,
    },
    /// A program cannot be run.
    #[error("run {}", program.display())]
    Run {
        /// The program.
        program: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A program failed.
    #[error("{} failed ({status}): {last_words}", program.display())]
    Failed {
        /// The program.
        program: PathBuf,
        /// Its exit status.
        status: ExitStatus,
        /// Its last line.
        last_words: String,
    },
    /// A program took too long and was killed.
    #[error("{} did not end within {} s", program.display(), limit.as_secs())]
    TimeLimit {
        /// The program.
        program: PathBuf,
        /// How long it had.
        limit: Duration,
    },
    /// A program ended well but did not say that it had finished.
    #[error("{} ended without \"completed OK!\"", program.display())]
    NotCompleted {
        /// The program.
        program: PathBuf,
    },
    /// The prepared directory does not tell its position.
    #[error("no wsrep position in {}; --server-binary lets a server look for it", directory.display())]
    NoPosition {
        /// The directory.
        directory: PathBuf,
    },
    /// Two sources of the position disagree.
    #[error("the tool wrote position {prepared}, the server recovered {recovered}")]
    PositionMismatch {
        /// What preparing wrote.
        prepared: String,
        /// What the server found.
        recovered: String,
    },
    /// The data belongs to another history than the manifest says.
    #[error("the data has state UUID {found}, the manifest says {expected}")]
    OtherHistory {
        /// In the manifest.
        expected: StateId,
        /// In the data.
        found: StateId,
    },
    /// A worker ended without a result: it was stopped or it is a bug.
    #[error("a worker ended early")]
    WorkerLost,
}

impl RestoreError {
    /// True if the same may succeed a while later: what was fetched is worth keeping.
    pub(super) fn is_interruption(&self) -> bool {
        matches!(
            self,
            Self::Repository(RepositoryError::Read { .. } | RepositoryError::Open { .. })
        )
    }

    /// The exit code that this error stands for.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Repository(error) => error.exit_code(),
            Self::Stream(error) => match error.side() {
                Side::Stream | Side::Transport => 65,
                Side::Sink => 74,
                Side::Stopped | Side::Internal => 100,
            },
            Self::NotPrepared => 64,
            Self::NoBackup { .. }
            | Self::Incomplete { .. }
            | Self::Archive { .. }
            | Self::DamagedMember { .. }
            | Self::Unfinished
            | Self::EncryptedFiles { .. }
            | Self::EncryptedTablespaces
            | Self::NoTransitionKey
            | Self::Wrapped { .. }
            | Self::NoPosition { .. }
            | Self::PositionMismatch { .. }
            | Self::OtherHistory { .. } => 65,
            Self::Occupied { .. } | Self::Busy { .. } | Self::Create { .. } => 73,
            Self::Write { .. } => 74,
            Self::NoTool { .. } | Self::ToolVersion { .. } | Self::NoVersion { .. } => 78,
            Self::Read { .. }
            | Self::Run { .. }
            | Self::Failed { .. }
            | Self::TimeLimit { .. }
            | Self::NotCompleted { .. }
            | Self::WorkerLost => 100,
        }
    }

    pub(super) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Write { path, source }
    }

    pub(super) fn read(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Read { path, source }
    }
}
