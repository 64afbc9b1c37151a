//! Who makes no progress (spec 02 §5.1, 5.2). Receiving something is no sign of life; progress is.

use tracing::info;

use super::nodes::Node;
use super::state::{State, StateKind};
use super::{Evs, Timer};
use crate::id::NodeId;

impl Evs {
    pub(super) fn on_inactivity_timer(&mut self) {
        self.check_inactivity();
        self.forget_old();
        if self.state.kind() != StateKind::Closed {
            self.arm(Timer::Inactivity, self.config.inactive_check_period);
        }
    }

    fn check_inactivity(&mut self) {
        let since_last = self.now.saturating_since(self.last_inactivity_check);
        self.last_inactivity_check = self.now;
        if since_last > self.config.inactive_check_period * 3 {
            // We were stopped ourselves: the others get a chance to be heard first.
            return;
        }
        self.compute_suspicion();
        let found = self.act_on_suspicion();
        self.detect_delays();
        self.react(found);
        self.end_isolation();
    }

    fn compute_suspicion(&mut self) {
        let (now, me) = (self.now, self.me);
        self.nodes.mark_alive(&me, now);
        let (suspect, inactive) = (self.config.suspect_timeout, self.config.inactive_timeout);
        for (_, node) in self.nodes.iter_mut() {
            node.is_suspected = node.idle(now) > suspect;
            node.is_inactive = node.idle(now) > inactive;
        }
    }

    /// Gives up who is inactive, and who is suspected and has not even a proposal. True if anybody
    /// is either.
    fn act_on_suspicion(&mut self) -> bool {
        let is_silent = |node: &Node| node.is_suspected || node.is_inactive;
        let others = self.nodes.iter().filter(|(id, _)| **id != self.me);
        let silent: Vec<NodeId> =
            others.filter(|(_, node)| is_silent(node)).map(|(id, _)| *id).collect();
        let mut suspected_count = 0;
        for id in &silent {
            let Some(node) = self.nodes.get(id) else { continue };
            let is_suspected = node.is_suspected && node.is_operational;
            suspected_count += usize::from(is_suspected);
            if node.is_inactive || (is_suspected && node.join.is_none()) {
                self.set_inactive(id);
            }
        }
        if self.nodes.len() > 2 && suspected_count + 1 == self.nodes.len() {
            info!("evs hears nobody: it is me who is cut off");
            self.nodes.ids().iter().for_each(|id| self.set_inactive(id));
        }
        !silent.is_empty()
    }

    fn react(&mut self, found: bool) {
        if !found {
            return;
        }
        if self.state.kind() == StateKind::Operational || self.is_install_void() {
            self.restart_gather();
        } else if self.state.kind() == StateKind::Leaving && self.has_nobody_else() {
            self.enter_closed();
        }
    }

    /// True if somebody whom the accepted INSTALL counts on is gone without having committed. Going
    /// on would lead into a view in which it never was.
    fn is_install_void(&self) -> bool {
        let State::Gather(Some(pending)) = &self.state else { return false };
        let is_lost =
            |id: &NodeId| !pending.committed.contains(id) && !self.nodes.is_operational(id);
        self.config.exceeds_servers() && pending.members().iter().any(is_lost)
    }

    fn has_nobody_else(&self) -> bool {
        self.nodes.operational().all(|(id, _)| *id == self.me)
    }

    fn end_isolation(&mut self) {
        if self.isolated_until.is_some_and(|until| until <= self.now) {
            info!("evs ends its isolation");
            self.isolated_until = None;
        }
    }

    fn forget_old(&mut self) {
        self.previous_views.expire(self.now, self.config.view_forget_timeout);
        self.evicted.expire(self.now, self.config.view_forget_timeout);
    }
}
