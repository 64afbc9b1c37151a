//! Why a group does not come back by itself and its operator has to begin anew.
//!
//! Each cause but the last is a rule of Galera's, and is checked here against what the simulation
//! knows: who runs, what is on which disk, who went how. What no rule explains is a failure.

use std::collections::BTreeSet;

use galera_protocol::gcs::Status;
use galera_protocol::gcs::event::NonPrimaryCause;
use galera_protocol::gcs::quorum::NoQuorum;
use galera_protocol::id::NodeId;
use galera_protocol::pc::{Decision, Obstacle, SavedView};

use crate::process::Process;
use crate::world::World;

/// What a group waits for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Cause {
    /// Members of one saved view have founded it anew beside their successors (spec 03 §4.4).
    Split,
    /// A member of the last primary view has lost its memory (§3.6 (2) d).
    Forgotten,
    /// It left politely while there was no primary component; that does not count (§7.2 d).
    Left,
    /// It was banned, which not everybody of the group knows any more (§4.3).
    Banned,
    /// It may be primary elsewhere, and comes back in another life (§3.8).
    Marked,
    /// All come from one saved view, but somebody else is there too (§4.4).
    Stranger,
    /// They come from saved views of different histories (§4.4).
    DifferentViews,
    /// Nobody has a saved view, nor was anybody in a primary view.
    NobodyRemembers,
    /// They are primary, but nobody has the data (§7.2 h, T31).
    NobodyHasState,
    /// They are primary, and whoever has most data was taken for one who has none (§7.2 h).
    NoDonor,
    /// No rule explains it.
    Unexplained,
}

impl Cause {
    pub(crate) const ALL: [Self; 11] = [
        Self::Split,
        Self::Forgotten,
        Self::Left,
        Self::Banned,
        Self::Marked,
        Self::Stranger,
        Self::DifferentViews,
        Self::NobodyRemembers,
        Self::NobodyHasState,
        Self::NoDonor,
        Self::Unexplained,
    ];

    /// As the summary has it.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::Split => "two primary components, both by right",
            Self::Forgotten => "a member of the last primary view has lost its memory",
            Self::Left => "a member of it left while nobody was primary",
            Self::Banned => "a member of it was banned, and not everybody knows",
            Self::Marked => "a former life may be primary elsewhere",
            Self::Stranger => "from a saved view, with somebody who is not in it",
            Self::DifferentViews => "from saved views that do not fit together",
            Self::NobodyRemembers => "nobody remembers a primary view",
            Self::NobodyHasState => "primary, but nobody has the data",
            Self::NoDonor => "primary, but nobody can be a donor",
            Self::Unexplained => "no rule explains it",
        }
    }

    /// Most lives of a thousand that may end so.
    pub(crate) const fn per_mille_max(self) -> u64 {
        match self {
            Self::Forgotten => 160,
            Self::NobodyHasState => 95,
            Self::Marked => 65,
            Self::Left | Self::Banned => 45,
            Self::NobodyRemembers => 40,
            Self::Stranger => 10,
            Self::Split | Self::DifferentViews | Self::NoDonor => 3,
            Self::Unexplained => 0,
        }
    }

    /// Of a group that is connected and does not come together.
    pub(crate) fn find(world: &World) -> Self {
        let Some(process) = world.running().next() else { return Self::NobodyRemembers };
        if process.is_primary() {
            return of_primary(world, process);
        }
        match &process.decision {
            Some(Decision::NonPrimary(Obstacle::Unknown(node))) => of_marked(world, *node),
            Some(Decision::NonPrimary(Obstacle::Missing { missing, .. })) => {
                of_missing(world, missing)
            }
            Some(Decision::NonPrimary(Obstacle::NoLastPrimary)) => of_saved(world),
            Some(Decision::Continue | Decision::Rebootstrap) | None => Self::Unexplained,
        }
    }
}

fn runs(world: &World, node: &NodeId) -> bool {
    world.running().any(|process| process.me.is_same_node(node))
}

fn of_primary(world: &World, process: &Process) -> Cause {
    match process.group_state {
        Some(NonPrimaryCause::Quorum(NoQuorum::NobodyHasState)) => Cause::NobodyHasState,
        Some(NonPrimaryCause::Quorum(NoQuorum::DifferentGroups) | NonPrimaryCause::Component) => {
            Cause::Unexplained
        }
        None => {
            let servers = || process.gcs().members().iter().filter(|member| !member.is_stateless);
            let waits = servers().any(|member| member.status == Status::Primary);
            let can_give = servers().any(|member| member.status.has_state());
            let is_everybody = world.machines.iter().all(|machine| machine.running().is_some());
            if waits && !can_give && is_everybody { Cause::NoDonor } else { Cause::Unexplained }
        }
    }
}

fn of_marked(world: &World, node: NodeId) -> Cause {
    let is_back = world.running().any(|process| process.me == node);
    if is_back { Cause::Unexplained } else { Cause::Marked }
}

/// All of them must be gone for a reason.
fn of_missing(world: &World, missing: &BTreeSet<NodeId>) -> Cause {
    let oracle = &world.oracle;
    let is_among = |node: &NodeId, nodes: &BTreeSet<NodeId>| {
        nodes.iter().any(|other| other.is_same_node(node))
    };
    let cause = |node: &NodeId| {
        if runs(world, node) {
            Cause::Unexplained
        } else if is_among(node, &oracle.banned) {
            Cause::Banned
        } else if is_among(node, &oracle.leavers) || is_among(node, &oracle.departed) {
            Cause::Left
        } else if is_among(node, &oracle.forgotten) {
            Cause::Forgotten
        } else {
            Cause::Unexplained
        }
    };
    missing.iter().map(cause).max().unwrap_or(Cause::Unexplained)
}

/// Nobody was in a primary view in its present life: then exactly the members of the newest saved
/// view have to be there.
fn of_saved(world: &World) -> Cause {
    let files = || world.running().filter_map(|process| world.oracle.restored.get(&process.me));
    let Some(newest) = files().max_by_key(|file| file.view.seq) else {
        return Cause::NobodyRemembers;
    };
    let missing: BTreeSet<_> =
        newest.members.keys().filter(|node| !runs(world, node)).copied().collect();
    let is_named = |file: &SavedView, node: &NodeId| {
        file.members.keys().any(|member| member.is_same_node(node))
    };
    if !missing.is_empty() {
        of_missing(world, &missing)
    } else if world.running().any(|process| !is_named(newest, &process.me)) {
        Cause::Stranger
    } else if files().any(|file| file.view.node != newest.view.node) {
        Cause::DifferentViews
    } else {
        Cause::Unexplained
    }
}
