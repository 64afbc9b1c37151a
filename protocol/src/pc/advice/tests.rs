use std::collections::BTreeMap;

use super::super::testing::{entry, in_primary, map, members, node, primary_id};
use super::*;
use crate::id::Segment;
use crate::pc::{Entry, NodeMap};

fn saved() -> SavedView {
    let members: BTreeMap<_, _> = [1, 2].into_iter().map(|n| (node(n), Segment(0))).collect();
    SavedView { me: node(1), view: primary_id(1, 7), is_bootstrap: false, members }
}

fn from_file(seq: u32) -> Entry {
    Entry { last_primary: primary_id(1, seq).with_kind(ViewKind::NonPrimary), ..entry(0) }
}

fn reason(
    standing: Standing,
    restored: Option<&SavedView>,
    reports: &[(u8, NodeMap)],
) -> Option<LeaveReason> {
    let here = members(&reports.iter().map(|(n, _)| *n).collect::<Vec<_>>());
    let mut exchange = Exchange::default();
    for (n, report) in reports {
        exchange.add(node(*n), report.clone(), &here).unwrap();
    }
    let case = NotPrimary { me: &node(1), standing, restored, members: &here, exchange: &exchange };
    case.reason_to_leave()
}

fn strangers() -> [(u8, NodeMap); 2] {
    [(1, map(&[(1, from_file(7))])), (3, map(&[(3, in_primary(3, 9, 0, 0))]))]
}

#[test]
fn a_fresh_member_leaves_a_group_that_is_not_primary() {
    let reports = [(1, map(&[(1, entry(0))])), (2, map(&[(2, entry(1))]))];
    assert_eq!(reason(Standing::default(), None, &reports), Some(LeaveReason::Fresh));
    assert_eq!(reason(Standing::default(), None, &reports[..1]), Some(LeaveReason::Fresh));
}

#[test]
fn who_was_primary_in_this_life_stays() {
    let standing = Standing { was_primary: true, ..Standing::default() };
    assert_eq!(reason(standing, None, &strangers()), None);
}

#[test]
fn who_missed_an_install_may_be_waited_for_and_stays() {
    let standing = Standing { missed_install: true, ..Standing::default() };
    assert_eq!(reason(standing, None, &strangers()), None);
}

#[test]
fn a_restored_member_stays_alone() {
    assert_eq!(reason(Standing::default(), Some(&saved()), &strangers()[..1]), None);
}

#[test]
fn a_restored_member_stays_where_its_old_self_is_waited_for() {
    let old_self = Entry { is_primary: false, ..in_primary(1, 7, 0, 0) };
    let survivor = map(&[(1, old_self), (2, old_self)]);
    let reports = [(1, map(&[(1, from_file(7))])), (2, survivor)];
    assert_eq!(reason(Standing::default(), Some(&saved()), &reports), None);
}

#[test]
fn its_own_report_is_no_evidence_that_others_wait_for_it() {
    let old_self = Entry { is_primary: false, ..in_primary(1, 12, 0, 0) };
    let reports = [(1, map(&[(1, old_self)])), strangers()[1].clone()];
    let expected = Some(LeaveReason::ForeignSavedView);
    assert_eq!(reason(Standing::default(), Some(&saved()), &reports), expected);
}

#[test]
fn a_restored_member_stays_with_others_of_the_same_saved_view() {
    let reports = [(1, map(&[(1, from_file(7))])), (2, map(&[(2, from_file(7))]))];
    assert_eq!(reason(Standing::default(), Some(&saved()), &reports), None);
}

#[test]
fn a_restored_member_leaves_strangers_and_those_of_another_saved_view() {
    let expected = Some(LeaveReason::ForeignSavedView);
    assert_eq!(reason(Standing::default(), Some(&saved()), &strangers()), expected);
    let reports = [(1, map(&[(1, from_file(7))])), (2, map(&[(2, from_file(8))]))];
    assert_eq!(reason(Standing::default(), Some(&saved()), &reports), expected);
}

#[test]
fn a_lost_member_restarts_only_if_nobody_can_hold_it_for_primary() {
    let lost = |is_mid_exchange| PrimaryLost { saved: saved(), is_mid_exchange };
    assert_eq!(lost(false).remedy(true), Remedy::RestartFromSavedView);
    assert_eq!(lost(false).remedy(false), Remedy::Stay);
    assert_eq!(lost(true).remedy(true), Remedy::Stay);
    assert_eq!(lost(true).remedy(false), Remedy::Stay);
}
