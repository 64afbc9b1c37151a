//! Many members over a virtual EVS: random partitions, merges, leaves, crashes and returns, with
//! invariants checked after every step. Seeds are fixed; `PC_SIM_SEED` replays one, `PC_SIM_SEEDS`
//! runs that many.

mod oracle;
mod scenarios;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use super::super::State;
use world::{Fate, World};

/// What may happen in a random schedule, in percent of its view changes.
#[derive(Clone, Copy, Debug, Default)]
struct Weather {
    crash: usize,
    leave: usize,
    weight_change: usize,
}

const GROUPS: [&[u8]; 7] = [
    &[1, 1, 0],
    &[1, 1, 1, 0],
    &[1, 1, 1, 1, 0, 0],
    &[1, 2, 0],
    &[3, 1, 1, 0],
    &[1, 0],
    &[2, 2, 1, 1, 1],
];

/// No two different primary views at once (S2).
fn check_single_primary(world: &World) {
    let mut primary = None;
    for at in world.running() {
        let status = world.life(at).pc.status();
        if status.state == State::Primary {
            let other = *primary.get_or_insert(status.view);
            assert_eq!(other, status.view, "S2: two primary components");
        }
    }
}

/// The founder alone, then everybody else.
fn founded(seed: u64, weights: &[u8]) -> World {
    let mut world = World::new(seed, weights);
    world.start(0, true);
    world.reconfigure(&BTreeMap::from([(0, Fate::Cell(0))]));
    world.settle();
    assert_eq!(world.state(0), State::Primary);
    for at in 1..weights.len() {
        world.start(at, false);
        together(&mut world);
        world.settle();
        assert_eq!(world.state(at), State::Primary);
    }
    world
}

fn together(world: &mut World) {
    let fate = |at: usize| if world.life(at).is_dead { Fate::Crash } else { Fate::Cell(0) };
    let fates = world.running().into_iter().map(|at| (at, fate(at))).collect();
    world.reconfigure(&fates);
}

fn random_fate(world: &mut World, at: usize, cells: usize, weather: Weather) -> Fate {
    let is_closing = world.life(at).is_closing;
    if world.life(at).is_dead {
        return Fate::Crash;
    }
    if is_closing || world.random.percent(weather.leave) {
        if !is_closing {
            world.close(at);
        }
        return if world.life(at).group.is_some() { Fate::Leave } else { Fate::Crash };
    }
    if world.random.percent(weather.crash) {
        return Fate::Crash;
    }
    Fate::Cell(world.random.below(cells))
}

/// One change of views for a random part of the running members (and their groups).
fn change_views(world: &mut World, weather: Weather) {
    let cells = world.random.between(1, 3);
    let running = world.running();
    let mut touched = BTreeSet::new();
    for at in running.iter().copied() {
        if world.random.percent(60) {
            touched.insert(at);
        }
    }
    // A group changes as a whole.
    let groups: BTreeSet<_> = touched.iter().filter_map(|&at| world.life(at).group).collect();
    let in_group = |&at: &usize| world.life(at).group.is_some_and(|group| groups.contains(&group));
    touched.extend(running.iter().copied().filter(in_group).collect::<Vec<_>>());
    let fates =
        touched.into_iter().map(|at| (at, random_fate(world, at, cells, weather))).collect();
    world.reconfigure(&fates);
}

fn random_step(world: &mut World, weather: Weather) {
    let running = world.running();
    let roll = world.random.below(100);
    if roll < 4 {
        change_views(world, weather);
    } else if roll < 8 {
        let at = world.random.below(world.machines.len());
        if world.machines[at].life.is_none() {
            world.start(at, false);
        }
    } else if let Some(&at) = running.get(world.random.below(running.len().max(1))) {
        if roll < 10 && world.random.percent(weather.weight_change) && world.machines[at].weight > 0
        {
            let weight = u8::try_from(world.random.between(1, 3)).unwrap();
            world.change_weight(at, weight);
        } else if roll < 30 {
            let _ = world.send_user(at);
        } else {
            world.deliver(at, true);
        }
    }
    check_single_primary(world);
}

fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().map(|text| text.parse().unwrap());
    match number("PC_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("PC_SIM_SEEDS").unwrap_or(150)).collect(),
    }
}

/// Runs schedules; says which one it was if one fails. Returns how many came to an early end.
fn run(weather: Weather, steps: usize, mut finish: impl FnMut(&mut World)) -> usize {
    let mut over = 0;
    for seed in seeds() {
        let weights = GROUPS[usize::try_from(seed).unwrap() % GROUPS.len()];
        let mut world = founded(seed, weights);
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for _ in 0..steps {
                if !world.is_over {
                    random_step(&mut world, weather);
                }
            }
            if !world.is_over {
                finish(&mut world);
            }
        }));
        over += usize::from(world.is_over);
        if let Err(panic) = outcome {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or(panic.downcast_ref::<&str>().map(ToString::to_string));
            let (text, trail) = (text.unwrap_or_default(), world.trail());
            panic!("{trail}PC_SIM_SEED={seed} weights {weights:?}: {text}");
        }
    }
    over
}

#[test]
fn partitions_and_merges_never_make_two_primaries_and_all_recover_when_all_are_back() {
    let over = run(Weather::default(), 400, |world| {
        for at in 0..world.machines.len() {
            if world.machines[at].life.is_none() {
                world.start(at, false);
            }
        }
        together(world);
        world.settle();
        for at in world.running() {
            assert_eq!(world.state(at), State::Primary, "L2");
        }
    });
    assert_eq!(over, 0);
}

#[test]
fn crashes_leaves_and_returns_keep_every_invariant() {
    let weather = Weather { crash: 10, leave: 10, weight_change: 0 };
    let over = run(weather, 500, |world| {
        together(world);
        world.settle();
    });
    assert_eq!(over, 0);
}

#[test]
fn weight_changes_in_all_this_keep_every_invariant() {
    let weather = Weather { crash: 5, leave: 5, weight_change: 100 };
    let over = run(weather, 500, |world| {
        together(world);
        world.settle();
    });
    assert!(over <= 1 + seeds().len() / 50);
}
