//! A database server as far as the group sees one: the real links, order and quorum below a model
//! of a data node.
//!
//! It takes a member's inputs and gives a member's actions, so that the world need not know which
//! of the two it runs. Where stock servers differ from our member it does what they do: it opens
//! EVS without waiting for the mesh, stays without a primary component, and forgets the saved view
//! at every graceful leave.

use std::collections::VecDeque;

use bytes::Bytes;
use galera_protocol::evs::{self, Evs};
use galera_protocol::gcs::{self, Status};
use galera_protocol::gmcast::{self, Gmcast};
use galera_protocol::member::{Action, Command, EndReason, Event, Identity, Input, Passed};
use galera_protocol::message::Order;
use galera_protocol::pc::{self, Pc};
use galera_protocol::testing::{DataNode, History, Random, Send};
use galera_protocol::time::{Duration, Instant};

use crate::process::Settings;

/// A server announces itself this long before it goes on alone (`pc.announce_timeout`).
const ANNOUNCE_LIMIT: Duration = Duration::from_secs(3);

/// It waits this long for a primary component (`pc.wait_prim_timeout`).
const WAIT_PRIMARY_LIMIT: Duration = Duration::from_secs(30);

/// The stack of one run of a server.
#[derive(Debug)]
pub(crate) struct DataStack {
    pub(crate) gmcast: Gmcast,
    pub(crate) evs: Evs,
    pub(crate) pc: Pc,
    pub(crate) node: DataNode,
    actions: VecDeque<Action>,
    passed: Vec<Passed>,
    open_at: Option<Instant>,
    /// A new node gives up without a primary component; a restored one waits for ever.
    primary_deadline: Option<Instant>,
    is_restored: bool,
    pub(crate) is_leaving: bool,
    has_ended: bool,
}

impl DataStack {
    pub(crate) fn new(
        settings: &Settings,
        identity: Identity,
        seed: u64,
        history: History,
    ) -> Self {
        let mut actions = VecDeque::new();
        let (me, saved) = match identity {
            Identity::Fresh(me) => (me, None),
            Identity::Saved(saved) => {
                let restarted = saved.restarted();
                actions.push_back(Action::Persist(restarted.clone()));
                (restarted.me, Some(restarted))
            }
        };
        let gmcast = gmcast::Config {
            payload_check: |payload| evs::message::Message::decode(payload).is_ok(),
            ..settings.config.gmcast.clone()
        };
        let node = DataNode::new(me, &settings.name, history);
        let node = if settings.config.pc.start_primary { node.begin_group() } else { node };
        let view = saved.as_ref().map(|saved| saved.view);
        Self {
            gmcast: Gmcast::new(gmcast, me, seed),
            evs: Evs::new(settings.config.evs.clone(), me, view),
            pc: Pc::new(settings.config.pc, me, saved),
            node,
            actions,
            passed: Vec::new(),
            open_at: None,
            primary_deadline: None,
            is_restored: view.is_some(),
            is_leaving: false,
            has_ended: false,
        }
    }

    pub(crate) fn handle_input(&mut self, now: Instant, input: Input) {
        if self.has_ended {
            return;
        }
        match input {
            Input::Start => self.start(now),
            Input::Link(input) => self.gmcast.handle_input(now, input),
            Input::Command(Command::Leave) => self.leave(now),
            Input::Command(Command::ChangeWeight(weight)) => self.change_weight(now, weight),
            Input::Command(Command::Evict(node)) => {
                self.evs.handle_input(now, evs::Input::Evict(node));
            }
            Input::Command(
                Command::RequestStateTransfer(_)
                | Command::CancelRequest
                | Command::DataEnded
                | Command::EndDonation(_)
                | Command::Abandon,
            ) => {}
            Input::Timeout => self.on_timeout(now),
        }
        self.settle(now);
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    pub(crate) fn take_passed(&mut self) -> Vec<Passed> {
        core::mem::take(&mut self.passed)
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let below = [self.gmcast.next_deadline(), self.evs.next_deadline()];
        below.into_iter().flatten().chain(self.open_at).chain(self.primary_deadline).min()
    }

    /// What a server does by itself: asks for state, gives it, and commits transactions.
    pub(crate) fn work(&mut self, now: Instant, random: &mut Random) {
        let is_idle = self.has_ended || self.is_leaving;
        if is_idle || self.node.gcs().configuration().is_none() {
            return;
        }
        let send = match self.node.status() {
            Status::Primary => self.node.request(),
            Status::Donor | Status::Joiner if random.percent(30) => self.node.end_transfer(0),
            Status::Joined => self.node.sync(),
            Status::Donor | Status::Synced => self.node.write(),
            Status::Joiner | Status::NonPrimary | Status::Unknown(_) => None,
        };
        if let Some(send) = send {
            self.send(now, send);
            self.settle(now);
        }
    }

    fn start(&mut self, now: Instant) {
        self.pc.handle_input(now, pc::Input::Connect);
        self.gmcast.handle_input(now, gmcast::Input::Start);
        let wait = if self.node.is_first() { Duration::ZERO } else { ANNOUNCE_LIMIT };
        self.open_at = Some(now + wait);
        self.primary_deadline = Some(now + WAIT_PRIMARY_LIMIT).filter(|_| !self.is_restored);
        self.open_if_due(now);
    }

    fn open_if_due(&mut self, now: Instant) {
        if self.open_at.is_some_and(|at| at <= now) {
            self.open_at = None;
            self.evs.handle_input(now, evs::Input::Open);
        }
    }

    fn change_weight(&mut self, now: Instant, weight: u8) {
        let Self { pc, evs, .. } = self;
        let accept = |framed| evs.send(now, Order::Safe, pc::CONTROL_USER_TYPE, framed);
        let _refused = pc.change_weight(weight, accept);
    }

    fn leave(&mut self, now: Instant) {
        self.is_leaving = true;
        self.primary_deadline = None;
        self.pc.handle_input(now, pc::Input::Close);
        if self.open_at.take().is_some() {
            return self.end(now, EndReason::Left);
        }
        self.evs.handle_input(now, evs::Input::Close);
    }

    fn on_timeout(&mut self, now: Instant) {
        self.open_if_due(now);
        if self.primary_deadline.is_some_and(|deadline| deadline <= now) {
            return self.leave(now);
        }
        self.evs.handle_input(now, evs::Input::Timeout);
        self.gmcast.handle_input(now, gmcast::Input::Timeout);
    }

    /// As in a member, but the group layer is asked at once and has no outputs of its own.
    fn settle(&mut self, now: Instant) {
        while !self.has_ended {
            if let Some(output) = self.pc.poll_output() {
                self.passed.push(Passed::Pc(output.clone()));
                self.perform_pc(now, output);
            } else if let Some(output) = self.evs.poll_output() {
                self.passed.push(Passed::Evs(output.clone()));
                self.perform_evs(now, output);
            } else if let Some(output) = self.gmcast.poll_output() {
                self.perform_gmcast(now, output);
            } else {
                return;
            }
        }
    }

    fn perform_pc(&mut self, now: Instant, output: pc::Output) {
        match output {
            pc::Output::Send { user_type, payload } => self.send_control(now, user_type, payload),
            pc::Output::Component(component) => {
                if component.is_primary() {
                    self.primary_deadline = None;
                } else {
                    self.gmcast.handle_input(now, gmcast::Input::PrimaryLost);
                }
                self.gcs_input(now, gcs::Input::Component(component));
            }
            pc::Output::Deliver(delivery) => self.gcs_input(now, gcs::Input::Message(delivery)),
            pc::Output::PrimaryView { members } => {
                self.gmcast.handle_input(now, gmcast::Input::PrimaryView { members });
            }
            pc::Output::Persist(saved) => self.actions.push_back(Action::Persist(saved)),
            pc::Output::Forget | pc::Output::Advice(_) => {}
            pc::Output::Event(event) => self.event(Event::Pc(event)),
            pc::Output::Fatal(fatal) => self.end(now, EndReason::Pc(fatal)),
        }
    }

    fn gcs_input(&mut self, now: Instant, input: gcs::Input) {
        let (sends, events) = self.node.handle_input(now, input);
        for event in events {
            self.event(Event::Gcs(event));
        }
        for send in sends {
            self.send(now, send);
        }
    }

    /// A refused message is dropped: another view is coming, or the node asks again.
    fn send(&mut self, now: Instant, (message_type, payload): Send) {
        let Self { pc, evs, .. } = self;
        let accept = |framed| evs.send(now, Order::Safe, message_type.number(), framed);
        let _refused = pc.send_user(payload, accept);
    }

    fn send_control(&mut self, now: Instant, user_type: u8, payload: Bytes) {
        if let Err(error) = self.evs.send(now, Order::Safe, user_type, payload) {
            self.pc.handle_input(now, pc::Input::SendRefused(error));
        }
    }

    fn perform_evs(&mut self, now: Instant, output: evs::Output) {
        match output {
            evs::Output::Send { target, payload } => {
                self.gmcast.handle_input(now, gmcast::Input::Send { target, payload });
            }
            evs::Output::Welcome(node) => {
                self.gmcast.handle_input(now, gmcast::Input::Welcome(node));
            }
            evs::Output::Evict(node) => {
                self.gmcast.handle_input(now, gmcast::Input::Evict(node));
                self.pc.handle_input(now, pc::Input::Evicted(node));
            }
            evs::Output::RegularView { members, left } => {
                self.gmcast.handle_input(now, gmcast::Input::RegularView { members, left });
            }
            evs::Output::View(view) => self.pc.handle_input(now, pc::Input::View(view)),
            evs::Output::Deliver(delivery) => {
                self.pc.handle_input(now, pc::Input::Message(delivery));
            }
            evs::Output::Closed => self.end(now, EndReason::Left),
            evs::Output::Failed(failure) => self.end(now, EndReason::Evs(failure)),
        }
    }

    fn perform_gmcast(&mut self, now: Instant, output: gmcast::Output) {
        match output {
            gmcast::Output::Resolve { host, port } => {
                self.actions.push_back(Action::Resolve { host, port });
            }
            gmcast::Output::Dial { link, remote, bind, tls } => {
                self.actions.push_back(Action::Dial { link, remote, bind, tls });
            }
            gmcast::Output::SendFrame { link, body, is_user } => {
                self.actions.push_back(Action::SendFrame { link, body, is_user });
            }
            gmcast::Output::CloseLink { link } => {
                self.actions.push_back(Action::CloseLink { link });
            }
            gmcast::Output::Deliver { source, payload } => {
                self.evs.handle_input(now, evs::Input::Message { source, payload });
            }
            gmcast::Output::Event(event) => {
                if let gmcast::Event::LinkEstablished { .. } = event {
                    self.open_at = self.open_at.map(|_| now);
                    self.open_if_due(now);
                }
                self.event(Event::Link(event));
            }
        }
    }

    fn end(&mut self, now: Instant, reason: EndReason) {
        self.gmcast.handle_input(now, gmcast::Input::Close);
        while let Some(output) = self.gmcast.poll_output() {
            self.perform_gmcast(now, output);
        }
        if reason == EndReason::Left {
            self.actions.push_back(Action::Forget);
        }
        self.has_ended = true;
        self.event(Event::Ended(reason));
    }

    fn event(&mut self, event: Event) {
        self.actions.push_back(Action::Event(event));
    }
}
