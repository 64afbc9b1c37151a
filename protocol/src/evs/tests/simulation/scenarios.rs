//! The scenarios of spec 02 §11.3.

use super::simulate;
use crate::evs::{Start, StateKind};
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
            group.run_until_stable(SECOND * 60);
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
