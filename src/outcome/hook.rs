//! Commands before and after a job.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::Command;

use super::Outcome;

/// A command of the user's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// What `sh -c` runs.
    pub command: String,
    /// How long it may take.
    pub limit: Duration,
}

/// Why a command did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It cannot be run.
    #[error("run {command:?}")]
    Run {
        /// The command.
        command: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It failed.
    #[error("{command:?} failed ({status})")]
    Failed {
        /// The command.
        command: String,
        /// Its exit status.
        status: ExitStatus,
    },
    /// It took too long, and was killed.
    #[error("{command:?} did not end within {} s", .limit.as_secs())]
    TimeLimit {
        /// The command.
        command: String,
        /// How long it had.
        limit: Duration,
    },
}

impl Hook {
    /// Runs it to its end. What it says goes to standard error.
    pub async fn run(&self, environment: &[(&str, String)]) -> Result<(), HookError> {
        let command = || self.command.clone();
        let failed = |source| HookError::Run { command: command(), source };
        let stderr = io::stderr();
        let stdout = std::os::fd::AsFd::as_fd(&stderr).try_clone_to_owned().map_err(failed)?;
        let mut child = Command::new("sh")
            .args(["-c", &self.command])
            .envs(environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(stdout)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        match tokio::time::timeout(self.limit, child.wait()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(HookError::Failed { command: command(), status }),
            Ok(Err(source)) => Err(failed(source)),
            Err(_) => Err(HookError::TimeLimit { command: command(), limit: self.limit }),
        }
    }
}

/// What a command after the job is told.
pub(super) fn environment(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let result = if outcome.is_success() { "success" } else { "failure" };
    vec![
        ("GALERA_SST_RESULT", result.to_owned()),
        ("GALERA_SST_EXIT_CODE", outcome.exit_code.to_string()),
        ("GALERA_SST_ERROR", outcome.error.clone().unwrap_or_default()),
        ("GALERA_SST_BACKUP_ID", outcome.backup_id.clone()),
        ("GALERA_SST_LOCATION", outcome.location.clone().unwrap_or_default()),
        ("GALERA_SST_STORED_BYTES", outcome.stored_bytes.to_string()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hook(command: &str) -> Hook {
        Hook { command: command.to_owned(), limit: Duration::from_secs(20) }
    }

    #[tokio::test]
    async fn a_command_is_told_how_the_job_ended_and_its_status_counts() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let file = directory.path().join("told");
        let command = format!(
            "echo $GALERA_SST_RESULT $GALERA_SST_EXIT_CODE \"$GALERA_SST_ERROR\" >{}",
            file.display()
        );
        let error = Some("no donor".to_owned());
        let outcome = Outcome { exit_code: 69, error, ..Outcome::default() };
        hook(&command).run(&environment(&outcome)).await.expect("runs");
        assert_eq!(std::fs::read_to_string(file).expect("written"), "failure 69 no donor\n");
        assert!(matches!(hook("exit 3").run(&[]).await, Err(HookError::Failed { .. })));
        let slow = Hook { command: "sleep 60".into(), limit: Duration::from_millis(50) };
        assert!(matches!(slow.run(&[]).await, Err(HookError::TimeLimit { .. })));
    }
}
