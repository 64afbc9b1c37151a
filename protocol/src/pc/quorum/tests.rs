use serde::Deserialize;
use std::collections::BTreeMap;

use super::super::testing::{entry, map, members, node, regular, transitional};
use super::*;
use crate::id::{Segment, ViewId, ViewKind};
use crate::pc::Entry;

#[derive(Deserialize)]
struct Vector {
    name: String,
    weights: BTreeMap<char, u8>,
    members: Vec<char>,
    left: Vec<char>,
    partitioned: Vec<char>,
    #[serde(rename = "M")]
    m: u32,
    #[serde(rename = "L")]
    l: u32,
    #[serde(rename = "T")]
    t: u32,
    quorum: bool,
    split_brain: bool,
}

fn named(names: &[char]) -> BTreeSet<NodeId> {
    names.iter().map(|&name| node(name as u8)).collect()
}

fn view(members: BTreeSet<NodeId>, left: BTreeSet<NodeId>) -> View {
    let mut view = View::new(ViewId::new(ViewKind::Transitional, node(1), 1), 1, members);
    view.left = left;
    view
}

#[test]
fn the_table_of_quorum_cases_comes_out_right() {
    let vectors: Vec<Vector> =
        serde_json::from_str(include_str!("../../../tests/vectors/pc-quorum.json")).unwrap();
    assert_eq!(vectors.len(), 16);
    for vector in vectors {
        let weights = vector.weights.iter();
        let known = weights.map(|(&name, &weight)| (node(name as u8), entry(weight))).collect();
        let reference: BTreeSet<_> =
            [&vector.members, &vector.left, &vector.partitioned].into_iter().flatten().collect();
        let reference = reference.into_iter().map(|&name| node(name as u8)).collect();
        let view = view(named(&vector.members), named(&vector.left));
        let tally = Tally::count(&view, &reference, &known);
        let expected = Tally { members: vector.m, left: vector.l, total: vector.t };
        assert_eq!(tally, expected, "{}", vector.name);
        assert_eq!(tally.has_quorum(), vector.quorum, "{}", vector.name);
        assert_eq!(tally.is_split(), vector.split_brain, "{}", vector.name);
    }
}

/// What became of a member of the reference view.
#[derive(Clone, Copy)]
enum Fate {
    Stays,
    Leaves,
    Vanishes,
    Joins,
}

/// Every group of up to five members with weights up to 3, and everything that can happen to each.
fn for_each_case(weights: u8, sizes: usize, mut check: impl FnMut(&[(u8, Fate)])) {
    let choices: Vec<_> = (0..=weights)
        .flat_map(|weight| [Fate::Stays, Fate::Leaves, Fate::Vanishes].map(|fate| (weight, fate)))
        .collect();
    for size in 1..=sizes {
        for mut number in 0..choices.len().pow(u32::try_from(size).unwrap()) {
            let case: Vec<_> = (0..size)
                .map(|_| {
                    let choice = choices[number % choices.len()];
                    number /= choices.len();
                    choice
                })
                .collect();
            check(&case);
        }
    }
}

fn tally(case: &[(u8, Fate)]) -> Tally {
    let (mut here, mut left, mut reference) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    let mut known = NodeMap::new();
    for (&(weight, fate), n) in case.iter().zip(1..) {
        known.insert(node(n), entry(weight));
        match fate {
            Fate::Stays => here.insert(node(n)) && reference.insert(node(n)),
            Fate::Leaves => left.insert(node(n)) && reference.insert(node(n)),
            Fate::Vanishes => reference.insert(node(n)),
            Fate::Joins => here.insert(node(n)),
        };
    }
    Tally::count(&view(here, left), &reference, &known)
}

#[test]
fn survivors_keep_the_quorum_if_and_only_if_they_outweigh_those_that_vanished() {
    for_each_case(3, 4, |case| {
        let sum = |wanted: fn(Fate) -> bool| -> u32 {
            let chosen = case.iter().filter(|(_, fate)| wanted(*fate));
            chosen.map(|(weight, _)| u32::from(*weight)).sum()
        };
        let stay = sum(|fate| matches!(fate, Fate::Stays));
        let vanished = sum(|fate| matches!(fate, Fate::Vanishes));
        assert_eq!(tally(case).has_quorum(), stay > vanished);
        assert_eq!(tally(case).is_split(), stay == vanished);
    });
}

#[test]
fn a_member_of_weight_0_changes_no_decision_of_the_others() {
    for_each_case(3, 4, |case| {
        let without = tally(case);
        for fate in [Fate::Stays, Fate::Leaves, Fate::Vanishes, Fate::Joins] {
            let with = tally(&[case, &[(0, fate)]].concat());
            assert_eq!(with, without);
        }
    });
}

#[test]
fn one_member_without_weight_makes_everybody_count_as_one() {
    let view = transitional(&regular(1, &[1, 2, 3]), &[1, 2], &[]);
    let mut known = map(&[(1, entry(0)), (2, entry(0)), (3, entry(9))]);
    let reference = members(&[1, 2, 3]);
    let by_weight = Tally { members: 0, left: 0, total: 9 };
    assert_eq!(Tally::count(&view, &reference, &known), by_weight);
    known.insert(node(3), Entry { weight: None, ..Entry::new(0, Segment(0)) });
    let by_heads = Tally { members: 2, left: 0, total: 3 };
    assert_eq!(Tally::count(&view, &reference, &known), by_heads);
}

#[test]
fn a_node_that_is_not_involved_does_not_switch_to_counting_heads() {
    let view = transitional(&regular(1, &[1, 2]), &[1, 2], &[]);
    let stranger = Entry { weight: None, ..entry(0) };
    let known = map(&[(1, entry(3)), (2, entry(2)), (9, stranger)]);
    let expected = Tally { members: 5, left: 0, total: 5 };
    assert_eq!(Tally::count(&view, &members(&[1, 2]), &known), expected);
}

#[test]
fn nobody_at_all_is_no_quorum() {
    let view = view(members(&[1]), BTreeSet::new());
    let tally = Tally::count(&view, &BTreeSet::new(), &map(&[(1, entry(1))]));
    assert!(!tally.has_quorum());
    assert!(tally.is_split());
}
