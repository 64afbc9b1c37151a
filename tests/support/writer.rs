//! A write load that knows what it got committed and how long it had to wait.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use super::{
    ledger,
    server::Server,
    session::Session,
    wait::{self, seconds},
};

/// What a writer saw.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Report {
    /// Transactions that the server confirmed.
    pub(crate) committed: u64,
    /// Transactions that it did not, because of a conflict or a lost connection.
    pub(crate) failed: u64,
    /// The longest time that one took.
    pub(crate) longest: Duration,
}

/// A thread that appends to the ledger until it is stopped or dropped.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<Report>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    committed: AtomicU64,
}

impl Writer {
    /// Starts writing through this server.
    pub(crate) fn start(number: usize, server: &impl Server) -> Self {
        let shared = Arc::new(Shared::default());
        let socket = server.socket().to_owned();
        let thread = thread::spawn({
            let shared = Arc::clone(&shared);
            move || write(number, &socket, &shared)
        });
        Self { shared, thread: Some(thread) }
    }

    /// How many transactions were committed so far.
    pub(crate) fn committed(&self) -> u64 {
        self.shared.committed.load(Ordering::Relaxed)
    }

    /// Waits until `count` more transactions are committed.
    pub(crate) fn wait_progress(&self, count: u64) {
        let goal = self.committed() + count;
        wait::until_true("the writer to go on", seconds(30), || self.committed() >= goal);
    }

    /// Stops and tells what happened.
    pub(crate) fn stop(mut self) -> Report {
        self.shared.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().expect("a writer is stopped once");
        thread.join().expect("a writer does not panic")
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

fn write(number: usize, socket: &Path, shared: &Shared) -> Report {
    let socket = PathBuf::from(socket);
    let mut session = Session::open(&socket);
    let mut report = Report::default();
    for payload in 0.. {
        if shared.stop.load(Ordering::Relaxed) {
            break;
        }
        let started = Instant::now();
        let Some(rows) = session.run(&ledger::append(number, payload)) else {
            report.failed += 1;
            break;
        };
        report.longest = report.longest.max(started.elapsed());
        if rows.iter().any(|row| row == "committed") {
            report.committed += 1;
            shared.committed.fetch_add(1, Ordering::Relaxed);
        } else {
            report.failed += 1;
        }
    }
    report
}
