//! From a view to a configuration: components, the state exchange, its end.

use super::Gcs;
use super::defragment::Defragmenter;
use super::event::{Configuration, Event, LeaveReason, NonPrimaryCause};
use super::exchange::Exchange;
use super::group::{Group, apply_quorum, describe};
use super::message::MessageType;
use super::number::Protocols;
use super::quorum::Quorum;
use super::roster::Roster;
use super::state::{State, StateKind};
use super::state_message::{ExchangeId, StateFlags, StateMessage};
use crate::id::NodeId;
use crate::view::Component;

impl Gcs {
    pub(super) fn handle_component(&mut self, component: &Component) {
        self.end_configuration(component);
        if component.members.is_empty() {
            return self.close();
        }
        self.roster.install(component);
        if component.is_primary() && component.members.contains_key(&self.me) {
            self.begin_exchange(component);
        } else {
            self.lose_primary(NonPrimaryCause::Component);
        }
    }

    fn close(&mut self) {
        self.roster = Roster::default();
        self.actions = Defragmenter::default();
        self.requester.on_non_primary(&mut self.outputs);
        self.transition(State::Closed);
        self.outputs.event(Event::Left);
    }

    fn lose_primary(&mut self, cause: NonPrimaryCause) {
        self.roster.lose_primary();
        self.requester.on_non_primary(&mut self.outputs);
        self.transition(State::NonPrimary);
        self.outputs.event(Event::NonPrimary(cause));
    }

    /// Until every member has answered, the whole group waits: everything here is immediate.
    fn begin_exchange(&mut self, component: &Component) {
        self.is_exchange_complete = false;
        self.actions.reset(&self.me, |node| component.members.contains_key(node));
        self.transition(State::WaitStateUuid);
        if component.index_of(&self.me) == Some(0) {
            let exchange = self.identifiers.next_exchange();
            self.outputs.send(MessageType::StateUuid, exchange.encode());
        }
        self.ask(|requester, at, out| requester.on_primary_view(at, out));
    }

    /// Only index 0 names the exchange, and only once.
    pub(super) fn handle_state_uuid(&mut self, source: &NodeId, exchange: ExchangeId) {
        let first = self.roster.members().first().map(|member| member.node);
        if self.state.kind() != StateKind::WaitStateUuid || first != Some(*source) {
            return;
        }
        self.transition(State::WaitStateMessages(Exchange::new(exchange)));
        let (name, protocols) = (self.config.name.clone(), self.config.protocols);
        let null = StateMessage::null(exchange, first == Some(self.me), name, protocols);
        let incoming_address = self.config.incoming_address.clone();
        let message = self.state_message(StateMessage { incoming_address, ..null });
        self.outputs.send(MessageType::StateMessage, message.encode());
    }

    pub(super) fn handle_state_message(&mut self, source: NodeId, message: StateMessage) {
        let State::WaitStateMessages(exchange) = &mut self.state else {
            return;
        };
        if !exchange.accept(source, message) {
            return;
        }
        if let Some(messages) = exchange.complete(self.roster.members()) {
            let messages = messages.into_iter().cloned().collect::<Vec<_>>();
            self.end_exchange(&messages);
        }
    }

    fn end_exchange(&mut self, messages: &[StateMessage]) {
        self.is_exchange_complete = true;
        match Quorum::compute(&messages.iter().collect::<Vec<_>>()) {
            Ok(quorum) => self.begin_configuration(messages, &quorum),
            Err(cause) => {
                for (member, message) in self.roster.members_mut().iter_mut().zip(messages) {
                    describe(member, message);
                }
                self.lose_primary(NonPrimaryCause::Quorum(cause));
                if are_all_stateless(messages) {
                    self.outputs.event(Event::LeaveAdvised(LeaveReason::OnlyStateless));
                }
            }
        }
    }

    fn begin_configuration(&mut self, messages: &[StateMessage], quorum: &Quorum) {
        apply_quorum(self.roster.members_mut(), messages, quorum);
        let mut group = Group::new(quorum);
        if let Some(message) = messages.first() {
            self.enter_configuration(&group, message.exchange);
        }
        let leave = self.reason_to_leave(quorum.protocols, messages);
        group.is_usable = leave.is_none();
        self.counters.configurations += 1;
        self.outputs.event(Event::ConfigurationChanged(Box::new(self.describe_group(&group))));
        self.transition(State::Primary(group));
        if let Some(reason) = leave {
            self.outputs.event(Event::LeaveAdvised(reason));
        }
        self.ask(|requester, at, out| requester.on_configuration(at, out));
    }

    fn reason_to_leave(
        &self,
        negotiated: Protocols,
        messages: &[StateMessage],
    ) -> Option<LeaveReason> {
        let ours = self.config.protocols;
        if !negotiated.is_within(ours) {
            return Some(LeaveReason::ProtocolTooHigh { ours, negotiated });
        }
        are_all_stateless(messages).then_some(LeaveReason::OnlyStateless)
    }

    pub(super) fn describe_group(&self, group: &Group) -> Configuration {
        let members = self.roster.members();
        let my_index = members.iter().position(|member| member.node == self.me);
        Configuration {
            id: group.configuration,
            state: group.state,
            seqno: group.act_id,
            protocols: group.protocols,
            members: members.to_vec(),
            my_index: my_index.unwrap_or(members.len()),
        }
    }
}

fn are_all_stateless(messages: &[StateMessage]) -> bool {
    messages.iter().all(|message| message.flags.has(StateFlags::STATELESS))
}
