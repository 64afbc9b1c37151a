use core::net::SocketAddr;
use std::collections::BTreeSet;

use super::*;
use crate::gmcast::message::{Message, Relay, Topology};
use crate::gmcast::tests::network::{address, config, node};
use crate::gmcast::tests::single::{
    ME, Single, all_sent, closed, group, list, response, sent, text, user, uuid,
};
use crate::gmcast::{Config, Input, LinkClosed, LinkEnd, Output, Phase};

const DIALLED: LinkId = LinkId::Dialled(0);

fn frame(link: LinkId, segment: u8, body: Body) -> Output {
    let is_user = body.kind() == Kind::User;
    let message = Message { segment: Segment(segment), source: node(ME), body };
    Output::SendFrame { link, body: message.encode(), is_user }
}

fn link_closed(link: LinkId, remote: SocketAddr, peer: Option<u8>, reason: Reason) -> Output {
    let failures = u32::from(matches!(link, LinkId::Dialled(_)));
    let (node, phase) = (peer.map(node), Phase::Handshake);
    Output::Event(Event::LinkClosed(LinkClosed { link, remote, node, phase, reason, failures }))
}

fn fail(reason: &str) -> Body {
    Body::Fail { reason: text(reason) }
}

fn caller(peer: u8) -> SocketAddr {
    SocketAddr::new(address(peer).ip(), 50_000)
}

#[test]
fn an_acceptor_speaks_first() {
    let mut single = Single::new();
    let link = LinkId::Accepted(9);
    let outputs = single.input(Input::Accepted { link, local: address(ME), remote: caller(2) });
    let Some(Body::Handshake { handshake }) = sent(&outputs[0]) else {
        panic!("HANDSHAKE first");
    };
    assert_eq!(outputs, [frame(link, 0, Body::Handshake { handshake })]);
}

#[test]
fn an_initiator_waits_for_the_handshake() {
    let mut single = Single::with(config(ME, &[2]));
    let (local, remote) = (address(ME), address(2));
    assert_eq!(single.input(Input::Connected { link: DIALLED, local, remote }), []);
}

#[test]
fn an_initiator_answers_with_its_name_address_and_group() {
    let (mut single, link) = Single::dialled();
    let handshake = HandshakeId(uuid(5));
    let outputs = single.receive_from(link, node(2), Body::Handshake { handshake });
    let address = text("tcp://10.0.0.1:4567");
    let body = Body::HandshakeResponse { handshake, address, group: group("group") };
    assert_eq!(outputs, [frame(link, 0, body)]);
}

#[test]
fn with_tls_the_advertised_address_says_so() {
    let mut single = Single::with(Config { tls: true, ..config(ME, &[2]) });
    single.input(Input::Connected { link: DIALLED, local: address(ME), remote: address(2) });
    let handshake = HandshakeId(uuid(5));
    let outputs = single.receive_from(DIALLED, node(2), Body::Handshake { handshake });
    let Some(Body::HandshakeResponse { address, .. }) = sent(&outputs[0]) else {
        panic!("a response is sent");
    };
    assert_eq!(address, text("ssl://10.0.0.1:4567"));
}

#[test]
fn ok_establishes_the_initiators_link() {
    let (mut single, link) = Single::responded();
    let outputs = single.receive_from(link, node(2), Body::Ok);
    let established =
        Event::LinkEstablished { link, node: node(2), segment: Segment(0), remote: address(2) };
    let list = list(&[(node(2), "tcp://10.0.0.2:4567")]);
    assert_eq!(outputs, [Output::Event(established), frame(link, 0, list)]);
}

#[test]
fn a_response_establishes_the_acceptors_link_at_the_advertised_port() {
    let mut single = Single::with(Config { segment: Segment(3), ..config(ME, &[]) });
    let (link, handshake) = single.accept(2);
    let body = Body::HandshakeResponse {
        handshake,
        address: text("tcp://0.0.0.0:14567"),
        group: group("group"),
    };
    let outputs = single.receive_from(link, node(2), body);
    let established =
        Event::LinkEstablished { link, node: node(2), segment: Segment(0), remote: caller(2) };
    let list = list(&[(node(2), "tcp://10.0.0.2:14567")]);
    // A topology list carries segment 0 whatever the sender's is.
    let expected = [frame(link, 3, Body::Ok), Output::Event(established), frame(link, 0, list)];
    assert_eq!(outputs, expected);
}

#[test]
fn a_mapped_ipv4_caller_counts_as_its_ipv4_address() {
    let mut single = Single::new();
    let (link, local) = (LinkId::Accepted(0), address(ME));
    let remote = "[::ffff:10.0.0.2]:50000".parse().expect("valid");
    let outputs = single.input(Input::Accepted { link, local, remote });
    let Some(Body::Handshake { handshake }) = sent(&outputs[0]) else {
        panic!("HANDSHAKE first");
    };
    let outputs = single.receive_from(link, node(2), response(handshake, 2));
    assert_eq!(all_sent(&outputs)[1].1, list(&[(node(2), "tcp://10.0.0.2:4567")]));
    assert_eq!(single.gmcast.ip_of(node(2)), Some(address(2).ip()));
}

#[test]
fn a_caller_of_another_group_is_told_so() {
    let mut single = Single::new();
    let (link, handshake) = single.accept(2);
    let address = text("tcp://10.0.0.2:4567");
    let body = Body::HandshakeResponse { handshake, address, group: group("other") };
    let outputs = single.receive_from(link, node(2), body);
    let reason = Reason::Refused(Refusal::InvalidGroup);
    let expected = [
        frame(link, 0, fail("invalid group")),
        Output::CloseLink { link },
        link_closed(link, caller(2), Some(2), reason),
    ];
    assert_eq!(outputs, expected);
}

#[test]
fn the_group_is_checked_before_the_eviction() {
    let mut single = Single::new();
    single.input(Input::Evict(node(2)));
    let (link, handshake) = single.accept(2);
    let address = text("tcp://10.0.0.2:4567");
    let body = Body::HandshakeResponse { handshake, address, group: group("other") };
    let outputs = single.receive_from(link, node(2), body);
    assert_eq!(closed(&outputs), Some(Reason::Refused(Refusal::InvalidGroup)));
}

#[test]
fn a_caller_without_a_usable_address_is_told_so() {
    for advertised in ["", "hello", "tcp://10.0.0.2"] {
        let mut single = Single::new();
        let (link, handshake) = single.accept(2);
        let (address, group) = (text(advertised), group("group"));
        let body = Body::HandshakeResponse { handshake, address, group };
        let outputs = single.receive_from(link, node(2), body);
        assert_eq!(sent(&outputs[0]), Some(fail("invalid node address")));
        assert_eq!(closed(&outputs), Some(Reason::Refused(Refusal::InvalidNodeAddress)));
    }
}

#[test]
fn an_evicted_caller_is_told_so_and_an_evicted_callee_is_left() {
    let mut single = Single::new();
    single.input(Input::Evict(node(2)));
    let (link, handshake) = single.accept(2);
    let outputs = single.receive_from(link, node(2), response(handshake, 2));
    assert_eq!(sent(&outputs[0]), Some(fail("evicted")));
    assert_eq!(closed(&outputs), Some(Reason::Refused(Refusal::Evicted)));

    let (mut single, link) = Single::dialled();
    single.input(Input::Evict(node(2)));
    let handshake = HandshakeId(uuid(5));
    let outputs = single.receive_from(link, node(2), Body::Handshake { handshake });
    assert_eq!(all_sent(&outputs), []);
    assert_eq!(closed(&outputs), Some(Reason::Refused(Refusal::Evicted)));
}

#[test]
fn an_eviction_between_response_and_ok_still_counts() {
    let (mut single, link) = Single::responded();
    let outputs = single.input(Input::Evict(node(2)));
    assert_eq!(closed(&outputs), Some(Reason::Refused(Refusal::Evicted)));
    assert!(!single.has_link(link));
}

#[test]
fn a_response_to_another_handshake_closes_the_link() {
    let mut single = Single::new();
    let (link, _) = single.accept(2);
    let outputs = single.receive_from(link, node(2), response(HandshakeId(uuid(5)), 2));
    assert_eq!(closed(&outputs), Some(Reason::Violation(Violation::WrongHandshake)));
    assert_eq!(all_sent(&outputs), []);
}

#[test]
fn nil_uuids_close_the_link() {
    let nil = Reason::Violation(Violation::NilUuid);
    let mut single = Single::new();
    let (link, handshake) = single.accept(2);
    let outputs = single.receive_from(link, NodeId::NIL, response(handshake, 2));
    assert_eq!(closed(&outputs), Some(nil.clone()));
    for (source, handshake) in [(NodeId::NIL, uuid(5)), (node(2), NodeId::NIL)] {
        let (mut single, link) = Single::dialled();
        let body = Body::Handshake { handshake: HandshakeId(handshake) };
        let outputs = single.receive_from(link, source, body);
        assert_eq!(closed(&outputs), Some(nil.clone()));
    }
}

/// What a state does with a message that is not the one it waits for.
#[derive(Debug, PartialEq)]
enum Cell {
    Normal,
    Ignored,
    Answered,
    Closed,
}

fn prepare(state: StateKind) -> (Single, LinkId, HandshakeId) {
    let none = HandshakeId(uuid(5));
    let with = |(single, link)| (single, link, none);
    match state {
        StateKind::Greeting => unreachable!("left within the input that enters it"),
        StateKind::Dialling => (Single::with(config(ME, &[2])), DIALLED, none),
        StateKind::HandshakeWait => with(Single::dialled()),
        StateKind::ResponseSent => with(Single::responded()),
        StateKind::Established => with(Single::established()),
        StateKind::HandshakeSent => {
            let mut single = Single::new();
            let (link, handshake) = single.accept(2);
            (single, link, handshake)
        }
    }
}

fn cell(state: StateKind, kind: Kind) -> Cell {
    let (mut single, link, handshake) = prepare(state);
    let body = match kind {
        Kind::Handshake => Body::Handshake { handshake },
        Kind::HandshakeResponse => response(handshake, 2),
        Kind::Ok => Body::Ok,
        Kind::Fail => fail("because"),
        Kind::TopologyChange => list(&[(node(1), "tcp://10.0.0.1:4567")]),
        Kind::Keepalive => Body::Keepalive,
        Kind::User => user(b"evs"),
    };
    let outputs = single.receive_from(link, node(2), body);
    match closed(&outputs) {
        Some(Reason::Violation(Violation::OutOfPlace { message, state: found })) => {
            assert_eq!((message, found), (kind, state));
            assert_eq!(all_sent(&outputs), []);
            Cell::Closed
        }
        Some(Reason::RefusedByPeer(_)) => Cell::Closed,
        Some(other) => panic!("{kind} while {state}: {other}"),
        None if all_sent(&outputs) == [(link, Body::Ok)] => Cell::Answered,
        None if outputs.is_empty() && single.gmcast.links().all(|l| l.link == link) => {
            Cell::Ignored
        }
        None => Cell::Normal,
    }
}

#[test]
fn every_message_in_every_state_is_treated_as_the_protocol_asks() {
    use Cell::{Answered, Closed, Ignored, Normal};
    use StateKind::{Dialling, Established, HandshakeSent, HandshakeWait, ResponseSent};
    let states = [HandshakeSent, Dialling, HandshakeWait, ResponseSent, Established];
    // An unchanged or self-naming list, and an OK, cause nothing on an established link. A
    // KEEPALIVE is never answered before, since that OK could meet a peer which it ends.
    let table = [
        (Kind::Handshake, [Closed, Closed, Normal, Closed, Closed]),
        (Kind::HandshakeResponse, [Normal, Closed, Closed, Closed, Closed]),
        (Kind::Ok, [Closed, Closed, Closed, Normal, Ignored]),
        (Kind::Fail, [Closed, Closed, Closed, Closed, Closed]),
        (Kind::TopologyChange, [Closed, Closed, Closed, Closed, Ignored]),
        (Kind::Keepalive, [Ignored, Ignored, Ignored, Ignored, Answered]),
        (Kind::User, [Ignored, Ignored, Ignored, Ignored, Normal]),
    ];
    for (kind, expected) in table {
        for (state, expected) in states.into_iter().zip(expected) {
            assert_eq!(cell(state, kind), expected, "{kind} while {state}");
        }
    }
}

#[test]
fn a_message_that_is_none_closes_the_link_and_is_counted() {
    let (mut single, link) = Single::established();
    let outputs = single.input(Input::Frame { link, body: bytes::Bytes::from_static(b"\0\x07") });
    assert!(matches!(closed(&outputs), Some(Reason::Violation(Violation::Malformed(_)))));
    assert_eq!(single.gmcast.counters().violations, 1);
    // What was under way behind it finds no link.
    assert_eq!(single.receive_from(link, node(2), user(b"evs")), []);
}

#[test]
fn refusals_are_told_apart() {
    for (reason, refusal) in [
        ("invalid group", Refusal::InvalidGroup),
        ("invalid node address", Refusal::InvalidNodeAddress),
        ("no particular reason", Refusal::Other(text("no particular reason"))),
        ("", Refusal::Other(Text::default())),
    ] {
        let (mut single, link) = Single::responded();
        let outputs = single.receive_from(link, node(2), fail(reason));
        let reason = Reason::RefusedByPeer(refusal);
        let expected = [Output::CloseLink { link }, link_closed(link, address(2), Some(2), reason)];
        assert_eq!(outputs, expected);
    }
}

fn identity_problem(outputs: &[Output]) -> Option<IdentityProblem> {
    outputs.iter().find_map(|output| match output {
        Output::Event(Event::IdentityRefused { problem, .. }) => Some(*problem),
        Output::Resolve { .. }
        | Output::Dial { .. }
        | Output::SendFrame { .. }
        | Output::CloseLink { .. }
        | Output::Deliver { .. }
        | Output::Event(_) => None,
    })
}

#[test]
fn eviction_ends_our_uuid_at_any_time() {
    let (mut single, link) = Single::established();
    single.input(Input::PrimaryView { members: BTreeSet::from([node(1), node(2)]) });
    let outputs = single.receive_from(link, node(2), fail("evicted"));
    assert_eq!(identity_problem(&outputs), Some(IdentityProblem::Evicted));
}

#[test]
fn a_duplicate_uuid_is_final_only_before_the_first_primary_component() {
    let (mut single, link) = Single::responded();
    let outputs = single.receive_from(link, node(2), fail("duplicate uuid"));
    assert_eq!(identity_problem(&outputs), Some(IdentityProblem::Duplicate));

    let (mut single, link) = Single::responded();
    single.input(Input::PrimaryView { members: BTreeSet::from([node(1), node(2)]) });
    single.input(Input::PrimaryLost);
    let outputs = single.receive_from(link, node(2), fail("duplicate uuid"));
    assert_eq!(identity_problem(&outputs), None);
    assert_eq!(closed(&outputs), Some(Reason::RefusedByPeer(Refusal::DuplicateUuid)));
}

#[test]
fn a_peer_that_refuses_only_the_second_link_leaves_our_uuid_alone() {
    // Member 2 has called us from an address that is not the one we dial.
    let (mut single, link) = Single::responded();
    let (other, handshake) = single.accept(2);
    single.receive_from(other, node(2), response(handshake, 2));
    let outputs = single.receive_from(link, node(2), fail("duplicate uuid"));
    assert_eq!(identity_problem(&outputs), None);
    assert!(single.has_link(other));
}

#[test]
fn our_own_uuid_from_elsewhere_ends_it_before_a_primary_component_and_the_clone_after() {
    let mut single = Single::new();
    let (link, handshake) = single.accept(2);
    let outputs = single.receive_from(link, node(ME), response(handshake, 2));
    assert_eq!(all_sent(&outputs), []);
    assert_eq!(identity_problem(&outputs), Some(IdentityProblem::Duplicate));

    single.input(Input::PrimaryView { members: BTreeSet::from([node(ME)]) });
    let (link, handshake) = single.accept(2);
    let outputs = single.receive_from(link, node(ME), response(handshake, 2));
    assert_eq!(all_sent(&outputs), [(link, fail("duplicate uuid"))]);
    assert_eq!(identity_problem(&outputs), None);
}

#[test]
fn an_initiator_that_meets_its_own_uuid_does_the_same() {
    let (mut single, link) = Single::dialled();
    let handshake = HandshakeId(uuid(5));
    let outputs = single.receive_from(link, node(ME), Body::Handshake { handshake });
    assert_eq!(all_sent(&outputs), []);
    assert_eq!(identity_problem(&outputs), Some(IdentityProblem::Duplicate));
}

#[test]
fn a_call_that_reaches_ourselves_is_known_by_the_handshake() {
    let mut single = Single::with(config(ME, &[2]));
    let (local, remote) = (address(ME), address(2));
    single.input(Input::Connected { link: DIALLED, local, remote });
    let (_, handshake) = single.accept(7);
    let outputs = single.receive_from(DIALLED, node(ME), Body::Handshake { handshake });
    let expected = [
        Output::Event(Event::OwnAddressFound { remote: address(2) }),
        Output::CloseLink { link: DIALLED },
    ];
    assert_eq!(outputs[..2], expected);
    assert_eq!(closed(&outputs), Some(Reason::OwnAddress));
    let dials = |output: &Output| matches!(output, Output::Dial { .. });
    assert!(!single.wait(10_000).iter().any(dials));
}

#[test]
fn a_second_uuid_owner_in_our_primary_component_is_an_impostor() {
    let mut single = Single::new();
    let first = single.accept_established(2);
    single.input(Input::PrimaryView { members: BTreeSet::from([node(1), node(2)]) });
    let (link, handshake) = single.accept(3);
    let outputs = single.receive_from(link, node(2), response(handshake, 3));
    assert_eq!(all_sent(&outputs), [(link, fail("duplicate uuid"))]);
    assert!(single.has_link(first) && !single.has_link(link));
}

/// A handshake id below or above every one that we make.
fn extreme(byte: u8) -> HandshakeId {
    let mut bytes = [byte; 16];
    bytes[15] = 1;
    HandshakeId(NodeId::from_bytes(bytes))
}

#[test]
fn of_duplicate_links_the_one_with_the_greater_handshake_survives() {
    for (theirs, survives) in [(extreme(0x00), false), (extreme(0xff), true)] {
        let (mut single, dialled) = Single::dialled();
        single.receive_from(dialled, node(2), Body::Handshake { handshake: theirs });
        let accepted = single.accept_established(2);
        let outputs = single.receive_from(dialled, node(2), Body::Ok);
        assert_eq!(closed(&outputs), Some(Reason::DuplicateLink));
        assert_eq!((single.has_link(dialled), single.has_link(accepted)), (survives, !survives));
    }
}

#[test]
fn which_of_duplicate_links_is_done_first_makes_no_difference() {
    for (theirs, survives) in [(extreme(0x00), false), (extreme(0xff), true)] {
        let (mut single, dialled) = Single::dialled();
        let (accepted, ours) = single.accept(2);
        single.receive_from(dialled, node(2), Body::Handshake { handshake: theirs });
        single.receive_from(dialled, node(2), Body::Ok);
        let outputs = single.receive_from(accepted, node(2), response(ours, 2));
        assert_eq!(sent(&outputs[0]), Some(Body::Ok));
        assert_eq!(closed(&outputs), Some(Reason::DuplicateLink));
        assert_eq!((single.has_link(dialled), single.has_link(accepted)), (survives, !survives));
    }
}

#[test]
fn a_flood_of_callers_pushes_out_the_oldest() {
    let mut single = Single::new();
    let (oldest, _) = single.accept(2);
    for _ in 1..CALLERS_MAX {
        single.wait(1);
        single.accept(2);
    }
    assert!(single.has_link(oldest));
    let (newest, handshake) = single.accept(3);
    assert!(!single.has_link(oldest));
    single.receive_from(newest, node(3), response(handshake, 3));
    assert!(single.gmcast.links().any(|link| link.node == Some(node(3))));
    assert_eq!(single.gmcast.links().count(), CALLERS_MAX);
}

#[test]
fn links_beyond_the_limit_are_closed() {
    let mut single = Single::new();
    for number in 0..LINKS_MAX as u32 {
        let node = uuid(u64::from(number));
        let handshake = HandshakeId(node);
        let mut link = Link::accepted(single.now, address(ME), caller(2));
        link.transition(single.now, State::HandshakeSent(handshake));
        let peer = Peer { node, segment: Segment(0), handshake };
        link.transition(single.now, State::Established(peer));
        single.gmcast.links.insert(LinkId::Accepted(1000 + number), link);
    }
    let (link, handshake) = single.accept(3);
    let outputs = single.receive_from(link, node(3), response(handshake, 3));
    assert_eq!(closed(&outputs), Some(Reason::Crowded));
    assert_eq!(single.gmcast.links().count(), LINKS_MAX);
}

#[test]
fn a_late_connection_of_a_dial_given_up_is_ignored() {
    let mut single = Single::with(config(ME, &[2]));
    single.input(Input::Closed { link: DIALLED, end: LinkEnd::Other });
    let (local, remote) = (address(ME), address(2));
    assert_eq!(single.input(Input::Connected { link: DIALLED, local, remote }), []);
    assert_eq!(single.input(Input::Closed { link: DIALLED, end: LinkEnd::Other }), []);
}

#[test]
fn a_user_message_before_ok_is_dropped_and_counted() {
    let (mut single, link) = Single::responded();
    let body = Body::User { relay: Relay::Everywhere, payload: bytes::Bytes::from_static(b"x") };
    assert_eq!(single.receive_from(link, node(2), body), []);
    assert_eq!(single.gmcast.counters().users_dropped, 1);
}

#[test]
fn a_process_with_another_uuid_at_a_known_address_is_a_new_one() {
    let (mut single, link) = Single::established();
    single.receive_from(
        link,
        node(2),
        Body::TopologyChange { group: group("group"), links: Topology::new() },
    );
    single.input(Input::Closed { link, end: LinkEnd::EndOfStream });
    let (link, handshake) = single.accept(2);
    let outputs = single.receive_from(link, node(9), response(handshake, 2));
    let (remote, before, now) = (address(2), node(2), node(9));
    let changed = Output::Event(Event::IdentityChanged { remote, before, now });
    assert_eq!(outputs[1], changed);
    assert!(single.has_link(link));
}

#[test]
fn a_second_address_of_a_linked_node_is_left_alone_while_that_link_lives() {
    let mut single = Single::with(config(ME, &[2, 3]));
    let (local, remote) = (address(ME), address(2));
    single.input(Input::Connected { link: DIALLED, local, remote });
    let body = |number| Body::Handshake { handshake: HandshakeId(uuid(number)) };
    single.receive_from(DIALLED, node(2), body(5));
    let second = LinkId::Dialled(1);
    single.input(Input::Connected { link: second, local, remote: address(3) });
    let outputs = single.receive_from(second, node(2), body(6));
    let expected = [
        Output::CloseLink { link: second },
        link_closed(second, address(3), Some(2), Reason::LinkedElsewhere),
    ];
    assert_eq!(outputs, expected);
    single.receive_from(DIALLED, node(2), Body::Ok);
    let is_dial = |output: &Output| matches!(output, Output::Dial { .. });
    assert!(!single.wait(2500).iter().any(is_dial));
    let mut outputs = single.input(Input::Closed { link: DIALLED, end: LinkEnd::Reset });
    outputs.extend(single.wait(1000));
    assert_eq!(outputs.into_iter().filter(is_dial).count(), 2);
}
