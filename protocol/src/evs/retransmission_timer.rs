//! Saying again what may have been lost (spec 02 §5.3).

use super::message::{Body, Flags, Header, Install, Message};
use super::state::{Pending, StateKind};
use super::{Evs, Start, Timer};
use crate::message::Order;
use crate::time::Duration;

impl Evs {
    pub(super) fn on_retransmission_timer(&mut self) {
        match self.state.kind() {
            StateKind::Closed => {}
            StateKind::Joining => match self.config.start {
                Start::JoinGroup => self.send_join(),
                Start::Bootstrap | Start::AloneIfUnanswered => self.send_and_handle_join(),
            },
            StateKind::Gather if self.pending().is_none() => self.send_and_handle_join(),
            StateKind::Gather => {
                self.repeat_install();
                self.send_commit_gap();
            }
            StateKind::Install => {
                self.send_commit_gap();
                self.send_install_gap();
            }
            StateKind::Operational => self.send_empty(),
            StateKind::Leaving => {
                self.send_leave();
                self.retransmit_missing();
            }
        }
        if let Some(period) = self.retransmission_period() {
            self.arm(Timer::Retransmission, period);
        }
    }

    fn retransmission_period(&self) -> Option<Duration> {
        match self.state.kind() {
            StateKind::Closed => None,
            StateKind::Joining | StateKind::Gather | StateKind::Install => {
                Some(self.config.join_retrans_period)
            }
            StateKind::Operational | StateKind::Leaving => Some(self.config.keepalive_period),
        }
    }

    /// Our own INSTALL, as it was: commits are tied to its number.
    fn repeat_install(&mut self) {
        let Some(message) = self.pending().filter(|p| p.join.source == self.me).map(repetition)
        else {
            return;
        };
        self.transmit(None, &message);
    }
}

fn repetition(pending: &Pending) -> Message {
    let join = &pending.join;
    let header = Header {
        order: Order::Unreliable,
        flags: Flags::RETRANSMISSION,
        version: join.version,
        fifo_seqno: pending.fifo_seqno,
        source: Some(join.source),
        view: join.view,
    };
    let install = Install { view: pending.view, proposal: join.proposal.clone() };
    Message { header, body: Body::Install(install) }
}
