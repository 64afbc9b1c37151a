//! What GCS reports upwards.

use bytes::Bytes;

use super::code::CodeMessage;
use super::donor::Refusal;
use super::donor::names::NameProblem;
use super::errno::Errno;
use super::name::Name;
use super::number::{ConfigurationId, Protocols, Seqno};
use super::quorum::NoQuorum;
use super::roster::Member;
use super::state_request::RequestProblem;
use super::status::Status;
use super::transfer::Transfer;
use crate::decode::DecodeError;
use crate::id::{NodeId, StateId};
use crate::message::SendError;

/// Something happened to the group or to our request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A state exchange ended with a quorum: the group goes on.
    ConfigurationChanged(Box<Configuration>),
    /// The group cannot act, or we are cut off from it.
    NonPrimary(NonPrimaryCause),
    /// A member's status changed inside the configuration.
    MemberStatusChanged {
        /// The member.
        node: NodeId,
        /// Its name.
        name: Name,
        /// What it was.
        from: Status,
        /// What it is.
        to: Status,
    },
    /// Our request is on its way.
    RequestSent {
        /// Its number among our actions.
        action_id: u64,
        /// The gcs protocol it was sent with.
        protocol: u8,
    },
    /// Our request waits; reported when the reason changes.
    RequestWaiting(WaitReason),
    /// The group has chosen a donor for us: it will connect.
    RequestAccepted(Acceptance),
    /// Our request has failed for good; nothing was accepted.
    RequestRefused(RequestError),
    /// The donor says how the transfer ended. May be followed by a second one with a negative
    /// code, which then is the verdict.
    TransferEnded {
        /// The donor.
        donor: NodeId,
        /// 0 or more: success. Negative: −errno, or minus the exit status of the donor's script.
        code: i64,
        /// The position that the donor reports; informative only.
        seqno: Seqno,
    },
    /// The group has chosen us as donor: somebody waits for our state.
    DonationBegun(Box<Donation>),
    /// The donor is not in the group any more: the transfer is lost.
    DonorLost {
        /// The donor.
        donor: NodeId,
    },
    /// The transfer has ended, or may have, and nobody will tell how. Not a success.
    TransferUnknown {
        /// The donor, if one was chosen.
        donor: Option<NodeId>,
        /// What happened instead of its JOIN.
        cause: UnknownCause,
    },
    /// Staying would harm the group or be of no use: leave.
    LeaveAdvised(LeaveReason),
    /// A message that does not follow the protocol was dropped.
    Dropped {
        /// Who sent it.
        source: NodeId,
        /// What is wrong with it.
        error: DecodeError,
    },
    /// We are out of the group.
    Left,
}

/// A primary configuration of the group, as every member computed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Its number.
    pub id: ConfigurationId,
    /// The group's history.
    pub state: StateId,
    /// The position; the configuration change itself included where it takes a seqno.
    pub seqno: Seqno,
    /// What is spoken in it.
    pub protocols: Protocols,
    /// The members in index order.
    pub members: Vec<Member>,
    /// Our index.
    pub my_index: usize,
}

/// Why the group cannot act.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NonPrimaryCause {
    /// The component is not primary.
    #[error("the component is not primary")]
    Component,
    /// The component is primary, but its members have no common state. It does not heal by
    /// itself: a data node has to be restarted as first node.
    #[error("no quorum in the state exchange")]
    Quorum(#[source] NoQuorum),
}

/// The group's answer that we computed for our request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The donor and where it all began; hand it over to a restarted member with
    /// [`super::Input::FollowTransfer`].
    pub transfer: Transfer,
    /// False if releases in the group may have chosen differently: only a connection from the
    /// donor proves it.
    pub is_certain: bool,
}

/// What we were asked for as donor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Donation {
    /// Who asked.
    pub requester: NodeId,
    /// Its name.
    pub requester_name: Name,
    /// The group's history.
    pub state: StateId,
    /// The position that the state has at least: the last seqno before the request.
    pub seqno: Seqno,
    /// What it asked for: [`super::state_request::RequestBody`].
    pub request: Bytes,
}

/// What a request waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WaitReason {
    /// A configuration.
    #[error("waiting for a primary configuration")]
    NoConfiguration,
    /// A configuration that we need not leave.
    #[error("waiting for a configuration that this member can take part in")]
    Unusable,
    /// A node that can be donor.
    #[error("waiting for a donor to become SYNCED")]
    DonorBusy,
    /// Fewer SYNCED members than the request wants.
    #[error("waiting for more members to become SYNCED")]
    TooFewSynced,
    /// The end of somebody else's state transfer.
    #[error("waiting for another state transfer in the group to end, or for a desynced member")]
    SomebodyJoins,
    /// The layer below.
    #[error("waiting to send")]
    Sending(#[source] SendError),
}

/// Why a request failed for good.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It would confuse a donor.
    #[error("check state transfer request")]
    Invalid(#[source] RequestProblem),
    /// The donor list would not select what it names.
    #[error("check donor list")]
    Names(#[source] NameProblem),
    /// The group refused it.
    #[error("request state transfer")]
    Refused(#[source] Refusal),
    /// No donor within the limit.
    #[error("no donor became available in time ({0})")]
    NoDonorInTime(WaitReason),
    /// Another request of this run was accepted, waits, or has an unknown fate.
    #[error("a state transfer was requested before in this run")]
    AlreadyRequested,
}

impl RequestError {
    /// The number by which stock members would report it.
    pub fn errno(&self) -> Errno {
        match self {
            Self::Invalid(_) | Self::Names(_) => Errno::EINVAL,
            Self::Refused(refusal) => refusal.errno(),
            Self::NoDonorInTime(_) => Errno::EAGAIN,
            Self::AlreadyRequested => Errno::EALREADY,
        }
    }
}

/// Why the outcome of a transfer is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownCause {
    /// In a new configuration the donor is not DONOR any more, and its JOIN never reached us.
    #[error("the donor is {0} and its JOIN was not seen")]
    DonorStatus(Status),
    /// No JOIN that settles it within the limit after the end of the data.
    #[error("the donor did not report the end of the transfer in time")]
    NoVerdict,
    /// The request was on its way when we lost the primary component, or got no answer.
    #[error("the request was not delivered back to us")]
    RequestInFlight,
}

/// Why we should leave the group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaveReason {
    /// The group speaks a protocol that we do not know.
    #[error("group protocols {negotiated} are above ours ({ours})")]
    ProtocolTooHigh {
        /// Our highest.
        ours: Protocols,
        /// The group's.
        negotiated: Protocols,
    },
    /// No member has data: holding the group alone would poison it for those who return.
    #[error("no data node is left in the group")]
    OnlyStateless,
    /// A member's state message cannot be read, so we cannot follow the group.
    #[error("state message of {node} is unreadable")]
    StateMessageUnreadable {
        /// The member.
        node: NodeId,
        /// What is wrong with its message.
        #[source]
        error: DecodeError,
    },
}

/// The end of a sender's part in a transfer, by its JOIN.
#[derive(Clone, Copy, Debug)]
pub(super) struct JoinReport {
    pub(super) code: i64,
    pub(super) seqno: Seqno,
}

impl JoinReport {
    pub(super) fn new(message: &CodeMessage) -> Self {
        Self { code: message.code(), seqno: message.seqno() }
    }
}
