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

/// Lives that once found something, beyond those of an ordinary run.
const FOUND: [(u64, &str); 14] = [
    (500_966, "a saved view is founded anew beside its successor"),
    (501_593, "a re-bootstrap without members that are still primary is refused"),
    (505_988, "the majority goes on without the only member that has the data"),
    (507_512, "the same"),
    (509_372, "the same, without a primary view of its own"),
    (511_075, "a second change before the installation is judged by the view before"),
    (511_338, "a guest forgot its identity though nobody had heard of its leave"),
    (512_145, "guests that were sent away are started again when the group is well"),
    (514_467, "the majority goes on without the only member that has the data"),
    (514_610, "a guest forgot its identity though nobody had heard of its leave"),
    (515_029, "the same"),
    (515_603, "servers gave up one after the other, and forgot"),
    (515_957, "the same"),
    (517_419, "a guest forgot its identity though nobody had heard of its leave"),
];

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

/// What a run that is interrupted has done: the next one can begin there, but for the few lives that
/// other threads are still at.
#[expect(clippy::print_stderr, reason = "for people who watch many seeds")]
fn tell(progress: &Progress, first: u64, seeds: u64) {
    let done = progress.done.fetch_add(1, Ordering::Relaxed) + 1;
    if done % PROGRESS_PERIOD == 0 || done == seeds {
        let failed = progress.failed.load(Ordering::Relaxed);
        let next = first + done;
        eprintln!(
            "{done} of {seeds} lives from seed {first}, {failed} failed; next: --first {next}"
        );
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

#[test]
fn lives_that_once_found_something_go_as_they_must() {
    for (seed, found) in FOUND {
        let outcome = attempt(seed, Terms::default());
        assert!(outcome.is_ok(), "{found}: {}", outcome.err().unwrap_or_default());
    }
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
