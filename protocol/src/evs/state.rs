//! The states of EVS and the legal ways between them.

use std::collections::BTreeSet;

use tracing::info;

use super::Evs;
use super::nodes::Join;
use super::receive::Incoming;
use super::send_queue::SendQueue;
use super::seqno::FifoSeqno;
use crate::id::{NodeId, ViewId};
use crate::time::Instant;

/// Bytes of early messages kept while a view is being installed; a sender's window is much smaller.
const STASH_BYTES_MAX: usize = 4 << 20;

/// Where a member stands.
#[derive(Debug)]
pub(super) enum State {
    /// Not started, or finished.
    Closed,
    /// Started; knows only itself.
    Joining,
    /// The membership changes. With an INSTALL accepted it waits for everybody's commit gap.
    Gather(Option<Box<Pending>>),
    /// Everybody has committed; waits for everybody's install gap.
    Install(Box<Pending>),
    /// Normal work in a regular view.
    Operational(SendQueue),
    /// Has sent LEAVE and still answers requests.
    Leaving,
}

/// The state without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum StateKind {
    /// Not started, or finished.
    Closed,
    /// Started; knows only itself.
    Joining,
    /// The membership changes.
    Gather,
    /// A view is being installed.
    Install,
    /// Normal work in a regular view.
    Operational,
    /// Has sent LEAVE and still answers requests.
    Leaving,
}

impl StateKind {
    /// Every state.
    pub const ALL: [Self; 6] = [
        Self::Closed,
        Self::Joining,
        Self::Gather,
        Self::Install,
        Self::Operational,
        Self::Leaving,
    ];

    /// The table of legal transitions (spec 02 §1.4). Two are ours: any state may end at once, and
    /// a member that has lost its group before its first view joins again.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Closed => matches!(next, Self::Joining),
            Self::Joining => matches!(next, Self::Gather | Self::Leaving | Self::Closed),
            Self::Gather => {
                matches!(next, Self::Gather | Self::Install | Self::Joining | Self::Closed)
            }
            Self::Install => matches!(next, Self::Gather | Self::Operational | Self::Closed),
            Self::Operational => matches!(next, Self::Gather | Self::Leaving | Self::Closed),
            Self::Leaving => matches!(next, Self::Closed),
        }
    }
}

impl State {
    pub(super) fn kind(&self) -> StateKind {
        match self {
            Self::Closed => StateKind::Closed,
            Self::Joining => StateKind::Joining,
            Self::Gather(_) => StateKind::Gather,
            Self::Install(_) => StateKind::Install,
            Self::Operational(_) => StateKind::Operational,
            Self::Leaving => StateKind::Leaving,
        }
    }

    pub(super) fn pending(&self) -> Option<&Pending> {
        match self {
            Self::Gather(pending) => pending.as_deref(),
            Self::Install(pending) => Some(pending),
            Self::Closed | Self::Joining | Self::Operational(_) | Self::Leaving => None,
        }
    }

    pub(super) fn pending_mut(&mut self) -> Option<&mut Pending> {
        match self {
            Self::Gather(pending) => pending.as_deref_mut(),
            Self::Install(pending) => Some(pending),
            Self::Closed | Self::Joining | Self::Operational(_) | Self::Leaving => None,
        }
    }

    /// Takes the accepted INSTALL out of GATHER, to move on with it.
    pub(super) fn take_accepted(&mut self) -> Option<Box<Pending>> {
        match self {
            Self::Gather(pending) => pending.take(),
            Self::Closed
            | Self::Joining
            | Self::Install(_)
            | Self::Operational(_)
            | Self::Leaving => None,
        }
    }

    pub(super) fn queue(&self) -> Option<&SendQueue> {
        match self {
            Self::Operational(queue) => Some(queue),
            Self::Closed | Self::Joining | Self::Gather(_) | Self::Install(_) | Self::Leaving => {
                None
            }
        }
    }

    pub(super) fn queue_mut(&mut self) -> Option<&mut SendQueue> {
        match self {
            Self::Operational(queue) => Some(queue),
            Self::Closed | Self::Joining | Self::Gather(_) | Self::Install(_) | Self::Leaving => {
                None
            }
        }
    }
}

/// An accepted INSTALL on its way to becoming the view.
#[derive(Debug)]
pub(super) struct Pending {
    /// What it proposes, with its sender and the view it was sent from.
    pub(super) join: Join,
    /// The view to be installed.
    pub(super) view: ViewId,
    /// Ties commit gaps to this INSTALL and no other.
    pub(super) fifo_seqno: FifoSeqno,
    /// When we accepted it.
    pub(super) accepted_at: Instant,
    /// Who has sent a commit gap.
    pub(super) committed: BTreeSet<NodeId>,
    /// Who has sent an install gap.
    pub(super) installed: BTreeSet<NodeId>,
    stash: Vec<Incoming>,
    stash_bytes: usize,
}

impl Pending {
    pub(super) fn new(
        join: Join,
        view: ViewId,
        fifo_seqno: FifoSeqno,
        accepted_at: Instant,
    ) -> Self {
        Self {
            join,
            view,
            fifo_seqno,
            accepted_at,
            committed: BTreeSet::new(),
            installed: BTreeSet::new(),
            stash: Vec::new(),
            stash_bytes: 0,
        }
    }

    /// The nodes that will be in the view.
    pub(super) fn members(&self) -> BTreeSet<NodeId> {
        let going_on = self.join.proposal.nodes.filtered(|entry| entry.is_operational);
        going_on.map(|(id, _)| *id).collect()
    }

    /// Keeps an early message of the view for later. What does not fit is asked for again.
    pub(super) fn stash(&mut self, incoming: Incoming) {
        let bytes = incoming.message.encoded_len() + size_of::<Incoming>();
        if self.stash_bytes + bytes <= STASH_BYTES_MAX {
            self.stash_bytes += bytes;
            self.stash.push(incoming);
        }
    }

    pub(super) fn take_stash(&mut self) -> Vec<Incoming> {
        self.stash_bytes = 0;
        core::mem::take(&mut self.stash)
    }
}

impl Evs {
    /// The only way from state to state. Hands back what the old state owned.
    pub(super) fn transition(&mut self, next: State) -> State {
        let (from, to) = (self.state.kind(), next.kind());
        assert!(from.may_become(to), "evs: {from:?} -> {to:?}");
        info!(?from, ?to, view = %self.view.id, "evs state");
        if (from, to) == (StateKind::Install, StateKind::Gather) {
            self.counters.interrupted_installs += 1;
        }
        core::mem::replace(&mut self.state, next)
    }
}
