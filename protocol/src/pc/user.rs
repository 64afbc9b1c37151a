//! Messages of the layer above: numbering on the way out, counting on the way in.
//!
//! Both counters are part of the next STATE, where a wrong one stops the other members. A number is
//! used up only by a message that EVS took; a message counts when it is delivered, our own too.

use bytes::Bytes;

use super::fatal::Fatal;
use super::message::{Flags, Message, PAYLOAD_MAX};
use super::state::State;
use super::{Event, Output, Pc, outgoing};
use crate::id::NodeId;
use crate::message::{Delivery, Order, SendError};

impl Pc {
    /// Sends a payload of the layer above: frames it and hands it to `accept`, which passes it to
    /// EVS with order SAFE and the payload's own user type.
    ///
    /// The number in the header is used up if and only if `accept` succeeds. It is one call on
    /// purpose: a number used twice, or never, stops every other member of the group.
    ///
    /// ```text
    /// self.pc.send_user(payload, |framed| self.evs.send(Order::Safe, message_type, framed))?
    /// ```
    ///
    /// Fails with [`SendError::TryAgain`] while a view is being agreed on, with
    /// [`SendError::NotConnected`] outside a primary component, with [`SendError::Size`] for an
    /// empty payload or one above [`PAYLOAD_MAX`], and with whatever `accept` failed with.
    pub fn send_user(
        &mut self,
        payload: Bytes,
        accept: impl FnOnce(Bytes) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        self.check_may_send()?;
        let length = payload.len();
        if length == 0 || length > PAYLOAD_MAX {
            return Err(SendError::Size { length, limit: PAYLOAD_MAX });
        }
        let seq = self.sent_seq.wrapping_add(1);
        accept(Message::user(self.evs_view.version, seq, payload).encode())?;
        self.sent_seq = seq;
        Ok(())
    }

    /// Announces another weight of ours, through `accept` like [`Pc::send_user`] but with user type
    /// [`super::CONTROL_USER_TYPE`]. It holds from the moment its message is delivered, which
    /// [`Event::WeightChanged`] tells.
    ///
    /// Only ever on an operator's request. Fails with [`SendError::TryAgain`] outside PRIM.
    pub fn change_weight(
        &mut self,
        weight: u8,
        accept: impl FnOnce(Bytes) -> Result<(), SendError>,
    ) -> Result<(), SendError> {
        if self.state != State::Primary {
            return Err(SendError::TryAgain);
        }
        let mut nodes = self.exchange.install_map();
        let Some(mine) = nodes.get_mut(&self.me) else {
            return Err(SendError::TryAgain);
        };
        mine.weight = Some(weight);
        let members = &self.evs_view.members;
        outgoing::check_install(&nodes, &self.me, members, &self.exchange, true)
            .map_err(|_| SendError::TryAgain)?;
        let version = self.evs_view.version;
        accept(Message::install(version, Flags::WEIGHT_CHANGE, nodes).encode())
    }

    fn check_may_send(&self) -> Result<(), SendError> {
        match self.state {
            State::Primary => Ok(()),
            State::Closed | State::NonPrimary => Err(SendError::NotConnected),
            State::Transitional | State::StatesExchange | State::Install => {
                Err(SendError::TryAgain)
            }
        }
    }

    pub(super) fn handle_user(&mut self, seq: u32, delivery: Delivery) -> Result<(), Fatal> {
        match self.state {
            State::Primary | State::Transitional | State::NonPrimary => {}
            State::Closed | State::StatesExchange | State::Install => {
                return Err(self.out_of_place(delivery.source, "USER"));
            }
        }
        let is_safe = delivery.order == Order::Safe;
        if self.known.mine().is_primary {
            let mine = self.known.mine_mut();
            mine.to_seq = mine.to_seq.saturating_add(i64::from(is_safe));
        } else if !self.evs_view.members.contains(&delivery.source) {
            // The quorum is lost and the sender with it: what it said is void for us.
            self.event(Event::MessageDropped(delivery.source));
            return Ok(());
        }
        if is_safe {
            let counted = self.count(delivery.source, seq);
            self.tolerate_while_leaving(counted)?;
        }
        self.deliver(delivery);
        Ok(())
    }

    /// Who leaves may still hear messages of a view whose INSTALL it only saw in passing. Its
    /// counters are of no use to anybody unless, after all, one more view comes before the last.
    fn tolerate_while_leaving(&mut self, counted: Result<(), Fatal>) -> Result<(), Fatal> {
        let is_last = self.is_closing && self.state == State::Transitional;
        match counted {
            Err(doubt) if is_last => {
                self.doubt.get_or_insert(doubt);
                Ok(())
            }
            Ok(()) | Err(_) => counted,
        }
    }

    fn count(&mut self, source: NodeId, found: u32) -> Result<(), Fatal> {
        let Some(entry) = self.known.nodes_mut().get_mut(&source) else {
            return Err(Fatal::NotListed { source_node: self.me, node: source });
        };
        let expected = entry.last_seq.wrapping_add(1);
        if found != expected {
            return Err(Fatal::SequenceGap { source_node: source, expected, found });
        }
        entry.last_seq = found;
        Ok(())
    }

    /// The layer above names senders by their index in the last component, so others cannot be
    /// named to it.
    fn deliver(&mut self, delivery: Delivery) {
        if self.component.contains(&delivery.source) {
            self.outputs.push_back(Output::Deliver(delivery));
        } else {
            self.event(Event::MessageDropped(delivery.source));
        }
    }
}
