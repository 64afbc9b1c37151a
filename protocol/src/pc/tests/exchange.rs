//! Joining, the state exchange and what it leads to.

use std::collections::BTreeSet;

use super::super::testing::*;
use super::super::*;
use super::scene::*;
use crate::id::{Segment, ViewKind};

#[test]
fn connecting_says_nothing_and_waits_for_a_view() {
    let mut pc = Pc::new(Config::default(), node(5), None);
    let outputs = feed(&mut pc, Input::Connect);
    assert_eq!(outputs, [Output::Event(Event::StateChanged(State::NonPrimary))]);
    let status = Status {
        state: State::NonPrimary,
        view: ViewId::new(ViewKind::NonPrimary, NodeId::NIL, 0),
        is_primary: false,
        cluster_weight: 0,
        weight: 0,
        to_seq: -1,
    };
    assert_eq!(pc.status(), status);
    assert_eq!(pc.next_deadline(), None);
}

#[test]
fn a_guest_reports_itself_with_weight_0_present() {
    let (pc, _) = exchanging(5, 0, &[1]);
    assert_eq!(pc.known(), &map(&[(5, entry(0))]));
    let mut pc = Pc::new(Config::default(), node(5), None);
    feed(&mut pc, Input::Connect);
    let alone = View::new(ViewId::new(ViewKind::Transitional, node(5), 0), 1, members(&[5]));
    feed(&mut pc, Input::View(alone));
    let outputs = feed(&mut pc, Input::View(regular(5, &[1, 5])));
    let payload = Message::state(1, map(&[(5, entry(0))])).encode();
    // Flags: only "weight present"; then the reserved byte, segment and weight.
    assert_eq!(payload[28..32], [2, 0, 0, 0]);
    assert_eq!(
        outputs,
        [
            Output::Event(Event::StateChanged(State::StatesExchange)),
            Output::Send { user_type: 0xff, payload },
        ]
    );
}

#[test]
fn the_lowest_uuid_sends_install_even_as_a_joiner_of_weight_0() {
    let (mut pc, _) = exchanging(1, 0, &[2, 3]);
    let outputs = exchange_all(&mut pc, 1, 0, &[2, 3]);
    assert_eq!(sent(&outputs), [Message::install(1, Flags::default(), install_map(1, 0, &[2, 3]))]);
    assert_eq!(pc.status().state, State::Install);
}

#[test]
fn who_is_not_the_lowest_waits_for_install() {
    let (mut pc, _) = exchanging(2, 0, &[1, 3]);
    let outputs = exchange_all(&mut pc, 2, 0, &[1, 3]);
    assert_eq!(sent(&outputs), []);
    assert_eq!(pc.status().state, State::Install);
}

#[test]
fn install_persists_the_identity_then_goes_up_and_then_to_the_links() {
    let (mut pc, _) = exchanging(5, 0, &[1, 2]);
    exchange_all(&mut pc, 5, 0, &[1, 2]);
    let outputs = feed(&mut pc, install(1, Flags::default(), install_map(5, 0, &[1, 2])));
    let component = component(ViewKind::Primary, 1, 5, &[1, 2, 5]);
    let saved = SavedView {
        me: node(5),
        view: primary_id(1, 5),
        is_bootstrap: false,
        members: component.members.clone(),
    };
    assert_eq!(
        outputs,
        [
            Output::Event(Event::StateChanged(State::Primary)),
            Output::Persist(saved),
            Output::Event(Event::Published { view: primary_id(1, 5), departed: members(&[]) }),
            Output::Component(component),
            Output::PrimaryView { members: members(&[1, 2, 5]) },
        ]
    );
    let status = pc.status();
    assert_eq!((status.cluster_weight, status.weight, status.to_seq), (2, 0, 10));
    for entry in pc.known().values() {
        assert!(entry.is_primary && !entry.is_unknown);
        assert_eq!((entry.last_seq, entry.to_seq), (0, 10));
        assert_eq!(entry.last_primary, primary_id(1, 5));
    }
}

#[test]
fn a_departed_member_is_named_once_more_and_then_forgotten() {
    let (mut pc, view) = primary(5, 0, &[1, 2]);
    let kept = feed(&mut pc, Input::View(transitional(&view, &[1, 5], &[2])));
    assert_eq!(kept, [Output::Event(Event::StateChanged(State::Transitional))]);
    feed(&mut pc, Input::View(regular(6, &[1, 5])));
    let all = pc.known().clone();
    feed(&mut pc, state(1, all.clone()));
    feed(&mut pc, state(5, all.clone()));
    let remaining = all.into_iter().filter(|(n, _)| *n != node(2)).collect();
    let outputs = feed(&mut pc, install(1, Flags::default(), remaining));
    let published = Event::Published { view: primary_id(1, 6), departed: members(&[2]) };
    assert!(outputs.contains(&Output::Event(published)));
    assert_eq!(components(&outputs), [component(ViewKind::Primary, 1, 6, &[1, 5])]);
    assert!(!pc.known().contains_key(&node(2)));
}

#[test]
fn of_two_primaries_the_greater_view_stays() {
    // Node 2 is older than node 1, so with equal numbers its view is the greater.
    for (npvo, theirs, stays) in [
        (false, primary_id(2, 5), false),
        (false, primary_id(1, 4), true),
        (true, primary_id(2, 5), true),
        (true, primary_id(1, 4), false),
    ] {
        let (mut pc, view) = primary(5, 1, &[1]);
        pc.config.npvo = npvo;
        feed(&mut pc, Input::View(transitional(&view, &[1, 5], &[])));
        feed(&mut pc, Input::View(regular(6, &[1, 5, 7])));
        let other = Entry { last_primary: theirs, ..in_primary(7, 5, 0, 3) };
        let outputs = feed(&mut pc, state(7, map(&[(7, other)])));
        if stays {
            assert_eq!(outputs, [Output::Event(Event::ConflictIgnored(node(7)))]);
            assert_eq!(pc.status().state, State::StatesExchange);
        } else {
            let ours = primary_id(1, 5);
            let conflict = Fatal::ConflictingPrimaries { source_node: node(7), ours, theirs };
            assert_eq!(fatal(&outputs), Some(conflict));
        }
    }
}

#[test]
fn a_wrong_report_of_a_primary_member_stops_us_as_it_would_stop_the_others() {
    let (mut pc, view) = primary(5, 1, &[1, 2]);
    feed(&mut pc, Input::View(transitional(&view, &[1, 5], &[2])));
    feed(&mut pc, Input::View(regular(6, &[1, 5])));
    let right = pc.known().clone();
    let mut wrong = right.clone();
    wrong.get_mut(&node(5)).unwrap().last_seq = 7;
    feed(&mut pc, state(5, right));
    let outputs = feed(&mut pc, state(1, wrong));
    let mismatch = Fatal::StateMismatch { source_node: node(1), node: node(5) };
    assert_eq!(fatal(&outputs), Some(mismatch));
}

#[test]
fn our_own_inconsistent_state_is_withheld() {
    let (mut pc, view) = primary(5, 1, &[1, 2]);
    feed(&mut pc, Input::View(transitional(&view, &[1, 2, 5], &[])));
    pc.known.nodes_mut().get_mut(&node(2)).unwrap().last_primary = primary_id(1, 3);
    let outputs = feed(&mut pc, Input::View(regular(6, &[1, 2, 5])));
    assert_eq!(fatal(&outputs), Some(Fatal::Withheld(Unsendable::Inconsistent(node(2)))));
    assert_eq!(sent(&outputs), []);
}

#[test]
fn an_install_that_does_not_match_what_we_reported_is_fatal() {
    let mismatch = Fatal::InstallMismatch { source_node: node(1) };
    let good = || install_map(5, 0, &[1, 2]);
    let change = |n: u8, change: fn(&mut Entry)| {
        let mut nodes = good();
        change(nodes.get_mut(&node(n)).unwrap());
        nodes
    };
    let without_us = good().into_iter().filter(|(n, _)| *n != node(5)).collect();
    let not_listed = Fatal::NotListed { source_node: node(1), node: node(5) };
    for (nodes, expected) in [
        (without_us, not_listed),
        (change(5, |mine| mine.last_seq = 0), mismatch),
        (change(5, |mine| mine.weight = Some(1)), mismatch),
        (change(5, |mine| mine.is_unknown = true), mismatch),
        (change(2, |other| other.to_seq = 11), mismatch),
    ] {
        let (mut pc, _) = exchanging(5, 0, &[1, 2]);
        exchange_all(&mut pc, 5, 0, &[1, 2]);
        let outputs = feed(&mut pc, install(1, Flags::default(), nodes));
        assert_eq!(fatal(&outputs), Some(expected));
    }
}

#[test]
fn a_bootstrap_counts_only_where_nobody_is_primary() {
    let ignored = [Output::Event(Event::BootstrapIgnored(node(1)))];
    for at in [State::Install, State::Primary] {
        let mut pc = member_in(at);
        let before = pc.status();
        assert_eq!(feed(&mut pc, install(1, Flags::BOOTSTRAP, NodeMap::new())), ignored);
        assert_eq!(pc.status(), before);
    }
    let mut pc = member_in(State::Transitional);
    assert_eq!(feed(&mut pc, install(1, Flags::BOOTSTRAP, NodeMap::new())), []);
}

#[test]
fn a_non_primary_view_becomes_primary_by_any_install_at_the_furthest_position() {
    for flags in [Flags::BOOTSTRAP, Flags::default()] {
        let mut pc = member_in(State::NonPrimary);
        let other = Entry { to_seq: 69, ..entry(0) };
        let nodes = map(&[(1, other), (2, entry(0)), (5, entry(0))]);
        let outputs = feed(&mut pc, install(2, flags, nodes));
        let up = components(&outputs);
        assert_eq!(up.len(), 1);
        assert_eq!((up[0].is_primary(), up[0].is_bootstrap), (true, flags == Flags::BOOTSTRAP));
        assert_eq!(pc.status().to_seq, 69);
    }
}

#[test]
fn a_fresh_guest_is_told_to_leave_a_group_without_primary_and_an_arbitrator_is_not() {
    for leave_if_not_primary in [true, false] {
        let (mut pc, _) = exchanging(5, 0, &[1]);
        pc.config.leave_if_not_primary = leave_if_not_primary;
        feed(&mut pc, state(1, map(&[(1, entry(1))])));
        let outputs = feed(&mut pc, state(5, map(&[(5, entry(0))])));
        assert_eq!(components(&outputs), [component(ViewKind::NonPrimary, 1, 5, &[1, 5])]);
        let expected = leave_if_not_primary.then_some(Advice::Leave(LeaveReason::Fresh));
        assert_eq!(advice(&outputs), Vec::from_iter(expected));
    }
}

#[test]
fn a_view_change_in_the_middle_of_joining_is_no_reason_to_leave() {
    let (mut pc, view) = exchanging(5, 0, &[1, 2]);
    let outputs = feed(&mut pc, Input::View(transitional(&view, &[1, 2, 5], &[])));
    assert_eq!(components(&outputs), [component(ViewKind::NonPrimary, 1, 5, &[5])]);
    assert_eq!(advice(&outputs), []);
}

#[test]
fn after_an_outage_full_members_promote_and_a_guest_leaves_that_to_them() {
    for weight in [0, 1] {
        let (mut pc, _) = restored(1, weight, &[1, 2]);
        feed(&mut pc, state(2, map(&[(2, from_file(1))])));
        let outputs = feed(&mut pc, state(1, map(&[(1, from_file(weight))])));
        let nodes = map(&[(1, from_file(weight)), (2, from_file(1))]);
        let install = Message::install(1, Flags::BOOTSTRAP, nodes.clone());
        assert_eq!(sent(&outputs), Vec::from_iter((weight == 1).then_some(install)));
        let outputs = feed(&mut pc, self::install(2, Flags::BOOTSTRAP, nodes));
        assert!(components(&outputs)[0].is_bootstrap);
        assert_eq!(pc.restored, None);
    }
}

#[test]
fn a_rebootstrap_that_forgets_members_of_our_saved_view_is_not_taken_part_in() {
    // Lowest UUID, so that the INSTALL would be ours. Node 3 of the saved view is missing, and node
    // 2 knows of that view only that we were in it.
    let (mut pc, _) = restored(1, 0, &[1, 2]);
    pc.memory = decision::Memory::new(Some(&SavedView {
        me: node(1),
        view: primary_id(1, 7),
        is_bootstrap: false,
        members: [(node(1), Segment(0)), (node(3), Segment(0))].into(),
    }));
    let survivor = Entry { is_primary: false, ..in_primary(2, 6, 0, 5) };
    let ours = Entry { is_primary: false, ..in_primary(1, 7, 0, 5) };
    feed(&mut pc, state(2, map(&[(1, ours), (2, survivor)])));
    let outputs = feed(&mut pc, state(1, map(&[(1, from_file(0))])));
    assert_eq!(outputs[0], Output::Event(Event::MembersForgotten(members(&[3]))));
    assert_eq!(fatal(&outputs), Some(Fatal::IncompleteRebootstrap { view: primary_id(1, 7) }));
    assert_eq!(sent(&outputs), []);
}

#[test]
fn no_recovery_is_sent_into_a_transitional_view() {
    let (mut pc, view) = restored(1, 1, &[1, 2]);
    feed(&mut pc, state(2, map(&[(2, from_file(1))])));
    // The exchange breaks off: a view goes up, and nothing may be sent now.
    let outputs = feed(&mut pc, Input::View(transitional(&view, &[1, 2], &[])));
    assert_eq!(components(&outputs).len(), 1);
    assert_eq!(sent(&outputs), []);
}

#[test]
fn the_evicted_bit_is_reported_and_sticks_to_the_entry() {
    let (mut pc, view) = primary(3, 1, &[1, 2]);
    assert_eq!(feed(&mut pc, Input::Evicted(node(2))), []);
    feed(&mut pc, Input::View(transitional(&view, &[1, 3], &[])));
    let outputs = feed(&mut pc, Input::View(regular(6, &[1, 3])));
    let Body::State(nodes) = &sent(&outputs)[0].body else { panic!() };
    let evicted = nodes.iter().filter(|(_, entry)| entry.is_evicted).map(|(node, _)| *node);
    assert_eq!(evicted.collect::<BTreeSet<_>>(), members(&[2]));
}

#[test]
fn positions_of_current_members_are_levelled_and_those_of_the_departed_are_not() {
    let (mut pc, view) = primary(3, 1, &[1, 2]);
    feed(&mut pc, user(1, 1));
    feed(&mut pc, Input::View(transitional(&view, &[1, 3], &[2])));
    let outputs = feed(&mut pc, Input::View(regular(6, &[1, 3])));
    let Body::State(nodes) = &sent(&outputs)[0].body else { panic!() };
    let positions: Vec<_> = nodes.values().map(|entry| entry.to_seq).collect();
    assert_eq!(positions, [11, 10, 11]);
}

#[test]
fn weight_0_never_founds_a_group_even_if_the_options_were_not_checked() {
    let config = Config { start_primary: true, ..Config::default() };
    let mut pc = Pc::new(config, node(5), None);
    feed(&mut pc, Input::Connect);
    let alone = View::new(ViewId::new(ViewKind::Transitional, node(5), 0), 1, members(&[5]));
    feed(&mut pc, Input::View(alone));
    assert!(!pc.status().is_primary);
}

#[test]
fn a_founder_must_be_alone() {
    let config = Config { weight: 1, start_primary: true, ..Config::default() };
    let mut pc = Pc::new(config, node(5), None);
    feed(&mut pc, Input::Connect);
    let two = View::new(ViewId::new(ViewKind::Transitional, node(5), 0), 1, members(&[5, 6]));
    assert!(matches!(fatal(&feed(&mut pc, Input::View(two))), Some(Fatal::UnexpectedView { .. })));
}
