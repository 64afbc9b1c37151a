//! Messages inside a view: numbers, acknowledgements, windows, retransmission.

use bytes::Bytes;

use super::bench::{Bench, Seen, bodies, deliveries, node, user_body, words};
use crate::evs::message::{Body, Flags, Gap, Message, User};
use crate::evs::{Config, FifoSeqno, Input, Output, Range, Seqno};
use crate::id::NodeId;
use crate::message::{Delivery, Order};
use crate::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);

fn send(bench: &mut Bench, payload: &'static [u8]) -> Vec<Seen> {
    bench.evs.send(bench.now, Order::Safe, 1, Bytes::from_static(payload)).unwrap();
    bench.drain()
}

fn empty_body(seqno: i64, seq_range: u8, aru: i64) -> Body {
    let user = User { user_type: 0xff, seq_range, ..user_body(seqno, aru, b"") };
    Body::User(user)
}

fn acknowledgement(last_sent: i64, aru: i64) -> Body {
    Body::Gap(Gap::acknowledgement(Seqno(last_sent), Seqno(aru)))
}

fn asked(origin: crate::id::NodeId, first: i64, last: i64, last_sent: i64, aru: i64) -> Body {
    let known = Gap::acknowledgement(Seqno(last_sent), Seqno(aru));
    let range = Range::new(Seqno(first), Seqno(last));
    Body::Gap(Gap { range_node: origin, range, ..known })
}

#[test]
fn a_message_is_inserted_before_its_aru_is_taken() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let first = bench.empty(node(2), 0, -1);
    bench.receive(node(2), &first);
    let sent = send(&mut bench, b"x");
    // The other has used 0, and we had answered with our own 0: ours is 1 and ARU is still 0.
    assert_eq!(bodies(&sent), [&Body::User(user_body(1, 0, b"x"))]);

    let mut fresh = Bench::in_group(node(1), &[node(2)]);
    assert_eq!(bodies(&send(&mut fresh, b"x")), [&Body::User(user_body(0, -1, b"x"))]);
}

#[test]
fn a_lone_member_gets_its_own_messages_at_once_and_in_order() {
    let mut bench = Bench::in_group(node(1), &[]);
    for payload in [&b"a"[..], b"b", b"c"] {
        let seen = send(&mut bench, payload);
        let own = Delivery {
            source: node(1),
            order: Order::Safe,
            user_type: 1,
            payload: Bytes::from_static(payload),
        };
        assert_eq!(words(&seen), ["user", "deliver"]);
        assert_eq!(deliveries(&seen), [own]);
    }
}

#[test]
fn numbers_of_others_are_used_up_by_an_empty_message() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let message = bench.user(node(2), 0, -1);
    let seen = bench.receive(node(2), &message);
    assert_eq!(bodies(&seen), [&empty_body(0, 0, -1)]);
}

#[test]
fn many_numbers_are_used_up_by_one_message() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let mut message = bench.user(node(2), 0, -1);
    if let Body::User(user) = &mut message.body {
        user.seq_range = 200;
    }
    assert_eq!(bodies(&bench.receive(node(2), &message)), [&empty_body(0, 200, -1)]);
    let mut message = bench.user(node(2), 201, -1);
    if let Body::User(user) = &mut message.body {
        user.seq_range = 255;
    }
    let mut next = bench.user(node(2), 457, -1);
    if let Body::User(user) = &mut next.body {
        user.seq_range = 99;
    }
    message.header.flags = Flags::MORE;
    assert_eq!(bench.receive(node(2), &message), []);
    // 356 numbers at once take two messages.
    let seen = bench.receive(node(2), &next);
    assert_eq!(bodies(&seen), [&empty_body(201, 255, -1), &empty_body(457, 99, -1)]);
}

#[test]
fn a_message_that_moves_aru_is_acknowledged_if_nothing_else_is_sent() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let first = bench.user(node(2), 0, -1);
    bench.receive(node(2), &first);
    let second = bench.empty(node(3), 0, -1);
    assert_eq!(bodies(&bench.receive(node(3), &second)), [&acknowledgement(0, 0)]);
}

#[test]
fn while_more_follows_nothing_is_completed() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let mut message = bench.user(node(2), 0, -1);
    message.header.flags = Flags::MORE;
    assert_eq!(bench.receive(node(2), &message), []);
}

#[test]
fn a_safe_message_is_delivered_when_everybody_has_acknowledged_it() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let message = bench.user(node(2), 0, -1);
    bench.receive(node(2), &message);
    let other = bench.empty(node(3), 0, 0);
    assert_eq!(words(&bench.receive(node(3), &other)), ["gap"]);
    let ack = bench.gap(node(2), 0, 0);
    let seen = bench.receive(node(2), &ack);
    let expected = Delivery {
        source: node(2),
        order: Order::Safe,
        user_type: 1,
        payload: Bytes::from_static(b"payload"),
    };
    assert_eq!(seen, [Seen::Other(Output::Deliver(expected))]);
}

#[test]
fn an_aggregate_is_delivered_as_its_parts() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let mut message = bench.user(node(2), 0, -1);
    message.header.flags = Flags::AGGREGATE;
    if let Body::User(user) = &mut message.body {
        user.payload = Bytes::from_static(&[0, 4, 1, 0, b'a', 0, 5, 2, 0, b'b', b'c']);
    }
    bench.receive(node(2), &message);
    let ack = bench.gap(node(2), 0, 0);
    let parts: Vec<_> = deliveries(&bench.receive(node(2), &ack))
        .into_iter()
        .map(|delivery| (delivery.user_type, delivery.payload))
        .collect();
    assert_eq!(parts, [(4, Bytes::from_static(b"a")), (5, Bytes::from_static(b"bc"))]);
}

#[test]
fn a_hole_is_asked_for_once_in_a_while() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let late = bench.user(node(2), 3, -1);
    let seen = bench.receive(node(2), &late);
    assert_eq!(bodies(&seen), [&asked(node(2), 0, 2, -1, -1), &empty_body(0, 3, -1)]);
    let Seen::Sent(target, request) = &seen[0] else { panic!("nothing sent") };
    assert_eq!((*target, request.header.flags), (Some(node(2)), Flags::RETRANSMISSION));

    let later = bench.user(node(2), 4, -1);
    assert_eq!(words(&bench.receive(node(2), &later)), ["empty"]);
    bench.now = bench.now + MILLISECOND * 101;
    let later = bench.user(node(2), 6, -1);
    let expected =
        [&asked(node(2), 0, 2, 4, -1), &asked(node(2), 5, 5, 4, -1), &empty_body(5, 1, -1)];
    assert_eq!(bodies(&bench.receive(node(2), &later)), expected);
}

#[test]
fn a_retransmission_fills_the_hole_whatever_its_number() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let missing = bench.user(node(2), 0, -1);
    let late = bench.user(node(2), 1, -1);
    bench.receive(node(2), &late);
    // The original number is older than what was seen since: only the flag lets it pass.
    assert_eq!(bench.receive(node(2), &missing), []);
    let mut again = missing;
    again.header.flags = Flags::RETRANSMISSION;
    bench.receive(node(2), &again);
    let twice = bench.receive(node(2), &again);
    assert_eq!(twice, []);
    let third = bench.empty(node(3), 1, -1);
    // Node 3 misses its own number 0, so nothing can be acknowledged yet.
    assert_eq!(words(&bench.receive(node(3), &third)), ["request"]);
}

#[test]
fn own_messages_are_sent_again_with_their_number_and_the_aru_of_now() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let first = send(&mut bench, b"first");
    let Seen::Sent(None, original) = &first[0] else { panic!("nothing sent") };
    for from in [node(2), node(3)] {
        let answer = bench.empty(from, 0, -1);
        bench.receive(from, &answer);
    }
    let request = bench.request(node(3), node(1), 0, 0);
    let seen = bench.receive(node(3), &request);
    let header = super::bench::header_with(original, Flags::RETRANSMISSION);
    let again = Message { header, body: Body::User(user_body(0, 0, b"first")) };
    assert_eq!(seen, [Seen::Sent(Some(node(3)), again)]);
}

#[test]
fn a_request_for_numbers_not_used_yet_uses_them_up() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let request = bench.request(node(3), node(1), 0, 2);
    let seen = bench.receive(node(3), &request);
    assert_eq!(bodies(&seen)[0], &empty_body(0, 2, -1));
    assert_eq!(words(&seen), ["empty", "empty"]);
}

#[test]
fn messages_of_others_are_recovered_on_request_wherever_it_was_sent() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let original = bench.user(node(2), 0, -1);
    bench.receive(node(2), &original);
    let request = bench.request(node(3), node(2), 0, 5);
    let seen = bench.receive(node(3), &request);
    let [Seen::Sent(Some(target), message)] = &seen[..] else { panic!("{seen:?}") };
    assert_eq!(*target, node(3));
    let Body::Delegate(inner) = &message.body else { panic!("{message:?}") };
    assert_eq!(inner.body, original.body);
    assert_eq!(inner.header.fifo_seqno, original.header.fifo_seqno);
    assert_eq!(inner.header.source, Some(node(2)));
    assert_eq!(inner.header.flags, Flags::RETRANSMISSION.union(Flags::SOURCE));
}

#[test]
fn a_filler_is_recovered_as_an_empty_message_without_number() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let mut original = bench.user(node(2), 0, -1);
    if let Body::User(user) = &mut original.body {
        user.seq_range = 3;
    }
    bench.receive(node(2), &original);
    let request = bench.request(node(3), node(2), 2, 2);
    let seen = bench.receive(node(3), &request);
    let [Seen::Sent(_, Message { body: Body::Delegate(inner), .. }), ..] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!((inner.header.order, inner.header.fifo_seqno), (Order::Drop, FifoSeqno::NONE));
}

#[test]
fn a_request_at_or_below_safe_is_refused_as_a_whole() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    send(&mut bench, b"a");
    let answer = bench.empty(node(2), 0, 0);
    bench.receive(node(2), &answer);
    send(&mut bench, b"b");
    let request = bench.request(node(2), node(1), 0, 1);
    assert_eq!(bench.receive(node(2), &request), []);
    let request = bench.request(node(2), node(1), 1, 1);
    assert_eq!(words(&bench.receive(node(2), &request)), ["user"]);
}

#[test]
fn an_inverted_request_is_ignored() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    send(&mut bench, b"a");
    for origin in [node(1), node(2), node(9)] {
        let request = bench.request(node(2), origin, 5, 2);
        let seen = bench.receive(node(2), &request);
        assert!(!words(&seen).contains(&"user"), "{seen:?}");
    }
}

#[test]
fn the_window_makes_messages_wait_and_acknowledgements_let_them_go() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let sent: Vec<_> = (0..6).flat_map(|_| words(&send(&mut bench, b"x"))).collect();
    assert_eq!(sent, ["user", "user"]);
    // The queue may go further than a message that does not wait: 4 beyond SAFE.
    let answer = bench.empty(node(2), 0, 0);
    assert_eq!(words(&bench.receive(node(2), &answer)), ["deliver", "user", "user", "user"]);
    let answer = bench.gap(node(2), 0, 0);
    assert_eq!(words(&bench.receive(node(2), &answer)), Vec::<&str>::new());
}

#[test]
fn a_full_window_is_told_in_answer_to_a_message_but_never_to_a_gap() {
    let config = Config { send_window: 1, user_send_window: 1, ..Config::default() };
    let mut bench = Bench::in_group_with(config, node(1), &[node(2)]);
    send(&mut bench, b"a");
    send(&mut bench, b"b");
    let message = bench.user(node(2), 0, -1);
    assert_eq!(words(&bench.receive(node(2), &message)), ["gap"]);
    let gap = bench.gap(node(2), 0, -1);
    assert_eq!(bench.receive(node(2), &gap), []);
}

/// What is said to messages that were read together.
fn receive_together(bench: &mut Bench, batch: &[(NodeId, Message)]) -> Vec<Seen> {
    for (source, message) in batch {
        let input = Input::Message { source: *source, payload: message.encode() };
        bench.evs.handle_input(bench.now, input);
        let early = core::iter::from_fn(|| bench.evs.poll_within_batch());
        let is_sent = |output: &Output| matches!(output, Output::Send { .. });
        assert!(!early.into_iter().any(|output| is_sent(&output)), "answered within the batch");
    }
    bench.drain()
}

#[test]
fn messages_that_were_read_together_are_answered_once() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let batch = [
        (node(2), bench.user(node(2), 0, -1)),
        (node(3), bench.empty(node(3), 0, -1)),
        (node(2), bench.user(node(2), 1, -1)),
        (node(3), bench.empty(node(3), 1, 0)),
    ];
    let seen = receive_together(&mut bench, &batch);
    let [Seen::Sent(None, Message { body: Body::User(user), .. }), ..] = &seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!((user.seqno, user.last_seqno(), user.aru), (Seqno(0), Seqno(1), Seqno(1)));
    assert!(words(&seen)[1..].iter().all(|word| *word == "deliver"), "{seen:?}");
}

#[test]
fn a_batch_that_announces_more_is_acknowledged_and_not_completed() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    send(&mut bench, b"a");
    let mut more = bench.user(node(2), 0, -1);
    more.header.flags = Flags::MORE;
    let mut also_more = bench.user(node(2), 1, -1);
    also_more.header.flags = Flags::MORE;
    let seen = receive_together(&mut bench, &[(node(2), more), (node(2), also_more)]);
    assert_eq!(words(&seen), ["gap"]);
}

#[test]
fn a_batch_is_answered_before_the_membership_changes() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let user = bench.user(node(2), 0, -1);
    let input = Input::Message { source: node(2), payload: user.encode() };
    bench.evs.handle_input(bench.now, input);
    let leave = bench.leave(node(3), -1, -1);
    let seen = bench.receive(node(3), &leave);
    let mut sent = words(&seen);
    sent.retain(|word| matches!(*word, "empty" | "gap" | "join"));
    assert_eq!(sent, ["empty", "join"], "{seen:?}");
}

#[test]
fn the_queue_is_bounded() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let payload = Bytes::from(vec![0; 30_000]);
    let sent = |bench: &mut Bench| bench.evs.send(bench.now, Order::Safe, 1, payload.clone());
    let accepted = (0..100).take_while(|_| sent(&mut bench).is_ok()).count();
    assert!((34..40).contains(&accepted), "{accepted}");
}

#[test]
fn an_idle_member_shows_every_period_that_it_lives() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let seen = bench.pass(MILLISECOND * 1000);
    assert_eq!(bodies(&seen), [&empty_body(0, 0, -1)]);
    let Seen::Sent(None, message) = &seen[0] else { panic!("{seen:?}") };
    assert_eq!(message.header.order, Order::Drop);
}

#[test]
fn numbers_of_the_process_never_repeat_and_never_restart() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let before = send(&mut bench, b"x");
    let after = bench.pass(MILLISECOND * 3000);
    let numbers: Vec<i64> = before
        .iter()
        .chain(&after)
        .filter_map(|seen| match seen {
            Seen::Sent(_, message) => Some(message.header.fifo_seqno.0),
            Seen::Other(_) => None,
        })
        .collect();
    assert!(numbers.len() > 2 && numbers[0] > 3, "{numbers:?}");
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}
