//! Courses of events that went wrong somewhere once, or that a guest must not make worse.

use std::collections::BTreeMap;

use super::super::super::*;
use super::world::{Fate, World};
use super::{founded, together};

/// Machines by number, and the cell of the network each is in now.
fn split(world: &mut World, cells: &[&[usize]]) {
    let mut fates = BTreeMap::new();
    for (cell, machines) in cells.iter().enumerate() {
        fates.extend(machines.iter().map(|&at| (at, Fate::Cell(cell))));
    }
    world.reconfigure(&fates);
    world.settle();
}

/// These die; everybody else stays together.
fn crash(world: &mut World, machines: &[usize]) {
    let fate = |at| if machines.contains(&at) { Fate::Crash } else { Fate::Cell(0) };
    let fates = world.running().into_iter().map(|at| (at, fate(at))).collect();
    world.reconfigure(&fates);
    world.settle();
}

fn restart(world: &mut World, machines: &[usize]) {
    for &at in machines {
        world.start(at, false);
    }
    together(world);
    world.settle();
}

/// A machine restarts its stack at once, from what is on its disk.
fn restart_alone(world: &mut World, at: usize, group: &[usize]) {
    let fate = |other| if other == at { Fate::Crash } else { Fate::Cell(0) };
    let fates = group.iter().map(|&other| (other, fate(other))).collect();
    world.reconfigure(&fates);
    world.start(at, false);
    world.settle();
}

fn states(world: &World) -> Vec<State> {
    world.running().into_iter().map(|at| world.state(at)).collect()
}

fn all_are(world: &World, state: State) -> bool {
    states(world).iter().all(|found| *found == state)
}

#[test]
fn a_guest_that_dies_costs_nobody_anything() {
    for weights in [&[1, 0][..], &[1, 1, 0], &[1, 1, 1, 0]] {
        for seed in 0..20 {
            let mut world = founded(seed, weights);
            crash(&mut world, &[weights.len() - 1]);
            assert!(all_are(&world, State::Primary), "{weights:?}");
        }
    }
}

#[test]
fn an_arbitrator_of_weight_1_that_dies_takes_a_single_server_with_it() {
    let mut world = founded(1, &[1, 1]);
    crash(&mut world, &[1]);
    assert!(all_are(&world, State::NonPrimary));
}

#[test]
fn without_the_guest_of_the_last_view_nobody_recovers_and_with_it_all_do() {
    for seed in 0..20 {
        let mut world = founded(seed, &[1, 1, 0]);
        crash(&mut world, &[1, 2]);
        restart(&mut world, &[1]);
        assert!(all_are(&world, State::NonPrimary));
        restart(&mut world, &[2]);
        assert!(all_are(&world, State::Primary));
    }
}

#[test]
fn after_a_total_outage_exactly_the_saved_members_recover() {
    for seed in 0..20 {
        let mut world = founded(seed, &[1, 1, 0]);
        crash(&mut world, &[0, 1, 2]);
        restart(&mut world, &[0, 1]);
        assert!(all_are(&world, State::NonPrimary));
        restart(&mut world, &[2]);
        assert!(all_are(&world, State::Primary));
    }
}

#[test]
fn a_stranger_in_the_view_blocks_the_recovery_until_it_takes_the_advice_and_leaves() {
    for seed in 0..20 {
        let mut world = founded(seed, &[1, 1, 0]);
        let (forgotten, all) = (2, [0, 1, 2]);
        world.close(forgotten);
        let fates = [(0, Fate::Cell(0)), (1, Fate::Cell(0)), (forgotten, Fate::Leave)];
        world.reconfigure(&fates.into());
        world.settle();
        assert_eq!(world.machines[forgotten].disk, None);
        crash(&mut world, &[0, 1]);
        restart(&mut world, &all);
        assert!(all_are(&world, State::NonPrimary));
        assert_eq!(world.life(forgotten).advice, [Advice::Leave(LeaveReason::Fresh)]);
        crash(&mut world, &[forgotten]);
        assert!(all_are(&world, State::Primary));
    }
}

/// The group of one server and a guest, the server gone: what the guest is told.
fn lost_server(seed: u64) -> (World, Remedy) {
    let mut world = founded(seed, &[1, 0]);
    crash(&mut world, &[0]);
    let [Advice::PrimaryLost(lost)] = &world.life(1).advice[..] else { panic!() };
    let remedy = lost.remedy(true);
    (world, remedy)
}

#[test]
fn a_guest_that_restarts_at_once_lets_a_lone_server_promote_itself_with_the_bootstrap_flag() {
    for seed in 0..20 {
        let (mut world, remedy) = lost_server(seed);
        assert_eq!(remedy, Remedy::RestartFromSavedView);
        restart_alone(&mut world, 1, &[1]);
        restart(&mut world, &[0]);
        assert!(all_are(&world, State::Primary));
        assert!(world.oracle.was_bootstrapped());
    }
}

#[test]
fn a_guest_that_stays_makes_the_group_primary_without_the_flag_that_its_server_needs() {
    for seed in 0..20 {
        let (mut world, _) = lost_server(seed);
        restart(&mut world, &[0]);
        assert!(all_are(&world, State::Primary));
        assert!(!world.oracle.was_bootstrapped());
    }
}

#[test]
fn two_servers_and_a_guest_recover_from_any_order_of_loss_and_return() {
    // Each pair: who is lost first, who comes back first. The guest takes its advice.
    for seed in 0..20 {
        for (first, second) in [(0, 1), (1, 0)] {
            for (back_first, back_second) in [(0, 1), (1, 0)] {
                let mut world = founded(seed, &[1, 1, 0]);
                crash(&mut world, &[first]);
                assert!(all_are(&world, State::NonPrimary));
                restart_alone(&mut world, 2, &[second, 2]);
                crash(&mut world, &[second]);
                restart(&mut world, &[back_first]);
                restart(&mut world, &[back_second]);
                assert!(all_are(&world, State::Primary), "{first} {back_first}");
            }
        }
    }
}

#[test]
fn servers_fall_apart_into_single_ones_and_come_together_in_any_order() {
    for seed in 0..20 {
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [1, 3, 0, 2], [2, 0, 3, 1]] {
            let mut world = founded(seed, &[1, 1, 1, 0]);
            split(&mut world, &[&[0], &[1], &[2], &[3]]);
            assert!(all_are(&world, State::NonPrimary));
            for known in 2..=4 {
                split(&mut world, &[&order[..known]]);
                let is_primary = world.state(order[0]) == State::Primary;
                assert_eq!(is_primary, known == 4);
            }
            assert!(all_are(&world, State::Primary));
        }
    }
}

#[test]
fn an_operators_bootstrap_helps_a_group_whose_guest_is_lost_for_good() {
    let mut world = founded(3, &[1, 1, 0]);
    crash(&mut world, &[1, 2]);
    restart(&mut world, &[1]);
    assert!(all_are(&world, State::NonPrimary));
    // On both at once: the second one comes too late and is ignored.
    world.bootstrap(0);
    world.bootstrap(1);
    world.settle();
    assert!(all_are(&world, State::Primary));
    assert!(world.oracle.was_bootstrapped());
}

#[test]
fn a_survivor_of_an_older_view_and_a_restarted_guest_do_not_found_a_second_primary() {
    for seed in 0..40 {
        let mut world = World::new(seed, &[1, 2, 0]);
        world.start(0, true);
        split(&mut world, &[&[0]]);
        restart(&mut world, &[1]);
        // The first server is cut off; the second goes on, with a guest, then alone.
        split(&mut world, &[&[0], &[1]]);
        world.start(2, false);
        split(&mut world, &[&[1, 2]]);
        split(&mut world, &[&[2], &[1]]);
        assert_eq!(states(&world), [State::NonPrimary, State::Primary, State::NonPrimary]);
        // The guest tells the first server of its last view, and then forgets who else was in it.
        split(&mut world, &[&[0, 2]]);
        restart_alone(&mut world, 2, &[0, 2]);
        split(&mut world, &[&[0, 2]]);
        // Both know better than the reports do.
        assert_eq!((world.state(0), world.state(2)), (State::Closed, State::Closed));
        crash(&mut world, &[0, 2]);
        restart(&mut world, &[0, 2]);
        assert!(all_are(&world, State::Primary));
        assert_eq!(world.deaths, 2);
    }
}

#[test]
fn a_guest_that_drops_its_links_in_time_keeps_existing_members_from_founding_a_second_primary() {
    for seed in 0..40 {
        let mut world = World::new(seed, &[1, 2, 0]);
        world.start(0, true);
        split(&mut world, &[&[0]]);
        restart(&mut world, &[1]);
        split(&mut world, &[&[0], &[1]]);
        world.start(2, false);
        split(&mut world, &[&[1, 2]]);
        split(&mut world, &[&[2], &[1]]);
        split(&mut world, &[&[0, 2]]);
        restart_alone(&mut world, 2, &[0, 2]);
        // As an existing member, the server goes by the reports alone.
        world.forget(0);
        world.reconfigure(&[(0, Fate::Cell(0)), (2, Fate::Cell(0))].into());
        // In time: before the server's INSTALL is acknowledged. It is delivered late, as a doubt.
        while world.deliver(2, true) {}
        world.settle();
        world.reconfigure(&[(0, Fate::Cell(0)), (2, Fate::Crash)].into());
        world.settle();
        assert_eq!((world.state(0), world.deaths), (State::NonPrimary, 1));
    }
}

#[test]
fn an_install_that_some_deliver_in_time_and_others_late_never_makes_two_primaries() {
    // Joiners of different weights, the group torn apart at every point of the exchange.
    for seed in 0..100 {
        for weights in [&[1, 1, 0][..], &[2, 1, 1], &[1, 1, 1, 0]] {
            let last = weights.len() - 1;
            let mut world = founded(seed, weights);
            crash(&mut world, &[last]);
            world.machines[last].disk = None;
            world.start(last, false);
            together(&mut world);
            let steps = world.random.below(5 * weights.len() * weights.len());
            for _ in 0..steps {
                let at = world.random.below(weights.len());
                world.deliver(at, true);
            }
            let cells = world.random.between(1, 3);
            let fates = world.running().into_iter();
            let fates: Vec<_> = fates.collect();
            let fates = fates.into_iter().map(|at| (at, Fate::Cell(world.random.below(cells))));
            let fates = fates.collect();
            world.reconfigure(&fates);
            super::check_single_primary(&world);
            world.settle();
            super::check_single_primary(&world);
            together(&mut world);
            world.settle();
            assert!(all_are(&world, State::Primary), "seed {seed} {weights:?}");
        }
    }
}
