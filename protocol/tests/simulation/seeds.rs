//! Many lives: the fixed seeds of every test run, and as many as anybody wants.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use galera_protocol::planted::Bug;

use crate::lives::{Life, Terms, live};
use crate::summary::Summary;

/// Lives of an ordinary test run.
const SEEDS: u64 = 1000;

/// Lives in which a planted bug has to show.
const SEEDS_PER_BUG: u64 = 200;

/// Lives after which a run says how far it is.
const PROGRESS_PERIOD: u64 = 1000;

/// Where all threads together stand.
#[derive(Debug, Default)]
struct Progress {
    next: AtomicU64,
    done: AtomicU64,
    failed: AtomicU64,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// As the environment has it.
fn terms() -> Terms {
    Terms { bug: None, stock_servers: std::env::var_os("SIM_STOCK").is_some() }
}

fn attempt(seed: u64, terms: Terms) -> Result<Life, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| live(seed, terms)));
    outcome.map_err(|panic| panic.downcast::<String>().map(|text| *text).unwrap_or_default())
}

/// The line of a failure that says what was wrong.
fn cause(panic: &str) -> &str {
    panic.lines().find(|line| line.starts_with("seed ")).unwrap_or(panic)
}

/// Runs lives on several threads. Progress is told as it goes if `is_watched`.
fn run(first: u64, seeds: u64, jobs: usize, is_watched: bool) -> Summary {
    let progress = Progress::default();
    let one_after_the_other = || {
        let mut summary = Summary::default();
        loop {
            let number = progress.next.fetch_add(1, Ordering::Relaxed);
            if number >= seeds {
                return summary;
            }
            let seed = first + number;
            record(&mut summary, &progress, seed, attempt(seed, terms()));
            if is_watched {
                tell(&progress, first, seeds);
            }
        }
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..jobs).map(|_| scope.spawn(one_after_the_other)).collect();
        let mut all = Summary::default();
        threads.into_iter().filter_map(|it| it.join().ok()).for_each(|it| all.add(it));
        all
    })
}

#[expect(clippy::print_stderr, reason = "for people who want to know why")]
fn record(summary: &mut Summary, progress: &Progress, seed: u64, result: Result<Life, String>) {
    match result {
        Ok(life) => summary.note(&life.world),
        Err(panic) => {
            summary.fail(seed);
            progress.failed.fetch_add(1, Ordering::Relaxed);
            eprintln!("{}\n  replay: scripts/simulate --seed {seed}", cause(&panic));
        }
    }
}

/// All lives below the number that is told are done, but for those that other threads are at.
#[expect(clippy::print_stderr, reason = "for people who watch many seeds")]
fn tell(progress: &Progress, first: u64, seeds: u64) {
    let done = progress.done.fetch_add(1, Ordering::Relaxed) + 1;
    if done % PROGRESS_PERIOD == 0 || done == seeds {
        let failed = progress.failed.load(Ordering::Relaxed);
        eprintln!("{done} of {seeds} lives from seed {first}, {failed} failed");
    }
}

fn jobs() -> usize {
    let available = thread::available_parallelism().map_or(1, NonZero::get);
    number("SIM_JOBS").and_then(|jobs| usize::try_from(jobs).ok()).unwrap_or(available).max(1)
}

#[test]
fn groups_survive_random_lives() {
    if let Some(seed) = number("SIM_SEED") {
        let Life { world, .. } = live(seed, terms());
        #[expect(clippy::print_stdout, reason = "somebody asked for it")]
        {
            println!("{}\n{}", world.log(), world.describe());
        }
        return;
    }
    let asked = number("SIM_SEEDS");
    let (first, seeds) = (number("SIM_FIRST").unwrap_or(0), asked.unwrap_or(SEEDS));
    if asked.is_some() {
        // Only the cause of a failure is of interest, not where the simulation noticed it.
        std::panic::set_hook(Box::new(|_| {}));
    }
    let summary = run(first, seeds, jobs(), asked.is_some());
    drop(std::panic::take_hook());
    if asked.is_some() {
        #[expect(clippy::print_stdout, reason = "somebody asked for it")]
        {
            println!("{summary}");
        }
    }
    let failed = summary.failed();
    assert!(failed.is_empty(), "replay with scripts/simulate --seed N: {failed:?}");
    assert_eq!(summary.excessive(), None, "{summary}");
}

/// A simulation that finds nothing may only be blind (`docs/planted-bugs.md`).
#[test]
fn every_planted_bug_is_found() {
    let bugs: Vec<Bug> = Bug::ALL.to_vec();
    let found = bugs.iter().map(|bug| {
        let terms = Terms { bug: Some(*bug), stock_servers: false };
        let shows = |seed: &u64| attempt(*seed, terms).is_err();
        (*bug, (0..SEEDS_PER_BUG).find(shows))
    });
    let missed: Vec<_> = found.filter(|(_, seed)| seed.is_none()).map(|(bug, _)| bug).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
