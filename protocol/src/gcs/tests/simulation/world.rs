//! Several members over one totally ordered channel, with views.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;

use crate::gcs::message::MessageType;
use crate::gcs::number::{ConfigurationId, Seqno};
use crate::gcs::status::Status;
use crate::gcs::tests::bench::{component, request};
use crate::gcs::{Event, Gcs, Input, Output};
use crate::id::{NodeId, StateId, ViewKind};
use crate::message::{Delivery, Order};
use crate::testing::DataNode;
use crate::time::{Duration, Instant};

pub(super) enum Node {
    Ours(Box<Gcs>),
    Model(Box<DataNode>),
}

impl Node {
    pub(super) fn gcs(&self) -> &Gcs {
        match self {
            Self::Ours(gcs) => gcs,
            Self::Model(model) => model.gcs(),
        }
    }
}

/// The members, the channel of the current primary view, and what was reported.
#[derive(Default)]
pub(super) struct World {
    pub(super) nodes: BTreeMap<NodeId, Node>,
    pub(super) view: Vec<NodeId>,
    channel: VecDeque<Delivery>,
    pub(super) events: Vec<(NodeId, Event)>,
    now: Instant,
    last_configuration: Option<(StateId, ConfigurationId)>,
    positions: BTreeMap<NodeId, (StateId, Seqno)>,
}

impl World {
    pub(super) fn add(&mut self, me: NodeId, node: Node) {
        self.positions.remove(&me);
        self.nodes.insert(me, node);
    }

    /// A new primary view; everybody else of the old one is alone without quorum. The first
    /// `delivered` messages of the channel still reach the old view, the rest is lost.
    pub(super) fn install(&mut self, members: &[NodeId], delivered: usize) {
        for _ in 0..delivered {
            self.step();
        }
        self.channel.clear();
        let old = core::mem::replace(&mut self.view, members.to_vec());
        for node in old.iter().filter(|node| !members.contains(node)) {
            self.input(*node, Input::Component(component(ViewKind::NonPrimary, &[*node])));
        }
        for node in members {
            self.input(*node, Input::Component(component(ViewKind::Primary, members)));
        }
    }

    /// Everybody loses the primary component.
    pub(super) fn lose_primary(&mut self) {
        self.channel.clear();
        for node in core::mem::take(&mut self.view) {
            self.input(node, Input::Component(component(ViewKind::NonPrimary, &[node])));
        }
    }

    /// Delivers one message to the whole view.
    pub(super) fn step(&mut self) -> bool {
        let Some(delivery) = self.channel.pop_front() else {
            return false;
        };
        for node in self.view.clone() {
            self.input(node, Input::Message(delivery.clone()));
        }
        true
    }

    /// Delivers until nothing is on its way, then checks that everybody agrees.
    pub(super) fn settle(&mut self) {
        for _ in 0..10_000 {
            if !self.step() {
                return self.check();
            }
        }
        panic!("the members never come to rest");
    }

    pub(super) fn input(&mut self, node: NodeId, input: Input) {
        let now = self.now;
        let (sends, events) = match self.nodes.get_mut(&node).expect("a node") {
            Node::Ours(gcs) => {
                gcs.handle_input(now, input);
                drain(gcs)
            }
            Node::Model(model) => model.handle_input(now, input),
        };
        events.iter().for_each(check_event);
        self.events.extend(events.into_iter().map(|event| (node, event)));
        for send in sends {
            self.send(node, send);
        }
    }

    /// Puts a message at the end of the total order.
    pub(super) fn send(&mut self, source: NodeId, (message_type, payload): (MessageType, Bytes)) {
        if self.view.contains(&source) {
            let user_type = message_type.number();
            self.channel.push_back(Delivery { source, order: Order::Safe, user_type, payload });
        }
    }

    /// Lets a model do something, if it can.
    pub(super) fn act(
        &mut self,
        node: NodeId,
        act: impl Fn(&DataNode) -> Option<(MessageType, Bytes)>,
    ) {
        if let Some(Node::Model(model)) = self.nodes.get(&node) {
            if let Some(send) = act(model) {
                self.send(node, send);
            }
        }
    }

    pub(super) fn ask_for_transfer(&mut self, node: NodeId, donors: &str) {
        self.input(node, Input::RequestStateTransfer(request(donors)));
    }

    pub(super) fn pass(&mut self, duration: Duration) {
        self.now = self.now + duration;
        for node in self.view.clone() {
            self.input(node, Input::Timeout);
        }
    }

    pub(super) fn status(&self, node: NodeId) -> Status {
        let observer = self.nodes[self.view.first().expect("a view")].gcs();
        let row = observer.members().iter().find(|member| member.node == node);
        row.expect("a member").status
    }

    pub(super) fn events_of(&self, node: NodeId) -> Vec<&Event> {
        self.events.iter().filter(|(at, _)| *at == node).map(|(_, event)| event).collect()
    }

    /// The invariants of a configuration that everybody has reached.
    fn check(&mut self) {
        let Some(first) = self.view.first() else {
            return;
        };
        let expected = summary(self.nodes[first].gcs());
        for node in &self.view {
            let gcs = self.nodes[node].gcs();
            assert_eq!(summary(gcs), expected, "members {first} and {node} disagree");
            check_transfers(gcs);
        }
        self.check_numbers();
    }

    /// Within a history, positions never go back; the configuration number grows by one.
    fn check_numbers(&mut self) {
        for node in &self.view {
            let Some(group) = self.nodes[node].gcs().state.group() else {
                return;
            };
            let before = self.positions.insert(*node, (group.state, group.act_id));
            if let Some((state, act_id)) = before.filter(|(state, _)| *state == group.state) {
                assert!(group.act_id >= act_id, "{node} went back in {state}");
            }
            let now = (group.state, group.configuration);
            let before = self.last_configuration.replace(now);
            if let Some((state, id)) = before.filter(|before| *before != now) {
                assert_eq!(now, (state, id.next()));
            }
        }
    }
}

fn drain(gcs: &mut Gcs) -> (Vec<(MessageType, Bytes)>, Vec<Event>) {
    let (mut sends, mut events) = (Vec::new(), Vec::new());
    while let Some(output) = gcs.poll_output() {
        match output {
            Output::Send { message_type, payload } => {
                let message_type = MessageType::from_number(message_type);
                check_ours(message_type, &payload);
                sends.push((message_type, payload));
            }
            Output::Event(event) => events.push(event),
        }
    }
    (sends, events)
}

/// A member without data sends exchanges and requests, nothing else.
fn check_ours(message_type: MessageType, payload: &[u8]) {
    match message_type {
        MessageType::StateUuid | MessageType::StateMessage => {}
        MessageType::Action => assert_eq!(payload[16], 2, "only state transfer requests"),
        MessageType::Last
        | MessageType::Join
        | MessageType::Sync
        | MessageType::Flow
        | MessageType::Vote
        | MessageType::Other(_) => panic!("our member sent {message_type}"),
    }
}

/// Only nodes with state become donors, and nobody is SYNCED without having been JOINED.
fn check_event(event: &Event) {
    if let Event::MemberStatusChanged { from, to, .. } = event {
        assert!(*to != Status::Donor || from.has_state(), "{event:?}");
        assert!(*to != Status::Synced || *from == Status::Joined, "{event:?}");
    }
}

/// Everything that members of a view must agree on.
fn summary(gcs: &Gcs) -> impl PartialEq + core::fmt::Debug + use<> {
    let group = gcs.state.group();
    let agreed = group.map(|g| (g.configuration, g.state, g.act_id, g.protocols, g.version));
    let rows = gcs.members().iter();
    let rows: Vec<_> = rows
        .map(|row| (row.node, row.name.clone(), row.status, row.desync_count, row.is_stateless))
        .collect();
    (gcs.state(), agreed, rows)
}

fn check_transfers(gcs: &Gcs) {
    for row in gcs.members() {
        assert_eq!(row.desync_count > 0, row.status == Status::Donor, "{row:?}");
        assert!(!(row.is_stateless && row.status == Status::Donor), "{row:?}");
    }
}
