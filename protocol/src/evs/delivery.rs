//! Handing messages up, in the regular and in the transitional configuration (spec 02 §3.4–3.6).

use bytes::Bytes;

use super::input_map::Held;
use super::message::split_aggregate;
use super::nodes::Join;
use super::{Evs, Failure, Output};
use crate::id::NodeId;
use crate::message::{Delivery, Order};
use crate::planted::Bug;

impl Evs {
    /// Delivers everything that may be delivered now.
    pub(super) fn deliver(&mut self) {
        while let Some((index, held)) = self.map.next_deliverable() {
            self.pass_up(index, &held);
        }
    }

    /// Delivers what is left of the old view: what its sender's survivors have agreed to have.
    pub(super) fn deliver_transitional(&mut self, install: &Join) {
        let forgets = self.config.planted.is(Bug::LosesLastMessages);
        for (index, held, is_contiguous) in self.map.take_undelivered() {
            let Some(source) = self.view.member_at(index).filter(|_| !forgets) else { continue };
            match fate(install, &source, &held, is_contiguous) {
                Fate::Deliver => self.pass_up(index, &held),
                Fate::Discard => {}
                Fate::Impossible => return self.fail(Failure::MessagesLeftOver),
            }
        }
    }

    /// Delivers every contiguous message: the view ends for me alone.
    pub(super) fn deliver_last(&mut self) {
        for (index, held, is_contiguous) in self.map.take_undelivered() {
            if is_contiguous {
                self.pass_up(index, &held);
            }
        }
    }

    fn pass_up(&mut self, index: usize, held: &Held) {
        let Some(source) = self.view.member_at(index) else { return };
        if held.order == Order::Drop {
            return;
        }
        if !held.is_aggregate {
            return self.pass_up_one(source, held, held.user.user_type, held.user.payload.clone());
        }
        // The lengths were checked when the message came in.
        for part in split_aggregate(&held.user.payload).unwrap_or_default() {
            self.pass_up_one(source, held, part.user_type, part.payload);
        }
    }

    fn pass_up_one(&mut self, source: NodeId, held: &Held, user_type: u8, payload: Bytes) {
        self.emit(Output::Deliver(Delivery { source, order: held.order, user_type, payload }));
    }
}

enum Fate {
    Deliver,
    Discard,
    Impossible,
}

/// What becomes of a message that was not delivered before the view changes. Survivors agreed on
/// everything they sent, so only of others may something be left over.
fn fate(install: &Join, source: &NodeId, held: &Held, is_contiguous: bool) -> Fate {
    let Some(entry) = install.proposal.nodes.entry(source) else { return Fate::Impossible };
    if is_contiguous && held.user.seqno <= entry.range.highest_seen {
        Fate::Deliver
    } else if !entry.is_operational {
        Fate::Discard
    } else {
        Fate::Impossible
    }
}
