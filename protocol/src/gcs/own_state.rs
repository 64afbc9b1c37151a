//! A member with a state of its own: what it says of itself in an exchange, and its part as donor.
//!
//! Only groups of our own have such members: `donate` puts one together so that there is somebody to
//! take a backup from. It tracks the group as a data node does (spec 04 §9.1 policy S, §4.8, §5.3):
//!
//! ```text
//! JOINED ──► SYNC ──► SYNCED ──► chosen as donor: event ──► … ──► JOIN(code) ──► JOINED ──► SYNC
//! ```
//!
//! It commits nothing, so it needs no flow control, no votes and no commit cut. Not here: the data.

use bytes::Bytes;

use super::Gcs;
use super::code::CodeMessage;
use super::event::{Donation, Event};
use super::group::Group;
use super::message::MessageType;
use super::number::{ConfigurationId, Protocols, Seqno};
use super::roster::Member;
use super::state_message::{ExchangeId, StateFlags, StateMessage, Votes};
use super::state_request::StateRequest;
use super::status::Status;
use crate::id::{NodeId, StateId};
use crate::view::Component;

/// The state that a member has when it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnState {
    /// The history that it belongs to.
    pub state: StateId,
    /// Its position there.
    pub seqno: Seqno,
    /// Whether this member was told to begin the group.
    pub is_founder: bool,
}

/// What is tracked from one exchange to the next.
#[derive(Debug)]
pub(super) struct History {
    state: StateId,
    received: Seqno,
    is_founder: bool,
    exchange: ExchangeId,
    configuration: ConfigurationId,
    status: Status,
    joined: i16,
    protocols: Protocols,
    has_synced: bool,
    verdict: Verdict,
}

/// Our word about a donation of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// There is none to be given.
    None,
    /// To be given when the group can hear it.
    Due(i64),
    /// Given, and not come back yet: a view change may have swallowed it.
    Sent(i64),
}

impl History {
    pub(super) fn new(own: OwnState) -> Self {
        let OwnState { state, seqno, is_founder } = own;
        Self {
            state,
            received: seqno,
            is_founder,
            exchange: ExchangeId::NIL,
            configuration: ConfigurationId::UNDEFINED,
            status: Status::NonPrimary,
            joined: 0,
            protocols: Protocols::default(),
            has_synced: false,
            verdict: Verdict::None,
        }
    }

    fn describe(&self, null: StateMessage, row: &Member) -> StateMessage {
        let mut flags = StateFlags(null.flags.0 & StateFlags::REPRESENTATIVE.0);
        for (is_set, flag) in [
            (row.counts_last_applied, StateFlags::COUNTS_LAST_APPLIED),
            (self.is_founder, StateFlags::BOOTSTRAP),
        ] {
            flags = if is_set { flags.with(flag) } else { flags };
        }
        StateMessage {
            flags,
            previous_status: self.status,
            current_status: row.status,
            previous_joined: self.joined,
            group: self.state,
            previous_exchange: self.exchange,
            received: self.received,
            previous_configuration: self.configuration,
            desync_count: i32::try_from(row.desync_count).unwrap_or(i32::MAX),
            votes: Votes { last_applied: Seqno(0), seqno: Seqno::UNDEFINED, result: 0, policy: 0 },
            previous_protocols: self.protocols,
            ..null
        }
    }

    fn enter(&mut self, group: &Group, exchange: ExchangeId, joined: usize) {
        let highest = self.protocols.zip(group.protocols, u8::max);
        *self = Self {
            state: group.state,
            received: group.act_id,
            is_founder: false,
            exchange,
            configuration: group.configuration,
            joined: i16::try_from(joined).unwrap_or(i16::MAX),
            protocols: highest,
            ..*self
        };
    }

    fn code_message(&self, code: i64) -> Bytes {
        let (state, seqno, text) = (self.state, self.received, Bytes::new());
        CodeMessage::Long { state, seqno, code, text }.encode()
    }
}

impl Gcs {
    /// A component ends the configuration before it: what we were there is what we say of ourselves.
    pub(super) fn end_configuration(&mut self, component: &Component) {
        let status = self.own_row().status;
        let Some(history) = &mut self.history else { return };
        if let Some(group) = self.state.group() {
            (history.status, history.received) = (status, group.act_id);
        }
        history.has_synced = false;
        history.is_founder |= component.is_bootstrap;
        if let Verdict::Sent(code) = history.verdict {
            history.verdict = Verdict::Due(code);
        }
    }

    /// What we say instead of the null state.
    pub(super) fn state_message(&self, null: StateMessage) -> StateMessage {
        match &self.history {
            Some(history) => history.describe(null, &self.own_row()),
            None => null,
        }
    }

    /// An exchange ended with a quorum.
    pub(super) fn enter_configuration(&mut self, group: &Group, exchange: ExchangeId) {
        let has_state = |member: &&Member| member.status.has_state();
        let joined = self.roster.members().iter().filter(has_state).count();
        if let Some(history) = &mut self.history {
            history.enter(group, exchange, joined);
        }
    }

    /// Our part of a transfer has ended.
    pub(super) fn end_donation(&mut self, code: i64) {
        if let Some(history) = &mut self.history {
            history.verdict = Verdict::Due(code);
        }
    }

    /// Gives away what the group waits for: the verdict on our donation, and that we keep up.
    pub(super) fn speak_as_holder(&mut self) {
        let status = self.own_row().status;
        let position = self.state.group().map(|group| group.act_id);
        let (Some(history), Some(position)) = (&mut self.history, position) else { return };
        history.received = position;
        match (history.verdict, status) {
            (Verdict::Due(code), Status::Donor) => {
                history.verdict = Verdict::Sent(code);
                self.outputs.send(MessageType::Join, history.code_message(code));
            }
            // The group does not wait for it any more.
            (Verdict::Due(_), _) => history.verdict = Verdict::None,
            (Verdict::None | Verdict::Sent(_), _) => {}
        }
        if status == Status::Joined && !history.has_synced {
            history.has_synced = true;
            self.outputs.send(MessageType::Sync, history.code_message(0));
        }
    }

    /// The layers below did not take what we said: it is said again later.
    pub(super) fn take_back(&mut self, message_type: u8) {
        let Some(history) = &mut self.history else { return };
        if message_type == MessageType::Sync.number() {
            history.has_synced = false;
        } else if message_type == MessageType::Join.number() {
            if let Verdict::Sent(code) = history.verdict {
                history.verdict = Verdict::Due(code);
            }
        }
    }

    /// Our JOIN has come back: everybody has heard it.
    pub(super) fn note_own_join(&mut self, source: &NodeId) {
        if *source == self.me {
            if let Some(history) = &mut self.history {
                history.verdict = Verdict::None;
            }
        }
    }

    /// A request was granted, and the donor is us.
    pub(super) fn begin_donation(&mut self, requester: NodeId, request: &StateRequest) {
        if self.history.is_none() {
            return;
        }
        let (group, row) = (self.state.group(), self.roster.member(&requester));
        let donation = Donation {
            requester,
            requester_name: row.map(|row| row.name.clone()).unwrap_or_default(),
            state: group.map(|group| group.state).unwrap_or_default(),
            seqno: group.map_or(Seqno::UNDEFINED, |group| group.act_id),
            request: request.body.clone(),
        };
        self.outputs.event(Event::DonationBegun(Box::new(donation)));
    }

    fn own_row(&self) -> Member {
        let row = self.roster.member(&self.me).cloned();
        row.unwrap_or_else(|| Member::new(self.me, Default::default()))
    }
}
