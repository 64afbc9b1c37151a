use std::collections::BTreeMap;

use super::super::testing::{entry, in_primary, map, members, node, primary_id};
use super::*;
use crate::id::Segment;
use crate::pc::Entry;

fn saved(numbers: &[u8]) -> SavedView {
    let members: BTreeMap<_, _> = numbers.iter().map(|&n| (node(n), Segment(0))).collect();
    SavedView { me: node(1), view: primary_id(1, 7), is_bootstrap: false, members }
}

fn from_file(seq: u32) -> Entry {
    Entry { last_primary: primary_id(1, seq).with_kind(ViewKind::NonPrimary), ..entry(1) }
}

#[test]
fn exactly_the_members_of_the_newest_saved_view_recover() {
    let known = map(&[(1, from_file(7)), (2, from_file(7))]);
    assert_eq!(assess(&saved(&[1, 2]), &known, &members(&[1, 2])), Recovery::Possible);
}

#[test]
fn members_are_compared_without_their_incarnation() {
    let again = node(2).next_incarnation();
    let known = NodeMap::from([(node(1), from_file(7)), (again, from_file(7))]);
    let here = BTreeSet::from([node(1), again]);
    assert_eq!(assess(&saved(&[1, 2]), &known, &here), Recovery::Possible);
}

#[test]
fn a_missing_member_and_an_extra_one_prevent_the_recovery_alike() {
    let known = map(&[(1, from_file(7)), (2, from_file(7)), (3, entry(0))]);
    assert_eq!(assess(&saved(&[1, 2]), &known, &members(&[1])), Recovery::NotNow);
    assert_eq!(assess(&saved(&[1, 2]), &known, &members(&[1, 2, 3])), Recovery::NotNow);
    assert_eq!(assess(&saved(&[1, 2]), &known, &members(&[1, 3])), Recovery::NotNow);
}

#[test]
fn only_who_has_the_newest_saved_view_promotes() {
    let known = map(&[(1, from_file(7)), (2, from_file(8))]);
    assert_eq!(assess(&saved(&[1, 2]), &known, &members(&[1, 2])), Recovery::NotNow);
}

#[test]
fn a_survivor_of_a_primary_view_leaves_the_matter_to_the_rebootstrap() {
    let survivor = Entry { is_primary: false, ..in_primary(1, 7, 0, 5) };
    let known = map(&[(1, from_file(7)), (2, survivor)]);
    let refused = Recovery::MixedHistory(node(2));
    assert_eq!(assess(&saved(&[1, 2]), &known, &members(&[1, 2])), refused);
}

#[test]
fn a_member_of_the_saved_view_without_history_is_mixed_history() {
    let known = map(&[(1, from_file(7)), (2, entry(1))]);
    let refused = Recovery::MixedHistory(node(2));
    assert_eq!(assess(&saved(&[1, 2]), &known, &members(&[1, 2])), refused);
}
