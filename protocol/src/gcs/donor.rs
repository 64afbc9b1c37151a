//! Who becomes the donor of a state transfer request.
//!
//! There is no answer to a request: every member computes the donor from the same statuses, the
//! requester included. So this is done for everybody's requests, exactly as data nodes do it
//! (spec 04 §5.2), prefix matching and all. What we think of our *own* donor list beforehand is in
//! [`names`].

use super::number::Seqno;
use super::roster::Member;
use super::state_request::Position;
use super::status::Status;
use crate::gcs::errno::Errno;
use crate::id::{NodeId, StateId};

pub mod names;
pub mod suitability;

/// Why a request gets no donor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A suitable donor may appear: all are busy, or none is SYNCED.
    #[error("no node can be donor now")]
    Busy,
    /// The named donor is not a member, has no data, or has no state to give.
    #[error("the named donor is not in the group or has no state to give")]
    Unreachable,
    /// The donor list names the requester itself.
    #[error("the donor list matches the requester's own name")]
    NamesRequester,
    /// The requester is not in status PRIM.
    #[error("the requester has state already or is being sent one")]
    NotPrimary,
}

impl Refusal {
    /// The number that the group's members know it by.
    pub fn errno(self) -> Errno {
        match self {
            Self::Busy => Errno::EAGAIN,
            Self::Unreachable => Errno::EHOSTUNREACH,
            Self::NamesRequester => Errno::EHOSTDOWN,
            Self::NotPrimary => Errno::ECANCELED,
        }
    }
}

/// The releases differ in how they treat members without data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Galera 26.4.18 and before: a stateless member can be named, and one in the requester's
    /// segment counts as hope for a donor there.
    Until18,
    /// Galera 26.4.23 and later: stateless members are passed over.
    From23,
}

impl Rules {
    /// The rules that the data nodes of a group follow, judged by the protocols they announce:
    /// 26.4.18 has gcs protocol 3, 26.4.23 has 5. In a mixed group the old ones.
    pub fn of(members: &[Member]) -> Self {
        let mut stateful = members.iter().filter(|member| !member.is_stateless);
        if stateful.any(|member| member.protocols.gcs <= 3) { Self::Until18 } else { Self::From23 }
    }

    /// The rules of the other releases.
    pub fn other(self) -> Self {
        match self {
            Self::Until18 => Self::From23,
            Self::From23 => Self::Until18,
        }
    }
}

/// Finds the donor for an arbitrator's request, with `members` in index order.
///
/// `donors` is the list as it is sent: names divided by commas, an empty entry for any donor.
pub fn choose_donor(
    members: &[Member],
    requester: &NodeId,
    donors: &[u8],
    rules: Rules,
) -> Result<NodeId, Refusal> {
    Selection::new(members, requester, rules).for_snapshot(donors, 1)
}

/// The position of the group that decides whether a node can be served from caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GroupPosition {
    pub(super) state: StateId,
    /// Position at the last exchange.
    pub(super) act_id: Seqno,
}

/// One selection: who asks, among whom, by which rules.
pub(super) struct Selection<'a> {
    members: &'a [Member],
    requester: NodeId,
    rules: Rules,
}

impl<'a> Selection<'a> {
    pub(super) fn new(members: &'a [Member], requester: &NodeId, rules: Rules) -> Self {
        Self { members, requester: *requester, rules }
    }

    /// The donor for any request: from a cache if its position allows, else for a snapshot.
    pub(super) fn for_request(
        &self,
        donors: &[u8],
        position: Option<Position>,
        group: GroupPosition,
    ) -> Result<NodeId, Refusal> {
        let from_cache =
            position.and_then(|position| self.for_missing_writes(donors, position, group));
        match from_cache {
            Some(donor) => Ok(donor),
            None => self.for_snapshot(donors, position.map_or(1, |position| position.form)),
        }
    }

    fn for_snapshot(&self, donors: &[u8], form: u8) -> Result<NodeId, Refusal> {
        let waits_for_named = !(donors.ends_with(b",") && form >= 2);
        let mut refusal = Refusal::NamesRequester;
        for entry in donors.split(|&byte| byte == b',') {
            let found = if !entry.is_empty() {
                self.by_name(entry)
            } else if refusal == Refusal::Busy && waits_for_named {
                Err(Refusal::Busy)
            } else {
                self.by_state()
            };
            match found {
                Ok(donor) => return Ok(donor),
                Err(_) if refusal == Refusal::Busy => {}
                Err(next) => refusal = next,
            }
        }
        Err(refusal)
    }

    /// The first member whose name *starts with* the entry decides.
    fn by_name(&self, entry: &[u8]) -> Result<NodeId, Refusal> {
        let is_match = |member: &&Member| {
            let is_passed_over = self.rules == Rules::From23 && member.is_stateless;
            !is_passed_over && member.name.as_bytes().starts_with(entry)
        };
        let member = self.members.iter().find(is_match).ok_or(Refusal::Unreachable)?;
        if member.node == self.requester {
            Err(Refusal::NamesRequester)
        } else if member.status >= Status::Synced {
            Ok(member.node)
        } else if member.status >= Status::Joiner {
            Err(Refusal::Busy)
        } else {
            Err(Refusal::Unreachable)
        }
    }

    /// A SYNCED node of the requester's segment; another segment's only if none here may become
    /// one.
    fn by_state(&self) -> Result<NodeId, Refusal> {
        let mut donor = None;
        let mut is_hope_here = false;
        for member in self.others() {
            if member.is_stateless && self.rules == Rules::From23 {
                continue;
            }
            let is_suitable = member.status >= Status::Synced && !member.is_stateless;
            if is_suitable {
                donor = Some(member.node);
            }
            if Some(member.segment) == self.requester_row().map(|row| row.segment) {
                if is_suitable {
                    return Ok(member.node);
                }
                is_hope_here |= member.status >= Status::Joiner;
            }
        }
        donor.filter(|_| !is_hope_here).ok_or(Refusal::Busy)
    }

    /// A node whose cache still has everything after the requester's position.
    fn for_missing_writes(
        &self,
        donors: &[u8],
        position: Position,
        group: GroupPosition,
    ) -> Option<NodeId> {
        let is_of_group = position.state == group.state && position.seqno.is_defined();
        if !is_of_group || position.seqno < self.safe_seqno(group.act_id)? {
            return None;
        }
        let wanted = position.seqno.advanced_by(1);
        self.cache_by_name(donors, wanted).or_else(|| self.cache_by_state(wanted))
    }

    /// The lowest position that caches will surely still serve when the request arrives.
    fn safe_seqno(&self, act_id: Seqno) -> Option<Seqno> {
        let cached = self.members.iter().map(|member| member.cached);
        let lowest = cached.filter(|cached| cached.is_defined()).min()?;
        let distance = act_id.0.saturating_sub(lowest.0) >> 7;
        Some(lowest.advanced_by(distance.min(1 << 20)))
    }

    fn cache_by_name(&self, donors: &[u8], wanted: Seqno) -> Option<NodeId> {
        let named = donors.split(|&byte| byte == b',').take_while(|entry| !entry.is_empty());
        let first_match = |entry: &[u8]| {
            self.others().find(|member| {
                member.name.as_bytes().starts_with(entry) && has_cached(member, wanted)
            })
        };
        best_cache(named.filter_map(first_match))
    }

    fn cache_by_state(&self, wanted: Seqno) -> Option<NodeId> {
        let suitable =
            || self.others().filter(|member| !member.is_stateless && has_cached(member, wanted));
        let segment = self.requester_row().map(|row| row.segment);
        let near = suitable().filter(|member| Some(member.segment) == segment);
        best_cache(near).or_else(|| best_cache(suitable()))
    }

    fn others(&self) -> impl Iterator<Item = &'a Member> {
        let requester = self.requester;
        self.members.iter().filter(move |member| member.node != requester)
    }

    fn requester_row(&self) -> Option<&'a Member> {
        self.members.iter().find(|member| member.node == self.requester)
    }
}

fn has_cached(member: &Member, wanted: Seqno) -> bool {
    member.status >= Status::Synced && member.cached.is_defined() && member.cached <= wanted
}

/// The shortest cache that suffices; the later one of equals.
fn best_cache<'a>(members: impl Iterator<Item = &'a Member>) -> Option<NodeId> {
    members.max_by_key(|member| member.cached).map(|member| member.node)
}

#[cfg(test)]
mod tests;
