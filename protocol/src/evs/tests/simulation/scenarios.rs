//! The scenarios of spec 02 §11.3.

use super::simulate;
use crate::evs::{Failure, Start, StateKind};
use crate::testing::Faults;
use crate::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_bootstrapped_member_is_alone_in_a_view() {
    simulate(|group| {
        let id = group.start(Start::Bootstrap);
        assert_eq!(group.evs(id).state(), StateKind::Operational);
        group.send_up_to(id, 10);
        group.finish();
    });
}

#[test]
fn members_join_one_after_the_other() {
    simulate(|group| {
        group.start(Start::Bootstrap);
        for _ in 0..6 {
            group.start(Start::JoinGroup);
            group.run(SECOND * 5);
        }
        group.finish();
    });
}

#[test]
fn members_join_all_at_once() {
    simulate(|group| {
        group.form(7);
        group.finish();
    });
}

#[test]
fn members_join_under_load() {
    simulate(|group| {
        group.start(Start::Bootstrap);
        group.set_load(Some(MILLISECOND * 20));
        for _ in 0..4 {
            group.start(Start::JoinGroup);
            group.run(SECOND * 3);
        }
        group.finish();
    });
}

#[test]
fn members_that_start_alone_find_each_other() {
    simulate(|group| {
        for _ in 0..4 {
            group.start(Start::AloneIfUnanswered);
            let pause = group.random.between(0, 3000);
            group.run(MILLISECOND * u32::try_from(pause).unwrap());
        }
        group.run(SECOND * 30);
        group.finish();
    });
}

#[test]
fn members_leave_one_after_the_other_and_lose_nothing() {
    for load in [None, Some(MILLISECOND * 20)] {
        simulate(|group| {
            let mut ids = group.form(5);
            group.random.shuffle(&mut ids);
            group.set_load(load);
            for id in &ids[..4] {
                group.run(SECOND);
                group.leave(*id);
                group.run(SECOND * 10);
            }
            group.finish();
        });
    }
}

#[test]
fn a_leave_without_loss_takes_milliseconds() {
    simulate(|group| {
        group.faults.loss_percent = 0;
        let ids = group.form(3);
        group.run(SECOND * 3);
        let before = group.now;
        group.leave(ids[1]);
        group.run_until_stable(SECOND * 2);
        assert!(group.now - before < SECOND + MILLISECOND * 200, "{:?}", group.now - before);
        group.finish();
    });
}

#[test]
fn two_members_leave_at_once() {
    simulate(|group| {
        let ids = group.form(5);
        group.set_load(Some(MILLISECOND * 20));
        group.run(SECOND);
        group.leave(ids[0]);
        group.leave(ids[2]);
        group.run(SECOND * 10);
        group.finish();
    });
}

#[test]
fn everybody_leaves_at_once() {
    simulate(|group| {
        let ids = group.form(3);
        group.run(SECOND);
        ids.iter().for_each(|id| group.leave(*id));
        group.run(SECOND * 60);
        assert!(group.members.is_empty(), "{}: {}", group.context(), group.describe());
        group.check();
    });
}

#[test]
fn a_member_leaves_while_the_others_gather() {
    simulate(|group| {
        let ids = group.form(4);
        group.set_load(Some(MILLISECOND * 20));
        group.run(SECOND);
        group.crash(ids[1]);
        let pause = group.random.between(4000, 7000);
        group.run(MILLISECOND * u32::try_from(pause).unwrap());
        group.leave(ids[0]);
        group.run(SECOND * 30);
        group.finish();
    });
}

#[test]
fn a_leave_right_after_a_partition_healed_ends() {
    simulate(|group| {
        let ids = group.form(4);
        group.network.split(&ids[..2], &ids[2..]);
        group.run(SECOND * 20);
        group.heal();
        let pause = group.random.between(0, 200);
        group.run(MILLISECOND * u32::try_from(pause).unwrap());
        group.leave(ids[3]);
        group.leave(ids[1]);
        group.run(SECOND * 40);
        group.finish();
        assert_eq!(group.members.len(), 2);
    });
}

#[test]
fn a_leaver_that_hears_nothing_ends_by_itself() {
    simulate(|group| {
        let ids = group.form(3);
        for other in &ids[1..] {
            group.network.cut(*other, ids[0]);
        }
        group.leave(ids[0]);
        group.run(SECOND * 40);
        assert!(!group.members.contains_key(&ids[0]), "{}", group.describe());
        group.finish();
    });
}

#[test]
fn the_group_goes_on_when_a_member_crashes() {
    for load in [None, Some(MILLISECOND * 20)] {
        simulate(|group| {
            let ids = group.form(4);
            group.set_load(load);
            group.run(SECOND);
            let victim = *group.random.choose(&ids).unwrap();
            group.crash(victim);
            group.run(SECOND * 20);
            group.finish();
        });
    }
}

#[test]
fn the_group_goes_on_when_the_representative_crashes() {
    simulate(|group| {
        let ids = group.form(4);
        group.set_load(Some(MILLISECOND * 20));
        group.run(SECOND);
        group.crash(ids[0]);
        group.run(SECOND * 20);
        group.finish();
    });
}

#[test]
fn a_second_crash_during_the_change_is_survived() {
    simulate(|group| {
        let ids = group.form(5);
        group.set_load(Some(MILLISECOND * 20));
        group.run(SECOND);
        group.crash(ids[2]);
        let pause = group.random.between(4500, 7000);
        group.run(MILLISECOND * u32::try_from(pause).unwrap());
        group.crash(ids[0]);
        group.run(SECOND * 40);
        group.finish();
    });
}

/// Runs until somebody is in this state, and for a random moment longer.
fn run_into(group: &mut super::Group, state: StateKind, limit: Duration) {
    let end = group.now + limit;
    while group.now < end && !group.members.values().any(|m| m.evs.state() == state) {
        group.run(Duration::from_micros(100));
    }
    let pause = group.random.between(0, 4000);
    group.run(Duration::from_micros(pause));
}

#[test]
fn a_crash_while_a_view_is_being_installed_is_survived() {
    for state in [StateKind::Gather, StateKind::Install] {
        simulate(|group| {
            let mut ids = group.form(4);
            group.set_load(Some(MILLISECOND * 20));
            group.run(SECOND);
            group.start(Start::JoinGroup);
            run_into(group, state, SECOND * 10);
            group.random.shuffle(&mut ids);
            group.crash(ids[0]);
            group.run(SECOND * 40);
            group.finish();
        });
    }
}

#[test]
fn what_a_crashed_sender_told_only_some_is_recovered_by_the_others() {
    simulate(|group| {
        let ids = group.form(4);
        group.set_load(Some(MILLISECOND * 30));
        group.run(SECOND);
        group.network.cut(ids[1], ids[3]);
        group.send_up_to(ids[1], 6);
        group.run(MILLISECOND * 20);
        group.crash_after_sending(ids[1]);
        group.run(SECOND * 20);
        group.finish();
    });
}

#[test]
fn every_split_of_five_heals() {
    for load in [None, Some(MILLISECOND * 30)] {
        simulate(|group| {
            let ids = group.form(5);
            let mask = group.random.between(1, 15);
            let side = |bit: bool| {
                let chosen = ids.iter().enumerate().filter(|(i, _)| (mask >> i & 1 == 1) == bit);
                chosen.map(|(_, id)| *id).collect::<Vec<_>>()
            };
            group.set_load(load);
            group.run(MILLISECOND * 500);
            group.network.split(&side(true), &side(false));
            let seconds = group.random.between(3, 25);
            group.run(SECOND * u32::try_from(seconds).unwrap());
            group.heal();
            group.run(SECOND * 10);
            group.finish();
        });
    }
}

#[test]
fn a_single_cut_link_costs_one_member_at_most_for_a_while() {
    for both_directions in [true, false] {
        simulate(|group| {
            let mut ids = group.form(3);
            group.random.shuffle(&mut ids);
            group.set_load(Some(MILLISECOND * 30));
            group.network.cut(ids[0], ids[1]);
            if both_directions {
                group.network.cut(ids[1], ids[0]);
            }
            group.run(SECOND * 25);
            group.finish();
        });
    }
}

#[test]
fn a_stopped_process_comes_back() {
    for seconds in [3, 6, 20] {
        simulate(|group| {
            let ids = group.form(4);
            group.set_load(Some(MILLISECOND * 30));
            group.run(SECOND);
            let victim = *group.random.choose(&ids).unwrap();
            group.stop(victim);
            group.run(SECOND * seconds);
            group.resume(victim);
            group.run(SECOND * 20);
            group.finish();
        });
    }
}

#[test]
fn a_restarted_member_waits_until_its_former_life_is_out() {
    simulate(|group| {
        let ids = group.form(3);
        let mut life = *group.random.choose(&ids).unwrap();
        for _ in 0..4 {
            let view = group.evs(life).view_id();
            group.crash(life);
            life = life.next_incarnation();
            let pause = group.random.between(0, 4000);
            group.run(MILLISECOND * u32::try_from(pause).unwrap());
            group.start_as(life, Start::JoinGroup, Some(view));
            group.run(SECOND * 25);
        }
        group.finish();
    });
}

/// The lowest member of all joins while the others expel a crashed one.
fn crash_while_the_lowest_joins(group: &mut super::Group) {
    let ids = group.form(4);
    group.set_load(Some(MILLISECOND * 10));
    group.run(SECOND);
    group.crash_after_sending(ids[2]);
    let pause = group.random.between(4800, 6500);
    group.run(MILLISECOND * u32::try_from(pause).unwrap());
    let lowest = crate::id::NodeId::version1(0, 1, [9; 6]);
    group.start_as(lowest, Start::JoinGroup, None);
    group.run(SECOND * 20);
}

#[test]
fn a_crash_while_the_lowest_member_joins_harms_nobody() {
    simulate(|group| {
        crash_while_the_lowest_joins(group);
        group.finish();
    });
}

#[test]
fn without_its_two_rules_the_lowest_member_would_harm_the_others() {
    let fails = |seed| {
        let mut group = super::Group::new(seed, Faults::default());
        group.config.imitates_servers = true;
        group.expects_failure = true;
        crash_while_the_lowest_joins(&mut group);
        group.failures.contains(&Failure::MessagesLeftOver)
    };
    assert!((0..40).any(fails));
}

#[test]
fn we_join_and_leave_a_group_of_servers_under_load() {
    simulate(|group| {
        group.form_servers(3);
        group.set_load(Some(MILLISECOND * 10));
        for _ in 0..4 {
            group.run(SECOND);
            let we = group.start(Start::JoinGroup);
            group.run(SECOND * 5);
            group.leave(we);
            group.run(SECOND * 5);
        }
        group.finish();
    });
}

#[test]
fn a_server_crashes_while_we_join_it() {
    simulate(|group| {
        let servers = group.form_servers(3);
        group.set_load(Some(MILLISECOND * 10));
        group.run(SECOND);
        group.crash_after_sending(servers[1]);
        let pause = group.random.between(4800, 6500);
        group.run(MILLISECOND * u32::try_from(pause).unwrap());
        group.start(Start::JoinGroup);
        group.run(SECOND * 20);
        group.finish();
    });
}

#[test]
fn a_mixed_group_survives_crashes_and_joins() {
    simulate(|group| {
        let servers = group.form_servers(4);
        group.start(Start::JoinGroup);
        group.set_load(Some(MILLISECOND * 20));
        group.run(SECOND * 2);
        group.crash(servers[0]);
        let pause = group.random.between(0, 7000);
        group.run(MILLISECOND * u32::try_from(pause).unwrap());
        group.start(Start::JoinGroup);
        group.run(SECOND * 10);
        group.crash(servers[2]);
        group.run(SECOND * 10);
        group.finish();
    });
}

#[test]
fn a_mixed_group_survives_a_partition() {
    simulate(|group| {
        let mut ids = group.form_servers(3);
        ids.push(group.start(Start::JoinGroup));
        group.run(SECOND * 3);
        group.random.shuffle(&mut ids);
        group.set_load(Some(MILLISECOND * 20));
        group.network.split(&ids[..2], &ids[2..]);
        let seconds = group.random.between(3, 25);
        group.run(SECOND * u32::try_from(seconds).unwrap());
        group.heal();
        group.run(SECOND * 10);
        group.finish();
    });
}

#[test]
fn windows_of_one_that_are_all_full_empty_again() {
    simulate(|group| {
        group.config.send_window = 1;
        group.config.user_send_window = 1;
        let ids = group.form(3);
        for id in &ids {
            group.send_up_to(*id, 200);
        }
        group.run(SECOND * 20);
        group.finish();
    });
}

#[test]
fn more_than_a_message_can_complete_is_caught_up_with() {
    simulate(|group| {
        group.config.send_window = 2000;
        group.config.user_send_window = 2000;
        let ids = group.form(3);
        group.network.cut(ids[0], ids[1]);
        group.send_up_to(ids[0], 700);
        group.run(MILLISECOND * 500);
        group.heal();
        group.run(SECOND * 10);
        group.finish();
    });
}
