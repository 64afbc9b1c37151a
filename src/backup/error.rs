//! Why there is no backup, in which exit code, and what to try.

use std::time::Duration;

use galera_protocol::gcs::{self, Refusal, RequestError};
use galera_protocol::gmcast::{IdentityProblem, LinkEnd};
use galera_protocol::member::EndReason;
use galera_protocol::sst::conversation::Failure;
use galera_protocol::sst::donor_code::{Blame, DonorCode};
use galera_protocol::sst::request::RequestError as AddressError;
use galera_protocol::xbstream::Gap;

use crate::exit::ExitCode;
use crate::member::StartError;
use crate::pipeline::{PipelineError, Side};
use crate::sink::SinkError;
use crate::sst::BindError;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No method was given.
    #[error("no SST method to ask for")]
    NoMethod,
    /// The donor could not have connected.
    #[error("listen for the donor")]
    Listen(#[from] BindError),
    /// The target cannot be made.
    #[error("open the target")]
    OpenSink(#[source] SinkError),
    /// We cannot be a member.
    #[error("become a member")]
    Start(#[from] StartError),
    /// The primary component was not reached.
    #[error("join the group: {reason}{}", hint(.last_link))]
    Join {
        /// How the membership ended.
        #[source]
        reason: EndReason,
        /// The last thing that went wrong with a link.
        last_link: Option<LinkProblem>,
    },
    /// There is no address to give to the donor.
    #[error("no address of ours is known to the group: name one with --advertise")]
    NoAddress,
    /// The address to give to the donor is none that it would accept.
    #[error("advertise our address")]
    Address(#[source] AddressError),
    /// The group did not give us a donor.
    #[error("request a state transfer")]
    Request(#[source] RequestError),
    /// The membership ended before the group had the last word.
    #[error("lost the group during the transfer: {0}")]
    GroupLost(EndReason),
    /// The conversation with the donor failed.
    #[error("{failure}{}", donor_meaning(.failure))]
    Transfer {
        /// How.
        #[source]
        failure: Failure,
        /// Whether the backup had begun.
        has_begun: bool,
    },
    /// The stream, or the way to the sink.
    #[error("receive the backup")]
    Receive(#[from] PipelineError),
    /// The stream ended well, but something is missing.
    #[error("the backup is incomplete: {}", gaps(.0))]
    Incomplete(Vec<Gap>),
    /// The sink did not make the backup visible.
    #[error("commit the backup")]
    Commit(#[source] SinkError),
    /// We were told to stop.
    #[error("stopped before the backup was complete")]
    Stopped,
    /// The job took too long.
    #[error("not complete within {} s (--timeout)", .limit.as_secs())]
    OverallLimit {
        /// The limit.
        limit: Duration,
    },
}

/// The last thing that went wrong with a link before the join failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkProblem {
    /// In one sentence.
    pub(super) text: String,
    /// TLS, or an identity that the members refuse.
    pub(super) is_refusal: bool,
}

impl LinkProblem {
    /// What people are told, if the event is a problem at all.
    pub(super) fn from_event(event: &galera_protocol::gmcast::Event) -> Option<Self> {
        use galera_protocol::gmcast::{Event, Reason};
        let is_refusal = match event {
            Event::LinkClosed(closed) => match &closed.reason {
                Reason::Ended(LinkEnd::Tls(_)) | Reason::RefusedByPeer(_) => true,
                Reason::NotNeeded
                | Reason::DuplicateLink
                | Reason::OwnAddress
                | Reason::Closing
                | Reason::Forgotten => return None,
                _ => false,
            },
            Event::ResolveFailed { .. } => false,
            Event::IdentityRefused { .. } => true,
            Event::Resolved { .. }
            | Event::LinkEstablished { .. }
            | Event::IdentityChanged { .. }
            | Event::OwnAddressFound { .. }
            | Event::RelayingChanged { .. } => return None,
        };
        Some(Self { text: event.to_string(), is_refusal })
    }
}

fn hint(problem: &Option<LinkProblem>) -> String {
    problem.as_ref().map(|problem| format!(" (last problem: {})", problem.text)).unwrap_or_default()
}

fn donor_meaning(failure: &Failure) -> String {
    match failure {
        Failure::DonorFailed { code, .. } => format!(": {}", DonorCode(*code).meaning()),
        _ => String::new(),
    }
}

fn gaps(gaps: &[Gap]) -> String {
    gaps.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

impl Error {
    /// The exit code that it means.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::NoMethod | Self::Listen(_) | Self::Start(_) => ExitCode::Configuration,
            Self::NoAddress | Self::Address(_) => ExitCode::Configuration,
            Self::OpenSink(_) => ExitCode::CannotCreate,
            Self::Join { reason, last_link } => join_code(reason, last_link.as_ref()),
            Self::Request(error) => request_code(error),
            Self::GroupLost(_) | Self::OverallLimit { .. } => ExitCode::Retry,
            Self::Transfer { failure, .. } => transfer_code(failure),
            Self::Receive(error) => receive_code(error),
            Self::Incomplete(_) => ExitCode::BadData,
            Self::Commit(_) => ExitCode::SinkFailed,
            Self::Stopped => ExitCode::Other,
        }
    }

    /// What to try, where we know.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Listen(_) => Some("choose another --listen address or port"),
            Self::Start(_) => Some("choose another gmcast.listen_addr in --options"),
            Self::Join { last_link: Some(problem), .. }
                if problem.text.contains("invalid group") =>
            {
                Some("check --group against wsrep_cluster_name")
            }
            Self::Join { .. } => Some("check --address, and that the cluster is primary"),
            Self::Request(RequestError::NoDonorInTime(_)) => Some(
                "wait until a member is SYNCED and serves nobody, or allow more --donor members",
            ),
            Self::Request(RequestError::Names(_)) => {
                Some("give full wsrep_node_name values in --donor")
            }
            Self::Transfer { failure: Failure::NoFirstConnection { .. }, .. } => {
                Some("check that the donor can reach --advertise through firewalls and policies")
            }
            Self::Transfer {
                failure: Failure::DonorFailed { .. } | Failure::DonorGone, ..
            } => Some("see the donor's error log"),
            Self::OpenSink(SinkError::Occupied { .. }) => Some("choose an empty target"),
            _ => None,
        }
    }

    /// The donor has no program for the method that was asked for: another one may do.
    pub(super) fn is_unknown_method(&self) -> bool {
        const ENOENT: i64 = -2;
        const ECANCELED: i64 = -125;
        matches!(
            self,
            Self::Transfer {
                failure: Failure::DonorFailed { code: ENOENT | ECANCELED, .. },
                has_begun: false,
            }
        )
    }

    /// What a stop means that came from the overall limit.
    pub(super) fn after_overall_limit(self, limit: Duration) -> Self {
        match self {
            Self::Stopped | Self::Receive(PipelineError::Cancelled) => Self::OverallLimit { limit },
            other => other,
        }
    }
}

fn join_code(reason: &EndReason, last_link: Option<&LinkProblem>) -> ExitCode {
    match reason {
        EndReason::Refused(IdentityProblem::Evicted | IdentityProblem::Duplicate) => {
            ExitCode::Refused
        }
        EndReason::ConnectTimeout if last_link.is_some_and(|problem| problem.is_refusal) => {
            ExitCode::Refused
        }
        EndReason::ConnectTimeout | EndReason::NotPrimary(_) => ExitCode::Unavailable,
        EndReason::Advised(gcs::LeaveReason::ProtocolTooHigh { .. }) => ExitCode::Configuration,
        EndReason::Advised(_) => ExitCode::Unavailable,
        EndReason::Left | EndReason::Abandoned | EndReason::Evs(_) | EndReason::Pc(_) => {
            ExitCode::Retry
        }
    }
}

fn request_code(error: &RequestError) -> ExitCode {
    match error {
        RequestError::Names(_) | RequestError::Invalid(_) => ExitCode::Configuration,
        RequestError::NoDonorInTime(_) => ExitCode::Unavailable,
        RequestError::Refused(Refusal::Busy) => ExitCode::Unavailable,
        RequestError::Refused(_) | RequestError::AlreadyRequested => ExitCode::RequestRefused,
    }
}

fn transfer_code(failure: &Failure) -> ExitCode {
    match failure {
        Failure::DonorAddressUnknown => ExitCode::Configuration,
        Failure::NoFirstConnection { .. }
        | Failure::NoSecondConnection { .. }
        | Failure::Interrupted { .. }
        | Failure::Idle { .. }
        | Failure::OutcomeUnknown
        | Failure::NoVerdict { .. } => ExitCode::Retry,
        Failure::NoMetadata { .. }
        | Failure::Metadata(_)
        | Failure::MetadataTooLong { .. }
        | Failure::Incomplete { .. }
        | Failure::Damaged => ExitCode::BadData,
        Failure::Wrapped { .. } => ExitCode::Configuration,
        Failure::NotEncrypted => ExitCode::Refused,
        Failure::TooSlow { .. } | Failure::NotStored => ExitCode::SinkFailed,
        Failure::DonorFailed { code, .. } => match DonorCode(*code).blame() {
            Blame::Request => ExitCode::RequestRefused,
            Blame::Nobody | Blame::Donor | Blame::Connection | Blame::Retry | Blame::Unknown => {
                ExitCode::Donor
            }
        },
        Failure::DonorGone | Failure::SentElsewhere { .. } => ExitCode::Donor,
    }
}

fn receive_code(error: &PipelineError) -> ExitCode {
    match error.side() {
        Side::Stream => ExitCode::BadData,
        Side::Transport => ExitCode::Retry,
        Side::Sink => ExitCode::SinkFailed,
        Side::Stopped | Side::Internal => ExitCode::Other,
    }
}
