//! What the members of a view compute from everybody's state messages: whether the group can go
//! on, from which position, with which protocols, and what each member is to it.
//!
//! Pure functions: the same messages give the same result on every member. Whether the *component*
//! is primary was decided before (PC); a primary component in which nobody has state still comes
//! out without a quorum here.

use super::number::{ConfigurationId, Protocols, Seqno};
use super::state_message::{ExchangeId, StateFlags, StateMessage};
use super::status::Status;
use crate::id::StateId;

/// The result of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Layout that every member understands.
    pub version: u8,
    /// The position of the group before this configuration.
    pub act_id: Seqno,
    /// The number of the configuration before this one.
    pub configuration: ConfigurationId,
    /// The history of the group.
    pub group: StateId,
    /// The commit cut.
    pub last_applied: Seqno,
    /// What is spoken from now on.
    pub protocols: Protocols,
    /// How votes are counted.
    pub vote_policy: u8,
    /// Index of the member whose state message the position was taken from.
    pub reference: usize,
}

/// Why an exchange gives no quorum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoQuorum {
    /// Members with state belong to different histories.
    #[error("members with state have different group UUIDs")]
    DifferentGroups,
    /// No member has the group's state, nor had it in the last primary component.
    #[error("no member has the group's state")]
    NobodyHasState,
}

impl Quorum {
    /// Computes the result from the members' messages in index order (spec 04 §4.5).
    pub fn compute(messages: &[&StateMessage]) -> Result<Self, NoQuorum> {
        let version = messages.iter().map(|message| message.version).min().unwrap_or(0);
        let reference = match inherited(messages)? {
            Some(index) => index,
            None => remerged(messages, version)
                .or_else(|| bootstrapped(messages, version))
                .ok_or(NoQuorum::NobodyHasState)?,
        };
        Ok(Self::from_reference(messages, reference, version))
    }

    fn from_reference(messages: &[&StateMessage], reference: usize, version: u8) -> Self {
        let source = messages[reference];
        let protocols = negotiate(messages, source, version);
        let act_id = source.received;
        let last_applied = source.votes.last_applied;
        let is_cut_beyond = protocols.gcs >= 6 && last_applied > act_id;
        Self {
            version,
            act_id,
            configuration: source.previous_configuration,
            group: source.group,
            last_applied: if is_cut_beyond { Seqno(0) } else { last_applied },
            protocols,
            vote_policy: if protocols.gcs < 1 { 1 } else { source.votes.policy },
            reference,
        }
    }

    /// Does a configuration change take a global seqno itself?
    pub fn numbers_configurations(&self) -> bool {
        self.protocols.gcs >= 1
    }

    /// What a member that sent `message` is in the new configuration (spec 04 §4.6).
    pub fn standing(&self, message: &StateMessage) -> Standing {
        let status = self.status(message);
        let desync_count = match status {
            Status::Donor if self.version >= 4 => u32::try_from(message.desync_count).unwrap_or(0),
            Status::Donor => 1,
            Status::NonPrimary
            | Status::Primary
            | Status::Joiner
            | Status::Joined
            | Status::Synced
            | Status::Unknown(_) => 0,
        };
        let counts_last_applied = match status {
            Status::Donor | Status::Synced => true,
            Status::Joined => message.flags.has(StateFlags::COUNTS_LAST_APPLIED),
            Status::NonPrimary | Status::Primary | Status::Joiner | Status::Unknown(_) => false,
        };
        Standing { status, desync_count, counts_last_applied }
    }

    /// A member keeps its status across views, unless it missed something: each is trusted about
    /// itself.
    fn status(&self, message: &StateMessage) -> Status {
        if message.group != self.group || message.received != self.act_id {
            Status::Primary
        } else if message.previous_status == Status::NonPrimary {
            Status::Joined
        } else {
            message.previous_status
        }
    }
}

/// What a member is in a new configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its status.
    pub status: Status,
    /// How many reasons it has to be DONOR; 0 if it is not.
    pub desync_count: u32,
    /// Whether its last applied seqno counts.
    pub counts_last_applied: bool,
}

/// The lowest of each level, except that a running group is never taken below what it spoke.
fn negotiate(messages: &[&StateMessage], reference: &StateMessage, version: u8) -> Protocols {
    let lowest = messages
        .iter()
        .map(|message| message.protocols)
        .reduce(|a, b| a.zip(b, u8::min))
        .unwrap_or_default();
    if version < 6 {
        return lowest;
    }
    lowest.zip(reference.previous_protocols, u8::max)
}

/// Step 1: the best of the members that have state now.
fn inherited(messages: &[&StateMessage]) -> Result<Option<usize>, NoQuorum> {
    let with_state = || {
        let has_state = |index: &usize| messages[*index].current_status.has_state();
        (0..messages.len()).filter(has_state)
    };
    let Some(first) = with_state().next() else {
        return Ok(None);
    };
    if with_state().any(|index| messages[index].group != messages[first].group) {
        return Err(NoQuorum::DifferentGroups);
    }
    Ok(best_of(messages, with_state()))
}

/// The one that received most; then the one of the later configuration; then the first.
fn best_of(messages: &[&StateMessage], indexes: impl Iterator<Item = usize>) -> Option<usize> {
    let progress =
        |index: usize| (messages[index].received, messages[index].previous_configuration);
    indexes.reduce(|best, index| if progress(index) > progress(best) { index } else { best })
}

/// Step 2: nobody has state now, but members had it in the last primary component.
fn remerged(messages: &[&StateMessage], version: u8) -> Option<usize> {
    let candidates = (0..messages.len()).filter(|&index| {
        let message = messages[index];
        message.previous_status.has_state() && message.current_status != Status::Joiner
    });
    best_candidate(messages, candidates.collect(), version)
}

/// Step 3: members that were told to begin a group.
fn bootstrapped(messages: &[&StateMessage], version: u8) -> Option<usize> {
    let candidates =
        (0..messages.len()).filter(|&index| messages[index].flags.has(StateFlags::BOOTSTRAP));
    best_candidate(messages, candidates.collect(), version)
}

/// Members that come from the same place are one candidate, represented by its first member.
#[derive(PartialEq)]
enum Origin {
    Exchange(ExchangeId),
    Position(StateId, Seqno, ConfigurationId),
}

fn origin(message: &StateMessage, version: u8) -> Origin {
    if version == 0 {
        Origin::Exchange(message.previous_exchange)
    } else {
        Origin::Position(message.group, message.received, message.previous_configuration)
    }
}

fn best_candidate(
    messages: &[&StateMessage],
    candidates: Vec<usize>,
    version: u8,
) -> Option<usize> {
    let place = |index: usize| origin(messages[index], version);
    let mut heads: Vec<usize> = Vec::new();
    for &index in &candidates {
        if !heads.iter().any(|&head| place(head) == place(index)) {
            heads.push(index);
        }
    }
    let (&first, others) = heads.split_first()?;
    let chosen = later_origin(messages, first, others)?;
    let same_place = candidates.into_iter().filter(|&index| place(index) == place(chosen));
    best_of(messages, same_place)
}

/// The origin with the latest configuration, then the most received; nobody if histories differ.
fn later_origin(messages: &[&StateMessage], first: usize, others: &[usize]) -> Option<usize> {
    let progress =
        |index: usize| (messages[index].previous_configuration, messages[index].received);
    let first_group = messages[first].group;
    let mut best = first;
    for &other in others {
        let group = messages[other].group;
        if group.is_nil() {
            continue;
        }
        if !first_group.is_nil() && group != first_group {
            return None;
        }
        if progress(other) > progress(best) {
            best = other;
        }
    }
    Some(best)
}

#[cfg(test)]
mod tests;
