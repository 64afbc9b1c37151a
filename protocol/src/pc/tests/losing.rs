//! Transitional views: losing the primary view, INSTALL that comes late, leaving.

use std::collections::BTreeMap;

use super::super::testing::*;
use super::super::*;
use super::scene::*;
use crate::id::ViewKind;

#[test]
fn a_lost_quorum_goes_up_at_once_and_again_after_the_next_exchange() {
    let (mut pc, view) = primary(5, 0, &[1, 2]);
    let outputs = feed(&mut pc, Input::View(transitional(&view, &[5], &[])));
    let saved = pc.saved.clone().unwrap();
    let lost = Tally { members: 0, left: 0, total: 2 };
    let first = component(ViewKind::NonPrimary, 1, 5, &[5]);
    assert_eq!(
        outputs,
        [
            Output::Event(Event::StateChanged(State::Transitional)),
            Output::Event(Event::QuorumLost(lost)),
            Output::Event(Event::Published { view: first.id, departed: members(&[1, 2]) }),
            Output::Component(first),
            Output::Advice(Advice::PrimaryLost(PrimaryLost { saved, is_mid_exchange: false })),
        ]
    );
    let outputs = feed(&mut pc, Input::View(regular(6, &[5])));
    let reported = sent(&outputs);
    let Body::State(nodes) = &reported[0].body else { panic!("{reported:?}") };
    // What the lost members were is kept: it decides who must be back.
    assert!(!nodes[&node(5)].is_primary && nodes[&node(1)].is_primary);
    let outputs = feed(&mut pc, state(5, nodes.clone()));
    assert_eq!(components(&outputs), [component(ViewKind::NonPrimary, 5, 6, &[5])]);
    // It was told once what to do; a member of the last primary view is not sent away.
    assert_eq!(advice(&outputs), []);
}

#[test]
fn the_quorum_is_measured_against_the_last_installed_view_not_the_last_evs_view() {
    let (mut pc, view) = primary(1, 1, &[2, 3, 4, 5]);
    feed(&mut pc, Input::View(transitional(&view, &[1, 2, 3], &[4, 5])));
    let next = regular(6, &[1, 2, 3]);
    feed(&mut pc, Input::View(next.clone()));
    // Two of the three that are left would be enough, but the leavers count as lost by now.
    let outputs = feed(&mut pc, Input::View(transitional(&next, &[1, 2], &[])));
    assert!(outputs.contains(&Output::Event(Event::QuorumLost(Tally {
        members: 2,
        left: 0,
        total: 5
    }))));
    assert!(matches!(&advice(&outputs)[..], [Advice::PrimaryLost(lost)] if lost.is_mid_exchange));
}

#[test]
fn an_exact_split_is_ignored_only_if_told_to_and_only_with_a_vote() {
    for (weight, ignore_sb, ignore_quorum, keeps) in [
        (1, false, false, false),
        (1, true, false, true),
        (1, false, true, true),
        (0, true, true, false),
    ] {
        let (mut pc, view) = primary(5, weight, &[1]);
        pc.config = Config { ignore_sb, ignore_quorum, ..pc.config };
        // Seen by weight 0, a polite leave of the last vote is a split too.
        let left: &[u8] = if weight == 0 { &[1] } else { &[] };
        let outputs = feed(&mut pc, Input::View(transitional(&view, &[5], left)));
        assert_eq!(pc.status().is_primary, keeps, "weight {weight}");
        assert_eq!(components(&outputs).is_empty(), keeps);
    }
}

#[test]
fn an_ignored_split_does_not_keep_a_leaving_member_primary() {
    let (mut pc, view) = primary(5, 1, &[1]);
    pc.config = Config { ignore_quorum: true, ..pc.config };
    feed(&mut pc, Input::Close);
    feed(&mut pc, Input::View(transitional(&view, &[5], &[])));
    assert!(!pc.status().is_primary);
}

#[test]
fn an_install_in_a_transitional_view_changes_nothing_while_both_quorums_hold() {
    let (mut pc, view) = primary(1, 1, &[2, 3]);
    feed(&mut pc, Input::View(transitional(&view, &[1, 2, 3], &[])));
    let next = regular(6, &[1, 2, 3, 9]);
    feed(&mut pc, Input::View(next.clone()));
    let reports = pc.known().clone();
    for n in [1, 2, 3] {
        feed(&mut pc, state(n, reports.clone()));
    }
    feed(&mut pc, state(9, map(&[(9, entry(1))])));
    feed(&mut pc, Input::View(transitional(&next, &[1, 2, 3], &[])));
    let mut nodes = reports;
    nodes.insert(node(9), entry(1));
    assert_eq!(feed(&mut pc, install(1, Flags::default(), nodes)), []);
    assert!(pc.status().is_primary);
}

#[test]
fn an_install_in_a_transitional_view_costs_the_primary_if_the_new_view_would_have_outvoted_us() {
    // Alone with a joiner: with weight 1 the joiner's loss is a split of the new view.
    for (weight, keeps) in [(1, false), (0, true)] {
        let (mut pc, view) = primary(1, 1, &[2]);
        feed(&mut pc, Input::View(transitional(&view, &[1], &[2])));
        let next = regular(6, &[1, 9]);
        feed(&mut pc, Input::View(next.clone()));
        // The view that is measured against is still the one with node 2, which left politely.
        pc.pc_view.members = members(&[1]);
        let mine = *pc.known.mine();
        let report = pc.known().clone();
        feed(&mut pc, state(1, report));
        feed(&mut pc, state(9, map(&[(9, entry(weight))])));
        feed(&mut pc, Input::View(transitional(&next, &[1], &[])));
        assert!(pc.status().is_primary);
        let nodes = NodeMap::from([(node(1), mine), (node(9), entry(weight))]);
        let outputs = feed(&mut pc, install(1, Flags::default(), nodes));
        assert_eq!(pc.status().is_primary, keeps);
        assert_eq!(pc.known()[&node(9)].is_unknown, !keeps);
        assert_eq!(components(&outputs).is_empty(), keeps);
        assert_eq!(outputs.contains(&Output::Event(Event::MarkedUnknown(members(&[9])))), !keeps);
    }
}

#[test]
fn a_lone_guest_takes_a_late_install_as_a_loss_and_stays_because_it_may_be_waited_for() {
    let (mut pc, view) = exchanging(5, 0, &[1]);
    exchange_all(&mut pc, 5, 0, &[1]);
    feed(&mut pc, Input::View(transitional(&view, &[5], &[])));
    let outputs = feed(&mut pc, install(1, Flags::default(), install_map(5, 0, &[1])));
    assert_eq!(components(&outputs), [component(ViewKind::NonPrimary, 1, 5, &[5])]);
    assert!(outputs.contains(&Output::Event(Event::MarkedUnknown(members(&[1])))));
    assert!(pc.known()[&node(1)].is_unknown);
    let outputs = feed(&mut pc, Input::View(regular(6, &[5])));
    let Body::State(nodes) = sent(&outputs)[0].body.clone() else { panic!() };
    let outputs = feed(&mut pc, state(5, nodes));
    let decided = Event::Decided(Decision::NonPrimary(Obstacle::Unknown(node(1))));
    assert!(outputs.contains(&Output::Event(decided)));
    assert_eq!(advice(&outputs), []);
}

#[test]
fn a_late_weight_change_holds_if_nobody_of_the_primary_view_is_lost() {
    let nodes = map(&[(1, entry(9)), (2, entry(1)), (3, entry(1))]);
    let (mut pc, view) = primary(3, 1, &[1, 2]);
    feed(&mut pc, Input::View(transitional(&view, &[2, 3], &[1])));
    let outputs = feed(&mut pc, install(1, Flags::WEIGHT_CHANGE, nodes.clone()));
    let changed = Event::WeightChanged { node: node(1), weight: Some(9) };
    assert_eq!(outputs, [Output::Event(changed)]);
    assert!(pc.status().is_primary);

    let (mut pc, view) = primary(3, 1, &[1, 2]);
    feed(&mut pc, Input::View(transitional(&view, &[2, 3], &[])));
    assert!(pc.status().is_primary);
    let outputs = feed(&mut pc, install(1, Flags::WEIGHT_CHANGE, nodes));
    assert_eq!(components(&outputs), [component(ViewKind::NonPrimary, 1, 5, &[2, 3])]);
    assert_eq!((pc.known()[&node(1)].weight, pc.known()[&node(1)].is_unknown), (Some(9), true));
    assert!(!pc.known()[&node(2)].is_unknown);
    assert!(matches!(&advice(&outputs)[..], [Advice::PrimaryLost(lost)] if lost.is_mid_exchange));
}

#[test]
fn a_leave_out_of_a_primary_view_ends_with_the_empty_view_and_forgets_the_identity() {
    let (mut pc, view) = primary(5, 0, &[1, 2]);
    assert_eq!(feed(&mut pc, Input::Close), []);
    let outputs = feed(&mut pc, Input::View(transitional(&view, &[5], &[])));
    assert_eq!(components(&outputs), [component(ViewKind::NonPrimary, 1, 5, &[5])]);
    assert_eq!(advice(&outputs), []);
    let outputs = feed(&mut pc, Input::View(end_view()));
    let end = Component {
        id: ViewId::new(ViewKind::NonPrimary, NodeId::NIL, 0),
        is_bootstrap: false,
        members: BTreeMap::new(),
    };
    assert_eq!(
        outputs,
        [
            Output::Event(Event::StateChanged(State::NonPrimary)),
            Output::Event(Event::Published { view: end.id, departed: members(&[1, 2, 5]) }),
            Output::Component(end),
            Output::Forget,
            Output::Event(Event::StateChanged(State::Closed)),
        ]
    );
}

#[test]
fn who_leaves_a_lost_primary_view_keeps_the_identity() {
    let (mut pc, view) = primary(5, 0, &[1, 2]);
    feed(&mut pc, Input::View(transitional(&view, &[5], &[])));
    let alone = regular(6, &[5]);
    feed(&mut pc, Input::View(alone.clone()));
    let nodes = pc.known().clone();
    feed(&mut pc, state(5, nodes));
    feed(&mut pc, Input::Close);
    feed(&mut pc, Input::View(transitional(&alone, &[5], &[])));
    let outputs = feed(&mut pc, Input::View(end_view()));
    assert!(!outputs.contains(&Output::Forget));
    assert_eq!(pc.status().state, State::Closed);
}

#[test]
fn a_last_member_with_a_vote_leaves_without_a_non_primary_view_in_between() {
    let (mut pc, view) = primary(5, 3, &[1]);
    feed(&mut pc, Input::Close);
    let outputs = feed(&mut pc, Input::View(transitional(&view, &[5], &[])));
    assert_eq!(components(&outputs), []);
    let outputs = feed(&mut pc, Input::View(end_view()));
    assert_eq!(components(&outputs).len(), 1);
}

#[test]
fn a_gap_heard_while_leaving_matters_only_if_another_view_comes() {
    let (mut pc, view) = primary(5, 0, &[1, 2]);
    feed(&mut pc, Input::Close);
    feed(&mut pc, Input::View(transitional(&view, &[1, 2, 5], &[])));
    assert!(matches!(&feed(&mut pc, user(1, 7))[..], [Output::Deliver(_)]));
    let mut stays = pc.clone();
    let gap = Fatal::SequenceGap { source_node: node(1), expected: 1, found: 7 };
    let outputs = feed(&mut stays, Input::View(regular(6, &[1, 2, 5])));
    assert_eq!((fatal(&outputs), sent(&outputs)), (Some(gap), vec![]));
    let outputs = feed(&mut pc, Input::View(end_view()));
    assert_eq!(fatal(&outputs), None);
    assert_eq!(pc.status().state, State::Closed);
}

#[test]
fn a_leaver_is_released_only_by_enough_of_the_last_primary_view_to_stay_primary() {
    let (mut pc, view) = primary(5, 0, &[1, 2, 3]);
    feed(&mut pc, Input::Close);
    feed(&mut pc, Input::View(transitional(&view, &[5], &[])));
    feed(&mut pc, Input::View(end_view()));
    let go_on = |members: &[u8], left: &[u8]| transitional(&view, members, left);
    assert!(pc.is_released(Some(&go_on(&[1, 2, 3], &[5]))));
    assert!(pc.is_released(Some(&go_on(&[1, 2], &[5]))));
    assert!(pc.is_released(Some(&go_on(&[1], &[2, 3, 5]))));
    // Those that were out of reach would wait for us.
    assert!(!pc.is_released(Some(&go_on(&[1], &[5]))));
    assert!(!pc.is_released(None));
}
