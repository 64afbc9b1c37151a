//! What nobody should send, and what must not be kept.

use bytes::Bytes;

use super::bench::{Bench, entry, node, nodes, pseudo, regular, user_body, words};
use crate::evs::message::{Body, Flags, Header, Message, NodeEntry, User};
use crate::evs::{Config, FifoSeqno, Input, Range, Seqno, StateKind};
use crate::id::NodeId;
use crate::message::Order;

fn counters(bench: &Bench) -> (u64, u64) {
    let counters = bench.evs.status().counters;
    (counters.malformed, counters.violations)
}

/// The message changes nothing and is counted as what it is.
fn is_refused(bench: &mut Bench, from: NodeId, message: &Message) {
    let (malformed, violations) = counters(bench);
    assert_eq!(bench.receive(from, message), [], "{message:?}");
    assert_eq!(counters(bench), (malformed, violations + 1), "{message:?}");
    assert_eq!(bench.evs.state(), StateKind::Operational);
}

#[test]
fn garbage_and_every_truncation_of_a_message_are_counted_and_dropped() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let view = bench.view();
    let list = nodes([(node(1), entry(view, -1)), (node(2), entry(view, -1))]);
    let whole = bench.join(node(2), view, -1, list).encode();
    for length in 0..whole.len() {
        let payload = whole.slice(..length);
        assert_eq!(bench.input(Input::Message { source: node(2), payload }), []);
    }
    assert_eq!(counters(&bench), (whole.len() as u64, 0));
    let payload = Bytes::from_static(&[0xff; 200]);
    assert_eq!(bench.input(Input::Message { source: node(9), payload }), []);
    assert_eq!(bench.evs.state(), StateKind::Operational);
}

#[test]
fn a_message_with_something_behind_it_is_dropped() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let mut bytes = bench.gap(node(2), 0, 0).encode().to_vec();
    bytes.push(0);
    let payload = Bytes::from(bytes);
    assert_eq!(bench.input(Input::Message { source: node(2), payload }), []);
    assert_eq!(counters(&bench), (1, 0));
}

#[test]
fn a_version_of_the_future_is_dropped() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let mut bytes = bench.user(node(2), 0, -1).encode().to_vec();
    bytes[2] = 2;
    let payload = Bytes::from(bytes);
    assert_eq!(bench.input(Input::Message { source: node(2), payload }), []);
    assert_eq!(bench.evs.status().aru, Seqno::NONE);
}

#[test]
fn only_an_install_names_its_source_and_only_the_right_one() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let mut user = bench.user(node(2), 0, -1);
    user.header.source = Some(node(3));
    user.header.flags = Flags::SOURCE;
    is_refused(&mut bench, node(2), &user);
    let view = bench.view();
    let list = nodes([node(1), node(2), node(3)].map(|id| (id, entry(view, -1))));
    let Body::Join(proposal) = bench.join(node(2), view, -1, list).body else { return };
    let install = bench.install(node(2), view, proposal, regular(node(2), view.seq + 1));
    is_refused(&mut bench, node(3), &install);
}

#[test]
fn a_proposal_lists_its_sender_and_of_our_view_everybody_it_speaks_of_rightly() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let view = bench.view();
    let here = entry(view, -1);
    let refused = [
        nodes([(node(1), here), (node(3), here)]),
        nodes([(node(2), here), (node(3), here)]),
        nodes([(node(1), here), (node(2), here), (node(9), here)]),
        nodes([
            (node(1), NodeEntry { is_operational: false, ..here }),
            (node(2), NodeEntry { is_operational: false, ..here }),
        ]),
        nodes([(node(1), here), (node(2), NodeEntry { safe: Seqno(-2), ..here })]),
        nodes([
            (node(1), here),
            (node(2), NodeEntry { range: Range::new(Seqno(7), Seqno(3)), ..here }),
        ]),
        nodes([(node(1), here), (node(2), NodeEntry { leave_seqno: Seqno(i64::MIN), ..here })]),
    ];
    for list in refused {
        let join = bench.join(node(2), view, -1, list);
        is_refused(&mut bench, node(2), &join);
    }
}

#[test]
fn view_numbers_at_their_end_are_refused() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let last = regular(node(2), (1 << 30) - 1);
    let mut message = bench.empty(node(9), 0, 0);
    message.header.view = last;
    is_refused(&mut bench, node(9), &message);
    let join = bench.join(node(9), pseudo(node(9)), -1, nodes([(node(9), entry(last, 0))]));
    is_refused(&mut bench, node(9), &join);
}

#[test]
fn an_install_comes_from_the_owner_of_its_view_and_goes_forward() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let view = bench.view();
    let list = nodes([(node(1), entry(view, -1)), (node(2), entry(view, -1))]);
    let Body::Join(proposal) = bench.join(node(2), view, -1, list).body else { return };
    for next in [regular(node(1), view.seq + 1), regular(node(2), view.seq), pseudo(node(2))] {
        let install = bench.install(node(2), view, proposal.clone(), next);
        is_refused(&mut bench, node(2), &install);
    }
}

#[test]
fn only_user_messages_and_leaves_are_passed_on_and_only_for_this_view() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let wrapped = |bench: &mut Bench, mut inner: Message, flags: Flags| {
        inner.header.source = Some(node(3));
        inner.header.flags = flags;
        let header = bench.header(node(2), Order::Unreliable, Flags::NONE);
        Message { header, body: Body::Delegate(Box::new(inner)) }
    };
    let again = Flags::SOURCE.union(Flags::RETRANSMISSION);
    let inner = bench.gap(node(3), 0, 0);
    let gap = wrapped(&mut bench, inner, again);
    is_refused(&mut bench, node(2), &gap);
    let inner = bench.user(node(3), 0, -1);
    let first_hand = wrapped(&mut bench, inner.clone(), Flags::SOURCE);
    is_refused(&mut bench, node(2), &first_hand);
    let mut elsewhere = inner;
    elsewhere.header.view = regular(node(3), 1);
    let elsewhere = wrapped(&mut bench, elsewhere, again);
    is_refused(&mut bench, node(2), &elsewhere);
}

#[test]
fn an_aggregate_whose_parts_do_not_add_up_or_that_is_not_to_be_delivered_is_refused() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    for (order, payload) in [
        (Order::Safe, &[0u8, 1, 9, 0, b'x'][..]),
        (Order::Safe, &[0, 1, 1]),
        (Order::Drop, &[0, 1, 1, 0, b'x']),
    ] {
        let header = bench.header(node(2), order, Flags::AGGREGATE);
        let user = User { payload: Bytes::copy_from_slice(payload), ..user_body(0, -1, b"") };
        let message = Message { header, body: Body::User(user) };
        is_refused(&mut bench, node(2), &message);
    }
}

#[test]
fn our_own_messages_that_come_back_are_dropped() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let own = bench.user(node(1), 0, -1);
    assert_eq!(bench.receive(node(1), &own), []);
    assert_eq!(bench.evs.status().aru, Seqno::NONE);
}

#[test]
fn numbers_absurdly_far_ahead_are_refused_and_not_waited_for() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    for seqno in [1 << 20, i64::MAX - 300, i64::MAX] {
        let message = bench.user(node(2), seqno, -1);
        let seen = words(&bench.receive(node(2), &message));
        assert_eq!(seen, Vec::<&str>::new(), "{seqno}");
    }
    assert_eq!(bench.evs.status().counters.refused, 3);
}

#[test]
fn one_senders_messages_take_no_more_than_their_share_of_memory() {
    let config = Config { held_bytes_per_sender_max: 100_000, ..Config::default() };
    let mut bench = Bench::in_group_with(config, node(1), &[node(2), node(3)]);
    for seqno in 0..10 {
        let header = bench.header(node(2), Order::Safe, Flags::NONE);
        let payload = Bytes::from(vec![7; 30_000]);
        let body = Body::User(User { payload, ..user_body(seqno, -1, b"") });
        bench.receive(node(2), &Message { header, body });
    }
    assert_eq!(bench.evs.status().counters.refused, 7);
    // Another sender's share is its own.
    let other = bench.user(node(3), 0, -1);
    bench.receive(node(3), &other);
    assert_eq!(bench.evs.status().counters.refused, 7);
}

#[test]
fn acknowledgements_of_the_past_and_numbers_below_zero_change_nothing() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let gap = bench.gap(node(2), 5, 5);
    bench.receive(node(2), &gap);
    for aru in [4, -1, -7, i64::MIN] {
        let gap = bench.gap(node(2), 5, aru);
        assert_eq!(bench.receive(node(2), &gap), []);
    }
    let below = bench.user(node(2), -5, i64::MIN);
    bench.receive(node(2), &below);
    assert_eq!(bench.evs.status().safe, Seqno::NONE);
}

#[test]
fn a_request_about_somebody_unknown_is_not_answered() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    for (first, last) in [(0, 0), (5, 1), (i64::MIN, i64::MAX)] {
        let request = bench.request(node(2), node(9), first, last);
        assert_eq!(bench.receive(node(2), &request), []);
    }
}

#[test]
fn a_request_without_end_is_answered_only_as_far_as_anybody_could_have_got() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let request = bench.request(node(2), node(1), 0, i64::MAX);
    let seen = bench.receive(node(2), &request);
    // Numbers up to the limit are used up, 256 with each message; each is sent, and sent again.
    assert!(seen.len() <= 2 * (1 << 17) / 256 + 4, "{}", seen.len());
}

#[test]
fn early_commits_of_many_take_one_place_each() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let stranger = node(9);
    let list = nodes([(stranger, entry(pseudo(stranger), -1))]);
    let join = bench.join(stranger, pseudo(stranger), -1, list);
    bench.receive(stranger, &join);
    for seq in 0..5000 {
        let header = bench.header(node(2), Order::Unreliable, Flags::COMMIT);
        let header = Header { view: regular(node(2), 100 + seq), ..header };
        let gap = crate::evs::message::Gap::install();
        assert_eq!(bench.receive(node(2), &Message { header, body: Body::Gap(gap) }), []);
    }
    assert_eq!(bench.evs.early_commits.len(), 1);
}

#[test]
fn after_the_end_nothing_is_taken_in() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    bench.input(Input::Abandon);
    let message = bench.user(node(2), 0, -1);
    assert_eq!(bench.receive(node(2), &message), []);
    assert_eq!(bench.input(Input::Evict(node(2))), []);
    assert_eq!(bench.input(Input::Close), []);
    assert_eq!(bench.evs.next_deadline(), None);
}

#[test]
fn a_number_that_was_seen_before_is_dropped_unless_it_is_sent_again_on_purpose() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let first = bench.user(node(2), 0, -1);
    bench.receive(node(2), &first);
    let mut other = bench.user(node(2), 1, -1);
    other.header.fifo_seqno = first.header.fifo_seqno;
    assert_eq!(bench.receive(node(2), &other), []);
    other.header.fifo_seqno = FifoSeqno::NONE;
    assert_eq!(words(&bench.receive(node(2), &other)), ["empty"]);
}
