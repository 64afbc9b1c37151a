//! One member, one input at a time: state and exact outputs.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};

use super::super::testing::*;
use super::super::*;
use crate::id::{Segment, ViewKind};
use crate::message::SendError;

/// A guest of weight 0, number 5, as far as the state exchange of view 5 with `others`, who come
/// from the primary view 4 at position 10.
fn exchanging(me: u8, weight: u8, others: &[u8]) -> (Pc, View) {
    let config = Config { weight, ..Config::default() };
    let mut pc = Pc::new(config, node(me), None);
    feed(&mut pc, Input::Connect);
    let alone = View::new(ViewId::new(ViewKind::Transitional, node(me), 0), 1, members(&[me]));
    feed(&mut pc, Input::View(alone));
    let view = regular(5, &[others, &[me]].concat());
    feed(&mut pc, Input::View(view.clone()));
    (pc, view)
}

fn report_of(others: &[u8]) -> NodeMap {
    let first = *others.iter().min().unwrap();
    others.iter().map(|&n| (node(n), in_primary(first, 4, u32::from(n), 10))).collect()
}

fn state(n: u8, nodes: NodeMap) -> Input {
    message(node(n), CONTROL_USER_TYPE, Message::state(1, nodes).encode())
}

fn install(n: u8, flags: Flags, nodes: NodeMap) -> Input {
    message(node(n), CONTROL_USER_TYPE, Message::install(1, flags, nodes).encode())
}

fn user(n: u8, seq: u32) -> Input {
    message(node(n), 1, Message::user(1, seq, Bytes::from_static(b"x")).encode())
}

fn exchange_all(pc: &mut Pc, me: u8, weight: u8, others: &[u8]) -> Vec<Output> {
    for &n in others {
        feed(pc, state(n, report_of(others)));
    }
    feed(pc, state(me, map(&[(me, entry(weight))])))
}

/// What the representative sends at the end of that exchange.
fn install_map(me: u8, weight: u8, others: &[u8]) -> NodeMap {
    let mut nodes = report_of(others);
    nodes.insert(node(me), entry(weight));
    nodes
}

/// The same member once the primary view 5 stands.
fn primary(me: u8, weight: u8, others: &[u8]) -> (Pc, View) {
    let (mut pc, view) = exchanging(me, weight, others);
    exchange_all(&mut pc, me, weight, others);
    feed(&mut pc, install(others[0], Flags::default(), install_map(me, weight, others)));
    assert_eq!(pc.status().state, State::Primary);
    (pc, view)
}

/// A member with the given state, connected and alone unless a view is needed.
fn member_in(state: State) -> Pc {
    let (mut pc, view) = exchanging(5, 0, &[1, 2]);
    match state {
        State::Closed => pc = Pc::new(Config::default(), node(5), None),
        State::StatesExchange => {}
        State::Install => drop(exchange_all(&mut pc, 5, 0, &[1, 2])),
        State::Primary => pc = primary(5, 0, &[1, 2]).0,
        State::Transitional => {
            pc = primary(5, 0, &[1, 2]).0;
            feed(&mut pc, Input::View(transitional(&view, &[1, 2, 5], &[])));
        }
        State::NonPrimary => {
            for n in [1, 2, 5] {
                feed(&mut pc, self::state(n, map(&[(n, entry(0))])));
            }
        }
    }
    assert_eq!(pc.status().state, state);
    pc
}

fn fatal(outputs: &[Output]) -> Option<Fatal> {
    outputs
        .iter()
        .find_map(|output| if let Output::Fatal(fatal) = output { Some(*fatal) } else { None })
}

fn components(outputs: &[Output]) -> Vec<Component> {
    let components = outputs.iter().filter_map(|output| {
        let Output::Component(component) = output else { return None };
        Some(component.clone())
    });
    components.collect()
}

fn sent(outputs: &[Output]) -> Vec<Message> {
    let payloads = outputs.iter().filter_map(|output| {
        let Output::Send { payload, .. } = output else { return None };
        Some(Message::decode(payload).unwrap())
    });
    payloads.collect()
}

fn component(kind: ViewKind, n: u8, seq: u32, numbers: &[u8]) -> Component {
    let members: BTreeMap<_, _> = numbers.iter().map(|&n| (node(n), Segment(0))).collect();
    Component { id: ViewId::new(kind, node(n), seq), is_bootstrap: false, members }
}

fn advice(outputs: &[Output]) -> Vec<Advice> {
    let advice = outputs.iter().filter_map(|output| {
        let Output::Advice(advice) = output else { return None };
        Some(advice.clone())
    });
    advice.collect()
}

#[test]
fn each_message_is_handled_dropped_or_fatal_as_the_table_of_the_protocol_says() {
    const FATAL: bool = true;
    // States: CLOSED, NON_PRIM, TRANS, STATES_EXCH, INSTALL, PRIM. A closed member has stopped
    // listening: there is nothing left to stop.
    let table = [
        ("STATE", [false, FATAL, false, false, FATAL, FATAL]),
        ("INSTALL", [false, false, false, FATAL, false, false]),
        ("USER", [false, false, false, FATAL, FATAL, false]),
    ];
    for (kind, row) in table {
        for (is_fatal, at) in row.into_iter().zip(State::ALL) {
            let mut pc = member_in(at);
            let mine = *pc.known.mine();
            let nodes = NodeMap::from([(node(1), entry(1)), (node(5), mine)]);
            let seq = pc.known().get(&node(1)).map_or(0, |one| one.last_seq.wrapping_add(1));
            let outputs = feed(
                &mut pc,
                match kind {
                    "STATE" => state(1, report_of(&[1, 2])),
                    "INSTALL" => install(1, Flags::default(), nodes),
                    _ => user(1, seq),
                },
            );
            let expected = Fatal::OutOfPlace { source_node: node(1), kind, state: at };
            assert_eq!(fatal(&outputs), is_fatal.then_some(expected), "{kind} in {at}");
        }
    }
}

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
fn in_a_transitional_view_with_quorum_messages_of_the_departed_still_count() {
    let (mut pc, view) = primary(3, 1, &[1, 2]);
    feed(&mut pc, Input::View(transitional(&view, &[1, 3], &[])));
    let outputs = feed(&mut pc, user(2, 1));
    assert!(matches!(&outputs[..], [Output::Deliver(delivery)] if delivery.source == node(2)));
    assert_eq!(pc.known()[&node(2)].last_seq, 1);
    assert_eq!(pc.status().to_seq, 11);
}

#[test]
fn in_a_transitional_view_without_quorum_only_remaining_members_are_heard() {
    let (mut pc, view) = primary(3, 1, &[1, 2, 4]);
    feed(&mut pc, Input::View(transitional(&view, &[1, 3], &[])));
    let dropped = feed(&mut pc, user(2, 1));
    assert_eq!(dropped, [Output::Event(Event::MessageDropped(node(2)))]);
    let heard = feed(&mut pc, user(1, 1));
    assert!(matches!(&heard[..], [Output::Deliver(_)]));
    assert_eq!((pc.known()[&node(1)].last_seq, pc.known()[&node(2)].last_seq), (1, 0));
    assert_eq!(pc.status().to_seq, 10);
}

#[test]
fn a_gap_in_the_numbers_of_a_sender_is_fatal() {
    for seq in [0, 2] {
        let (mut pc, _) = primary(5, 0, &[1, 2]);
        let gap = Fatal::SequenceGap { source_node: node(1), expected: 1, found: seq };
        assert_eq!(fatal(&feed(&mut pc, user(1, seq))), Some(gap));
        assert_eq!(pc.status().state, State::Closed);
    }
}

#[test]
fn a_message_of_a_node_that_nobody_knows_is_fatal() {
    let (mut pc, _) = primary(5, 0, &[1, 2]);
    let unknown = Fatal::NotListed { source_node: node(5), node: node(9) };
    assert_eq!(fatal(&feed(&mut pc, user(9, 1))), Some(unknown));
}

#[test]
fn unordered_messages_are_delivered_and_not_counted() {
    let (mut pc, _) = primary(5, 0, &[1, 2]);
    let before = pc.known().clone();
    let Input::Message(delivery) = user(1, 0) else { panic!() };
    let input = Input::Message(Delivery { order: crate::message::Order::Agreed, ..delivery });
    assert!(matches!(&feed(&mut pc, input)[..], [Output::Deliver(_)]));
    assert_eq!(pc.known(), &before);
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
fn a_weight_change_takes_the_senders_weight_and_nothing_else() {
    let (mut pc, _) = primary(5, 0, &[1, 2]);
    let mut expected = pc.known().clone();
    expected.get_mut(&node(1)).unwrap().weight = Some(255);
    let stale = Entry { weight: Some(7), ..in_primary(9, 9, 99, 99) };
    let nodes = map(&[(1, Entry { weight: Some(255), ..stale }), (2, stale), (5, stale)]);
    let outputs = feed(&mut pc, install(1, Flags::WEIGHT_CHANGE, nodes));
    let changed = Event::WeightChanged { node: node(1), weight: Some(255) };
    assert_eq!(outputs, [Output::Event(changed)]);
    assert_eq!(pc.known(), &expected);
    assert_eq!(pc.status().cluster_weight, 256);
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

fn restored(me: u8, weight: u8, numbers: &[u8]) -> (Pc, View) {
    let members: BTreeMap<_, _> = numbers.iter().map(|&n| (node(n), Segment(0))).collect();
    let saved = SavedView { me: node(me), view: primary_id(1, 7), is_bootstrap: false, members };
    let config = Config { weight, ..Config::default() };
    let mut pc = Pc::new(config, node(me), Some(saved));
    feed(&mut pc, Input::Connect);
    let alone =
        View::new(ViewId::new(ViewKind::Transitional, node(me), 8), 1, self::members(&[me]));
    feed(&mut pc, Input::View(alone));
    let view = regular(9, numbers);
    feed(&mut pc, Input::View(view.clone()));
    (pc, view)
}

fn from_file(weight: u8) -> Entry {
    Entry { last_primary: primary_id(1, 7).with_kind(ViewKind::NonPrimary), ..entry(weight) }
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
    // Lowest UUID, so that the INSTALL would be ours. Node 3 of the saved view is missing, and node 2
    // knows of that view only that we were in it.
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
fn views_that_cannot_come_now_are_fatal() {
    let (pc, view) = primary(5, 0, &[1, 2]);
    let mut other_version = transitional(&view, &[1, 5], &[]);
    other_version.version = 0;
    let foreign = transitional(&regular(8, &[1, 2, 5]), &[1, 5], &[]);
    let without_us = transitional(&view, &[1, 2], &[]);
    for bad in [other_version, foreign, without_us, regular(6, &[1, 5]), end_view()] {
        let mut pc = pc.clone();
        let expected =
            Fatal::UnexpectedView { view: bad.id, previous: view.id, state: State::Primary };
        assert_eq!(fatal(&feed(&mut pc, Input::View(bad))), Some(expected));
    }
    let mut pc = pc;
    feed(&mut pc, Input::View(transitional(&view, &[1, 5], &[])));
    let mut too_new = regular(6, &[1, 5]);
    too_new.version = 2;
    for (bad, is_version) in
        [(regular(5, &[1, 5]), false), (regular(6, &[1]), false), (too_new, true)]
    {
        let mut pc = pc.clone();
        let found = fatal(&feed(&mut pc, Input::View(bad)));
        assert_eq!(matches!(found, Some(Fatal::Version(2))), is_version);
        assert!(found.is_some());
    }
}

#[test]
fn nothing_is_heard_or_said_after_a_fatal_error() {
    let (mut pc, view) = primary(5, 0, &[1, 2]);
    assert!(fatal(&feed(&mut pc, user(1, 9))).is_some());
    assert_eq!(feed(&mut pc, user(1, 1)), []);
    assert_eq!(feed(&mut pc, Input::View(transitional(&view, &[1, 5], &[]))), []);
    assert_eq!(feed(&mut pc, Input::SendRefused(SendError::NotConnected)), []);
    let refused = pc.send_user(Bytes::from_static(b"x"), |_| Ok(()));
    assert_eq!(refused, Err(SendError::NotConnected));
}

#[test]
fn an_unknown_version_is_dropped_while_primary_and_fatal_otherwise() {
    let input = || message(node(1), 1, Bytes::from_static(&[2, 3, 0, 0, 1, 0, 0, 0]));
    let mut pc = member_in(State::Primary);
    assert_eq!(feed(&mut pc, input()), [Output::Event(Event::MessageDropped(node(1)))]);
    let mut pc = member_in(State::NonPrimary);
    assert!(matches!(fatal(&feed(&mut pc, input())), Some(Fatal::Malformed { .. })));
}

#[test]
fn a_wrong_checksum_ends_the_stack_with_a_reason() {
    let (mut pc, _) = primary(5, 0, &[1, 2]);
    let mut message = Message::user(1, 1, Bytes::from_static(b"payload"));
    message.flags = Flags::CRC16;
    let good = message.encode();
    let mut bad = good.to_vec();
    bad[9] ^= 1;
    let outputs = feed(&mut pc, super::super::testing::message(node(1), 1, good));
    assert!(matches!(&outputs[..], [Output::Deliver(_)]));
    let outputs = feed(&mut pc, super::super::testing::message(node(1), 1, bad.into()));
    assert!(
        matches!(fatal(&outputs), Some(Fatal::Malformed { error, .. }) if error.field == "crc16")
    );
}

#[test]
fn a_refused_state_is_fatal_unless_the_next_view_is_coming_anyway() {
    let (pc, _) = exchanging(5, 0, &[1]);
    let overtaken = [Output::Event(Event::SendOvertaken)];
    let mut first = pc.clone();
    assert_eq!(feed(&mut first, Input::SendRefused(SendError::TryAgain)), overtaken);
    let mut second = pc;
    let outputs = feed(&mut second, Input::SendRefused(SendError::NotConnected));
    assert_eq!(fatal(&outputs), Some(Fatal::Refused(SendError::NotConnected)));
    let mut third = member_in(State::NonPrimary);
    assert_eq!(feed(&mut third, Input::SendRefused(SendError::NotConnected)), overtaken);
}

#[test]
fn options_that_would_let_a_guest_act_alone_are_refused() {
    let guest = Config::default();
    assert_eq!(guest.check(), Ok(()));
    let cases = [
        (Config { weight: 255, ..guest }, ConfigError::Weight),
        (Config { ignore_sb: true, ..guest }, ConfigError::IgnoredQuorum),
        (Config { ignore_quorum: true, ..guest }, ConfigError::IgnoredQuorum),
        (Config { start_primary: true, ..guest }, ConfigError::StartPrimary),
    ];
    for (config, error) in cases {
        assert_eq!(config.check(), Err(error));
    }
    let arbitrator = Config { weight: 1, ignore_sb: true, ..guest };
    assert_eq!(arbitrator.check(), Ok(()));
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
