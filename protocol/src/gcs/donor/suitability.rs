//! Explains a donor choice member by member, for people who ask before they request.

use super::{Refusal, Rules, choose_donor};
use crate::gcs::roster::Member;
use crate::gcs::status::Status;
use crate::id::NodeId;

/// What stands for or against a member as donor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Suitability {
    /// The group would take it now.
    #[error("would be the donor")]
    Chosen,
    /// It could be donor, but another comes first.
    #[error("could be the donor")]
    Suitable,
    /// It could be donor, but the list does not name it.
    #[error("not in the donor list")]
    NotNamed,
    /// It asks.
    #[error("is the requester")]
    Requester,
    /// An arbitrator.
    #[error("has no data")]
    Stateless,
    /// It may become SYNCED again: wait.
    #[error("busy: {0}")]
    Busy(Status),
    /// It needs a state transfer itself.
    #[error("has no state: {0}")]
    WithoutState(Status),
}

/// A donor choice with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DonorChoice {
    /// The donor, or why there is none.
    pub result: Result<NodeId, Refusal>,
    /// False if releases in the group would decide differently.
    pub is_certain: bool,
    /// Every member in index order.
    pub members: Vec<(NodeId, Suitability)>,
}

/// Computes the donor of a request and says of every member why it is or is not the one.
pub fn explain_donor(members: &[Member], requester: &NodeId, donors: &[u8]) -> DonorChoice {
    let rules = Rules::of(members);
    let result = choose_donor(members, requester, donors, rules);
    let is_certain = result == choose_donor(members, requester, donors, rules.other());
    let explained = members
        .iter()
        .map(|member| (member.node, suitability(member, requester, donors, result)))
        .collect();
    DonorChoice { result, is_certain, members: explained }
}

fn suitability(
    member: &Member,
    requester: &NodeId,
    donors: &[u8],
    result: Result<NodeId, Refusal>,
) -> Suitability {
    if result == Ok(member.node) {
        Suitability::Chosen
    } else if member.node == *requester {
        Suitability::Requester
    } else if member.is_stateless {
        Suitability::Stateless
    } else if member.status < Status::Joiner {
        Suitability::WithoutState(member.status)
    } else if member.status < Status::Synced {
        Suitability::Busy(member.status)
    } else if is_named(member, donors) {
        Suitability::Suitable
    } else {
        Suitability::NotNamed
    }
}

/// An empty entry names everybody.
fn is_named(member: &Member, donors: &[u8]) -> bool {
    let mut entries = donors.split(|&byte| byte == b',');
    entries.any(|entry| member.name.as_bytes().starts_with(entry))
}
