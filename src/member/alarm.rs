//! One wake-up that moves with every input, without asking the timer each time.

use std::pin::Pin;

use tokio::time::{Instant, Sleep, sleep_until};

/// Rings at the latest when it was last set to; earlier is possible.
///
/// Deadlines mostly move into the future. Then the timer is left as it is: to ring early once a
/// second costs less than to move it with every message.
pub(super) struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    pub(super) fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now())))
    }

    /// Rings by `at`, perhaps earlier.
    pub(super) fn set(&mut self, at: Instant) {
        if at < self.0.deadline() || self.0.is_elapsed() {
            self.0.as_mut().reset(at);
        }
    }

    /// Waits for it.
    pub(super) async fn ring(&mut self) {
        self.0.as_mut().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn it_rings_in_time_whatever_it_was_set_to_before() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut alarm = Alarm::new();
        alarm.ring().await;
        alarm.set(at(10));
        alarm.set(at(20));
        alarm.set(at(5));
        alarm.ring().await;
        assert_eq!(start.elapsed(), Duration::from_secs(5));
        alarm.set(at(30));
        alarm.ring().await;
        assert_eq!(start.elapsed(), Duration::from_secs(30));
    }
}
