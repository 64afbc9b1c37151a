//! The deadlines of EVS: one per timer, or none.

use crate::time::Instant;

/// What can become due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Compute who is suspected and who is given up.
    Inactivity,
    /// Say again what may have been lost, or just that we live.
    Retransmission,
    /// The membership change takes too long.
    Install,
    /// Say what could not be said because the last JOIN was too recent, or say again soon what
    /// others may have dropped because it came too early.
    Soon,
}

/// A deadline per timer.
#[derive(Clone, Debug, Default)]
pub(super) struct Timers {
    inactivity: Option<Instant>,
    retransmission: Option<Instant>,
    install: Option<Instant>,
    soon: Option<Instant>,
}

impl Timers {
    pub(super) fn arm(&mut self, timer: Timer, at: Instant) {
        *self.slot(timer) = Some(at);
    }

    pub(super) fn cancel(&mut self, timer: Timer) {
        *self.slot(timer) = None;
    }

    pub(super) fn cancel_all(&mut self) {
        *self = Self::default();
    }

    pub(super) fn install_deadline(&self) -> Option<Instant> {
        self.install
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next().map(|(at, _)| at)
    }

    /// Takes the earliest timer that is due. It is not armed any more.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Timer> {
        let (at, timer) = self.next()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    fn next(&self) -> Option<(Instant, Timer)> {
        let all = [
            (self.inactivity, Timer::Inactivity),
            (self.retransmission, Timer::Retransmission),
            (self.install, Timer::Install),
            (self.soon, Timer::Soon),
        ];
        all.into_iter().filter_map(|(at, timer)| Some((at?, timer))).min()
    }

    fn slot(&mut self, timer: Timer) -> &mut Option<Instant> {
        match timer {
            Timer::Inactivity => &mut self.inactivity,
            Timer::Retransmission => &mut self.retransmission,
            Timer::Install => &mut self.install,
            Timer::Soon => &mut self.soon,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_timer_comes_first_and_only_when_due() {
        let at = Instant::from_micros;
        let mut timers = Timers::default();
        timers.arm(Timer::Install, at(30));
        timers.arm(Timer::Inactivity, at(20));
        timers.arm(Timer::Retransmission, at(10));
        timers.cancel(Timer::Retransmission);
        assert_eq!(timers.next_deadline(), Some(at(20)));
        assert_eq!(timers.take_due(at(19)), None);
        assert_eq!(timers.take_due(at(40)), Some(Timer::Inactivity));
        assert_eq!(timers.take_due(at(40)), Some(Timer::Install));
        assert_eq!(timers.take_due(at(40)), None);
        assert_eq!(timers.next_deadline(), None);
    }
}
