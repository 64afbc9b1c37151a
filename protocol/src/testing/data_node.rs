//! A model of the neighbours above the primary component: a data node, or a stock arbitrator, which
//! track their state and say so in every exchange.
//!
//! It follows the group with the same table as our member and differs in what it *says*: the null
//! state message is replaced by a tracked one, and JOIN, SYNC and write-sets are sent. The data
//! itself is a position in a history, nothing more.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::gcs::action::{ActionType, Fragment, FragmentHeader};
use crate::gcs::code::CodeMessage;
use crate::gcs::message::MessageType;
use crate::gcs::state_message::{ExchangeId, StateFlags, StateMessage, Votes};
use crate::gcs::state_request::StateRequest;
use crate::gcs::{
    Config, ConfigurationId, Event, Gcs, Input, Member, Name, Output, Protocols, Seqno, Status,
};
use crate::id::{NodeId, StateId};
use crate::time::Instant;

/// A GCS message on its way down.
pub type Send = (MessageType, Bytes);

/// What a stock node tracks between exchanges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct History {
    /// The group whose state it has.
    pub group: StateId,
    /// Its position.
    pub received: Seqno,
    /// The last primary configuration that it was in.
    pub configuration: ConfigurationId,
    /// What it was there.
    pub status: Status,
    /// The highest protocols of its primary configurations.
    pub protocols: Protocols,
}

impl History {
    /// A node that never was in the group.
    pub fn none() -> Self {
        Self {
            group: StateId::NIL,
            received: Seqno::UNDEFINED,
            configuration: ConfigurationId::UNDEFINED,
            status: Status::NonPrimary,
            protocols: Protocols::default(),
        }
    }

    /// A node that stopped at a position.
    pub fn saved(group: StateId, received: Seqno) -> Self {
        Self { group, received, ..Self::none() }
    }

    /// What is left of it after the process has ended: the data, if there was any.
    pub fn after_stop(&self) -> Self {
        if self.status.has_state() || self.status == Status::NonPrimary {
            Self::saved(self.group, self.received)
        } else {
            Self::none()
        }
    }
}

/// The upper half of a stock member.
#[derive(Debug)]
pub struct DataNode {
    me: NodeId,
    gcs: Gcs,
    history: History,
    is_stateless: bool,
    is_first: bool,
    has_synced: bool,
}

impl DataNode {
    /// A data node with what it has from its last run.
    pub fn new(me: NodeId, name: &str, history: History) -> Self {
        Self::build(me, name, history, Protocols { gcs: 5, repl: 11, appl: 4 }, false)
    }

    /// An arbitrator that tracks the group like a data node and votes in its exchanges.
    pub fn stock_arbitrator(me: NodeId) -> Self {
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
        let name = Name::new(name).unwrap_or_default();
        let config = Config { name, protocols, ..Config::default() };
        let gcs = Gcs::new(config, me, 0);
        Self { me, gcs, history, is_stateless, is_first: false, has_synced: false }
    }

    /// Told to begin the group.
    pub fn begin_group(mut self) -> Self {
        self.is_first = true;
        self
    }

    /// It was told to begin the group, and has not done so yet.
    pub fn is_first(&self) -> bool {
        self.is_first
    }

    /// Its table of the group.
    pub fn gcs(&self) -> &Gcs {
        &self.gcs
    }

    /// What it tracks, as of now.
    pub fn history(&self) -> History {
        match self.gcs.configuration() {
            Some(_) => History { status: self.status(), ..self.history.clone() },
            None => self.history.clone(),
        }
    }

    /// Takes one input; returns what it sends and what it saw.
    pub fn handle_input(&mut self, now: Instant, input: Input) -> (Vec<Send>, Vec<Event>) {
        if let Input::Component(component) = &input {
            if self.gcs.configuration().is_some() {
                self.history.status = self.status();
                self.has_synced = false;
            }
            self.is_first |= component.is_bootstrap;
        }
        self.gcs.handle_input(now, input);
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
        if let Some(group) = self.gcs.configuration() {
            let (before, now) = (self.history.protocols, group.protocols);
            self.is_first = false;
            self.history.group = group.state;
            self.history.received = group.seqno;
            self.history.configuration = group.id;
            self.history.protocols = Protocols {
                gcs: before.gcs.max(now.gcs),
                repl: before.repl.max(now.repl),
                appl: before.appl.max(now.appl),
            };
        }
    }

    fn tracked(&self, null: &[u8]) -> Bytes {
        let Ok(null) = StateMessage::decode(null) else { return Bytes::new() };
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
            desync_count: i32::try_from(row.desync_count).unwrap_or(i32::MAX),
            votes: Votes { last_applied: Seqno(0), seqno: Seqno(-1), result: 0, policy: 0 },
            previous_protocols: self.history.protocols,
            ..null
        };
        message.encode()
    }

    fn sync_when_joined(&mut self) -> Option<Send> {
        let sync = self.sync().filter(|_| !self.has_synced);
        self.has_synced |= sync.is_some();
        sync
    }

    /// It keeps up, and says so once more: the last time may have been lost.
    pub fn sync(&self) -> Option<Send> {
        let is_configured = self.gcs.configuration().is_some();
        let is_due = is_configured && self.status() == Status::Joined;
        is_due.then(|| (MessageType::Sync, self.code(0)))
    }

    fn code(&self, code: i64) -> Bytes {
        let (state, text) = (self.history.group, Bytes::new());
        CodeMessage::Long { state, seqno: self.history.received, code, text }.encode()
    }

    fn row(&self) -> Member {
        let row = self.gcs.members().iter().find(|member| member.node == self.me);
        row.cloned().unwrap_or_else(|| Member::new(self.me, Default::default()))
    }

    /// What the group takes it for.
    pub fn status(&self) -> Status {
        self.row().status
    }

    fn action(&self, action_type: ActionType, data: &[u8]) -> Option<Send> {
        let protocol = self.gcs.configuration()?.protocols.gcs;
        let header = FragmentHeader {
            protocol,
            action_id: 1,
            action_size: u32::try_from(data.len()).ok()?,
            fragment: 0,
            action_type,
            reserved: 0,
        };
        let fragment = Fragment { header, data: Bytes::copy_from_slice(data) };
        Some((MessageType::Action, fragment.encode()))
    }

    /// A transaction, if this node can have one.
    pub fn write(&self) -> Option<Send> {
        let can_write = self.status().has_state() && !self.is_stateless;
        can_write.then(|| self.action(ActionType::WriteSet, b"transaction")).flatten()
    }

    /// A request for state, if this node needs one.
    pub fn request(&self) -> Option<Send> {
        let body = Bytes::from_static(b"rsync\0x\0");
        let request = StateRequest { donors: Bytes::new(), position: None, body };
        let needs_state = self.status() == Status::Primary;
        needs_state.then(|| self.action(ActionType::StateRequest, &request.encode())).flatten()
    }

    /// This node's part of a transfer ends, if it has one.
    pub fn end_transfer(&self, code: i64) -> Option<Send> {
        let has_part = matches!(self.status(), Status::Donor | Status::Joiner);
        let is_primary = self.gcs.configuration().is_some();
        (has_part && is_primary).then(|| (MessageType::Join, self.code(code)))
    }

    /// A desync on request, if this node can.
    pub fn desync(&self) -> Option<Send> {
        let payload = b"self-desync\0\0";
        (!self.is_stateless).then(|| self.action(ActionType::StateRequest, payload)).flatten()
    }
}
