//! What we owe the others for what they sent: numbers used up, and acknowledgements.
//!
//! Nobody may have to wait for us, but an acknowledgement is cumulative: messages that were read
//! together are answered together. What is owed in OPERATIONAL is therefore noted, and paid when
//! the caller has drained our outputs ([`Evs::poll_output`]), or before we leave that state. For the
//! others this looks as if all but the last message had carried `F_MSG_MORE`.

use super::sending::Window;
use super::state::StateKind;
use super::{Evs, Seqno};

/// The answer to the messages that were read since the last one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Owed {
    /// Our ARU before the first of them.
    aru: Seqno,
    /// Somebody may have used numbers that we have not, and does not announce more messages.
    completes: bool,
    /// A USER message was among them, not only GAPs.
    is_for_user: bool,
}

impl Evs {
    /// Notes that a USER message has to be answered.
    pub(super) fn owe_for_user(&mut self, aru_before: Seqno, wants_more: bool) {
        let owed = self.owed_since(aru_before);
        owed.completes |= !wants_more;
        owed.is_for_user = true;
    }

    /// Notes that a GAP may have opened the send window.
    pub(super) fn owe_for_gap(&mut self) {
        let aru = self.map.aru();
        self.owed_since(aru).completes = true;
    }

    fn owed_since(&mut self, aru: Seqno) -> &mut Owed {
        self.owed.get_or_insert(Owed { aru, completes: false, is_for_user: false })
    }

    /// Pays what is owed, if anything is.
    pub(super) fn pay(&mut self) {
        let Some(owed) = self.owed.take() else { return };
        self.answer(owed.aru, owed.completes);
        // Two members with full windows would otherwise wait for each other. A GAP is never
        // answered so: two of them would send GAPs for ever.
        if !self.drain_queue(Window::Limit(self.config.send_window)) && owed.is_for_user {
            self.send_acknowledgement();
        }
    }

    /// Nobody may have to wait for us: use up the numbers that others have used, or say what we
    /// have.
    pub(super) fn answer(&mut self, aru_before: Seqno, completes: bool) {
        if !self.is_queue_empty() {
            return;
        }
        let may_complete = matches!(self.state.kind(), StateKind::Operational | StateKind::Gather);
        if may_complete && completes && self.last_sent() < self.map.highest_seen() {
            self.complete(self.map.highest_seen());
        } else if self.map.aru() != aru_before {
            self.send_acknowledgement();
        }
    }
}
