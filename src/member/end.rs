//! What the end of a membership means for the process.

use std::fmt;

use galera_protocol::gcs::LeaveReason;
use galera_protocol::gmcast::{Event, IdentityProblem};
use galera_protocol::member::EndReason;

use crate::exit::ExitCode;
use crate::net::probe;
use crate::net::trouble::Trouble;

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

/// A group that was not reached, with what went wrong with links meanwhile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotJoined {
    /// How the membership ended.
    pub reason: EndReason,
    /// The trouble that tells most, if there was any.
    pub trouble: Option<Trouble>,
}

impl NotJoined {
    /// Puts a reason and troubles together; silence is looked into once more, which takes seconds.
    pub async fn new(reason: EndReason, trouble: Option<Trouble>) -> Self {
        let trouble = match trouble {
            Some(trouble) => Some(probe::sharpen(trouble).await),
            None => None,
        };
        Self { reason, trouble }
    }

    /// The exit code that it means.
    pub fn exit_code(&self) -> ExitCode {
        match (&self.reason, &self.trouble) {
            (EndReason::ConnectTimeout, Some(trouble)) => trouble.exit_code(),
            (reason, _) => reason.into(),
        }
    }

    /// What to try.
    pub fn remedy(&self) -> &'static str {
        let generic = "check --address, and that the cluster is primary";
        self.trouble.as_ref().map_or(generic, Trouble::remedy)
    }
}

impl From<EndReason> for NotJoined {
    fn from(reason: EndReason) -> Self {
        Self { reason, trouble: None }
    }
}

/// Time that has run out, or a refusal, says less than what went wrong meanwhile.
impl fmt::Display for NotJoined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.reason, &self.trouble) {
            (EndReason::ConnectTimeout | EndReason::Refused(_), Some(trouble)) => trouble.fmt(f),
            (reason, Some(trouble)) => write!(f, "{reason} ({trouble})"),
            (reason, None) => reason.fmt(f),
        }
    }
}

/// Remembers the trouble that tells most of all that happens to links.
#[derive(Clone, Debug, Default)]
pub struct Troubles(Option<Trouble>);

impl Troubles {
    /// Hears of an event; gives it back as trouble if it is one.
    pub fn hear(&mut self, event: &Event) -> Option<Trouble> {
        let trouble = Trouble::of_event(event)?;
        self.0 = Some(trouble.clone().heavier_of(self.0.take()));
        Some(trouble)
    }

    /// Takes what tells most.
    pub fn take(&mut self) -> Option<Trouble> {
        self.0.take()
    }
}
