//! Extended virtual synchrony: membership, total order, retransmission (spec 02).
//!
//! What it is for: an agreed sequence of views of the group, and inside a view messages that all
//! members get in the same order, [`Order::Safe`](crate::message::Order::Safe) ones only once every
//! member has them. It finds out who is gone, merges partitions, and lets members leave gracefully.
//!
//! What it is not: it does not decide which part of a group may act (that is PC), and it does not
//! cut messages into fragments (that is GCS).
//!
//! ```text
//!           Open              a JOIN names me            every commit gap      every install gap
//!  Closed --------> Joining -----------------> Gather -----------------> Install ---------+
//!    ^                 |                       ^    ^ any doubt             |             |
//!    |                 | Close                 |    +-----------------------+             v
//!    +------------- Leaving <------------------+------------------------------------ Operational
//!                             Close                 somebody new, gone, slow or leaving
//! ```
//!
//! A membership change, n being the lowest of all nodes:
//!
//! ```text
//!  j -> all   JOIN {j}                      j starts
//!  n -> all   JOIN {n, j}                   n has heard of j
//!  j -> all   JOIN {n, j}                   both say the same: consensus
//!  n -> all   INSTALL view, {n, j}          the representative decides
//!  all -> all GAP commit                    "I have seen this INSTALL"
//!  all -> all GAP install                   "I know that everybody has"
//!  all        views go up, messages flow
//! ```
//!
//! Between two outputs the layer above may call [`Evs::send`]. What follows a view is therefore
//! worked off step by step while outputs are polled: a message sent in reaction to a regular view
//! is the first one of ours in it.

mod answer;
mod commit;
mod config;
mod consensus;
mod current_view;
mod delayed;
mod delivery;
mod evict;
mod failure;
mod gap;
mod gather;
mod history;
mod inactivity;
mod input_map;
mod inspect;
mod install;
mod install_timeout;
#[cfg(any(test, feature = "testing"))]
mod invariants;
mod join;
mod leave;
pub mod message;
mod nodes;
mod opinion;
mod proposal;
mod receive;
mod retransmission;
mod retransmission_timer;
mod send_queue;
mod sending;
mod seqno;
mod state;
mod status;
mod timers;
mod user;
mod validator;
mod violation;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;

use crate::id::{NodeId, ViewId};
use crate::message::Delivery;
use crate::time::Instant;
use crate::view::View;

pub use config::{Config, ConfigError, Start};
pub use failure::Failure;
pub use seqno::{FifoSeqno, Range, Seqno};
pub use state::StateKind;
pub use status::{Counters, NodeStatus, Status};
pub use violation::Violation;

use consensus::Consensus;
use current_view::CurrentView;
use delayed::Delayed;
use history::{Evicted, PreviousViews};
use input_map::InputMap;
use nodes::Nodes;
use state::{Pending, State};
use timers::{Timer, Timers};

/// What happens to EVS.
#[derive(Clone, Debug)]
pub enum Input {
    /// Start: CLOSED → JOINING. The first JOIN goes out at once, so links should be up.
    Open,
    /// A message from gmcast with its originator.
    Message {
        /// The originator that gmcast's header names, not the link's peer.
        source: NodeId,
        /// The EVS message.
        payload: Bytes,
    },
    /// Leave the group gracefully; [`Output::Closed`] follows. During a membership change the leave
    /// waits for its end.
    Close,
    /// Stop waiting for a graceful leave: CLOSED at once, without a word to the others.
    Abandon,
    /// Ban this node (manual eviction).
    Evict(NodeId),
    /// Lift all bans.
    ForgetEvicted,
    /// A deadline has passed.
    Timeout,
}

/// What EVS wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To gmcast.
    Send {
        /// Only this node needs it; others may see it.
        target: Option<NodeId>,
        /// The EVS message.
        payload: Bytes,
    },
    /// To gmcast: lift this node's time wait.
    Welcome(NodeId),
    /// To gmcast: refuse this node.
    Evict(NodeId),
    /// To gmcast, *before* the view goes up to PC.
    RegularView {
        /// Who is in it.
        members: BTreeSet<NodeId>,
        /// Who left gracefully.
        left: BTreeSet<NodeId>,
    },
    /// To PC: TRANS or REG view.
    View(View),
    /// To PC: the next message in order.
    Deliver(Delivery),
    /// CLOSED was reached; nothing follows.
    Closed,
    /// We cannot go on in this group and are CLOSED: drop all links without another word. A new
    /// start needs a new UUID, or the saved one in its next incarnation. Nothing follows.
    Failed(Failure),
}

/// Work that has to wait until the layer above has seen all outputs before it.
#[derive(Clone, Debug)]
enum Step {
    /// Deliver what has become deliverable by a message of our own.
    Deliver,
    /// Enter the view whose INSTALL everybody has agreed to.
    EnterView,
    /// Tell the others that we are in the view.
    AcknowledgeView,
    /// Execute a leave that waited for the end of a membership change.
    Leave,
    /// Handle a message that came before we were in its view.
    Handle(receive::Incoming),
    /// More timers are due.
    Timeout,
}

/// One member's side of the protocol.
///
/// The caller feeds [`Input`]s and drains [`Self::poll_output`] to `None` after each, and after each
/// [`Self::send`]. When [`Self::next_deadline`] passes it gives [`Input::Timeout`].
///
/// Messages that came together may be answered together: the caller then drains
/// [`Self::poll_within_batch`] after each, and [`Self::poll_output`] after the last.
#[derive(Debug)]
pub struct Evs {
    config: Config,
    me: NodeId,
    /// The moment of the input that is being handled.
    now: Instant,
    state: State,
    /// The pseudo view that we started with: what PC is told our first view follows.
    first_view: ViewId,
    view: CurrentView,
    map: InputMap,
    nodes: Nodes,
    next_fifo: i64,
    previous_views: PreviousViews,
    evicted: Evicted,
    delayed: Delayed,
    timers: Timers,
    outputs: VecDeque<Output>,
    steps: VecDeque<Step>,
    is_leave_pending: bool,
    owed: Option<answer::Owed>,
    /// Who goes on without us, by the INSTALL that confirmed our leave.
    release: Option<View>,
    installs: install::Installs,
    isolated_until: Option<Instant>,
    last_inactivity_check: Instant,
    last_join_sent: Option<Instant>,
    /// JOINs of this membership change that were sent late.
    late_joins: u32,
    early_commits: commit::EarlyCommits,
    counters: Counters,
}

impl Evs {
    /// A member that is not started yet.
    ///
    /// `restored` is the last view of the process whose identity `me` continues (with the next
    /// incarnation); none for a fresh identity. `config` must pass [`Config::check`].
    pub fn new(config: Config, me: NodeId, restored: Option<ViewId>) -> Self {
        let view = CurrentView::pseudo(me, restored.map_or(0, |view| view.seq.saturating_add(1)));
        let mut previous_views = PreviousViews::default();
        if let Some(restored) = restored {
            previous_views.insert_all_kinds(restored, Instant::ZERO);
        }
        Self {
            map: InputMap::new(view.len(), config.held_bytes_per_sender_max),
            nodes: Nodes::only(me, Instant::ZERO),
            config,
            me,
            now: Instant::ZERO,
            state: State::Closed,
            first_view: view.id,
            view,
            next_fifo: 0,
            previous_views,
            evicted: Evicted::default(),
            delayed: Delayed::default(),
            timers: Timers::default(),
            outputs: VecDeque::new(),
            steps: VecDeque::new(),
            is_leave_pending: false,
            owed: None,
            release: None,
            installs: install::Installs::default(),
            isolated_until: None,
            last_inactivity_check: Instant::ZERO,
            last_join_sent: None,
            late_joins: 0,
            early_commits: commit::EarlyCommits::default(),
            counters: Counters::default(),
        }
    }

    /// Takes in what happened. Never fails; what cannot be used is dropped and counted.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        self.now = self.now.max(now);
        // Only if the caller did not drain the outputs: their reactions come too late then.
        while self.run_step() {}
        if !matches!(input, Input::Message { .. }) {
            self.pay();
        }
        match input {
            Input::Open => self.open(),
            Input::Message { source, payload } => self.receive(source, &payload),
            Input::Close => self.close(),
            Input::Abandon => self.abandon(),
            Input::Evict(node) => self.evict_by_operator(node),
            Input::ForgetEvicted => self.evicted.clear(),
            Input::Timeout => self.on_timeout(),
        }
        self.deliver();
    }

    /// What is to be done next; none when there is nothing left to do. A batch has ended then, and
    /// was answered.
    pub fn poll_output(&mut self) -> Option<Output> {
        if let Some(output) = self.poll_within_batch() {
            return Some(output);
        }
        self.pay();
        self.deliver();
        self.poll_within_batch()
    }

    /// What is to be done next before the batch is answered.
    pub fn poll_within_batch(&mut self) -> Option<Output> {
        loop {
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            if !self.run_step() {
                return None;
            }
        }
    }

    /// When [`Input::Timeout`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.timers.next_deadline()
    }

    /// Runs the next step. What it leaves to be done comes before the steps that waited behind it.
    fn run_step(&mut self) -> bool {
        let Some(step) = self.steps.pop_front() else { return false };
        let waiting = core::mem::take(&mut self.steps);
        match step {
            Step::Deliver => {}
            Step::EnterView => self.enter_view(),
            Step::AcknowledgeView => self.send_acknowledgement(),
            Step::Leave => self.close(),
            Step::Handle(incoming) => self.dispatch(incoming),
            Step::Timeout => self.on_timeout(),
        }
        self.deliver();
        if !matches!(self.state, State::Closed) {
            self.steps.extend(waiting);
        }
        true
    }

    fn on_timeout(&mut self) {
        match self.timers.take_due(self.now) {
            Some(Timer::Inactivity) => self.on_inactivity_timer(),
            Some(Timer::Retransmission) => self.on_retransmission_timer(),
            Some(Timer::Install) => self.on_install_timer(),
            Some(Timer::Soon) => self.on_soon_timer(),
            None => return,
        }
        if self.timers.next_deadline().is_some_and(|at| at <= self.now) {
            self.steps.push_back(Step::Timeout);
        }
    }

    fn consensus(&self) -> Consensus<'_> {
        Consensus {
            me: self.me,
            view: &self.view,
            map: &self.map,
            nodes: &self.nodes,
            exceeds_servers: self.config.exceeds_servers(),
        }
    }

    /// The accepted INSTALL, in GATHER and INSTALL.
    fn pending(&self) -> Option<&Pending> {
        self.state.pending()
    }

    /// The last number that we used in this view.
    fn last_sent(&self) -> Seqno {
        self.index_of_me().map_or(Seqno::NONE, |index| self.map.range(index).highest_seen)
    }

    fn index_of_me(&self) -> Option<usize> {
        self.view.index_of(&self.me)
    }

    fn emit(&mut self, output: Output) {
        if !matches!(self.state, State::Closed) {
            self.outputs.push_back(output);
        }
    }

    fn arm(&mut self, timer: Timer, after: crate::time::Duration) {
        self.timers.arm(timer, self.now + after);
    }
}

#[cfg(test)]
mod tests;
