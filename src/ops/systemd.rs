//! What systemd is told: readiness with the first primary component, a status line, the watchdog's
//! beats, the beginning of the end. Without systemd nothing happens.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::{MissedTickBehavior, interval};

use super::{Health, Monitor};

/// How often the status line is renewed.
const STATUS_PERIOD: Duration = Duration::from_secs(10);

/// Tells systemd about the member that `monitor` follows, until it is dropped.
pub async fn run(monitor: Monitor) {
    tokio::join!(tell_ready(&monitor), tell_status(&monitor), beat(&monitor));
}

/// Tells that the process is on its way out.
pub fn stopping() {
    tell(&[NotifyState::Stopping]);
}

async fn tell_ready(monitor: &Monitor) {
    monitor.ready().await;
    tell(&[NotifyState::Ready]);
}

async fn tell_status(monitor: &Monitor) {
    let mut tick = interval(STATUS_PERIOD);
    let mut last = String::new();
    loop {
        tick.tick().await;
        let status = monitor.readiness().text().to_owned();
        if status != last {
            tell(&[NotifyState::Status(&status)]);
            last = status;
        }
    }
}

/// A member that stands still is not alive, whatever else still runs in the process.
async fn beat(monitor: &Monitor) {
    let Some(period) = sd_notify::watchdog_enabled() else { return };
    let mut tick = interval((period / 3).max(Duration::from_millis(100)));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        if let Health::Good(_) = monitor.liveness() {
            tell(&[NotifyState::Watchdog]);
        }
    }
}

fn tell(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "notify systemd");
    }
}
