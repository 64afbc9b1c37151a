//! Many lives: the fixed seeds of every test run, and as many as anybody wants.

use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use galera_protocol::planted::Bug;

use crate::lives::{Life, Terms, live};

/// Lives of an ordinary test run.
const SEEDS: u64 = 1000;

/// Lives in which a planted bug has to show.
const SEEDS_PER_BUG: u64 = 60;

/// What came of many lives.
#[derive(Debug, Default)]
struct Outcome {
    failed: Vec<u64>,
    operator_calls: usize,
    done: u64,
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn attempt(seed: u64, terms: Terms) -> Result<Life, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| live(seed, terms)));
    outcome.map_err(|panic| panic.downcast::<String>().map(|text| *text).unwrap_or_default())
}

/// The line of a failure that says what was wrong.
fn cause(panic: &str) -> &str {
    panic.lines().find(|line| line.starts_with("seed ")).unwrap_or(panic)
}

/// Runs lives on several threads. Progress and failures are told as they come if `is_watched`.
fn run(first: u64, seeds: u64, jobs: usize, is_watched: bool) -> Outcome {
    let (next, outcome) = (AtomicU64::new(first), Mutex::new(Outcome::default()));
    let one_after_the_other = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= first + seeds {
                return;
            }
            let result = attempt(seed, Terms::default());
            let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
            record(&mut outcome, seed, seeds, result, is_watched);
        }
    };
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(one_after_the_other);
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

#[expect(clippy::print_stderr, reason = "for people who watch many seeds")]
fn record(
    outcome: &mut Outcome,
    seed: u64,
    seeds: u64,
    result: Result<Life, String>,
    is_watched: bool,
) {
    outcome.done += 1;
    match result {
        Ok(life) => outcome.operator_calls += life.operator_calls,
        Err(panic) => {
            outcome.failed.push(seed);
            eprintln!("{}\n  replay: scripts/simulate --seed {seed}", cause(&panic));
        }
    }
    if is_watched && (outcome.done % 500 == 0 || outcome.done == seeds) {
        let failed = outcome.failed.len();
        eprintln!("{} of {seeds} lives, {failed} failed, last seed {seed}", outcome.done);
    }
}

fn jobs() -> usize {
    let available = thread::available_parallelism().map_or(1, NonZero::get);
    number("SIM_JOBS").and_then(|jobs| usize::try_from(jobs).ok()).unwrap_or(available).max(1)
}

#[test]
fn groups_survive_random_lives() {
    if let Some(seed) = number("SIM_SEED") {
        let Life { world, .. } = live(seed, Terms::default());
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
    let Outcome { failed, operator_calls, .. } = run(first, seeds, jobs(), asked.is_some());
    assert!(failed.is_empty(), "replay with scripts/simulate --seed N: {failed:?}");
    // Outages that stock servers do not survive by themselves either, such as a lost identity.
    let calls_max = usize::try_from(seeds / 4).expect("few") + 3;
    assert!(operator_calls <= calls_max, "{operator_calls} groups needed their operator");
}

/// A simulation that finds nothing may only be blind (`docs/planted-bugs.md`).
#[test]
fn every_planted_bug_is_found() {
    let bugs: Vec<Bug> = Bug::ALL.to_vec();
    let found = bugs.iter().map(|bug| {
        let terms = Terms { bug: Some(*bug) };
        let shows = |seed: &u64| attempt(*seed, terms).is_err();
        (*bug, (0..SEEDS_PER_BUG).find(shows))
    });
    let missed: Vec<_> = found.filter(|(_, seed)| seed.is_none()).map(|(bug, _)| bug).collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
