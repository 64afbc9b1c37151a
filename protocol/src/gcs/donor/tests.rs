use super::names::{NameProblem, check_donor_names};
use super::suitability::{Suitability, explain_donor};
use super::*;
use crate::gcs::name::Name;
use crate::gcs::number::Protocols;
use crate::id::Segment;
use Refusal::{Busy, NamesRequester, Unreachable};
use Status::{Donor, Joined, Joiner, Primary, Synced};

fn node(number: u8) -> NodeId {
    NodeId::from_bytes([number; 16])
}

fn member(number: u8, name: &str, status: Status) -> Member {
    let protocols = Protocols { gcs: 5, repl: 11, appl: 4 };
    Member { name: Name::from(name), status, protocols, ..Member::new(node(number), Segment(0)) }
}

fn arbitrator(number: u8, name: &str, status: Status) -> Member {
    Member { is_stateless: true, ..member(number, name, status) }
}

/// The group of a requester "backup" with UUID 0 and the given nodes.
fn group(nodes: &[Member]) -> Vec<Member> {
    let requester = [arbitrator(0, "backup", Primary)];
    requester.into_iter().chain(nodes.iter().cloned()).collect()
}

fn choose(nodes: &[Member], donors: &str) -> Result<u8, Refusal> {
    choose_by(nodes, donors, Rules::From23)
}

fn choose_by(nodes: &[Member], donors: &str, rules: Rules) -> Result<u8, Refusal> {
    let donor = choose_donor(&group(nodes), &node(0), donors.as_bytes(), rules);
    donor.map(|donor| donor.as_bytes()[0])
}

#[test]
fn with_two_nodes_the_other_one_is_donor_once_it_is_synced() {
    let by_status = [(Synced, Ok(1)), (Joined, Err(Busy)), (Donor, Err(Busy)), (Joiner, Err(Busy))];
    for (status, expected) in by_status {
        assert_eq!(choose(&[member(1, "n1", status)], ""), expected, "{status}");
        assert_eq!(choose(&[member(1, "n1", status)], "n1"), expected, "{status}");
    }
    assert_eq!(choose(&[member(1, "n1", Primary)], ""), Err(Busy));
    assert_eq!(choose(&[member(1, "n1", Primary)], "n1"), Err(Unreachable));
    assert_eq!(choose(&[], ""), Err(Busy));
}

#[test]
fn with_three_nodes_and_no_name_the_first_synced_one_of_the_segment_is_donor() {
    let both = [member(1, "n1", Synced), member(2, "n2", Synced)];
    assert_eq!(choose(&both, ""), Ok(1));
    let second = [member(1, "n1", Donor), member(2, "n2", Synced)];
    assert_eq!(choose(&second, ""), Ok(2));
    assert_eq!(choose(&[member(1, "n1", Donor), member(2, "n2", Joined)], ""), Err(Busy));
}

#[test]
fn a_named_donor_that_is_busy_is_waited_for() {
    let nodes = [member(1, "n1", Donor), member(2, "n2", Synced)];
    assert_eq!(choose(&nodes, "n1"), Err(Busy));
    assert_eq!(choose(&nodes, "n1,"), Err(Busy));
    assert_eq!(choose(&nodes, "n1,n2"), Ok(2));
    assert_eq!(choose(&nodes, "n1,absent"), Err(Busy));
    assert_eq!(choose(&nodes, "absent,n1"), Err(Busy));
}

#[test]
fn an_absent_donor_is_replaced_only_if_the_list_ends_openly() {
    let nodes = [member(1, "n1", Synced)];
    assert_eq!(choose(&nodes, "absent"), Err(Unreachable));
    assert_eq!(choose(&nodes, "absent,"), Ok(1));
    assert_eq!(choose(&nodes, ",absent"), Ok(1));
}

#[test]
fn a_dangling_comma_of_a_data_node_means_do_not_wait() {
    let group = group(&[member(1, "n1", Donor), member(2, "n2", Synced)]);
    let selection = Selection::new(&group, &node(0), Rules::From23);
    assert_eq!(selection.for_snapshot(b"n1,", 1), Err(Busy));
    assert_eq!(selection.for_snapshot(b"n1,", 2), Ok(node(2)));
}

#[test]
fn names_match_by_prefix_in_uuid_order() {
    let nodes = [member(1, "pxc-10", Synced), member(2, "pxc-1", Synced)];
    assert_eq!(choose(&nodes, "pxc-1"), Ok(1));
}

#[test]
fn a_requester_that_is_named_itself_gets_nothing() {
    // Without data it is passed over, until 26.4.18 it is found.
    assert_eq!(choose_by(&[], "back", Rules::From23), Err(Unreachable));
    assert_eq!(choose_by(&[], "back", Rules::Until18), Err(NamesRequester));
    let joiner = [member(1, "n1", Primary), member(2, "n1-b", Synced)];
    let donor = choose_donor(&joiner, &node(1), b"n1", Rules::From23);
    assert_eq!(donor, Err(NamesRequester));
}

#[test]
fn a_named_arbitrator_is_no_donor() {
    let nodes = [arbitrator(1, "garb", Synced), member(2, "garb-data", Synced)];
    assert_eq!(choose(&nodes[..1], "garb"), Err(Unreachable));
    assert_eq!(choose(&nodes, "garb"), Ok(2));
    assert_eq!(choose_by(&nodes, "garb", Rules::Until18), Ok(1));
}

#[test]
fn another_segment_helps_out_only_without_hope_in_our_own() {
    let far = |number, name, status| Member { segment: Segment(1), ..member(number, name, status) };
    let nodes = [far(1, "f1", Synced), far(2, "f2", Synced)];
    assert_eq!(choose(&nodes, ""), Ok(2));
    let hope = [far(1, "f1", Synced), member(2, "n2", Donor)];
    assert_eq!(choose(&hope, ""), Err(Busy));
    let none = [far(1, "f1", Synced), member(2, "n2", Primary)];
    assert_eq!(choose(&none, ""), Ok(1));
    let near = [far(1, "f1", Synced), member(2, "n2", Synced)];
    assert_eq!(choose(&near, ""), Ok(2));
}

#[test]
fn until_26_4_18_an_arbitrator_in_our_segment_blocks_other_segments() {
    let far = Member { segment: Segment(1), ..member(2, "f2", Synced) };
    let nodes = [arbitrator(1, "garb", Synced), far];
    assert_eq!(choose_by(&nodes, "", Rules::From23), Ok(2));
    assert_eq!(choose_by(&nodes, "", Rules::Until18), Err(Busy));
    let choice = explain_donor(&group(&nodes), &node(0), b"");
    assert_eq!((choice.result, choice.is_certain), (Ok(node(2)), false));
}

#[test]
fn the_rules_are_judged_by_the_data_nodes_protocols() {
    let old = Protocols { gcs: 3, repl: 11, appl: 4 };
    let young = [member(1, "n1", Synced)];
    assert_eq!(Rules::of(&group(&young)), Rules::From23);
    let mixed = [member(1, "n1", Synced), Member { protocols: old, ..member(2, "n2", Synced) }];
    assert_eq!(Rules::of(&group(&mixed)), Rules::Until18);
}

const STATE: StateId = StateId::from_bytes([0xaa; 16]);

fn for_missing(nodes: &[Member], donors: &str, seqno: i64, act_id: i64) -> Option<u8> {
    let group = group(nodes);
    let selection = Selection::new(&group, &node(0), Rules::From23);
    let position = Position { form: 3, state: STATE, seqno: Seqno(seqno) };
    let at = GroupPosition { state: STATE, act_id: Seqno(act_id) };
    let donor = selection.for_missing_writes(donors.as_bytes(), position, at);
    donor.map(|donor| donor.as_bytes()[0])
}

fn caching(number: u8, name: &str, cached: i64) -> Member {
    Member { cached: Seqno(cached), ..member(number, name, Synced) }
}

#[test]
fn missing_writes_come_from_the_shortest_cache_that_has_them() {
    let nodes = [caching(1, "n1", 10), caching(2, "n2", 50), caching(3, "n3", 50)];
    assert_eq!(for_missing(&nodes, "", 60, 100), Some(3));
    assert_eq!(for_missing(&nodes, "", 49, 100), Some(3));
    assert_eq!(for_missing(&nodes, "", 48, 100), Some(1));
    assert_eq!(for_missing(&nodes, "n1", 60, 100), Some(1));
    assert_eq!(for_missing(&nodes, "n1,n2", 60, 100), Some(2));
    assert_eq!(for_missing(&nodes, "", 9, 100), None);
}

#[test]
fn a_position_that_caches_may_lose_meanwhile_is_not_safe() {
    let nodes = [caching(1, "n1", 0)];
    assert_eq!(for_missing(&nodes, "", 9, 1280), None);
    assert_eq!(for_missing(&nodes, "", 10, 1280), Some(1));
    assert_eq!(for_missing(&[caching(1, "n1", -1)], "", 10, 1280), None);
}

#[test]
fn a_foreign_history_gets_a_snapshot() {
    let group = group(&[caching(1, "n1", 0), caching(2, "n2", 5)]);
    let selection = Selection::new(&group, &node(0), Rules::From23);
    let at = GroupPosition { state: STATE, act_id: Seqno(20) };
    let position = |state| Some(Position { form: 3, state, seqno: Seqno(15) });
    assert_eq!(selection.for_request(b"", position(STATE), at), Ok(node(2)));
    assert_eq!(selection.for_request(b"", position(StateId::NIL), at), Ok(node(1)));
    assert_eq!(selection.for_request(b"", None, at), Ok(node(1)));
}

fn check(nodes: &[Member], donors: &str) -> Result<(), NameProblem> {
    let own = Name::from("backup");
    check_donor_names(&group(nodes), &node(0), &own, donors.as_bytes())
}

#[test]
fn a_name_that_would_take_another_node_is_refused() {
    let nodes = [member(1, "pxc-10", Synced), member(2, "pxc-1", Synced)];
    let (entry, taken) = (Name::from("pxc-1"), Name::from("pxc-10"));
    assert_eq!(check(&nodes, "pxc-1"), Err(NameProblem::Prefix { entry, taken }));
    assert_eq!(check(&nodes, "pxc-10"), Ok(()));
    let nodes = [member(1, "pxc-1", Synced), member(2, "pxc-10", Synced)];
    assert_eq!(check(&nodes, "pxc-1,pxc-10,absent,"), Ok(()));
}

#[test]
fn a_name_that_two_nodes_have_is_refused() {
    let nodes = [member(1, "n", Synced), member(2, "n", Synced)];
    let problem = NameProblem::Ambiguous { entry: Name::from("n"), count: 2 };
    assert_eq!(check(&nodes, "n"), Err(problem));
}

#[test]
fn a_prefix_of_our_own_name_is_refused_whoever_comes_first() {
    let (entry, own) = (Name::from("back"), Name::from("backup"));
    let problem = NameProblem::OwnName { entry, own };
    assert_eq!(check(&[member(1, "back", Synced)], "back"), Err(problem));
}

#[test]
fn every_member_is_told_why_it_is_not_the_donor() {
    let nodes = [
        arbitrator(1, "garb", Synced),
        member(2, "n2", Donor),
        member(3, "n3", Primary),
        member(4, "n4", Synced),
        member(5, "n5", Synced),
        member(6, "m6", Synced),
    ];
    let choice = explain_donor(&group(&nodes), &node(0), b"n4,n");
    assert_eq!((choice.result, choice.is_certain), (Ok(node(4)), true));
    let reasons: Vec<_> = choice.members.into_iter().map(|(_, reason)| reason).collect();
    let expected = [
        Suitability::Requester,
        Suitability::Stateless,
        Suitability::Busy(Donor),
        Suitability::WithoutState(Primary),
        Suitability::Chosen,
        Suitability::Suitable,
        Suitability::NotNamed,
    ];
    assert_eq!(reasons, expected);
}
