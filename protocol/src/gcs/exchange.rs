//! One state exchange: from the representative's STATE_UUID to everybody's STATE_MSG.

use std::collections::BTreeMap;

use super::roster::Member;
use super::state_message::{ExchangeId, StateMessage};
use crate::id::NodeId;

/// The state messages so far: at most one per member of the view.
#[derive(Debug)]
pub(super) struct Exchange {
    id: ExchangeId,
    messages: BTreeMap<NodeId, StateMessage>,
}

impl Exchange {
    pub(super) fn new(id: ExchangeId) -> Self {
        Self { id, messages: BTreeMap::new() }
    }

    /// Keeps the first message of a member that belongs to this exchange.
    pub(super) fn accept(&mut self, sender: NodeId, message: StateMessage) -> bool {
        let is_ours = message.exchange == self.id && !self.messages.contains_key(&sender);
        if is_ours {
            self.messages.insert(sender, message);
        }
        is_ours
    }

    /// The messages in index order, once every member sent one.
    pub(super) fn complete(&self, members: &[Member]) -> Option<Vec<&StateMessage>> {
        members.iter().map(|member| self.messages.get(&member.node)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gcs::name::Name;
    use crate::gcs::number::Protocols;
    use crate::id::Segment;

    const EXCHANGE: ExchangeId = ExchangeId::from_bytes([9; 16]);

    fn message(exchange: ExchangeId, name: &str) -> StateMessage {
        StateMessage::null(exchange, false, Name::from(name), Protocols::default())
    }

    #[test]
    fn one_message_per_member_and_only_of_this_exchange_counts() {
        let node = NodeId::from_bytes([1; 16]);
        let mut exchange = Exchange::new(EXCHANGE);
        assert!(!exchange.accept(node, message(ExchangeId::from_bytes([8; 16]), "old")));
        assert!(exchange.accept(node, message(EXCHANGE, "first")));
        assert!(!exchange.accept(node, message(EXCHANGE, "second")));
        let members = [Member::new(node, Segment(0))];
        let messages = exchange.complete(&members).expect("complete");
        assert_eq!(messages[0].name, Name::from("first"));
    }

    #[test]
    fn an_exchange_waits_for_every_member() {
        let [a, b] = [1, 2].map(|n| NodeId::from_bytes([n; 16]));
        let members = [a, b].map(|node| Member::new(node, Segment(0)));
        let mut exchange = Exchange::new(EXCHANGE);
        exchange.accept(b, message(EXCHANGE, "b"));
        assert!(exchange.complete(&members).is_none());
        exchange.accept(a, message(EXCHANGE, "a"));
        assert_eq!(exchange.complete(&members).map(|messages| messages.len()), Some(2));
    }
}
