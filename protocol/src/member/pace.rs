//! How long a member may look away from its links.
//!
//! A write-set costs every member two messages: one when the write-set arrives, one when everybody
//! else has said that it has it. What follows, the acknowledgements of the others, nobody waits for us to
//! read; but each of them wakes whoever waits for the next write-set. A member without data of its
//! own can rest a moment instead and read them together.
//!
//! It must not cost the group anything worth mentioning. A rest is an eighth of the mean time between two
//! messages at most, so that seven of eight are not met by it, and those that are wait for half of
//! it on average: less than a hundredth of the time between messages. Above that there is a fixed limit
//! for slow groups, and below another one where sleeping would cost what it saves.

use crate::time::{Duration, Instant};

/// The mean is taken over at least so long.
const WINDOW: Duration = Duration::from_millis(100);

/// The part of the mean time between two messages that may be rested.
const SHARE: u32 = 8;

/// Nobody should wait longer than for a packet across a local network.
const REST_MAX: Duration = Duration::from_micros(200);

/// A shorter sleep costs as much as being woken.
const REST_MIN: Duration = Duration::from_micros(40);

/// How often messages of the group are delivered.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// When the present window began.
    began: Instant,
    count: u32,
    /// Mean time between two messages in the last window.
    interval: Option<Duration>,
}

impl Pace {
    /// A message was delivered.
    pub(super) fn note(&mut self, now: Instant) {
        let passed = now.saturating_since(self.began);
        if passed >= WINDOW {
            self.interval = passed.checked_div(self.count).filter(|_| passed < 2 * WINDOW);
            (self.began, self.count) = (now, 0);
        }
        self.count += 1;
    }

    /// How long one may rest after everything was answered.
    pub(super) fn rest(&self, now: Instant) -> Option<Duration> {
        let is_fresh = now.saturating_since(self.began) < 2 * WINDOW;
        let rest = self.interval.filter(|_| is_fresh)? / SHARE;
        (rest >= REST_MIN).then_some(rest.min(REST_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    /// The rest after a second of messages at this distance.
    fn rest_at(interval_micros: u64) -> Option<Duration> {
        let mut pace = Pace::default();
        let times = (0..).map(|n| n * interval_micros).take_while(|time| *time <= 1_000_000);
        let last = times.inspect(|time| pace.note(at(*time))).last()?;
        pace.rest(at(last))
    }

    #[test]
    fn a_rest_is_an_eighth_of_the_time_between_messages_within_its_limits() {
        assert_eq!(rest_at(800), Some(Duration::from_micros(100)));
        assert_eq!(rest_at(400), Some(Duration::from_micros(50)));
        assert_eq!(rest_at(10_000), Some(REST_MAX));
        assert_eq!(rest_at(100), None, "not worth it");
    }

    #[test]
    fn an_idle_group_is_watched_without_rest() {
        assert_eq!(Pace::default().rest(at(5)), None);
        assert_eq!(rest_at(500_000), None);
        let mut pace = Pace::default();
        (0..1000).for_each(|n| pace.note(at(n * 1000)));
        assert!(pace.rest(at(1_000_000)).is_some());
        assert_eq!(pace.rest(at(1_200_000)), None, "nothing has come for long");
    }
}
