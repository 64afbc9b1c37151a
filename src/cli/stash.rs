//! Flags about Stash, whose controller learns from a file how a step ended.

use std::path::PathBuf;
use std::time::Duration;

use super::talk;
use crate::outcome::Stash;

/// Whether and where to write Stash's report.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Around the job")]
pub(super) struct StashArgs {
    /// Directory for Stash's output.json
    #[arg(long, value_name = "DIR", requires = "stash_ref")]
    stash_output: Option<PathBuf>,
    /// The AppBinding that Stash's report is about
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = reference)]
    stash_ref: Option<(String, String)>,
    /// Our name in Stash's report
    #[arg(long, value_name = "NAME", default_value = "host-0")]
    stash_hostname: String,
    /// Exit with 0 even after a failure, once it is in output.json: what Stash's own addon does
    #[arg(long, requires = "stash_output")]
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

impl StashArgs {
    /// The report that is asked for, if one is.
    pub(super) fn report(&self) -> Option<Stash> {
        let (directory, reference) = self.stash_output.clone().zip(self.stash_ref.clone())?;
        Some(Stash { directory, reference, hostname: self.stash_hostname.clone() })
    }

    /// True if a failure is Stash's business once it is told.
    pub(super) const fn exits_zero(&self) -> bool {
        self.stash_exit_zero
    }

    /// Reports the end of a restore. True if it was written and its failure is Stash's business.
    pub(super) fn tell_restore(&self, error: Option<&str>, duration: Duration) -> bool {
        let Some(stash) = self.report() else { return false };
        match stash.write_restore(error, duration) {
            Ok(()) => self.exits_zero(),
            Err(error) => {
                talk::say(&format!("warning: --stash-output: {error}"));
                false
            }
        }
    }
}
