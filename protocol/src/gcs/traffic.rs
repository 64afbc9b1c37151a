//! Messages inside a configuration: actions, JOIN, SYNC, LAST, FLOW; and who may hear what when.

use super::Gcs;
use super::action::{ActionType, Fragment, HEADER_LENGTH};
use super::code::CodeMessage;
use super::defragment::Action;
use super::event::{Event, JoinReport, LeaveReason};
use super::flow::Flow;
use super::message::{Message, MessageType};
use super::roster::StatusChange;
use super::state::StateKind;
use super::status::Status;
use crate::decode::DecodeError;
use crate::id::NodeId;
use crate::message::{Delivery, SendError};
use crate::planted::Bug;
use crate::time::Instant;

impl Gcs {
    pub(super) fn handle_message(&mut self, now: Instant, delivery: &Delivery) {
        let source = delivery.source;
        if self.roster.member(&source).is_none() {
            return;
        }
        match Message::decode(delivery.user_type, &delivery.payload) {
            Ok(message) => self.route(now, source, message),
            Err(error) => self.drop_malformed(source, delivery.user_type, error),
        }
    }

    fn route(&mut self, now: Instant, source: NodeId, message: Message) {
        match message {
            Message::StateUuid(exchange) => self.handle_state_uuid(&source, exchange),
            Message::State(message) => self.handle_state_message(source, *message),
            Message::Action(fragment) => self.handle_fragment(now, source, &fragment),
            Message::Join(message) => self.handle_join(source, &message),
            Message::Sync(message) => self.handle_sync(source, &message),
            Message::Last(message) => self.handle_last(source, &message),
            Message::Flow(flow) => self.handle_flow(flow),
            // A member without data is not asked, and at gcs protocol 0 the number means nothing.
            Message::Vote(_) => {}
            Message::Other { number, .. } => {
                let message_type = MessageType::from_number(number);
                tracing::debug!(%source, %message_type, "gcs message skipped");
            }
        }
    }

    fn drop_malformed(&mut self, source: NodeId, message_type: u8, error: DecodeError) {
        self.outputs.event(Event::Dropped { source, error });
        let is_awaited = self.state.kind() == StateKind::WaitStateMessages;
        if is_awaited && message_type == MessageType::StateMessage.number() {
            let reason = LeaveReason::StateMessageUnreadable { node: source, error };
            self.outputs.event(Event::LeaveAdvised(reason));
        }
    }

    pub(super) fn handle_send_refused(&mut self, now: Instant, message_type: u8, error: SendError) {
        self.take_back(message_type);
        if message_type == MessageType::Action.number() {
            self.ask(|requester, at, out| requester.on_send_refused(now, error, at, out));
        }
    }

    fn handle_fragment(&mut self, now: Instant, source: NodeId, fragment: &Fragment) {
        let is_mine = source == self.me;
        let Some(protocol) = self.state.group().map(|group| group.protocols.gcs) else {
            return self.return_own_action(now, is_mine, fragment);
        };
        if fragment.header.protocol != protocol {
            // Sent in another configuration: every member drops it.
            return self.return_own_action(now, is_mine, fragment);
        }
        if fragment.header.action_type == ActionType::WriteSet {
            let bytes = HEADER_LENGTH + fragment.data.len();
            self.counters.write_set_bytes += bytes as u64;
        }
        match self.actions.handle(source, is_mine, fragment) {
            Ok(Some(action)) => self.handle_action(now, source, action),
            Ok(None) => {}
            Err(problem) => tracing::warn!(%source, %problem, "action dropped"),
        }
    }

    fn return_own_action(&mut self, now: Instant, is_mine: bool, fragment: &Fragment) {
        if is_mine {
            let id = fragment.header.action_id;
            self.ask(|requester, at, out| requester.on_not_executed(now, id, at, out));
        }
    }

    fn handle_action(&mut self, now: Instant, source: NodeId, action: Action) {
        match action {
            Action::Counted(ActionType::WriteSet) => self.count_write_set(&source),
            Action::Counted(ActionType::StateRequest | ActionType::Other(_)) => {}
            Action::StateRequest { action_id, payload } => {
                self.counters.state_requests += 1;
                self.handle_state_request(now, source, action_id, &payload);
            }
            Action::RequestTooLong { size } => {
                tracing::warn!(%source, size, "state transfer request dropped");
            }
        }
    }

    /// Only a node with state can have made it from the group's state.
    fn count_write_set(&mut self, source: &NodeId) {
        let has_state = self.roster.member(source).is_some_and(|row| row.status.has_state());
        if let Some(group) = self.state.group_mut().filter(|_| has_state) {
            group.act_id = group.act_id.advanced_by(1);
            self.counters.write_sets += 1;
        }
    }

    fn handle_join(&mut self, source: NodeId, message: &CodeMessage) {
        let Some(was) = self.sender_status(&source, message) else {
            return;
        };
        let join = JoinReport::new(message);
        self.note_own_join(&source);
        let change = self.roster.join(&source, join.code);
        self.report(change);
        self.ask(|requester, at, out| requester.on_join(join, &source, was, at, out));
    }

    fn handle_sync(&mut self, source: NodeId, message: &CodeMessage) {
        let is_deaf = self.config.planted.is(Bug::IgnoresSync);
        if self.sender_status(&source, message).is_some() && !is_deaf {
            let change = self.roster.sync(&source);
            self.report(change);
            self.ask(|requester, at, out| requester.try_send(at, out));
        }
    }

    fn handle_last(&mut self, source: NodeId, message: &CodeMessage) {
        if self.sender_status(&source, message).is_some() {
            self.roster.last_applied(&source, message.seqno());
        }
    }

    fn handle_flow(&mut self, flow: Flow) {
        if let Some(group) = self.state.group_mut() {
            group.flow.handle(flow, group.configuration);
            self.counters.note_flow(flow.stop != 0);
        }
    }

    /// The sender's status, if the message is about this group and the group can act.
    fn sender_status(&self, source: &NodeId, message: &CodeMessage) -> Option<Status> {
        let group = self.state.group()?;
        let is_about_group = message.state().is_none_or(|state| state == group.state);
        let member = self.roster.member(source)?;
        is_about_group.then_some(member.status)
    }

    /// Reports a status change of a member.
    pub(super) fn report(&mut self, change: Option<StatusChange>) {
        let Some(StatusChange { node, from, to }) = change else {
            return;
        };
        let name = self.roster.member(&node).map(|member| member.name.clone()).unwrap_or_default();
        self.outputs.event(Event::MemberStatusChanged { node, name, from, to });
    }
}
