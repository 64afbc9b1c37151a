use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::gmcast::tests::network::{address, node};
use crate::gmcast::tests::single::{group, list, response, text, uuid};
use crate::gmcast::{GroupName, message::Relay};

const STATES: [StateKind; 6] = [
    StateKind::Greeting,
    StateKind::HandshakeSent,
    StateKind::Dialling,
    StateKind::HandshakeWait,
    StateKind::ResponseSent,
    StateKind::Established,
];

/// Member 2, linked, at its listen address.
fn receiver(state: StateKind) -> Receiver {
    Receiver {
        state,
        node: Some(node(2)),
        addresses: BTreeSet::from([address(2)]),
        is_evicted: false,
        is_impostor: false,
    }
}

fn message(body: Body) -> Message {
    Message { segment: Segment(0), source: node(1), body }
}

fn states_for(body: &Body) -> Vec<StateKind> {
    let is_allowed = |state: &StateKind| check(&message(body.clone()), &receiver(*state)).is_ok();
    STATES.into_iter().filter(is_allowed).collect()
}

fn handshake() -> HandshakeId {
    HandshakeId(uuid(5))
}

fn refused(body: Body, to: &Receiver) -> Forbidden {
    check(&message(body), to).expect_err("lethal message")
}

#[test]
fn a_handshake_goes_out_first_and_only_first() {
    assert_eq!(states_for(&Body::Handshake { handshake: handshake() }), [StateKind::Greeting]);
}

#[test]
fn a_response_goes_out_once_and_only_after_a_handshake() {
    assert_eq!(states_for(&response(handshake(), 1)), [StateKind::HandshakeWait]);
}

#[test]
fn ok_goes_out_only_to_end_a_handshake_or_on_an_established_link() {
    assert_eq!(states_for(&Body::Ok), [StateKind::HandshakeSent, StateKind::Established]);
}

#[test]
fn lists_and_keepalives_need_an_established_link() {
    assert_eq!(states_for(&list(&[])), [StateKind::Established]);
    assert_eq!(states_for(&Body::Keepalive), [StateKind::Established]);
}

#[test]
fn a_response_without_a_port_or_with_no_address_is_refused() {
    let to = receiver(StateKind::HandshakeWait);
    for address in
        ["", "hello", "tcp://10.0.0.1", "10.0.0.1:4567", "tcp://10.0.0.1:0", "udp://10.0.0.1:1"]
    {
        let (address, group) = (text(address), group("group"));
        let body = Body::HandshakeResponse { handshake: handshake(), address, group };
        assert_eq!(refused(body, &to), Forbidden::ListenAddress);
    }
    for address in ["tcp://0.0.0.0:4567", "tcp://[::]:4567", "ssl://[fe80::1]:1"] {
        let (address, group) = (text(address), group("group"));
        let body = Body::HandshakeResponse { handshake: handshake(), address, group };
        assert_eq!(check(&message(body), &to), Ok(()));
    }
}

#[test]
fn nil_uuids_and_missing_groups_are_refused() {
    let nil = HandshakeId(NodeId::NIL);
    let greeting = receiver(StateKind::Greeting);
    let body = Body::Handshake { handshake: nil };
    assert_eq!(refused(body.clone(), &greeting), Forbidden::NilUuid(Kind::Handshake));
    let nameless = Message { segment: Segment(0), source: NodeId::NIL, body: Body::Ok };
    let error = check(&nameless, &receiver(StateKind::Established));
    assert_eq!(error, Err(Forbidden::NilUuid(Kind::Ok)));
    let body = Body::HandshakeResponse {
        handshake: handshake(),
        address: text("tcp://0.0.0.0:4567"),
        group: GroupName::default(),
    };
    let error = refused(body, &receiver(StateKind::HandshakeWait));
    assert_eq!(error, Forbidden::NoGroup(Kind::HandshakeResponse));
}

#[test]
fn a_list_names_nobody_nil_and_no_address_that_cannot_be_dialled() {
    let to = receiver(StateKind::Established);
    let nil = list(&[(NodeId::NIL, "tcp://10.0.0.3:4567")]);
    assert_eq!(refused(nil, &to), Forbidden::NilUuid(Kind::TopologyChange));
    for address in ["", "hello", "udp://10.0.0.3:1", "tcp://name:1", "tcp://10.0.0.3:0", "tcp://a"]
    {
        assert_eq!(refused(list(&[(node(3), address)]), &to), Forbidden::ListedAddress);
    }
}

#[test]
fn a_list_never_gives_the_receivers_address_to_somebody_else() {
    let mut to = receiver(StateKind::Established);
    let own = list(&[(node(2), "tcp://10.0.0.2:4567")]);
    assert_eq!(check(&message(own), &to), Ok(()));
    let stolen = list(&[(node(3), "tcp://10.0.0.2:4567")]);
    assert_eq!(refused(stolen, &to), Forbidden::ReceiversAddress);
    // Whatever form it is written in, and if only the receiver itself calls it its address.
    let mapped = list(&[(node(3), "tcp://[::ffff:10.0.0.2]:4567")]);
    assert_eq!(refused(mapped, &to), Forbidden::ReceiversAddress);
    to.addresses = BTreeSet::from([address(9), address(2)]);
    let stolen = list(&[(node(3), "ssl://10.0.0.2:4567")]);
    assert_eq!(refused(stolen, &to), Forbidden::ReceiversAddress);
}

#[test]
fn a_list_is_in_segment_0() {
    let message = Message { segment: Segment(1), ..message(list(&[])) };
    let error = check(&message, &receiver(StateKind::Established));
    assert_eq!(error, Err(Forbidden::TopologySegment));
}

#[test]
fn the_two_lethal_refusals_have_to_be_deserved() {
    let fail = |reason| Body::Fail { reason: text(reason) };
    let to = receiver(StateKind::HandshakeSent);
    assert_eq!(refused(fail("evicted"), &to), Forbidden::UndeservedFail);
    assert_eq!(refused(fail("duplicate uuid"), &to), Forbidden::UndeservedFail);
    assert_eq!(check(&message(fail("invalid group")), &to), Ok(()));
    let evicted = Receiver { is_evicted: true, ..to.clone() };
    assert_eq!(check(&message(fail("evicted")), &evicted), Ok(()));
    assert_eq!(refused(fail("duplicate uuid"), &evicted), Forbidden::UndeservedFail);
    let impostor = Receiver { is_impostor: true, ..to };
    assert_eq!(check(&message(fail("duplicate uuid")), &impostor), Ok(()));
}

#[test]
fn user_messages_have_a_check_of_their_own() {
    let payload = bytes::Bytes::from_static(b"evs");
    let body = Body::User { relay: Relay::No, payload };
    assert!(states_for(&body).is_empty());
    assert_eq!(check_payload(&Bytes::from_static(b"evs"), |_| true), Ok(()));
    assert_eq!(check_payload(&Bytes::from_static(b"evs"), |_| false), Err(Forbidden::Payload));
    assert_eq!(check_payload(&Bytes::new(), |_| true), Err(Forbidden::Payload));
    let long = Bytes::from(vec![0; PAYLOAD_BYTES_MAX + 1]);
    assert_eq!(check_payload(&long, |_| true), Err(Forbidden::Payload));
    assert_eq!(check_payload(&long.slice(1..), |_| true), Ok(()));
}

proptest! {
    #[test]
    fn arbitrary_addresses_never_panic(bytes in prop::collection::vec(1u8.., 0..=64)) {
        let address = Text::new(&bytes).expect("fits");
        let links = Topology::from([(node(3), address.clone())]);
        let group = group("group");
        let list = Body::TopologyChange { group: group.clone(), links };
        let _ = check(&message(list), &receiver(StateKind::Established));
        let body = Body::HandshakeResponse { handshake: handshake(), address, group };
        let _ = check(&message(body), &receiver(StateKind::HandshakeWait));
    }
}
