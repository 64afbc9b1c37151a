//! How an arbitrator ended, and the exit codes that say so: our own, garbd's, and Percona's
//! extended ones.

use galera_protocol::gcs::RequestError;
use galera_protocol::member::EndReason;

use super::script::{ScriptEnd, ScriptError};
use crate::exit::ExitCode;
use crate::member::{NotJoined, StartError};

/// How it ended.
#[derive(Debug, thiserror::Error)]
pub enum Outcome {
    /// As told, by a signal or its owner.
    #[error("stopped")]
    Stopped,
    /// The group chose a donor for the request; there is no receiver to wait for.
    #[error("the group accepted the state transfer request")]
    Accepted,
    /// The receiver script ran to its end.
    #[error("the receiver script ended with {0}")]
    ScriptEnded(ScriptEnd),
    /// The port for group traffic or the state directory cannot be used.
    #[error("become a member")]
    Start(#[from] StartError),
    /// The group was not reached, or not primary, within `pc.wait_prim_timeout`.
    #[error("join the group: {0}")]
    NotJoined(NotJoined),
    /// Coming back would not help.
    #[error("the group does not take us")]
    GaveUp(#[source] EndReason),
    /// The group gave no donor.
    #[error("request a state transfer")]
    Refused(#[source] RequestError),
    /// The script cannot be started.
    #[error("run the receiver script")]
    Script(#[from] ScriptError),
    /// The donor reported a failure to the group.
    #[error("the donor reported that the state transfer failed (code {code})")]
    TransferFailed {
        /// −errno, or minus the exit status of the donor's script.
        code: i64,
    },
    /// The donor left the group before it had reported the end.
    #[error("the donor disappeared from the group")]
    DonorGone,
    /// The donor was done, and the script did not end.
    #[error("the receiver script did not end after the donor had finished, and was terminated")]
    ScriptTerminated,
    /// A signal came while the script ran.
    #[error("stopped while the receiver script was running")]
    StoppedEarly,
    /// The membership ended while the script ran.
    #[error("lost the group while the receiver script was running")]
    GroupLost(#[source] EndReason),
}

/// Percona's codes with `--extended-exit-codes`; scripts have 0 to 99 and 200 to 255 to themselves.
mod extended {
    pub(super) const GENERIC: u8 = 100;
    pub(super) const DONOR_DISAPPEARED: u8 = 101;
    pub(super) const TRANSFER_FAILED: u8 = 102;
    pub(super) const SCRIPT_TERMINATED: u8 = 103;
}

impl Outcome {
    /// True if it is what was wanted.
    pub fn is_success(&self) -> bool {
        self.code() == ExitCode::Success.number()
    }

    /// The code of `galera-sst arbitrator`: a script's own status is passed on as it is.
    pub fn code(&self) -> u8 {
        let code = match self {
            Self::ScriptEnded(end) => return end.garbd_status(),
            Self::Stopped | Self::Accepted => ExitCode::Success,
            Self::Start(_) => ExitCode::Configuration,
            Self::NotJoined(why) => why.exit_code(),
            Self::GaveUp(reason) => ExitCode::from(reason),
            Self::Refused(_) => ExitCode::RequestRefused,
            Self::TransferFailed { .. } | Self::DonorGone => ExitCode::Donor,
            Self::GroupLost(_) | Self::StoppedEarly => ExitCode::Retry,
            Self::Script(_) | Self::ScriptTerminated => ExitCode::Other,
        };
        code.number()
    }

    /// The code of garbd, or of Percona's with `--extended-exit-codes`.
    pub fn garbd_code(&self, is_extended: bool) -> u8 {
        let extended = match self {
            Self::Stopped | Self::Accepted => return 0,
            Self::ScriptEnded(end) => return end.garbd_status(),
            Self::DonorGone => extended::DONOR_DISAPPEARED,
            Self::TransferFailed { .. } | Self::StoppedEarly => extended::TRANSFER_FAILED,
            Self::ScriptTerminated => extended::SCRIPT_TERMINATED,
            Self::Start(_)
            | Self::NotJoined(_)
            | Self::GaveUp(_)
            | Self::Refused(_)
            | Self::Script(_)
            | Self::GroupLost(_) => extended::GENERIC,
        };
        if is_extended { extended } else { 1 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_codes_are_perconas_and_plain_ones_are_zero_one_or_the_scripts() {
        let cases = [
            (Outcome::Stopped, 0, 0),
            (Outcome::Accepted, 0, 0),
            (Outcome::ScriptEnded(ScriptEnd::Exited(37)), 37, 37),
            (Outcome::ScriptEnded(ScriptEnd::Exited(127)), 2, 2),
            (Outcome::DonorGone, 1, 101),
            (Outcome::TransferFailed { code: -22 }, 1, 102),
            (Outcome::StoppedEarly, 1, 102),
            (Outcome::ScriptTerminated, 1, 103),
            (Outcome::NotJoined(EndReason::ConnectTimeout.into()), 1, 100),
            (Outcome::Refused(RequestError::AlreadyRequested), 1, 100),
        ];
        for (outcome, plain, extended) in cases {
            assert_eq!(outcome.garbd_code(false), plain, "{outcome}");
            assert_eq!(outcome.garbd_code(true), extended, "{outcome}");
        }
    }
}
