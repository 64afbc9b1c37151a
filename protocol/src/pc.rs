//! The primary component: may this set of members act (spec 03).
//!
//! EVS gives every connected set of members a consistent view, minorities too. PC decides which
//! one of them is *the* cluster, starts it, and numbers what is said in it:
//!
//! ```text
//!          TRANS: quorum?     REG: everyone STATE       lowest UUID INSTALL
//!   PRIM ─────────────► TRANS ───────────► STATES_EXCH ───────────► INSTALL ───► PRIM
//!                         │                     │                               USER 1, 2, …
//!                         │ no: NON_PRIM view   │ not possible
//!                         └─ (stays TRANS)      └─────────► NON_PRIM
//! ```
//!
//! Not here: who is in the view and in which order things are delivered ([`crate::evs`]); whether
//! the members of a primary component have usable data ([`crate::gcs`]). There are no timers
//! either: a member that is alive but does not answer keeps the whole group waiting, so nothing in
//! this layer may depend on anything slower than memory.
//!
//! A wrong STATE, an unexpected USER, a number out of order make the *other* members stop. What
//! goes out passes a last check first, and any doubt about our own counters ends this
//! stack ([`Fatal`]) rather than being guessed away.
//!
//! Where ours differs from existing members:
//!
//! * An INSTALL delivered too late without quorum (weight 0 and alone) is a loss of the primary
//!   view like any other; existing members stop.
//! * Weight 0 ignores `ignore_sb` and `ignore_quorum`, never starts as first member and never sends
//!   the INSTALL of the automatic recovery.
//! * There is no manual bootstrap: other members' are followed, none is sent.
//! * A re-bootstrap without members that the last primary view is known to have had is not
//!   followed: the links are dropped. Existing members can be led into it, and then there are two
//!   primaries.
//! * What cannot be decoded ends the stack with a reason, never the process.
//! * The saved view is to be deleted only after a leave out of a running primary view, which most
//!   of that view must have confirmed ([`Output::Forget`]).

use bytes::Bytes;
use std::collections::{BTreeSet, VecDeque};

use crate::decode::Problem;
use crate::id::{NodeId, ViewId, ViewKind};
use crate::message::{Delivery, SendError};
use crate::time::Instant;
use crate::view::{Component, View};

mod advice;
mod config;
mod decision;
mod event;
mod exchange;
mod fatal;
mod install;
mod known;
mod message;
mod node;
mod outgoing;
mod quorum;
mod recovery;
mod saved;
mod state;
mod user;
mod views;

pub use advice::{Advice, LeaveReason, PrimaryLost, Remedy};
pub use config::{Config, ConfigError};
pub use decision::{Decision, Obstacle};
pub use event::Event;
pub use fatal::Fatal;
pub use message::{
    Body, CONTROL_USER_TYPE, Flags, HEADER_LENGTH, MESSAGE_MAX, Message, PAYLOAD_MAX, VERSION_MAX,
};
pub use node::{ENTRY_LENGTH, Entry, NO_LAST_SEQ, NO_TO_SEQ, NODES_MAX, NodeMap};
pub use outgoing::Unsendable;
pub use quorum::Tally;
pub use saved::{ParseSavedViewError, SavedView};
pub use state::State;

use decision::Memory;
use exchange::Exchange;
use known::Known;

/// What happens to PC.
#[derive(Clone, Debug)]
pub enum Input {
    /// Start, once. Comes before EVS is opened; everything before it is ignored.
    Connect,
    /// A TRANS or REG view from EVS.
    View(View),
    /// A message from EVS, in order.
    Message(Delivery),
    /// EVS did not take an [`Output::Send`].
    SendRefused(SendError),
    /// EVS has put this node on its list of evicted ones.
    Evicted(NodeId),
    /// We are leaving: the coming loss of quorum is intended.
    Close,
}

/// What PC wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To EVS, always with order SAFE. A refusal must come back as [`Input::SendRefused`].
    Send {
        /// EVS user type.
        user_type: u8,
        /// The encoded message.
        payload: Bytes,
    },
    /// To GCS: a component. The nil-node, empty one ends a leave.
    Component(Component),
    /// To GCS: a message of a member of the last component, header already taken off.
    Deliver(Delivery),
    /// To gmcast, *after* the component went up.
    PrimaryView {
        /// Members of the primary view.
        members: BTreeSet<NodeId>,
    },
    /// To the driver: save this identity and view durably *before* the component that follows is
    /// acted upon.
    Persist(SavedView),
    /// To the driver: we left out of a primary view. If others go on by it ([`Pc::is_released`]),
    /// nobody will wait for us: delete what was saved. Whoever stops in any other way keeps it, and
    /// comes back by it.
    Forget,
    /// To the driver: what to do with the process.
    Advice(Advice),
    /// For people.
    Event(Event),
    /// The stack must stop: drop the links. Nothing follows, and every later input is ignored.
    Fatal(Fatal),
}

/// The last view that PC itself installed: the reference for the next quorum.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PcView {
    id: ViewId,
    members: BTreeSet<NodeId>,
}

impl PcView {
    fn is_primary(&self) -> bool {
        self.id.kind == ViewKind::Primary
    }
}

/// What PC says about itself, for status pages and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// State of the machine.
    pub state: State,
    /// The last view that PC installed.
    pub view: ViewId,
    /// True from INSTALL until the quorum is lost, agreements on the next view included.
    pub is_primary: bool,
    /// Sum of the votes of the primary view; 0 outside one.
    pub cluster_weight: u32,
    /// Our vote.
    pub weight: u8,
    /// Number, minus one, of messages delivered in the primary lineage.
    pub to_seq: i64,
}

/// One member's primary-component layer.
///
/// Feed it with [`Pc::handle_input`] and drain [`Pc::poll_output`] to `None` after each; messages
/// of the layer above go through [`Pc::send_user`].
#[derive(Clone, Debug)]
pub struct Pc {
    config: Config,
    me: NodeId,
    state: State,
    /// A stack has one life: what is closed stays closed.
    has_connected: bool,
    is_closing: bool,
    /// The leave began in a running primary view.
    left_primary: bool,
    /// Why our counters must not be reported any more, found while leaving.
    doubt: Option<Fatal>,
    /// Number of our last USER message in this primary view.
    sent_seq: u32,
    known: Known,
    exchange: Exchange,
    /// Last TRANS or REG view; nil before the first.
    evs_view: View,
    pc_view: PcView,
    /// Members of the last component that went up.
    component: BTreeSet<NodeId>,
    /// The view we came back from, until the next primary one.
    restored: Option<SavedView>,
    /// The last primary view of this life.
    saved: Option<SavedView>,
    memory: Memory,
    standing: advice::Standing,
    /// Evicted nodes, [`NODES_MAX`] at most: more could not be known anyway.
    evicted: BTreeSet<NodeId>,
    /// Drained by the caller after each input; one input adds a handful.
    outputs: VecDeque<Output>,
}

impl Pc {
    /// Makes a member that is not connected yet.
    ///
    /// After a restart `saved` is what was read and `me` its [`SavedView::restarted`] identity,
    /// written back already.
    pub fn new(config: Config, me: NodeId, saved: Option<SavedView>) -> Self {
        let mut mine = Entry::new(config.weight, config.segment);
        if let Some(saved) = &saved {
            mine.last_primary = saved.view.with_kind(ViewKind::NonPrimary);
        }
        let start_primary = config.start_primary && config.weight > 0;
        let no_view = ViewId::new(ViewKind::Transitional, NodeId::NIL, 0);
        Self {
            config: Config { start_primary, ..config },
            me,
            state: State::Closed,
            has_connected: false,
            is_closing: false,
            left_primary: false,
            doubt: None,
            sent_seq: 0,
            known: Known::new(me, mine),
            exchange: Exchange::default(),
            evs_view: View::new(no_view, 0, BTreeSet::new()),
            pc_view: PcView {
                id: no_view.with_kind(ViewKind::NonPrimary),
                members: BTreeSet::new(),
            },
            component: BTreeSet::new(),
            memory: Memory::new(saved.as_ref()),
            restored: saved.filter(|_| !start_primary),
            saved: None,
            standing: advice::Standing::default(),
            evicted: BTreeSet::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input. Never fails: what cannot go on ends in [`Output::Fatal`].
    pub fn handle_input(&mut self, _now: Instant, input: Input) {
        let result = match input {
            Input::Connect => self.connect(),
            Input::Evicted(node) => self.add_evicted(node),
            Input::Close => self.close(),
            Input::View(_) | Input::Message(_) | Input::SendRefused(_)
                if self.state == State::Closed =>
            {
                Ok(())
            }
            Input::View(view) => self.handle_view(view),
            Input::Message(delivery) => self.handle_message(delivery),
            Input::SendRefused(error) => self.handle_refusal(error),
        };
        if let Err(fatal) = result {
            self.stop(fatal);
        }
    }

    /// The next thing to do, if any.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// PC has no timers.
    pub const fn next_deadline(&self) -> Option<Instant> {
        None
    }

    /// Where the member stands.
    pub const fn state(&self) -> State {
        self.state
    }

    /// State, view, weights and position.
    pub fn status(&self) -> Status {
        let mine = self.known.mine();
        Status {
            state: self.state,
            view: self.pc_view.id,
            is_primary: mine.is_primary,
            cluster_weight: self.cluster_weight(),
            weight: mine.weight.unwrap_or(0),
            to_seq: mine.to_seq,
        }
    }

    /// What is known about every node, ourselves included.
    pub fn known(&self) -> &NodeMap {
        self.known.nodes()
    }

    /// Our identity and the last primary view of this life.
    pub fn saved(&self) -> Option<&SavedView> {
        self.saved.as_ref()
    }

    /// The votes of the primary view's members; none outside one.
    pub fn weights(&self) -> impl Iterator<Item = (NodeId, u8)> {
        let nodes = self.known.nodes().iter();
        let is_current = |entry: &Entry| entry.last_primary == self.pc_view.id;
        nodes
            .filter(move |(_, entry)| self.pc_view.is_primary() && is_current(entry))
            .map(|(node, entry)| (*node, entry.weight.unwrap_or(0)))
    }

    fn cluster_weight(&self) -> u32 {
        self.weights().map(|(_, weight)| u32::from(weight)).sum()
    }

    fn connect(&mut self) -> Result<(), Fatal> {
        if self.has_connected {
            return Ok(());
        }
        self.has_connected = true;
        self.transition(State::NonPrimary)
    }

    fn close(&mut self) -> Result<(), Fatal> {
        self.is_closing = true;
        Ok(())
    }

    fn add_evicted(&mut self, node: NodeId) -> Result<(), Fatal> {
        if self.evicted.len() < NODES_MAX {
            self.evicted.insert(node);
        }
        Ok(())
    }

    fn handle_message(&mut self, delivery: Delivery) -> Result<(), Fatal> {
        let source = delivery.source;
        let message = match Message::decode(&delivery.payload) {
            Ok(message) => message,
            Err(error) if error.problem == Problem::Version && self.known.mine().is_primary => {
                self.event(Event::MessageDropped(source));
                return Ok(());
            }
            Err(error) => return Err(Fatal::Malformed { source_node: source, error }),
        };
        match message.body {
            Body::State(report) => self.handle_state(source, report),
            Body::Install(nodes) => self.handle_install(source, message.flags, &nodes),
            Body::User(payload) => self.handle_user(message.seq, Delivery { payload, ..delivery }),
        }
    }

    /// "Try again" means that EVS is on its way to the next view, where everything is said anew. Any
    /// other refusal of a STATE would leave the group waiting for us, unless it knows that we leave.
    fn handle_refusal(&mut self, error: SendError) -> Result<(), Fatal> {
        let is_awaited = self.state.is_exchanging() && !self.is_closing;
        let is_overtaken = error == SendError::TryAgain || !is_awaited;
        if !is_overtaken {
            return Err(Fatal::Refused(error));
        }
        self.event(Event::SendOvertaken);
        Ok(())
    }

    fn send_control(&mut self, message: &Message) {
        let payload = message.encode();
        self.outputs.push_back(Output::Send { user_type: CONTROL_USER_TYPE, payload });
    }

    fn out_of_place(&self, source_node: NodeId, kind: &'static str) -> Fatal {
        Fatal::OutOfPlace { source_node, kind, state: self.state }
    }

    fn event(&mut self, event: Event) {
        self.outputs.push_back(Output::Event(event));
    }

    fn transition(&mut self, next: State) -> Result<(), Fatal> {
        let (from, to) = (self.state, next);
        if !from.may_become(to) {
            return Err(Fatal::Transition { from, to });
        }
        tracing::info!(%from, %to, "pc state");
        self.state = next;
        self.event(Event::StateChanged(next));
        Ok(())
    }

    /// Nothing is said or heard any more: the links go, and the group sees a crash.
    fn stop(&mut self, fatal: Fatal) {
        tracing::error!(state = %self.state, error = %fatal, "pc stops");
        self.state = State::Closed;
        self.outputs.push_back(Output::Fatal(fatal));
    }
}

#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
