//! Waiting for something that another process does.

use std::{
    thread,
    time::{Duration, Instant},
};

const POLL: Duration = Duration::from_millis(20);

/// Asks until there is an answer, and returns it; panics when `limit` has passed.
pub(crate) fn until<T>(what: &str, limit: Duration, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain for {what}");
        thread::sleep(POLL);
    }
}

/// As [`until`], for a yes or no.
pub(crate) fn until_true(what: &str, limit: Duration, mut ask: impl FnMut() -> bool) {
    until(what, limit, || ask().then_some(()));
}

/// Seconds, for limits.
pub(crate) fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}
