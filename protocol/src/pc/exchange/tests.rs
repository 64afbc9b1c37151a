use super::super::testing::{entry, in_primary, map, members, node};
use super::*;
use crate::id::Segment;

fn exchange(reports: &[(u8, NodeMap)]) -> Exchange {
    let sources: Vec<u8> = reports.iter().map(|(n, _)| *n).collect();
    let mut exchange = Exchange::default();
    for (n, report) in reports {
        exchange.add(node(*n), report.clone(), &members(&sources)).unwrap();
    }
    exchange
}

#[test]
fn a_report_that_does_not_list_its_source_is_fatal() {
    let mut exchange = Exchange::default();
    let result = exchange.add(node(1), map(&[(2, entry(1))]), &members(&[1, 2]));
    assert_eq!(result, Err(Fatal::NotListed { source_node: node(1), node: node(1) }));
}

#[test]
fn a_second_report_and_one_of_a_stranger_are_fatal() {
    let mut exchange = exchange(&[(1, map(&[(1, entry(1))])), (2, map(&[(2, entry(1))]))]);
    for n in [1, 3] {
        let result = exchange.add(node(n), map(&[(n, entry(1))]), &members(&[1, 2]));
        assert_eq!(result, Err(Fatal::ExtraState { source_node: node(n) }));
    }
}

#[test]
fn the_exchange_is_complete_when_every_member_has_reported() {
    let exchange = exchange(&[(1, map(&[(1, entry(1))])), (3, map(&[(3, entry(1))]))]);
    assert!(exchange.is_complete(&members(&[1, 3])));
    assert!(!exchange.is_complete(&members(&[1, 2, 3])));
}

#[test]
fn the_install_map_is_what_each_says_about_itself() {
    let exchange = exchange(&[
        (1, map(&[(1, entry(1)), (2, entry(9)), (7, entry(3))])),
        (2, map(&[(2, entry(2))])),
    ]);
    assert_eq!(exchange.install_map(), map(&[(1, entry(1)), (2, entry(2))]));
}

#[test]
fn merging_adds_the_unknown_and_leaves_the_known_alone_but_for_weights() {
    let mut known = map(&[(1, in_primary(1, 4, 7, 9)), (2, in_primary(1, 4, 3, 9))]);
    let before = known.clone();
    let changed = Entry { weight: Some(5), last_seq: 8, ..entry(1) };
    let exchange = exchange(&[
        (1, map(&[(1, changed)])),
        (3, map(&[(2, changed), (3, entry(0)), (9, changed)])),
    ]);
    exchange.merge_into(&mut known, &node(1)).unwrap();
    // A node's own word about its weight counts, not that of others; nothing else is refreshed.
    assert_eq!(known[&node(1)], Entry { weight: Some(5), ..before[&node(1)] });
    assert_eq!(known[&node(2)], before[&node(2)]);
    assert_eq!(known[&node(3)], entry(0));
    assert_eq!(known[&node(9)], changed);
}

#[test]
fn a_missing_weight_is_filled_from_any_report() {
    let mut known = map(&[(1, entry(1)), (2, Entry { weight: None, ..entry(0) })]);
    let exchange = exchange(&[(3, map(&[(2, entry(4)), (3, entry(0))]))]);
    exchange.merge_into(&mut known, &node(1)).unwrap();
    assert_eq!(known[&node(2)].weight, Some(4));
}

#[test]
fn of_a_new_node_the_first_report_in_uuid_order_wins() {
    let mut known = map(&[(1, entry(1))]);
    let exchange = exchange(&[
        (5, map(&[(5, entry(1)), (9, entry(3))])),
        (2, map(&[(2, entry(1)), (9, entry(4))])),
    ]);
    exchange.merge_into(&mut known, &node(1)).unwrap();
    assert_eq!(known[&node(9)].weight, Some(4));
}

#[test]
fn marks_of_uncertainty_spread_among_non_primary_members_but_never_to_oneself() {
    let marked = Entry { is_unknown: true, ..entry(1) };
    let exchange = exchange(&[(2, map(&[(1, marked), (2, entry(1)), (3, marked)]))]);
    let mut known = map(&[(1, entry(1)), (3, entry(1))]);
    exchange.merge_into(&mut known, &node(1)).unwrap();
    assert!(!known[&node(1)].is_unknown);
    assert!(known[&node(3)].is_unknown);

    let mut known = map(&[(1, in_primary(1, 4, 0, 0)), (3, entry(1))]);
    exchange.merge_into(&mut known, &node(1)).unwrap();
    assert!(!known[&node(3)].is_unknown);
}

#[test]
fn more_nodes_than_a_message_can_list_are_not_remembered() {
    let id = |n: usize| NodeId::version1(u64::try_from(n).unwrap(), 0, [9; 6]);
    let mut known: NodeMap = (0..NODES_MAX).map(|n| (id(n), entry(1))).collect();
    let exchange = exchange(&[(1, map(&[(1, entry(1))]))]);
    assert_eq!(exchange.merge_into(&mut known, &node(2)), Err(Fatal::TooManyNodes));
}

#[test]
fn members_of_our_primary_view_must_know_what_we_know() {
    let known = map(&[(1, in_primary(1, 4, 7, 9)), (2, in_primary(1, 4, 3, 9))]);
    let check = |report: NodeMap| {
        let exchange = exchange(&[(1, known.clone()), (2, report)]);
        exchange.check(&known, &node(1), &members(&[1, 2]))
    };
    assert_eq!(check(known.clone()), Ok(()));
    for wrong in [
        in_primary(1, 4, 8, 9),
        in_primary(1, 4, 7, 8),
        in_primary(1, 3, 7, 9),
        Entry { segment: Segment(1), ..in_primary(1, 4, 7, 9) },
        Entry { weight: Some(2), ..in_primary(1, 4, 7, 9) },
        Entry { is_unknown: true, ..in_primary(1, 4, 7, 9) },
    ] {
        let mut report = known.clone();
        report.insert(node(1), wrong);
        let mismatch = Fatal::StateMismatch { source_node: node(2), node: node(1) };
        assert_eq!(check(report), Err(mismatch), "{wrong:?}");
    }
    let mut evicted = known.clone();
    evicted.insert(node(1), Entry { is_evicted: true, ..in_primary(1, 4, 7, 9) });
    assert_eq!(check(evicted), Ok(()));
}

#[test]
fn what_non_primary_members_say_and_what_is_said_about_the_absent_is_not_compared() {
    let known = map(&[(1, in_primary(1, 4, 7, 9)), (2, entry(1)), (3, in_primary(1, 4, 1, 5))]);
    let stale = map(&[(1, in_primary(1, 2, 0, 0)), (2, entry(1))]);
    let by_joiner = exchange(&[(1, known.clone()), (2, stale)]);
    assert_eq!(by_joiner.check(&known, &node(1), &members(&[1, 2])), Ok(()));

    let mut report = known.clone();
    report.insert(node(3), in_primary(1, 4, 9, 9));
    let about_absent = exchange(&[(1, report)]);
    assert_eq!(about_absent.check(&known, &node(1), &members(&[1])), Ok(()));
}

#[test]
fn a_member_that_is_not_primary_compares_nothing() {
    let known = map(&[(1, entry(1))]);
    let exchange = exchange(&[(1, known.clone()), (2, map(&[(2, in_primary(2, 4, 7, 9))]))]);
    assert_eq!(exchange.check(&known, &node(1), &members(&[1, 2])), Ok(()));
}
