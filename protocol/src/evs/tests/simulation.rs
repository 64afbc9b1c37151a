//! Many members in virtual time: what one member's tests cannot show.
//!
//! Every run comes from a seed, which also says how many messages get lost; a failure names it.
//! `SIM_SEED=n` runs only that seed, `SIM_RUNS=n` the first n of every scenario instead of the few
//! of an ordinary test run, `SIM_LOG=1` (with `--nocapture`) prints every message.

mod group;
mod scenarios;
mod trace;

use crate::testing::Faults;
use group::Group;

const RUNS: u64 = 3;
const LOSS_PERCENT: [u64; 3] = [0, 5, 15];

/// Runs a scenario with several seeds.
fn simulate(scenario: impl Fn(&mut Group)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SIM_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SIM_RUNS").unwrap_or(RUNS),
    };
    for seed in seeds {
        let [none, some, much] = LOSS_PERCENT;
        let loss_percent = match seed % 3 {
            0 => none,
            1 => some,
            _ => much,
        };
        let mut group = Group::new(seed, Faults { loss_percent, ..Faults::default() });
        scenario(&mut group);
    }
}
