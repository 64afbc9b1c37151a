//! Time for the conversation: microseconds since the listener began to run.

use galera_protocol::Instant;
use tokio::time::Instant as TokioInstant;

/// Converts between the runtime's time and the core's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    origin: TokioInstant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { origin: TokioInstant::now() }
    }

    pub(super) fn now(self) -> Instant {
        let micros = self.origin.elapsed().as_micros();
        Instant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    /// The runtime's time of `deadline`.
    pub(super) fn runtime_time(self, deadline: Instant) -> TokioInstant {
        self.origin + (deadline - Instant::ZERO)
    }
}
