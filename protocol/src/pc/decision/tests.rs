use serde::Deserialize;

use super::super::testing::{JsonViewId, entry, in_primary, map, members, node, primary_id};
use super::*;

fn exchange(reports: &[(u8, NodeMap)]) -> Exchange {
    let sources: Vec<u8> = reports.iter().map(|(n, _)| *n).collect();
    let mut exchange = Exchange::default();
    for (n, report) in reports {
        exchange.add(node(*n), report.clone(), &members(&sources)).unwrap();
    }
    exchange
}

fn decide_with(reports: &[(u8, NodeMap)]) -> Result<Decision, Fatal> {
    let here: Vec<u8> = reports.iter().map(|(n, _)| *n).collect();
    let exchange = exchange(reports);
    let mut known = NodeMap::new();
    exchange.merge_into(&mut known, &node(here[0])).unwrap();
    decide(&exchange, &known, &members(&here))
}

/// Was in the primary view `(n, seq)` and lost it.
fn was_in(n: u8, seq: u32) -> Entry {
    Entry { is_primary: false, ..in_primary(n, seq, 0, 5) }
}

fn missing(seq: u32, nodes: &[u8]) -> Decision {
    let (view, missing) = (primary_id(1, seq), members(nodes));
    Decision::NonPrimary(Obstacle::Missing { view, missing })
}

#[test]
fn view_ids_are_ordered_as_the_vectors_say() {
    #[derive(Deserialize)]
    struct Vector {
        name: String,
        a: JsonViewId,
        b: JsonViewId,
        a_less_than_b: bool,
        b_less_than_a: bool,
    }
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../../tests/vectors/pc-viewid-order.json")).unwrap();
    assert!(vectors.len() >= 4);
    for Vector { name, a, b, a_less_than_b, b_less_than_a } in vectors {
        assert_eq!(a.id().is_less(&b.id()), a_less_than_b, "{name}");
        assert_eq!(b.id().is_less(&a.id()), b_less_than_a, "{name}");
    }
}

#[test]
fn one_member_from_a_running_primary_view_is_enough_to_carry_it_on() {
    let primary = map(&[(1, in_primary(1, 4, 2, 5)), (2, in_primary(1, 4, 1, 5))]);
    let decision = decide_with(&[(1, primary), (3, map(&[(3, entry(0))]))]);
    assert_eq!(decision, Ok(Decision::Continue));
}

#[test]
fn primary_members_that_disagree_are_fatal_for_whoever_sees_both() {
    for other in [in_primary(2, 4, 2, 5), in_primary(1, 4, 2, 6)] {
        let reports = [
            (1, map(&[(1, in_primary(1, 4, 2, 5))])),
            (2, map(&[(2, other)])),
            (3, map(&[(3, entry(1))])),
        ];
        assert_eq!(decide_with(&reports), Err(Fatal::InconsistentPrimaries));
    }
}

#[test]
fn a_group_of_strangers_does_not_become_primary() {
    let decision = decide_with(&[(1, map(&[(1, entry(1))])), (2, map(&[(2, entry(1))]))]);
    assert_eq!(decision, Ok(Decision::NonPrimary(Obstacle::NoLastPrimary)));
}

#[test]
fn all_of_the_last_primary_view_together_make_a_new_one() {
    let all = map(&[(1, was_in(1, 4)), (2, was_in(1, 4))]);
    assert_eq!(decide_with(&[(1, all.clone()), (2, all)]), Ok(Decision::Rebootstrap));
}

#[test]
fn a_member_of_weight_0_is_waited_for_like_any_other() {
    let guest = Entry { weight: Some(0), ..was_in(1, 4) };
    let all = map(&[(1, was_in(1, 4)), (2, was_in(1, 4)), (3, guest)]);
    let two = [(1, all.clone()), (2, all.clone())];
    assert_eq!(decide_with(&two), Ok(missing(4, &[3])));
    assert_eq!(decide_with(&[&two[..], &[(3, all)]].concat()), Ok(Decision::Rebootstrap));
}

#[test]
fn a_member_is_back_in_any_incarnation() {
    let all = map(&[(1, was_in(1, 4)), (2, was_in(1, 4))]);
    let mut exchange = Exchange::default();
    let second = node(2).next_incarnation();
    let here = BTreeSet::from([node(1), second]);
    let restored =
        Entry { last_primary: primary_id(1, 4).with_kind(ViewKind::NonPrimary), ..entry(1) };
    exchange.add(node(1), all.clone(), &here).unwrap();
    exchange.add(second, NodeMap::from([(second, restored)]), &here).unwrap();
    let mut known = all;
    exchange.merge_into(&mut known, &node(1)).unwrap();
    assert_eq!(decide(&exchange, &known, &here), Ok(Decision::Rebootstrap));
}

#[test]
fn an_extra_member_does_no_harm_to_the_rebootstrap() {
    let all = map(&[(1, was_in(1, 4)), (2, was_in(1, 4))]);
    let reports = [(1, all.clone()), (2, all), (9, map(&[(9, entry(0))]))];
    assert_eq!(decide_with(&reports), Ok(Decision::Rebootstrap));
}

#[test]
fn only_the_greatest_last_primary_view_counts() {
    let old = map(&[(1, was_in(1, 4)), (2, was_in(1, 4)), (3, was_in(1, 4))]);
    let new = map(&[(1, was_in(1, 6)), (2, was_in(1, 6)), (3, was_in(1, 4))]);
    assert_eq!(decide_with(&[(1, new.clone()), (3, old)]), Ok(missing(6, &[2])));
    assert_eq!(decide_with(&[(1, new.clone()), (2, new)]), Ok(Decision::Rebootstrap));
}

#[test]
fn an_evicted_member_is_not_waited_for() {
    let gone = Entry { is_evicted: true, ..was_in(1, 4) };
    let report = map(&[(1, was_in(1, 4)), (2, gone)]);
    assert_eq!(decide_with(&[(1, report)]), Ok(Decision::Rebootstrap));
}

#[test]
fn if_all_of_the_last_primary_view_are_evicted_whoever_is_here_may_start() {
    let gone = Entry { is_evicted: true, ..was_in(1, 4) };
    assert_eq!(decide_with(&[(3, map(&[(1, gone), (3, entry(1))]))]), Ok(Decision::Rebootstrap));
}

#[test]
fn somebody_absent_who_may_be_primary_elsewhere_blocks_evicted_or_not() {
    let unknown = Entry { is_unknown: true, is_evicted: true, ..was_in(1, 4) };
    let report = map(&[(1, was_in(1, 4)), (2, unknown)]);
    let blocked = Decision::NonPrimary(Obstacle::Unknown(node(2)));
    assert_eq!(decide_with(&[(1, report.clone())]), Ok(blocked));
    let back = [(1, report), (2, map(&[(2, was_in(1, 4))]))];
    assert_eq!(decide_with(&back), Ok(Decision::Rebootstrap));
}

#[test]
fn views_read_from_files_are_no_last_primary_views() {
    let from_file =
        Entry { last_primary: primary_id(1, 9).with_kind(ViewKind::NonPrimary), ..entry(1) };
    let reports = [(1, map(&[(1, from_file)])), (2, map(&[(2, from_file)]))];
    assert_eq!(decide_with(&reports), Ok(Decision::NonPrimary(Obstacle::NoLastPrimary)));
}

#[test]
fn of_two_last_views_with_one_number_the_older_uuid_is_the_greater() {
    // Higher numbers are older UUIDs in these tests.
    let reports = [map(&[(1, was_in(1, 4))]), map(&[(2, was_in(2, 4))])];
    let last = LastPrimary::find(reports.iter()).unwrap();
    assert_eq!(last, LastPrimary { view: primary_id(2, 4), nodes: members(&[2]) });
}

fn saved(seq: u32, numbers: &[u8]) -> SavedView {
    let members = numbers.iter().map(|&n| (node(n), crate::id::Segment(0))).collect();
    SavedView { me: node(2), view: primary_id(2, seq), is_bootstrap: false, members }
}

#[test]
fn what_was_saved_about_the_last_primary_view_is_remembered_when_the_others_forgot_it() {
    // Node 2 was in (2, 6) with node 3, told node 1 of it, and came back knowing nothing.
    let stale = was_in(1, 4);
    let told = map(&[(1, stale), (2, was_in(2, 6)), (3, stale)]);
    let restored =
        Entry { last_primary: primary_id(2, 6).with_kind(ViewKind::NonPrimary), ..entry(0) };
    let here = exchange(&[(1, told), (2, map(&[(2, restored)]))]);
    let known = here.reports().next().unwrap().1.clone();
    assert_eq!(decide(&here, &known, &members(&[1, 2])), Ok(Decision::Rebootstrap));
    let forgotten = Some((primary_id(2, 6), members(&[3])));
    assert_eq!(Memory::new(Some(&saved(6, &[2, 3]))).add(&here, &members(&[1, 2])), forgotten);
    assert_eq!(Memory::default().add(&here, &members(&[1, 2])), None);
}

#[test]
fn what_was_heard_earlier_about_the_last_primary_view_is_remembered_too() {
    let mut memory = Memory::default();
    let full = map(&[(2, was_in(2, 6)), (3, was_in(2, 6))]);
    let first = exchange(&[(1, map(&[(1, entry(1))])), (2, full)]);
    let missing = Some((primary_id(2, 6), members(&[3])));
    assert_eq!(memory.add(&first, &members(&[1, 2])), missing);
    let later =
        exchange(&[(1, map(&[(1, entry(1)), (2, was_in(2, 6))])), (2, map(&[(2, entry(1))]))]);
    assert_eq!(memory.add(&later, &members(&[1, 2])), missing);
}

#[test]
fn a_saved_view_of_another_life_of_the_group_does_not_count() {
    let all = map(&[(1, was_in(1, 4)), (2, was_in(1, 4))]);
    let here = exchange(&[(1, all.clone()), (2, all)]);
    for seq in [3, 9] {
        let mut memory = Memory::new(Some(&saved(seq, &[2, 3])));
        assert_eq!(memory.add(&here, &members(&[1, 2])), None);
    }
}

#[test]
fn an_evicted_member_may_be_forgotten() {
    let gone = Entry { is_evicted: true, ..was_in(2, 6) };
    let here = exchange(&[(2, map(&[(2, was_in(2, 6)), (3, gone)]))]);
    assert_eq!(Memory::new(Some(&saved(6, &[2, 3]))).add(&here, &members(&[2])), None);
}
