//! How a job ended, told to whoever asked for it: a command, a monitoring system, Kubernetes, Stash.
//!
//! Nothing here changes how the job ended: what cannot be told is a warning.

mod hook;
mod http;
mod metrics;
mod stash;
mod termination;

use std::path::PathBuf;
use std::time::Duration;

pub use hook::{Hook, HookError};
pub use stash::Stash;
pub use termination::DEFAULT as TERMINATION_LOG;

use crate::causes::sentence;

/// How a job ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code.
    pub exit_code: u8,
    /// Why there is no backup, in one sentence.
    pub error: Option<String>,
    /// The group's name.
    pub group: String,
    /// The backup's name.
    pub backup_id: String,
    /// Where the backup is.
    pub location: Option<String>,
    /// Files in it.
    pub files: u64,
    /// Bytes of them.
    pub file_bytes: u64,
    /// Bytes that were stored.
    pub stored_bytes: u64,
    /// How long the job took.
    pub duration: Duration,
    /// When it ended, in seconds since 1970.
    pub ended: i64,
    /// The end of what a command of `exec:` said.
    pub said: Option<String>,
}

/// Whom to tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Announce {
    /// A command to run.
    pub after: Option<Hook>,
    /// A URL to fetch after success: its owner notices when it does not come.
    pub heartbeat: Option<String>,
    /// Prometheus's Pushgateway.
    pub pushgateway: Option<String>,
    /// Kubernetes reads the end of a container's story here.
    pub termination_log: Option<PathBuf>,
    /// Stash's report.
    pub stash: Option<Stash>,
}

impl Outcome {
    /// True for a verified backup.
    pub const fn is_success(&self) -> bool {
        self.exit_code == 0
    }
}

/// Tells everybody; gives what could not be told.
pub async fn announce(outcome: &Outcome, to: &Announce) -> Vec<String> {
    let mut failures = Vec::new();
    let mut note = |what: &str, told: Result<(), String>| {
        if let Err(why) = told {
            failures.push(format!("{what}: {why}"));
        }
    };
    if let Some(file) = &to.termination_log {
        note("termination log", termination::write(file, outcome).map_err(text));
    }
    if let Some(stash) = &to.stash {
        note("--stash-output", stash.write(outcome).map_err(text));
    }
    if let Some(url) = &to.pushgateway {
        note("--pushgateway", metrics::push(url, outcome).await.map_err(chain));
    }
    if let Some(url) = to.heartbeat.as_ref().filter(|_| outcome.is_success()) {
        note("--heartbeat", http::fetch(url).await.map_err(chain));
    }
    if let Some(hook) = &to.after {
        note("--after", hook.run(&hook::environment(outcome)).await.map_err(chain));
    }
    failures
}

fn text(error: std::io::Error) -> String {
    error.to_string()
}

fn chain(error: impl std::error::Error) -> String {
    sentence(&error)
}
