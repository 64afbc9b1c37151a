//! Members that read in batches: what has come in on all links, then the answer to all of it.

use galera_protocol::member::Input;
use galera_protocol::testing::Random;
use galera_protocol::time::Duration;

use super::{World, input_of};
use crate::tcp::{self, Host};

/// They look at their links so late at most, in microseconds: their machine has other things to do.
const LATE_MAX_MICROS: u64 = 5_000;

/// Whether our members read in batches, which they do in every other life, and how late.
pub(super) struct Reading {
    in_batches: bool,
    random: Random,
}

impl Reading {
    /// It must not disturb what else is random in the life.
    pub(super) fn new(seed: u64) -> Self {
        Self { in_batches: seed % 2 == 1, random: Random::new(seed ^ 0xba7c) }
    }
}

impl World {
    pub(super) fn reads_in_batches(&self, host: Host) -> bool {
        self.reading.in_batches && !self.machines[host].is_data()
    }

    /// Looks at the links of this process soon.
    pub(super) fn read_later(&mut self, to: tcp::Process) {
        let late = Duration::from_micros(self.reading.random.between(0, LATE_MAX_MICROS));
        self.after(late, move |world| {
            let process = world.machines[to.host].process.as_ref();
            if process.is_some_and(|process| process.run == to.run && !process.is_frozen) {
                world.read_batch(to.host);
            }
        });
    }

    /// Reads everything that has come in, then lets the process act on all of it.
    pub(super) fn read_batch(&mut self, host: Host) {
        let now = self.now;
        let Some(process) = self.machines[host].process.as_mut() else { return };
        for (link, heard) in core::mem::take(&mut process.inbox) {
            process.handle_input(now, Input::Link(input_of(host, link, heard)));
        }
        self.settle(host);
    }
}
