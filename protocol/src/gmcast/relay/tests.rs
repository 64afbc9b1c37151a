use core::net::SocketAddr;

use super::*;
use crate::gmcast::message::{HandshakeId, Kind};
use crate::gmcast::tests::network::{address, config, node};
use crate::gmcast::tests::single::{ME, Single, list, response, sent};
use crate::gmcast::{Config, Input};

/// A member of segment 0 with accepted links to peers in the given segments.
fn with_peers(peers: &[(u8, u8)]) -> Single {
    let mut single = Single::new();
    for (peer, segment) in peers {
        accept(&mut single, *peer, *segment);
    }
    single
}

fn link(peer: u8) -> LinkId {
    LinkId::Accepted(u32::from(peer))
}

fn accept(single: &mut Single, peer: u8, segment: u8) {
    let remote = SocketAddr::new(address(peer).ip(), 50_000);
    let outputs = single.input(Input::Accepted { link: link(peer), local: address(ME), remote });
    let Some(Body::Handshake { handshake }) = sent(&outputs[0]) else {
        panic!("HANDSHAKE first");
    };
    respond(single, peer, segment, handshake);
}

fn respond(single: &mut Single, peer: u8, segment: u8, handshake: HandshakeId) {
    let body = response(handshake, peer);
    let message = Message { segment: Segment(segment), source: node(peer), body };
    single.input(Input::Frame { link: link(peer), body: message.encode() });
}

const PAYLOAD: Bytes = Bytes::from_static(b"evs");

fn message(source: NodeId, segment: u8, relay: Relay) -> Message {
    let body = Body::User { relay, payload: PAYLOAD };
    Message { segment: Segment(segment), source, body }
}

/// On which link what went out, USER messages only.
fn users(outputs: &[Output]) -> Vec<(LinkId, Message)> {
    let user = |output: &Output| match output {
        Output::SendFrame { link, body, is_user } => {
            let message = Message::decode(body).expect("valid");
            assert_eq!(*is_user, message.body.kind() == Kind::User);
            is_user.then_some((*link, message))
        }
        Output::Resolve { .. }
        | Output::Dial { .. }
        | Output::CloseLink { .. }
        | Output::Deliver { .. }
        | Output::Event(_) => None,
    };
    outputs.iter().filter_map(user).collect()
}

fn send(single: &mut Single) -> Vec<(LinkId, Message)> {
    users(&single.input(Input::Send { target: None, payload: PAYLOAD }))
}

fn receive(single: &mut Single, from: u8, message: &Message) -> Vec<Output> {
    single.input(Input::Frame { link: link(from), body: message.encode() })
}

fn own(relay: Relay) -> Message {
    message(node(ME), 0, relay)
}

#[test]
fn inside_a_segment_every_peer_gets_the_message_directly() {
    let mut single = with_peers(&[(2, 0), (3, 0)]);
    assert_eq!(send(&mut single), [(link(2), own(Relay::No)), (link(3), own(Relay::No))]);
}

#[test]
fn another_segment_gets_one_message_to_spread() {
    let mut single = with_peers(&[(2, 0), (3, 4), (4, 4), (5, 4), (6, 9)]);
    // Nobody of our segment has a smaller UUID: (0 + 4) mod 3 = 1, (0 + 9) mod 1 = 0.
    let expected =
        [(link(2), own(Relay::No)), (link(4), own(Relay::Segment)), (link(6), own(Relay::Segment))];
    assert_eq!(send(&mut single), expected);
}

#[test]
fn members_of_a_segment_take_turns_as_entry_points() {
    // Member 0 stands before us, which moves our choice on by one.
    let mut single = with_peers(&[(0, 0), (3, 4), (4, 4), (5, 4)]);
    let expected = [(link(0), own(Relay::No)), (link(5), own(Relay::Segment))];
    assert_eq!(send(&mut single), expected);
}

#[test]
fn a_relay_request_goes_to_every_other_link_without_flags() {
    let mut single = with_peers(&[(2, 0), (3, 0), (4, 5)]);
    let request = message(node(9), 7, Relay::Everywhere);
    let outputs = receive(&mut single, 2, &request);
    let copy = message(node(9), 7, Relay::No);
    assert_eq!(users(&outputs), [(link(3), copy.clone()), (link(4), copy)]);
    let deliver = Output::Deliver { source: node(9), payload: PAYLOAD };
    assert_eq!(outputs.last(), Some(&deliver));
    assert_eq!(single.gmcast.counters().relayed, 1);
}

#[test]
fn a_copy_never_goes_back_to_its_originator() {
    let mut single = with_peers(&[(2, 0), (3, 0), (4, 0)]);
    let request = message(node(4), 0, Relay::Everywhere);
    let outputs = receive(&mut single, 2, &request);
    assert_eq!(users(&outputs), [(link(3), message(node(4), 0, Relay::No))]);
}

#[test]
fn a_segment_relay_request_is_spread_in_our_segment_only() {
    let mut single = with_peers(&[(2, 0), (3, 0), (4, 5), (5, 5)]);
    let outputs = receive(&mut single, 4, &message(node(4), 5, Relay::Segment));
    let copy = message(node(4), 5, Relay::No);
    assert_eq!(users(&outputs), [(link(2), copy.clone()), (link(3), copy)]);
}

#[test]
fn a_segment_relay_request_from_our_own_segment_is_not_echoed() {
    let mut single = with_peers(&[(2, 0), (3, 0)]);
    let outputs = receive(&mut single, 2, &message(node(2), 0, Relay::Segment));
    assert_eq!(users(&outputs), [(link(3), message(node(2), 0, Relay::No))]);
}

#[test]
fn a_message_without_flags_is_only_delivered() {
    let mut single = with_peers(&[(2, 0), (3, 0)]);
    let outputs = receive(&mut single, 2, &message(node(9), 0, Relay::No));
    assert_eq!(outputs, [Output::Deliver { source: node(9), payload: PAYLOAD }]);
}

#[test]
fn our_own_message_coming_back_is_neither_delivered_nor_passed_on() {
    let mut single = with_peers(&[(2, 0), (3, 0)]);
    let outputs = receive(&mut single, 2, &message(node(ME), 0, Relay::Everywhere));
    assert_eq!(outputs, []);
    let outputs = receive(&mut single, 2, &message(NodeId::NIL, 0, Relay::Everywhere));
    assert_eq!(outputs, []);
    assert_eq!(single.gmcast.counters().users_dropped, 2);
}

#[test]
fn what_is_no_message_of_evs_is_delivered_but_never_sent_or_passed_on() {
    let mut single =
        Single::with(Config { payload_check: |bytes| bytes.as_ref() == b"x", ..config(ME, &[]) });
    accept(&mut single, 2, 0);
    accept(&mut single, 3, 0);
    let outputs = receive(&mut single, 2, &message(node(2), 0, Relay::Everywhere));
    assert_eq!(outputs, [Output::Deliver { source: node(2), payload: PAYLOAD }]);
    assert_eq!(send(&mut single), []);
    assert_eq!(single.gmcast.counters().forbidden, 2);
}

/// Tells the single member what a peer sees, then lets it notice.
fn tell(single: &mut Single, peer: u8, sees: &[u8]) {
    let uri = |number: &u8| (node(*number), format!("tcp://{}", address(*number)));
    let entries: Vec<_> = sees.iter().map(uri).collect();
    let entries: Vec<_> = entries.iter().map(|(node, uri)| (*node, uri.as_str())).collect();
    receive(
        single,
        peer,
        &Message { segment: Segment(0), source: node(peer), body: list(&entries) },
    );
}

#[test]
fn the_peer_that_sees_most_missing_nodes_is_asked_to_relay() {
    let mut single = with_peers(&[(2, 0), (3, 0), (4, 0)]);
    tell(&mut single, 2, &[1, 7]);
    tell(&mut single, 3, &[1, 7, 8]);
    tell(&mut single, 4, &[1]);
    let expected =
        [(link(2), own(Relay::No)), (link(3), own(Relay::Everywhere)), (link(4), own(Relay::No))];
    assert_eq!(send(&mut single), expected);
}

#[test]
fn several_relays_are_taken_if_one_does_not_see_all() {
    let mut single = with_peers(&[(2, 0), (3, 0)]);
    tell(&mut single, 2, &[1, 7]);
    tell(&mut single, 3, &[1, 8]);
    let expected = [(link(2), own(Relay::Everywhere)), (link(3), own(Relay::Everywhere))];
    assert_eq!(send(&mut single), expected);
}

#[test]
fn relays_of_our_own_segment_are_preferred() {
    let mut single = with_peers(&[(2, 5), (3, 0)]);
    tell(&mut single, 2, &[1, 7, 8]);
    tell(&mut single, 3, &[1, 7]);
    // The own one first; the other is still needed for member 8.
    let expected = [(link(2), own(Relay::Everywhere)), (link(3), own(Relay::Everywhere))];
    assert_eq!(send(&mut single), expected);
    tell(&mut single, 3, &[1, 7, 8]);
    let expected = [(link(2), own(Relay::Segment)), (link(3), own(Relay::Everywhere))];
    assert_eq!(send(&mut single), expected);
}

#[test]
fn a_segment_relay_reaches_nodes_without_a_link_through_the_relay_set() {
    let mut single = with_peers(&[(2, 0), (3, 0), (4, 5)]);
    tell(&mut single, 3, &[1, 7]);
    let outputs = receive(&mut single, 4, &message(node(4), 5, Relay::Segment));
    let expected = [
        (link(2), message(node(4), 5, Relay::No)),
        (link(3), message(node(4), 5, Relay::Everywhere)),
    ];
    assert_eq!(users(&outputs), expected);
}

#[test]
fn nobody_is_asked_to_relay_to_a_node_in_time_wait() {
    let mut single = with_peers(&[(2, 0), (3, 0)]);
    tell(&mut single, 2, &[1, 3]);
    single.input(Input::RegularView {
        members: BTreeSet::from([node(1), node(2)]),
        left: BTreeSet::from([node(3)]),
    });
    assert_eq!(send(&mut single), [(link(2), own(Relay::No))]);
}

#[test]
fn a_target_with_a_link_gets_the_message_without_any_flag() {
    let mut single = with_peers(&[(2, 0), (3, 5)]);
    let outputs = single.input(Input::Send { target: Some(node(3)), payload: PAYLOAD });
    assert_eq!(users(&outputs), [(link(3), own(Relay::No))]);
}

#[test]
fn messages_keep_their_order_on_a_link() {
    let mut single = with_peers(&[(2, 0)]);
    for payload in [&b"a"[..], b"b", b"c"] {
        let payload = Bytes::copy_from_slice(payload);
        single.gmcast.handle_input(Instant::ZERO, Input::Send { target: None, payload });
    }
    let outputs: Vec<_> = core::iter::from_fn(|| single.gmcast.poll_output()).collect();
    let expected = ["a", "b", "c"].map(|payload| {
        let body = Body::User { relay: Relay::No, payload: Bytes::from_static(payload.as_bytes()) };
        (link(2), Message { segment: Segment(0), source: node(ME), body })
    });
    assert_eq!(users(&outputs), expected);
}
