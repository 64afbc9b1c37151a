//! The group above the primary component: node states, protocol versions, donors, requests
//! (spec 04).
//!
//! For a member *without data*: it answers every state exchange with the null state, follows
//! everybody's status, counts write-sets without looking inside, and asks for a state transfer if
//! it is told to. It never sends LAST, JOIN, SYNC, FLOW or VOTE. Only the members of a group of our
//! own have a state to give away ([`OwnState`]): they send JOIN and SYNC too. Whether the component
//! is primary was decided below (PC); what a transfer carries is [`crate::sst`].
//!
//! ```text
//! view (primary) ──► index 0: STATE_UUID ──► everyone: STATE_MSG ──► quorum: configuration
//!                                                                        │
//!   requester: ACTION STATE_REQ ──► every member computes the same donor ◄┘
//!   donor:     … data over TCP …
//!   donor:     JOIN(code), then SYNC
//! ```
//!
//! During an exchange no write-set is numbered anywhere, so each message of it is answered at once.

use bytes::Bytes;

use crate::id::{NodeId, StateId};
use crate::message::{Delivery, SendError};
use crate::planted::Planted;
use crate::time::{Duration, Instant};
use crate::view::Component;

pub mod action;
pub mod code;
mod conditions;
mod counters;
mod defragment;
pub mod donor;
pub mod errno;
pub mod event;
mod exchange;
pub mod flow;
mod group;
mod identifiers;
mod membership;
pub mod message;
pub mod name;
pub mod number;
mod outputs;
mod own_state;
pub mod quorum;
pub mod requester;
pub mod roster;
pub mod state;
pub mod state_message;
pub mod state_request;
mod state_transfer;
pub mod status;
mod traffic;
pub mod transfer;

pub use conditions::Conditions;
pub use counters::Counters;
pub use donor::suitability::{DonorChoice, Suitability, explain_donor};
pub use donor::{Refusal, Rules, choose_donor};
pub use event::{
    Acceptance, Configuration, Donation, Event, LeaveReason, RequestError, WaitReason,
};
pub use name::Name;
pub use number::{ConfigurationId, Protocols, Seqno};
pub use own_state::OwnState;
pub use requester::Request;
pub use roster::Member;
pub use status::Status;
pub use transfer::{Outcome, Transfer};

use defragment::Defragmenter;
use identifiers::Identifiers;
use outputs::Outputs;
use own_state::History;
use requester::{Requester, Situation};
use roster::Roster;
use state::{State, StateKind};

/// The longest GCS message that the layers below take, in bytes.
pub const MESSAGE_LENGTH_MAX: usize = 32636;

/// How this member presents itself, and how patient it is.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our name. No entry of a donor list may be a prefix of it.
    pub name: Name,
    /// Where clients reach us: empty, for there is nothing to reach.
    pub incoming_address: Name,
    /// The highest protocols that we announce. Above them we are advised to leave. A value beyond
    /// the default is at the operator's risk.
    pub protocols: Protocols,
    /// After the group answered EAGAIN, the request is sent again at the latest after this long.
    pub request_retry: Duration,
    /// How long a request may wait for a donor.
    pub donor_wait_limit: Duration,
    /// How long after the end of the data the donor's JOIN may come.
    pub verdict_limit: Duration,
    /// The state that this member has. None for every guest and arbitrator: who claims a state
    /// takes part in what the group decides about it.
    pub own_state: Option<OwnState>,
    /// A bug on purpose.
    pub planted: Planted,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: Name::from_static("garb"),
            incoming_address: Name::default(),
            protocols: Protocols { gcs: 6, repl: 127, appl: 127 },
            request_retry: Duration::from_secs(1),
            donor_wait_limit: Duration::from_secs(300),
            verdict_limit: Duration::from_secs(120),
            own_state: None,
            planted: Planted::default(),
        }
    }
}

/// What happens to GCS.
#[derive(Clone, Debug)]
pub enum Input {
    /// A component from PC.
    Component(Component),
    /// A message from PC.
    Message(Delivery),
    /// The layer below did not take a message that was just sent. One of an exchange is dropped,
    /// for another view is coming; a request is sent again.
    SendRefused {
        /// As in [`Output::Send`].
        message_type: u8,
        /// Why.
        error: SendError,
    },
    /// Ask for a state transfer as soon as a donor can be had. The listener must be open.
    RequestStateTransfer(Request),
    /// Do not ask any more. A request that the group accepts all the same is reported.
    CancelRequest,
    /// Go on with a transfer that was accepted before this member was restarted under its saved
    /// identity.
    FollowTransfer(Transfer),
    /// The donor's data connection has ended: its JOIN is due within the verdict limit.
    DataEnded,
    /// We were the donor, and our part has ended: 0, or minus the exit status of what sent the data.
    EndDonation {
        /// What the group is told.
        code: i64,
    },
    /// A deadline has passed.
    Timeout,
}

/// What GCS wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// To PC: one GCS message.
    Send {
        /// Its type, which the layers below carry.
        message_type: u8,
        /// Its body.
        payload: Bytes,
    },
    /// To whoever drives the member.
    Event(Event),
}

/// One member's view of the group.
#[derive(Debug)]
pub struct Gcs {
    config: Config,
    me: NodeId,
    identifiers: Identifiers,
    state: State,
    roster: Roster,
    actions: Defragmenter,
    requester: Requester,
    is_exchange_complete: bool,
    history: Option<History>,
    counters: Counters,
    outputs: Outputs,
}

impl Gcs {
    /// A member that is in no component yet. `seed` makes the exchange UUIDs unique: it must differ
    /// between lives.
    pub fn new(config: Config, me: NodeId, seed: u64) -> Self {
        let history = config.own_state.map(History::new);
        Self {
            config,
            me,
            identifiers: Identifiers::new(&me, seed),
            state: State::Closed,
            roster: Roster::default(),
            actions: Defragmenter::default(),
            requester: Requester::new(),
            is_exchange_complete: false,
            history,
            counters: Counters::default(),
            outputs: Outputs::default(),
        }
    }

    /// Takes one input. Never fails, never waits.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        // What was just refused would be refused again.
        let may_speak = !matches!(input, Input::SendRefused { .. });
        self.route_input(now, input);
        if may_speak {
            self.speak_as_holder();
        }
    }

    fn route_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Component(component) => self.handle_component(&component),
            Input::Message(delivery) => self.handle_message(now, &delivery),
            Input::SendRefused { message_type, error } => {
                self.handle_send_refused(now, message_type, error);
            }
            Input::RequestStateTransfer(request) => {
                self.ask(|requester, at, out| requester.request(now, request, at, out));
            }
            Input::CancelRequest => self.requester.cancel(),
            Input::FollowTransfer(transfer) => self.requester.follow(transfer),
            Input::EndDonation { code } => self.end_donation(code),
            Input::DataEnded => self.ask(|requester, at, _| requester.on_data_ended(now, at)),
            Input::Timeout => self.ask(|requester, at, out| requester.on_timeout(now, at, out)),
        }
    }

    /// The next thing to do; to be drained after every input.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop()
    }

    /// When [`Input::Timeout`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.requester.next_deadline()
    }

    /// Where we stand.
    pub fn state(&self) -> StateKind {
        self.state.kind()
    }

    /// The members of the current component in index order.
    pub fn members(&self) -> &[Member] {
        self.roster.members()
    }

    /// The current configuration with the members as they are now.
    pub fn configuration(&self) -> Option<Configuration> {
        self.state.group().map(|group| self.describe_group(group))
    }

    /// The group's position after everything delivered so far.
    pub fn seqno(&self) -> Option<Seqno> {
        self.state.group().map(|group| group.act_id)
    }

    /// The current configuration without its members.
    pub fn position(&self) -> Option<(ConfigurationId, StateId, Protocols)> {
        self.state.group().map(|group| (group.configuration, group.state, group.protocols))
    }

    /// Do data nodes hold replication back?
    pub fn is_flow_control_paused(&self) -> bool {
        self.state.group().is_some_and(|group| group.flow.is_paused())
    }

    /// Was every member's state message of the last primary view seen? Only then may a member
    /// that lost the primary component restart under its saved identity (spec 03 §7.3 rule 5).
    pub fn is_exchange_complete(&self) -> bool {
        self.is_exchange_complete
    }

    /// What passed through the group in this life.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The accepted transfer, to be handed over when this member is restarted.
    pub fn transfer(&self) -> Option<&Transfer> {
        self.requester.transfer()
    }

    fn transition(&mut self, next: State) {
        let (from, to) = (self.state.kind(), next.kind());
        assert!(from.may_become(to), "gcs: {from:?} -> {to:?}");
        tracing::debug!(?from, ?to, "gcs state");
        self.state = next;
    }

    /// Lets the requester act on the group as it is now.
    fn ask(&mut self, act: impl FnOnce(&mut Requester, &Situation<'_>, &mut Outputs)) {
        let Self { config, me, state, roster, requester, outputs, .. } = self;
        let (group, members) = (state.group(), roster.members());
        act(requester, &Situation { config, me, group, members }, outputs);
    }
}

#[cfg(test)]
mod tests;
