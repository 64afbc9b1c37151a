//! Ends the process when the driver cannot run.
//!
//! There is no timer in PC: a member whose links live but that sends nothing stalls the whole
//! group, while a member that crashes is dropped within seconds (spec 03 §7.2 a). So a driver that
//! stands still costs the process, whatever the reason.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tracing::error;

use crate::exit::ExitCode;

/// The driver wakes at least this often, so that its heartbeat is never older without a reason.
pub(super) const HEARTBEAT_PERIOD: Duration = Duration::from_secs(1);

/// Checks without a heartbeat in between, one second apart, until the driver counts as stuck.
/// Counting checks and not time spares a process that was stopped as a whole and continued.
const MISSED_MAX: u32 = 10;

/// The driver's end: beats while the driver runs, and disarms the watchdog when it ends.
pub(super) struct Heartbeat {
    count: Arc<AtomicU64>,
}

/// Value that tells the watchdog to end.
const STOPPED: u64 = u64::MAX;

impl Heartbeat {
    /// Starts the watching thread.
    pub(super) fn start() -> Self {
        let count = Arc::new(AtomicU64::new(0));
        let watched = Arc::clone(&count);
        let spawned = std::thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || watch(&watched, || std::process::exit(ExitCode::Retry.number().into())));
        if let Err(error) = spawned {
            tracing::warn!(%error, "no watchdog thread: a stuck driver would not be noticed");
        }
        Self { count }
    }

    /// The driver runs.
    pub(super) fn beat(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        self.count.store(STOPPED, Ordering::Relaxed);
    }
}

fn watch(count: &AtomicU64, end: impl FnOnce()) {
    let (mut last, mut missed) = (0, 0);
    loop {
        std::thread::sleep(HEARTBEAT_PERIOD);
        let now = count.load(Ordering::Relaxed);
        if now == STOPPED {
            return;
        }
        missed = if now == last { missed + 1 } else { 0 };
        last = now;
        if missed >= MISSED_MAX {
            break;
        }
    }
    error!(
        seconds = MISSED_MAX,
        "the group member could not run: ending the process, so that the group need not wait for it"
    );
    end();
}
