//! A membership change that takes too long (spec 02 §6.10).

use tracing::warn;

use super::state::StateKind;
use super::{Evs, Failure, Timer};
use crate::id::NodeId;

impl Evs {
    pub(super) fn on_install_timer(&mut self) {
        if !matches!(self.state.kind(), StateKind::Gather | StateKind::Install) {
            return;
        }
        let count = self.installs.timeouts;
        self.counters.install_timeouts += 1;
        warn!(count, "evs membership change takes too long");
        if count > self.config.max_install_timeouts {
            return self.fail(Failure::NoAgreement);
        }
        self.installs.timeouts += 1;
        self.give_up_who_disagrees(count == self.config.max_install_timeouts);
        self.give_up_uncommitted();
        self.restart_gather();
        self.install_if_agreed();
        if matches!(self.state.kind(), StateKind::Gather | StateKind::Install) {
            self.arm(Timer::Install, self.config.install_timeout);
        }
    }

    fn give_up_who_disagrees(&mut self, is_last_chance: bool) {
        for id in self.nodes.ids() {
            if is_last_chance || !self.agrees_with_us(&id) {
                self.set_inactive(&id);
            }
        }
        if is_last_chance {
            let pause = self.config.suspect_timeout + self.config.inactive_timeout;
            warn!(?pause, "evs isolates itself");
            self.isolated_until = Some(self.now + pause);
        }
    }

    fn agrees_with_us(&self, id: &NodeId) -> bool {
        let join = self.nodes.get(id).and_then(|node| node.join.as_ref());
        join.is_some_and(|join| self.consensus().is_consistent(join))
    }

    /// Servers do not ask how old the INSTALL is, and give up those whose commits are on their way.
    fn give_up_uncommitted(&mut self) {
        let Some(pending) = self.pending() else { return };
        let age = self.now.saturating_since(pending.accepted_at);
        if self.config.exceeds_servers() && age < self.config.join_retrans_period {
            return;
        }
        let committed = pending.committed.clone();
        for id in self.nodes.ids().iter().filter(|id| !committed.contains(id)) {
            self.set_inactive(id);
        }
    }
}
