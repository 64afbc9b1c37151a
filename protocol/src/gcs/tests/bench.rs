//! One member without data between hand-written neighbours.

use bytes::Bytes;

use crate::gcs::action::{ActionType, Fragment, FragmentHeader};
use crate::gcs::code::CodeMessage;
use crate::gcs::conditions::Conditions;
use crate::gcs::event::Event;
use crate::gcs::message::MessageType;
use crate::gcs::name::Name;
use crate::gcs::number::{ConfigurationId, Protocols, Seqno};
use crate::gcs::requester::Request;
use crate::gcs::state_message::{ExchangeId, StateFlags, StateMessage};
use crate::gcs::status::Status;
use crate::gcs::{Config, Gcs, Input, Output};
use crate::id::{NodeId, Segment, StateId, ViewId, ViewKind};
use crate::message::{Delivery, Order};
use crate::time::{Duration, Instant};
use crate::view::Component;

/// Data nodes around us in UUID order: N1, we, N2.
pub(super) const N1: NodeId = NodeId::from_bytes([1; 16]);
pub(super) const ME: NodeId = NodeId::from_bytes([2; 16]);
pub(super) const N2: NodeId = NodeId::from_bytes([3; 16]);
pub(super) const GROUP: StateId = StateId::from_bytes([0xaa; 16]);

const EXCHANGE: ExchangeId = ExchangeId::from_bytes([0xee; 16]);

pub(super) fn component(kind: ViewKind, members: &[NodeId]) -> Component {
    let id = ViewId::new(kind, members.first().copied().unwrap_or_default(), 1);
    let members = members.iter().map(|node| (*node, Segment(0))).collect();
    Component { id, is_bootstrap: false, members }
}

pub(super) fn data_node(name: &str, status: Status) -> StateMessage {
    let protocols = Protocols { gcs: 5, repl: 11, appl: 4 };
    StateMessage {
        flags: StateFlags::COUNTS_LAST_APPLIED,
        protocols,
        previous_status: status,
        current_status: status,
        group: GROUP,
        received: Seqno(100),
        previous_configuration: ConfigurationId(20),
        desync_count: i32::from(status == Status::Donor),
        previous_protocols: protocols,
        ..StateMessage::null(EXCHANGE, false, Name::from(name), protocols)
    }
}

/// Our member and the time it thinks it is.
pub(super) struct Bench {
    pub(super) gcs: Gcs,
    pub(super) now: Instant,
    members: Vec<NodeId>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let config = Config { name: Name::from("backup"), ..Config::default() };
        Self { gcs: Gcs::new(config, ME, 1), now: Instant::ZERO, members: Vec::new() }
    }

    /// In a configuration with N1 in the given status.
    pub(super) fn with_donor(status: Status) -> Self {
        let mut bench = Self::new();
        bench.view(&[N1, ME]);
        bench.exchange(&[(N1, data_node("n1", status))]);
        bench.outputs();
        bench
    }

    /// In a configuration with N1 and N2 in the given statuses.
    pub(super) fn with_donors(first: Status, second: Status) -> Self {
        let mut bench = Self::new();
        bench.view(&[N1, ME, N2]);
        bench.exchange(&[(N1, data_node("n1", first)), (N2, data_node("n2", second))]);
        bench.outputs();
        bench
    }

    pub(super) fn input(&mut self, input: Input) {
        self.gcs.handle_input(self.now, input);
    }

    pub(super) fn view(&mut self, members: &[NodeId]) {
        self.members = members.to_vec();
        self.input(Input::Component(component(ViewKind::Primary, members)));
    }

    pub(super) fn lose_primary(&mut self, members: &[NodeId]) {
        self.members = members.to_vec();
        self.input(Input::Component(component(ViewKind::NonPrimary, members)));
    }

    /// The exchange of the current view: everybody says what is given, we say what we say.
    pub(super) fn exchange(&mut self, states: &[(NodeId, StateMessage)]) {
        let first = self.members[0];
        self.deliver(first, MessageType::StateUuid, EXCHANGE.encode());
        let ours = self.outputs().into_iter().find_map(|output| match output {
            Output::Send { message_type: 5, payload } => Some(payload),
            Output::Send { .. } | Output::Event(_) => None,
        });
        self.deliver(ME, MessageType::StateMessage, ours.expect("our state message"));
        for (node, state) in states {
            self.deliver(*node, MessageType::StateMessage, state.encode());
        }
    }

    pub(super) fn deliver(&mut self, source: NodeId, message_type: MessageType, payload: Bytes) {
        let user_type = message_type.number();
        let delivery = Delivery { source, order: Order::Safe, user_type, payload };
        self.input(Input::Message(delivery));
    }

    pub(super) fn code(&mut self, source: NodeId, message_type: MessageType, code: i64) {
        let text = Bytes::new();
        let message = CodeMessage::Long { state: GROUP, seqno: Seqno(100), code, text };
        self.deliver(source, message_type, message.encode());
    }

    pub(super) fn join(&mut self, source: NodeId, code: i64) {
        self.code(source, MessageType::Join, code);
    }

    pub(super) fn sync(&mut self, source: NodeId) {
        self.code(source, MessageType::Sync, 0);
    }

    /// An action of one fragment in the negotiated protocol.
    pub(super) fn action(&mut self, source: NodeId, action_type: ActionType, data: &[u8]) {
        let fragment = fragment(5, action_type, data);
        self.deliver(source, MessageType::Action, fragment.encode());
    }

    /// Our last action comes back in the total order.
    pub(super) fn deliver_own_action(&mut self) -> Vec<Event> {
        let sent = self.outputs().into_iter().find_map(|output| match output {
            Output::Send { message_type: 1, payload } => Some(payload),
            Output::Send { .. } | Output::Event(_) => None,
        });
        self.deliver(ME, MessageType::Action, sent.expect("an action was sent"));
        self.events()
    }

    pub(super) fn request(&mut self, donors: &str) {
        self.input(Input::RequestStateTransfer(request(donors)));
    }

    /// Our request for any donor is accepted.
    pub(super) fn begin_transfer(&mut self) {
        self.request("");
        self.deliver_own_action();
    }

    pub(super) fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
        self.input(Input::Timeout);
    }

    pub(super) fn outputs(&mut self) -> Vec<Output> {
        core::iter::from_fn(|| self.gcs.poll_output()).collect()
    }

    /// The events among the outputs; nothing else may be there.
    pub(super) fn events(&mut self) -> Vec<Event> {
        let event = |output| match output {
            Output::Event(event) => event,
            Output::Send { message_type, .. } => panic!("sent a message of type {message_type}"),
        };
        self.outputs().into_iter().map(event).collect()
    }

    pub(super) fn status(&self, node: NodeId) -> Status {
        let row = self.gcs.members().iter().find(|member| member.node == node);
        row.expect("a member").status
    }
}

pub(super) fn request(donors: &str) -> Request {
    let (method, address) = ("mariabackup".into(), "h:4444/xtrabackup_sst//1".into());
    Request { donors: donors.into(), method, address, conditions: Conditions::default() }
}

pub(super) fn fragment(protocol: u8, action_type: ActionType, data: &[u8]) -> Fragment {
    let header = FragmentHeader {
        protocol,
        action_id: 1,
        action_size: u32::try_from(data.len()).expect("short"),
        fragment: 0,
        action_type,
        reserved: 0,
    };
    Fragment { header, data: Bytes::copy_from_slice(data) }
}
