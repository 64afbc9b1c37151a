use super::super::testing::{entry, in_primary, map, members, node};
use super::*;
use crate::id::ViewId;

fn own(entries: &[(u8, Entry)], here: &[u8]) -> Result<(), Unsendable> {
    check_state(&map(entries), &node(1), &members(here))
}

#[test]
fn a_consistent_state_may_go() {
    let primary = [(1, in_primary(1, 4, 2, 9)), (2, in_primary(1, 4, 5, 9)), (3, entry(1))];
    assert_eq!(own(&primary, &[1, 2]), Ok(()));
    assert_eq!(own(&[(1, entry(0))], &[1, 2]), Ok(()));
}

#[test]
fn a_state_without_ourselves_or_without_our_weight_stays_here() {
    assert_eq!(own(&[(2, entry(1))], &[1, 2]), Err(Unsendable::NotListed(node(1))));
    let weightless = Entry { weight: None, ..entry(0) };
    assert_eq!(own(&[(1, weightless)], &[1]), Err(Unsendable::Inconsistent(node(1))));
}

#[test]
fn a_primary_state_that_contradicts_itself_stays_here() {
    let mine = in_primary(1, 4, 2, 9);
    let marked = Entry { is_unknown: true, ..in_primary(1, 4, 5, 9) };
    for other in [in_primary(1, 4, 5, 8), in_primary(1, 3, 5, 9), marked] {
        let result = own(&[(1, mine), (2, other)], &[1, 2]);
        assert_eq!(result, Err(Unsendable::Inconsistent(node(2))));
        // Of who is not here, old entries are what is expected.
        assert_eq!(own(&[(1, mine), (2, other)], &[1]), Ok(()));
    }
    let lineage_from_file =
        Entry { last_primary: mine.last_primary.with_kind(ViewKind::NonPrimary), ..mine };
    assert_eq!(own(&[(1, lineage_from_file)], &[1]), Err(Unsendable::Inconsistent(node(1))));
}

#[test]
fn a_view_number_that_does_not_fit_stays_here() {
    let wide = Entry { last_primary: ViewId::new(ViewKind::Primary, node(2), 1 << 30), ..entry(1) };
    let result = own(&[(1, entry(1)), (2, wide)], &[1]);
    assert_eq!(result, Err(Unsendable::Inconsistent(node(2))));
}

#[test]
fn a_state_of_more_nodes_than_fit_stays_here() {
    let id = |n: usize| NodeId::version1(u64::try_from(n).unwrap(), 0, [9; 6]);
    let nodes: NodeMap = (0..=NODES_MAX).map(|n| (id(n), entry(1))).collect();
    let result = check_state(&nodes, &id(0), &members(&[]));
    assert_eq!(result, Err(Unsendable::TooMany(NODES_MAX + 1)));
}

fn exchange() -> Exchange {
    let mut exchange = Exchange::default();
    for n in [1, 2] {
        exchange.add(node(n), map(&[(n, entry(n))]), &members(&[1, 2])).unwrap();
    }
    exchange
}

fn install(entries: &[(u8, Entry)], has_new_weight: bool) -> Result<(), Unsendable> {
    check_install(&map(entries), &node(1), &members(&[1, 2]), &exchange(), has_new_weight)
}

#[test]
fn an_install_is_exactly_the_self_entries_of_the_members() {
    let (one, two) = ((1, entry(1)), (2, entry(2)));
    assert_eq!(install(&[one, two], false), Ok(()));
    assert_eq!(install(&[one], false), Err(Unsendable::NotListed(node(2))));
    assert_eq!(install(&[one, two, (3, entry(1))], false), Err(Unsendable::Listed(node(3))));
    let other = (2, Entry { to_seq: 0, ..entry(2) });
    assert_eq!(install(&[one, other], false), Err(Unsendable::Inconsistent(node(2))));
}

#[test]
fn an_install_may_change_our_own_weight_if_that_is_its_purpose() {
    let changed = [(1, entry(9)), (2, entry(2))];
    assert_eq!(install(&changed, true), Ok(()));
    assert_eq!(install(&changed, false), Err(Unsendable::Inconsistent(node(1))));
    let of_another = [(1, entry(1)), (2, entry(9))];
    assert_eq!(install(&of_another, true), Err(Unsendable::Inconsistent(node(2))));
}
