//! Flags about who is told how a backup ended.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::talk;
use crate::outcome::{self, Announce, Hook, HookError, Outcome, Stash, TERMINATION_LOG};

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
    /// Directory for Stash's output.json
    #[arg(long, value_name = "DIR", requires = "stash_ref", help_heading = "Around the job")]
    stash_output: Option<PathBuf>,
    /// The AppBinding that Stash's report is about
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = reference, help_heading = "Around the job")]
    stash_ref: Option<(String, String)>,
    /// Our name in Stash's report
    #[arg(long, value_name = "NAME", default_value = "host-0", help_heading = "Around the job")]
    stash_hostname: String,
    /// Exit with 0 even after a failure, once it is in output.json: what Stash's own addon does
    #[arg(long, requires = "stash_output", help_heading = "Around the job")]
    stash_exit_zero: bool,
}

fn reference(text: &str) -> Result<(String, String), String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
            Ok((namespace.to_owned(), name.to_owned()))
        }
        Some(_) | None => Err(format!("{text} is not NAMESPACE/NAME")),
    }
}

impl AnnounceArgs {
    /// Runs the command that comes first.
    pub(super) async fn before(&self) -> Result<(), HookError> {
        match &self.before {
            Some(command) => self.hook(command).run(&[]).await,
            None => Ok(()),
        }
    }

    /// Tells everybody. True if the failure is Stash's business from here on.
    pub(super) async fn tell(&self, outcome: &Outcome) -> bool {
        for failure in outcome::announce(outcome, &self.whom()).await {
            talk::say(&format!("warning: {failure}"));
        }
        self.stash_exit_zero
    }

    fn whom(&self) -> Announce {
        let kubernetes = Path::new(TERMINATION_LOG);
        let usual = || kubernetes.exists().then(|| kubernetes.to_path_buf());
        let stash = self.stash_output.clone().zip(self.stash_ref.clone());
        Announce {
            after: self.after.as_deref().map(|command| self.hook(command)),
            heartbeat: self.heartbeat.clone(),
            pushgateway: self.pushgateway.clone(),
            termination_log: self.termination_log.clone().or_else(usual),
            stash: stash.map(|(directory, reference)| Stash {
                directory,
                reference,
                hostname: self.stash_hostname.clone(),
            }),
        }
    }

    fn hook(&self, command: &str) -> Hook {
        Hook { command: command.to_owned(), limit: self.hook_timeout }
    }
}
