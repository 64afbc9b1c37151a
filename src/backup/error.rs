//! Why there is no backup, in which exit code, and what to try.

use std::time::Duration;

use galera_protocol::gcs::{Refusal, RequestError, WaitReason};
use galera_protocol::member::EndReason;
use galera_protocol::sst::conversation::{CloseReason, Failure};
use galera_protocol::sst::donor_code::DonorCode;
use galera_protocol::sst::request::RequestError as AddressError;
use galera_protocol::sst::sniff::Layer;
use galera_protocol::verdict;

use crate::exit::ExitCode;
use crate::member::{NotJoined, StartError};
use crate::net::trouble::tls_remedy;
use crate::pipeline::PipelineError;
use crate::repository::NoContact;
use crate::sink::SinkError;
use crate::sst::BindError;

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No method was given.
    #[error("no SST method to ask for")]
    NoMethod,
    /// The donor could not have connected.
    #[error(transparent)]
    Listen(#[from] BindError),
    /// The target cannot be made.
    #[error("open the target")]
    OpenSink(#[source] SinkError),
    /// We cannot be a member.
    #[error("become a member")]
    Start(#[from] StartError),
    /// The primary component was not reached.
    #[error("join the group: {0}")]
    Join(NotJoined),
    /// There is no address to give to the donor.
    #[error("no address of ours is known to the group: name one with --advertise")]
    NoAddress,
    /// The address to give to the donor is none that it would accept.
    #[error("advertise our address")]
    Address(#[source] AddressError),
    /// The group did not give us a donor.
    #[error("request a state transfer{}", from_donors(.donors))]
    Request {
        /// The donors that were asked for; empty for any.
        donors: String,
        /// Why not.
        #[source]
        error: RequestError,
    },
    /// The membership ended before the group had the last word.
    #[error("lost the group during the transfer")]
    GroupLost(#[source] EndReason),
    /// Whoever sent the metadata has not seen our request.
    #[error("the donor's metadata carries another secret than our request: somebody else sent it")]
    WrongSecret,
    /// The donor's tablespaces are encrypted, and what opens them would lie open in the target.
    #[error(
        "the donor sent the key of its encrypted tablespaces, and a target would not protect it"
    )]
    UnprotectedKeys,
    /// The witnesses do not agree on a complete backup.
    #[error("{failure}{}", donor_meaning(.failure))]
    Verdict {
        /// Which one disagrees, and how.
        failure: verdict::Failure,
        /// What the sink or the pipeline said about it.
        #[source]
        cause: Option<PipelineError>,
        /// Whether the backup had begun to arrive.
        has_begun: bool,
    },
    /// The sink did not make the backup visible.
    #[error("commit the backup")]
    Commit(#[source] SinkError),
    /// Every member that may be donor is to be avoided, is elsewhere or has failed.
    #[error("no member is left that may be donor")]
    NoDonorLeft,
    /// The donor was ours for too long.
    #[error("the donor was not done within {} s (--max-donor-time)", .limit.as_secs())]
    DonorLimit {
        /// The limit.
        limit: Duration,
    },
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

fn from_donors(donors: &str) -> String {
    if donors.is_empty() { String::new() } else { format!(" from {donors}") }
}

fn donor_meaning(failure: &verdict::Failure) -> String {
    if let verdict::Failure::Transfer(Failure::DonorFailed { code, .. }) = failure {
        format!(": {}", DonorCode(*code).meaning())
    } else {
        String::new()
    }
}

impl Error {
    /// The exit code that it means.
    pub fn exit_code(&self) -> ExitCode {
        if NoContact::is_refusal_behind(self) {
            return ExitCode::Refused;
        }
        match self {
            Self::NoMethod | Self::Listen(_) | Self::Start(_) => ExitCode::Configuration,
            Self::NoAddress | Self::Address(_) | Self::UnprotectedKeys => ExitCode::Configuration,
            Self::WrongSecret => ExitCode::Refused,
            Self::OpenSink(_) => ExitCode::CannotCreate,
            Self::Join(why) => why.exit_code(),
            Self::Request { error, .. } => request_code(error),
            Self::GroupLost(_) | Self::OverallLimit { .. } | Self::DonorLimit { .. } => {
                ExitCode::Retry
            }
            Self::NoDonorLeft => ExitCode::Unavailable,
            Self::Verdict { failure, .. } => ExitCode::from_number(failure.exit_class().code()),
            Self::Commit(_) => ExitCode::SinkFailed,
            Self::Stopped => ExitCode::Other,
        }
    }

    /// What to try, where we know.
    pub fn remedy(&self) -> Option<&'static str> {
        if let Some(contact) = NoContact::behind(self) {
            return Some(contact.remedy());
        }
        match self {
            Self::Listen(_) => Some("choose another --listen address or port"),
            Self::Start(_) => Some("choose another gmcast.listen_addr in --options"),
            Self::Join(why) => Some(why.remedy()),
            Self::Request { error: RequestError::NoDonorInTime(reason), .. } => {
                Some(remedy_for_waiting(*reason))
            }
            Self::Request { error: RequestError::Names(_), .. } => {
                Some("give full wsrep_node_name values in --donor")
            }
            Self::Verdict { failure: verdict::Failure::Transfer(failure), .. } => {
                transfer_remedy(failure)
            }
            Self::UnprotectedKeys => Some(
                "back up into a repository encrypted with --recipient, or accept it with \
                 --allow-plain-keys",
            ),
            Self::OpenSink(SinkError::Occupied { .. }) => Some("choose an empty target"),
            Self::NoDonorLeft => {
                Some("allow more members: --donor, --avoid-donor, --donor-segment")
            }
            Self::NoMethod
            | Self::DonorLimit { .. }
            | Self::OpenSink(_)
            | Self::NoAddress
            | Self::Address(_)
            | Self::Request { .. }
            | Self::GroupLost(_)
            | Self::WrongSecret
            | Self::Verdict { .. }
            | Self::Commit(_)
            | Self::Stopped
            | Self::OverallLimit { .. } => None,
        }
    }

    /// The donor has no program for the method that was asked for: another one may do.
    pub(super) fn is_unknown_method(&self) -> bool {
        const ENOENT: i64 = -2;
        const ECANCELED: i64 = -125;
        matches!(
            self,
            Self::Verdict {
                failure: verdict::Failure::Transfer(Failure::DonorFailed {
                    code: ENOENT | ECANCELED,
                    ..
                }),
                has_begun: false,
                ..
            }
        )
    }

    /// The donor failed, or the way to it: another one may do.
    pub(super) fn is_donors(&self) -> bool {
        let is_theirs = matches!(
            self,
            Self::Verdict {
                failure: verdict::Failure::Transfer(_)
                    | verdict::Failure::Damaged(_)
                    | verdict::Failure::Unfinished(_)
                    | verdict::Failure::ClosingFiles(_),
                ..
            }
        );
        let is_ours = matches!(
            self.exit_code(),
            ExitCode::SinkFailed | ExitCode::CannotCreate | ExitCode::Configuration
        );
        (is_theirs && !is_ours) || matches!(self, Self::DonorLimit { .. })
    }

    /// What a stop means that came from the overall limit.
    pub(super) fn after_overall_limit(self, limit: Duration) -> Self {
        if matches!(self, Self::Stopped) { Self::OverallLimit { limit } } else { self }
    }
}

fn request_code(error: &RequestError) -> ExitCode {
    match error {
        RequestError::Names(_) | RequestError::Invalid(_) => ExitCode::Configuration,
        RequestError::NoDonorInTime(_) => ExitCode::Unavailable,
        RequestError::Refused(Refusal::Busy | Refusal::Unreachable) => ExitCode::Unavailable,
        RequestError::Refused(_) | RequestError::AlreadyRequested => ExitCode::RequestRefused,
    }
}

const fn remedy_for_waiting(reason: WaitReason) -> &'static str {
    match reason {
        WaitReason::SomebodyJoins => {
            "wait until the other transfer has ended or allow more time by --donor-timeout; if a member is \
             desynced on purpose, give --beside-others"
        }
        WaitReason::TooFewSynced => {
            "wait until more members are SYNCED, or ask for fewer by --when-synced-at-least"
        }
        WaitReason::NoConfiguration
        | WaitReason::Unusable
        | WaitReason::DonorBusy
        | WaitReason::Sending(_) => {
            "wait until a member is SYNCED and serves nobody, or allow more --donor members"
        }
    }
}

fn transfer_remedy(failure: &Failure) -> Option<&'static str> {
    if matches!(failure, Failure::NoFirstConnection { .. } | Failure::NotReached { .. }) {
        return Some("check that the donor can reach --advertise through firewalls and policies");
    }
    if let Failure::DonorFailed { refusal: Some(refusal), .. }
    | Failure::SentElsewhere { refusal: Some(refusal) } = failure
    {
        return Some(refusal_remedy(refusal.reason));
    }
    match failure {
        Failure::NotEncrypted => Some(
            "switch TLS on in the donor's [sst] section (encrypt=4, or ssl-mode), or give --sst-tls \
             off",
        ),
        Failure::Wrapped { layer: Layer::Tls } => {
            Some("give the certificates with --tls-dir, or --ssl-cert, --ssl-key and --ssl-ca")
        }
        Failure::DonorFailed { .. } | Failure::DonorGone => Some("see the donor's error log"),
        Failure::Undeciphered => Some(
            "compare --sst-encrypt-key-file and --sst-encrypt-algo with encrypt-key and encrypt-algo in \
             the donor's [sst] section",
        ),
        Failure::DonorAddressUnknown => Some("allow the donor's network with --accept-from"),
        Failure::NoFirstConnection { .. }
        | Failure::NotReached { .. }
        | Failure::NoSecondConnection { .. }
        | Failure::NoMetadata { .. }
        | Failure::Metadata(_)
        | Failure::MetadataTooLong { .. }
        | Failure::Wrapped { .. }
        | Failure::Unpackable
        | Failure::Interrupted { .. }
        | Failure::Idle { .. }
        | Failure::TooSlow { .. }
        | Failure::OutcomeUnknown
        | Failure::NoVerdict { .. }
        | Failure::SentElsewhere { .. }
        | Failure::Incomplete
        | Failure::Damaged
        | Failure::NotStored => None,
    }
}

/// A connection that was turned away is mostly the cause of what the donor reports.
fn refusal_remedy(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::NoHandshake(failure) => tls_remedy(failure),
        CloseReason::HungUp => {
            "the donor may demand a name in our certificate: try --sst-tls verify-identity"
        }
        CloseReason::NotTheDonor => {
            "if that is the donor at another address, allow it with --accept-from"
        }
        CloseReason::Done
        | CloseReason::Empty
        | CloseReason::TransferOver
        | CloseReason::TooMany
        | CloseReason::HeldTooLong
        | CloseReason::Silent
        | CloseReason::Foreign(_)
        | CloseReason::Wrapped(_)
        | CloseReason::NotEncrypted
        | CloseReason::Truncated
        | CloseReason::Broken
        | CloseReason::Undeciphered
        | CloseReason::Unpackable
        | CloseReason::SecondMetadata
        | CloseReason::SecondArchive => "see the donor's error log",
    }
}
