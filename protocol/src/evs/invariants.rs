//! What must hold after every event, for tests and simulations (spec 02 §11.1).

use super::state::{State, StateKind};
use super::{Evs, Step};

impl Evs {
    /// Checks what must always be true of one member, or names the rule that is broken.
    pub fn check_invariants(&self) -> Result<(), &'static str> {
        self.map.check_invariants()?;
        let rule = |name: &'static str, holds: bool| if holds { Ok(()) } else { Err(name) };
        let is_closed = self.state.kind() == StateKind::Closed;
        let index = self.index_of_me();
        rule("I am in my view", is_closed || index.is_some())?;
        rule("I am known", is_closed || self.nodes.contains(&self.me))?;
        let own = index.map(|index| self.map.range(index));
        let has_no_hole = own.is_none_or(|own| own.lowest_unseen == own.highest_seen.next());
        rule("no hole in my own messages", has_no_hole)?;
        rule("I always count on myself", is_closed || self.nodes.is_operational(&self.me))?;
        if let State::Operational(_) = &self.state {
            let is_acknowledged = index.map(|i| self.map.acknowledged(i)) == Some(self.map.aru());
            rule("my acknowledgement is my ARU", is_acknowledged)?;
            let known = self.nodes.ids().into_iter().eq(self.view.iter().copied());
            rule("known nodes are the members", known)?;
        }
        rule("steps are few", self.steps.len() < 100_000)?;
        let is_entering = self.steps.iter().any(|step| matches!(step, Step::EnterView));
        rule(
            "only INSTALL leads into a view",
            !is_entering || matches!(self.state, State::Install(_)),
        )
    }

    /// The highest own number, for tests that look at windows.
    pub fn last_sent_seqno(&self) -> super::Seqno {
        self.last_sent()
    }
}
