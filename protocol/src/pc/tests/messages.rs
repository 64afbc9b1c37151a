//! Which message may come when, and what each does to the counters.

use super::super::testing::*;
use super::super::*;
use super::scene::*;
use crate::message::SendError;
use bytes::Bytes;

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
    assert_eq!(feed(&mut pc, Input::Connect), []);
    assert_eq!(pc.status().state, State::Closed);
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
