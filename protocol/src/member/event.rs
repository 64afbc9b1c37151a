//! What a member reports.

use crate::id::NodeId;
use crate::{evs, gcs, gmcast, pc};

/// A fact about links, views or the group, in the order in which things happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// About links.
    Link(gmcast::Event),
    /// About quorum.
    Pc(pc::Event),
    /// About the group, its members and our request.
    Gcs(gcs::Event),
    /// The primary component was lost: this member has begun its next life under its saved identity.
    Restarted {
        /// Who it is now.
        me: NodeId,
    },
    /// The member is out of the group and has closed its links. The last event.
    Ended(EndReason),
}

/// How a membership ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EndReason {
    /// As told, and the others have confirmed it.
    #[error("left the group")]
    Left,
    /// The links were dropped, as told: to the others this is a crash.
    #[error("dropped the links without a confirmed leave")]
    Abandoned,
    /// No primary component within the limit.
    #[error("no primary component was reached in time")]
    ConnectTimeout,
    /// The group is not primary and we would only be in its way.
    #[error("the group has no primary component")]
    NotPrimary(#[source] pc::LeaveReason),
    /// The addresses lead to nodes that do not know each other: two groups of one name, or two
    /// parts of one. Being in both would bring them together, and stop the servers of one.
    #[error("the addresses lead to several groups of this name, or to parts of one")]
    SeveralGroups,
    /// GCS advised it.
    #[error("staying would be of no use to the group")]
    Advised(#[source] gcs::LeaveReason),
    /// Members do not accept our UUID.
    #[error("members refuse this node: {0}")]
    Refused(gmcast::IdentityProblem),
    /// The order layer could not go on.
    #[error("group communication stopped")]
    Evs(#[source] evs::Failure),
    /// The quorum layer could not go on.
    #[error("primary component stopped")]
    Pc(#[source] pc::Fatal),
}
