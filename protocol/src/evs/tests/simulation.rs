//! Many members in virtual time: what one member's tests cannot show.
//!
//! Every run comes from a seed; a failure names it. `SIM_SEED=n` runs only that one, `SIM_RUNS=n`
//! runs n seeds of every scenario instead of the few of an ordinary test run.

mod group;
mod scenarios;
mod trace;

use crate::testing::Faults;
use group::Group;

const RUNS: u64 = 3;
const LOSSES: [u64; 3] = [0, 5, 15];

/// Runs a scenario with several seeds, each with every amount of loss.
fn simulate(scenario: impl Fn(&mut Group)) {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SIM_RUNS").unwrap_or(RUNS)).collect(),
    };
    for seed in seeds {
        for loss_percent in number("SIM_LOSS").map_or(LOSSES.to_vec(), |loss| vec![loss]) {
            let mut group = Group::new(seed, Faults { loss_percent, ..Faults::default() });
            scenario(&mut group);
        }
    }
}
