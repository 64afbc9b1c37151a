//! The conversation's timers.

use std::collections::BTreeMap;

use super::ConnectionId;
use crate::time::Instant;

/// What a deadline is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Conn 1 must have been read.
    FirstConnection,
    /// Conn 2 must have come.
    SecondConnection,
    /// The donor must have sent something in conn 2.
    Idle,
    /// We must have read on in conn 2.
    DrainGap,
    /// The donor's JOIN must have come.
    Verdict,
    /// No better reason, and no late connection, is to be expected any more.
    LastWord,
    /// This connection must have said what it is.
    Connection(ConnectionId),
}

/// At most one deadline per timer.
#[derive(Debug, Default)]
pub(super) struct Deadlines(BTreeMap<Timer, Instant>);

impl Deadlines {
    pub(super) fn set(&mut self, timer: Timer, at: Instant) {
        self.0.insert(timer, at);
    }

    /// Sets the deadline unless one runs already.
    pub(super) fn set_once(&mut self, timer: Timer, at: Instant) {
        self.0.entry(timer).or_insert(at);
    }

    pub(super) fn is_set(&self, timer: Timer) -> bool {
        self.0.contains_key(&timer)
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        self.0.remove(&timer);
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    pub(super) fn next(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }

    /// Takes the timer that expired first, if any did.
    pub(super) fn pop_expired(&mut self, now: Instant) -> Option<Timer> {
        let (&timer, _) = self
            .0
            .iter()
            .filter(|(_, at)| **at <= now)
            .min_by_key(|(timer, at)| (**at, **timer))?;
        self.0.remove(&timer);
        Some(timer)
    }
}
