//! A model of the neighbours: a data node, or a stock arbitrator, which track their state and say
//! so in every exchange.
//!
//! It follows the group with the same table as our member and differs in what it *says*: the null
//! state message is replaced by a tracked one, and JOIN, SYNC and write-sets are sent.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::gcs::action::ActionType;
use crate::gcs::code::CodeMessage;
use crate::gcs::message::MessageType;
use crate::gcs::name::Name;
use crate::gcs::number::{ConfigurationId, Protocols, Seqno};
use crate::gcs::state_message::{ExchangeId, StateFlags, StateMessage, Votes};
use crate::gcs::state_request::StateRequest;
use crate::gcs::status::Status;
use crate::gcs::tests::bench::fragment;
use crate::gcs::{Config, Event, Gcs, Input, Member, Output};
use crate::id::{NodeId, StateId};
use crate::time::Instant;

/// What a stock node tracks between exchanges.
#[derive(Clone, Debug)]
pub(super) struct History {
    pub(super) group: StateId,
    pub(super) received: Seqno,
    pub(super) configuration: ConfigurationId,
    pub(super) status: Status,
    pub(super) protocols: Protocols,
}

impl History {
    /// A node that never was in the group.
    pub(super) fn none() -> Self {
        Self {
            group: StateId::NIL,
            received: Seqno::UNDEFINED,
            configuration: ConfigurationId::UNDEFINED,
            status: Status::NonPrimary,
            protocols: Protocols::default(),
        }
    }

    /// A node that stopped cleanly at a position.
    pub(super) fn saved(group: StateId, received: Seqno) -> Self {
        Self { group, received, ..Self::none() }
    }
}

#[derive(Debug)]
pub(super) struct DataNode {
    pub(super) me: NodeId,
    pub(super) gcs: Gcs,
    pub(super) history: History,
    is_stateless: bool,
    is_first: bool,
    has_synced: bool,
}

impl DataNode {
    pub(super) fn new(me: NodeId, name: &str, history: History) -> Self {
        Self::build(me, name, history, Protocols { gcs: 5, repl: 11, appl: 4 }, false)
    }

    pub(super) fn stock_arbitrator(me: NodeId) -> Self {
        let protocols = Protocols { gcs: 5, repl: 127, appl: 127 };
        Self::build(me, "garb", History::none(), protocols, true)
    }

    fn build(
        me: NodeId,
        name: &str,
        history: History,
        protocols: Protocols,
        is_stateless: bool,
    ) -> Self {
        let config = Config { name: Name::from(name), protocols, ..Config::default() };
        let gcs = Gcs::new(config, me, 0);
        Self { me, gcs, history, is_stateless, is_first: false, has_synced: false }
    }

    /// Told to begin the group.
    pub(super) fn begin_group(mut self) -> Self {
        self.is_first = true;
        self
    }

    pub(super) fn handle(&mut self, input: Input) -> (Vec<(MessageType, Bytes)>, Vec<Event>) {
        if matches!(input, Input::Component(_)) && self.gcs.state.group().is_some() {
            self.history.status = self.status();
            self.has_synced = false;
        }
        self.gcs.handle_input(Instant::ZERO, input);
        let mut outputs: VecDeque<_> = core::iter::from_fn(|| self.gcs.poll_output()).collect();
        self.remember();
        let (mut sends, mut events) = (Vec::new(), Vec::new());
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Send { message_type: 5, payload } => {
                    sends.push((MessageType::StateMessage, self.tracked(&payload)));
                }
                Output::Send { message_type, payload } => {
                    sends.push((MessageType::from_number(message_type), payload));
                }
                Output::Event(event) => events.push(event),
            }
        }
        sends.extend(self.sync_when_joined());
        (sends, events)
    }

    fn remember(&mut self) {
        if let Some(group) = self.gcs.state.group() {
            self.is_first = false;
            self.history.group = group.state;
            self.history.received = group.act_id;
            self.history.configuration = group.configuration;
            self.history.protocols = self.history.protocols.zip(group.protocols, u8::max);
        }
    }

    fn tracked(&self, null: &[u8]) -> Bytes {
        let null = StateMessage::decode(null).expect("our own encoding");
        let row = self.row();
        let mut flags = StateFlags(null.flags.0 & StateFlags::REPRESENTATIVE.0);
        for (is_set, flag) in [
            (row.counts_last_applied, StateFlags::COUNTS_LAST_APPLIED),
            (self.is_first, StateFlags::BOOTSTRAP),
            (self.is_stateless, StateFlags::STATELESS),
        ] {
            flags = if is_set { flags.with(flag) } else { flags };
        }
        let message = StateMessage {
            flags,
            previous_status: self.history.status,
            current_status: row.status,
            group: self.history.group,
            previous_exchange: ExchangeId::NIL,
            received: self.history.received,
            previous_configuration: self.history.configuration,
            cached: if self.is_stateless { Seqno::UNDEFINED } else { Seqno(1) },
            desync_count: i32::try_from(row.desync_count).expect("small"),
            votes: Votes { last_applied: Seqno(0), seqno: Seqno(-1), result: 0, policy: 0 },
            previous_protocols: self.history.protocols,
            ..null
        };
        message.encode()
    }

    fn sync_when_joined(&mut self) -> Option<(MessageType, Bytes)> {
        let is_due = self.status() == Status::Joined && !self.has_synced;
        self.has_synced |= is_due;
        is_due.then(|| (MessageType::Sync, self.code(0)))
    }

    fn code(&self, code: i64) -> Bytes {
        let (state, text) = (self.history.group, Bytes::new());
        CodeMessage::Long { state, seqno: self.history.received, code, text }.encode()
    }

    pub(super) fn row(&self) -> Member {
        let row = self.gcs.members().iter().find(|member| member.node == self.me);
        row.cloned().unwrap_or_else(|| Member::new(self.me, Default::default()))
    }

    pub(super) fn status(&self) -> Status {
        self.row().status
    }

    fn action(&self, action_type: ActionType, data: &[u8]) -> Option<(MessageType, Bytes)> {
        let protocol = self.gcs.state.group()?.protocols.gcs;
        Some((MessageType::Action, fragment(protocol, action_type, data).encode()))
    }

    /// A transaction, if this node can have one.
    pub(super) fn write(&self) -> Option<(MessageType, Bytes)> {
        let can_write = self.status().has_state() && !self.is_stateless;
        can_write.then(|| self.action(ActionType::WriteSet, b"transaction")).flatten()
    }

    /// A request for state, if this node needs one.
    pub(super) fn request(&self) -> Option<(MessageType, Bytes)> {
        let body = Bytes::from_static(b"rsync\0x\0");
        let request = StateRequest { donors: Bytes::new(), position: None, body };
        let needs_state = self.status() == Status::Primary;
        needs_state.then(|| self.action(ActionType::StateRequest, &request.encode())).flatten()
    }

    /// This node's part of a transfer ends, if it has one.
    pub(super) fn end_transfer(&self, code: i64) -> Option<(MessageType, Bytes)> {
        let has_part = matches!(self.status(), Status::Donor | Status::Joiner);
        let is_primary = self.gcs.state.group().is_some();
        (has_part && is_primary).then(|| (MessageType::Join, self.code(code)))
    }

    /// A desync on request, if this node can.
    pub(super) fn desync(&self) -> Option<(MessageType, Bytes)> {
        let payload = b"self-desync\0\0";
        (!self.is_stateless).then(|| self.action(ActionType::StateRequest, payload)).flatten()
    }
}
