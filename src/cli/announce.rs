//! Flags about who is told how a backup ended.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::stash::StashArgs;
use super::talk;
use crate::exit::ExitCode;
use crate::outcome::{self, Announce, Hook, HookError, Outcome, TERMINATION_LOG};

/// Whom to tell, and what to run.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct AnnounceArgs {
    /// Shell command to run first; if it fails, there is no backup
    #[arg(long, value_name = "COMMAND", help_heading = "Around the job")]
    before: Option<String>,
    /// Shell command to run at the end, told by GALERA_SST_RESULT, _EXIT_CODE, _ERROR, _BACKUP_ID, _LOCATION
    #[arg(long, value_name = "COMMAND", help_heading = "Around the job")]
    after: Option<String>,
    /// Limit for these commands, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = super::seconds, help_heading = "Around the job")]
    hook_timeout: Duration,
    /// URL to fetch after a good backup
    #[arg(long, value_name = "URL", help_heading = "Around the job")]
    heartbeat: Option<String>,
    /// Prometheus Pushgateway to tell the end
    #[arg(long, value_name = "URL", help_heading = "Around the job")]
    pushgateway: Option<String>,
    /// File for the cause and the facts of the end [default: /dev/termination-log if it is there]
    #[arg(long, value_name = "FILE", help_heading = "Around the job")]
    termination_log: Option<PathBuf>,
    #[command(flatten)]
    stash: StashArgs,
}

impl AnnounceArgs {
    /// Runs the command that comes first.
    pub(super) async fn before(&self) -> Result<(), HookError> {
        match &self.before {
            Some(command) => self.hook(command).run(&[]).await,
            None => Ok(()),
        }
    }

    /// Tells everybody how the job that began at `started` ended; answers with the exit code of the
    /// process, which is zero if a failure is Stash's business from here on.
    pub(super) async fn tell(
        &self,
        mut outcome: Outcome,
        code: ExitCode,
        started: Instant,
    ) -> ExitCode {
        outcome.exit_code = code.number();
        outcome.duration = started.elapsed();
        for failure in outcome::announce(&outcome, &self.whom()).await {
            talk::say(&format!("warning: {failure}"));
        }
        if self.stash.exits_zero() { ExitCode::Success } else { code }
    }

    fn whom(&self) -> Announce {
        let kubernetes = Path::new(TERMINATION_LOG);
        let usual = || kubernetes.exists().then(|| kubernetes.to_path_buf());
        Announce {
            after: self.after.as_deref().map(|command| self.hook(command)),
            heartbeat: self.heartbeat.clone(),
            pushgateway: self.pushgateway.clone(),
            termination_log: self.termination_log.clone().or_else(usual),
            stash: self.stash.report(),
        }
    }

    fn hook(&self, command: &str) -> Hook {
        Hook { command: command.to_owned(), limit: self.hook_timeout }
    }
}
