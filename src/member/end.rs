//! What the end of a membership means for the process.

use galera_protocol::gcs::LeaveReason;
use galera_protocol::gmcast::IdentityProblem;
use galera_protocol::member::EndReason;

use crate::exit::ExitCode;

impl From<&EndReason> for ExitCode {
    fn from(reason: &EndReason) -> Self {
        match reason {
            EndReason::Refused(IdentityProblem::Evicted | IdentityProblem::Duplicate) => {
                Self::Refused
            }
            EndReason::Advised(LeaveReason::ProtocolTooHigh { .. }) => Self::Configuration,
            EndReason::ConnectTimeout
            | EndReason::NotPrimary(_)
            | EndReason::SeveralGroups
            | EndReason::Advised(_) => Self::Unavailable,
            EndReason::Left | EndReason::Abandoned | EndReason::Evs(_) | EndReason::Pc(_) => {
                Self::Retry
            }
        }
    }
}
