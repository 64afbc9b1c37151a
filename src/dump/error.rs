//! Why there is no dump, or why one was not loaded.

use std::io;
use std::process::ExitStatus;
use std::time::Duration;

use crate::exit::ExitCode;
use crate::repository::{NoContact, RepositoryError};
use crate::sink::SinkError;

/// Why there is no dump.
#[derive(Debug, thiserror::Error)]
pub enum DumpError {
    /// The target cannot be made.
    #[error("open the target")]
    OpenSink(#[source] SinkError),
    /// The command cannot be run.
    #[error("start {program}")]
    Start {
        /// The program.
        program: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The command says that it failed.
    #[error("the dump command failed ({status})")]
    Command {
        /// Its exit status.
        status: ExitStatus,
    },
    /// It ended well and wrote nothing.
    #[error("the dump command wrote nothing")]
    Empty,
    /// It ended well, and its output does not.
    #[error("the dump does not end with the line \"-- Dump completed\"")]
    NoClosingLine,
    /// It said nothing for too long.
    #[error("the dump command wrote nothing for {} s", .limit.as_secs())]
    Silent {
        /// The limit.
        limit: Duration,
    },
    /// Its output cannot be read.
    #[error("read from the dump command")]
    Read(#[source] io::Error),
    /// The sink failed.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The sink took too long.
    #[error("the sink took nothing for {} s", .limit.as_secs())]
    SinkStalled {
        /// The limit.
        limit: Duration,
    },
    /// The sink did not make the dump visible.
    #[error("commit the dump")]
    Commit(#[source] SinkError),
    /// We were told to stop.
    #[error("stopped before the dump was complete")]
    Stopped,
}

impl DumpError {
    /// The exit code that it means.
    pub fn exit_code(&self) -> ExitCode {
        if NoContact::is_refusal_behind(self) {
            return ExitCode::Refused;
        }
        match self {
            Self::OpenSink(_) => ExitCode::CannotCreate,
            Self::Start { .. } => ExitCode::Configuration,
            Self::Command { .. } => ExitCode::Donor,
            Self::Empty | Self::NoClosingLine => ExitCode::BadData,
            Self::Silent { .. } | Self::Read(_) => ExitCode::Retry,
            Self::Sink(_) | Self::SinkStalled { .. } | Self::Commit(_) => ExitCode::SinkFailed,
            Self::Stopped => ExitCode::Other,
        }
    }

    /// What to try, where we know.
    pub fn remedy(&self) -> Option<&'static str> {
        if let Some(contact) = NoContact::behind(self) {
            return Some(contact.remedy());
        }
        match self {
            Self::Empty => Some("--allow-empty, if that is right"),
            Self::NoClosingLine => {
                Some("--closing-line warn or ignore, if the command writes no comments")
            }
            Self::Command { .. } => Some("see what it said above"),
            Self::OpenSink(_)
            | Self::Start { .. }
            | Self::Silent { .. }
            | Self::Read(_)
            | Self::Sink(_)
            | Self::SinkStalled { .. }
            | Self::Commit(_)
            | Self::Stopped => None,
        }
    }
}

/// Why a dump was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The backup is a data directory.
    #[error("backup {id} is no dump: `galera-sst restore` brings it back")]
    NotADump {
        /// Its name.
        id: String,
    },
    /// The dump cannot be read.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
    /// The dump is damaged; the command was not started.
    #[error("{first}{}; nothing was loaded", more(.further))]
    Damaged {
        /// The first thing that is wrong.
        first: RepositoryError,
        /// How many more there are.
        further: usize,
    },
    /// The dump was found damaged, or was lost, on its way; the command was killed.
    #[error(
        "the dump cannot be read to its end: the command was killed, and what it had loaded stays"
    )]
    KilledHalfWay(#[source] RepositoryError),
    /// The command cannot be run.
    #[error("start the command")]
    Start(#[source] SinkError),
    /// The command says that it failed, or read too little.
    #[error("load the dump")]
    Command(#[source] SinkError),
    /// We were told to stop.
    #[error("stopped before the dump was loaded; what had been loaded stays")]
    Stopped,
}

fn more(further: &usize) -> String {
    if *further == 0 { String::new() } else { format!(" (and {further} more)") }
}

impl LoadError {
    /// The exit code that it means.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NotADump { .. } => ExitCode::Usage,
            Self::Repository(error) | Self::KilledHalfWay(error) => {
                ExitCode::from_number(error.exit_code())
            }
            Self::Damaged { .. } => ExitCode::BadData,
            Self::Start(_) => ExitCode::CannotCreate,
            Self::Command(_) => ExitCode::SinkFailed,
            Self::Stopped => ExitCode::Other,
        }
    }
}
