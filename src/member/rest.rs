//! The short sleeps of a member that has nothing else to do.
//!
//! The core says when and for how long (`Member::take_rest`). The whole thread sleeps: the timers of
//! the runtime are too coarse, and while anything of the runtime waits for sockets, each packet wakes it.

use std::num::NonZeroU64;
use std::time::Duration;

use rustix::thread::set_current_timer_slack;
use tracing::debug;

/// How late the system may wake us. Its own choice, 50 µs, would be half of a rest.
const SLACK_NANOS: NonZeroU64 = NonZeroU64::new(5_000).expect("not zero");

/// Whether the member rests at all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    is_wanted: bool,
    is_prepared: bool,
}

impl Rest {
    pub(super) fn new(is_wanted: bool) -> Self {
        Self { is_wanted, is_prepared: false }
    }

    /// Sleeps if the core has time for it.
    pub(super) fn take(&mut self, mut rest: impl FnMut() -> Option<Duration>) {
        if !self.is_wanted {
            return;
        }
        if let Some(rest) = rest() {
            self.prepare();
            std::thread::sleep(rest);
        }
    }

    fn prepare(&mut self) {
        if !std::mem::replace(&mut self.is_prepared, true)
            && let Err(error) = set_current_timer_slack(Some(SLACK_NANOS))
        {
            debug!(%error, "timers stay coarse: rests may be longer than meant");
        }
    }
}
