//! Processor time and memory of a process, as the kernel accounts for them.

use std::{fs, time::Duration};

/// What one process has used since the beginning.
pub(crate) struct Usage {
    id: u32,
    began: Duration,
    last: Duration,
    memory_kib: Vec<u64>,
    resident_kib: u64,
    proportional_kib: u64,
}

impl Usage {
    pub(crate) fn begin(id: u32) -> Self {
        let now = processor_time(id);
        Self {
            id,
            began: now,
            last: now,
            memory_kib: Vec::new(),
            resident_kib: 0,
            proportional_kib: 0,
        }
    }

    pub(crate) fn sample(&mut self) {
        self.last = processor_time(self.id);
        self.memory_kib.push(status_kib(self.id, "RssAnon:"));
        self.resident_kib = self.resident_kib.max(status_kib(self.id, "VmRSS:"));
        self.proportional_kib = self.proportional_kib.max(kib(self.id, "smaps_rollup", "Pss:"));
    }

    /// Processor time between the beginning and the last sample.
    pub(crate) fn cpu(&self) -> Duration {
        self.last - self.began
    }

    /// The most that was resident, pages of files included.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.resident_kib
    }

    /// The most that was resident, with only its share of the pages that others use as well.
    pub(crate) fn proportional_kib(&self) -> u64 {
        self.proportional_kib
    }

    /// The most memory of its own that it had.
    pub(crate) fn memory_kib(&self) -> u64 {
        self.memory_kib.iter().copied().max().unwrap_or_default()
    }

    /// Mean memory of its own in each quarter of the time.
    pub(crate) fn quarters(&self) -> [u64; 4] {
        let length = (self.memory_kib.len() / 4).max(1);
        std::array::from_fn(|quarter| {
            let samples = self.memory_kib.iter().skip(quarter * length).take(length);
            let (sum, count) = samples.fold((0, 0), |(sum, count), kib| (sum + kib, count + 1));
            sum / count.max(1)
        })
    }
}

/// Time in the process and in the kernel for it, all threads together.
fn processor_time(id: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).expect("the process runs");
    // The name in parentheses may contain blanks.
    let (_, fields) = stat.rsplit_once(") ").expect("fields after the name");
    let ticks = fields.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok());
    Duration::from_millis(ticks.sum::<u64>() * 1000 / rustix::param::clock_ticks_per_second())
}

fn status_kib(id: u32, field: &str) -> u64 {
    kib(id, "status", field)
}

fn kib(id: u32, file: &str, field: &str) -> u64 {
    let text = fs::read_to_string(format!("/proc/{id}/{file}")).expect("the process runs");
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).expect("a size")
}
