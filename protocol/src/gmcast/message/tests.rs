use bytes::BytesMut;
use proptest::prelude::*;
use serde::Deserialize;

use super::fields::relay_of;
use super::*;
use crate::checksum::Checksum;
use crate::frame::{self, FrameDecoder};

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    valid: bool,
    hex: String,
    decoded: Option<Decoded>,
}

#[derive(Deserialize)]
struct Decoded {
    crc_kind: String,
    #[serde(rename = "type")]
    number: u8,
    segment: u8,
    source_uuid: String,
    handshake_uuid: Option<String>,
    addr_or_error: Option<String>,
    group_name: Option<String>,
    node_list: Option<Vec<DecodedEntry>>,
    flags: u8,
    payload_len: usize,
}

#[derive(Deserialize)]
struct DecodedEntry {
    uuid: String,
    addr: String,
}

fn vectors() -> Vec<Vector> {
    let text = include_str!("../../../tests/vectors/gmcast.json");
    serde_json::from_str::<Vectors>(text).expect("valid JSON").vectors
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn body_of(frame: &[u8]) -> Option<Bytes> {
    FrameDecoder::new().decode(&mut BytesMut::from(frame)).ok().flatten()
}

fn decode_vector(vector: &Vector) -> Option<Message> {
    Message::decode(&body_of(&unhex(&vector.hex))?).ok()
}

fn node(text: &str) -> NodeId {
    text.parse().expect("valid UUID")
}

/// What the vector says about the message, as a message.
fn expected(decoded: &Decoded, message: &Message) -> Message {
    let handshake = || HandshakeId(node(decoded.handshake_uuid.as_deref().expect("handshake")));
    let text = || Text::new(decoded.addr_or_error.as_deref().expect("text")).expect("fits");
    let group = || GroupName::new(decoded.group_name.as_deref().expect("group")).expect("fits");
    let entry = |entry: &DecodedEntry| (node(&entry.uuid), Text::new(&entry.addr).expect("fits"));
    let body = match decoded.number {
        1 => Body::Handshake { handshake: handshake() },
        2 => Body::HandshakeResponse { handshake: handshake(), address: text(), group: group() },
        3 => Body::Ok,
        4 => Body::Fail { reason: text() },
        5 => {
            let links = decoded.node_list.as_deref().expect("list").iter().map(entry).collect();
            Body::TopologyChange { group: group(), links }
        }
        6 => Body::Keepalive,
        _ => message.body.clone(),
    };
    Message { segment: Segment(decoded.segment), source: node(&decoded.source_uuid), body }
}

fn checksum_kind(decoded: &Decoded) -> Checksum {
    match decoded.crc_kind.as_str() {
        "crc32" => Checksum::Crc32,
        "crc32c" => Checksum::Crc32c,
        _ => Checksum::None,
    }
}

#[test]
fn captured_frames_decode_to_what_they_say() {
    for vector in vectors().iter().filter(|vector| vector.valid) {
        let message = decode_vector(vector).expect(&vector.name);
        let decoded = vector.decoded.as_ref().expect("valid vectors are decoded");
        assert_eq!(message, expected(decoded, &message), "{}", vector.name);
        if let Body::User { relay, payload } = &message.body {
            assert_eq!(payload.len(), decoded.payload_len, "{}", vector.name);
            assert_eq!(*relay, relay_of(decoded.flags), "{}", vector.name);
        }
    }
}

#[test]
fn captured_frames_encode_to_the_same_bytes() {
    let synthetic_tail = |vector: &&Vector| vector.name != "trailing_bytes";
    for vector in vectors().iter().filter(|vector| vector.valid).filter(synthetic_tail) {
        let message = decode_vector(vector).expect(&vector.name);
        let mut out = BytesMut::new();
        let kind = checksum_kind(vector.decoded.as_ref().expect("decoded"));
        frame::encode(kind, &message.encode(), &mut out).expect("within limits");
        assert_eq!(out, unhex(&vector.hex)[..], "{}", vector.name);
    }
}

#[test]
fn frames_that_nodes_refuse_are_refused() {
    let invalid: Vec<_> = vectors().into_iter().filter(|vector| !vector.valid).collect();
    assert_eq!(invalid.len(), 9);
    for vector in invalid {
        assert_eq!(decode_vector(&vector), None, "{}", vector.name);
    }
}

const ME: NodeId = NodeId::version1(1, 0, [2; 6]);

fn bytes_of(body: Body) -> Vec<u8> {
    Message { segment: Segment(3), source: ME, body }.encode().to_vec()
}

fn refusal(bytes: Vec<u8>) -> (&'static str, usize, Problem) {
    let error = Message::decode(&Bytes::from(bytes)).expect_err("malformed");
    (error.field, error.offset, error.problem)
}

#[test]
fn errors_name_the_field_and_where_it_is() {
    let mut version = bytes_of(Body::Ok);
    version[0] = 1;
    assert_eq!(refusal(version), ("version", 0, Problem::Version));
    for number in [0, 7, 9, 255] {
        let mut kind = bytes_of(Body::Ok);
        kind[1] = number;
        assert_eq!(refusal(kind), ("type", 1, Problem::Invalid));
    }
    assert_eq!(refusal(bytes_of(Body::Ok)[..14].to_vec()), ("source", 4, Problem::Truncated));
    let group = GroupName::new("g").expect("fits");
    let mut list = bytes_of(Body::TopologyChange { group, links: Topology::new() });
    list[52] = 1;
    assert_eq!(refusal(list.clone()), ("link uuid", 56, Problem::Truncated));
    list[52] = 222;
    assert_eq!(refusal(list), ("number of links", 52, Problem::TooLarge));
}

#[test]
fn flags_have_to_be_those_of_the_type() {
    for (number, flags) in [(1, 0x00), (2, 0x10), (3, 0x04), (4, 0x01), (5, 0x00), (6, 0x10)] {
        let mut bytes = bytes_of(Body::Ok);
        bytes[1] = number;
        bytes[2] = flags;
        bytes.resize(400, b'x');
        assert_eq!(refusal(bytes), ("flags", 2, Problem::Invalid), "type {number}");
    }
}

#[test]
fn flags_without_a_field_are_ignored() {
    let mut bytes = bytes_of(Body::Keepalive);
    bytes[2] = 0x82;
    let message = Message::decode(&Bytes::from(bytes)).expect("accepted");
    assert_eq!(message.body, Body::Keepalive);
}

#[test]
fn relay_wins_over_segment_relay() {
    let payload = Bytes::from_static(b"evs");
    let mut bytes = bytes_of(Body::User { relay: Relay::Segment, payload: payload.clone() });
    bytes[2] = 0x60;
    let message = Message::decode(&Bytes::from(bytes)).expect("accepted");
    assert_eq!(message.body, Body::User { relay: Relay::Everywhere, payload });
}

#[test]
fn a_user_payload_starts_behind_whatever_fields_are_flagged() {
    let mut bytes = bytes_of(Body::User { relay: Relay::No, payload: Bytes::from(vec![7; 16]) });
    bytes[2] = HANDSHAKE_ID;
    bytes.extend_from_slice(b"evs");
    let message = Message::decode(&Bytes::from(bytes)).expect("accepted");
    let payload = Bytes::from_static(b"evs");
    assert_eq!(message.body, Body::User { relay: Relay::No, payload });
}

#[test]
fn a_fail_without_its_flag_has_an_empty_reason() {
    let mut bytes = bytes_of(Body::Ok);
    bytes[1] = 4;
    let message = Message::decode(&Bytes::from(bytes)).expect("accepted");
    assert_eq!(message.body, Body::Fail { reason: Text::default() });
}

#[test]
fn the_largest_topology_fits_one_frame() {
    let address = Text::new([b'a'; 64]).expect("fits");
    let entry = |n: usize| (NodeId::version1(n as u64, 0, [2; 6]), address.clone());
    let links = (0..TOPOLOGY_ENTRIES_MAX).map(entry).collect();
    let body = Body::TopologyChange { group: GroupName::default(), links };
    let bytes = bytes_of(body.clone());
    assert_eq!(TOPOLOGY_ENTRIES_MAX, 221);
    assert!(bytes.len() <= BODY_BYTES_MAX && bytes.len() + ENTRY_BYTES > BODY_BYTES_MAX);
    assert_eq!(Message::decode(&Bytes::from(bytes)).expect("accepted").body, body);
}

fn any_text<const SIZE: usize>() -> impl Strategy<Value = super::super::text::FixedText<SIZE>> {
    let bytes = prop::collection::vec(1..=u8::MAX, 0..=SIZE);
    bytes.prop_map(|bytes| super::super::text::FixedText::new(bytes).expect("fits"))
}

fn any_node() -> impl Strategy<Value = NodeId> {
    any::<[u8; 16]>().prop_map(NodeId::from_bytes)
}

fn any_body() -> impl Strategy<Value = Body> {
    let handshake = || any_node().prop_map(HandshakeId);
    let relay = prop::sample::select(&[Relay::No, Relay::Everywhere, Relay::Segment]);
    let payload = prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from);
    let links = prop::collection::btree_map(any_node(), any_text(), 0..5);
    prop_oneof![
        handshake().prop_map(|handshake| Body::Handshake { handshake }),
        (handshake(), any_text(), any_text()).prop_map(|(handshake, address, group)| {
            Body::HandshakeResponse { handshake, address, group }
        }),
        Just(Body::Ok),
        any_text().prop_map(|reason| Body::Fail { reason }),
        (any_text(), links).prop_map(|(group, links)| Body::TopologyChange { group, links }),
        Just(Body::Keepalive),
        (relay, payload).prop_map(|(relay, payload)| Body::User { relay, payload }),
    ]
}

proptest! {
    #[test]
    fn every_message_round_trips(segment: u8, source in any_node(), body in any_body()) {
        let message = Message { segment: Segment(segment), source, body };
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn mangled_frames_never_panic(
        index in 0usize..33,
        at: prop::sample::Index,
        value: u8,
        cut: prop::sample::Index,
    ) {
        let mut bytes = unhex(&vectors()[index].hex).split_off(8);
        if !bytes.is_empty() {
            let (at, cut) = (at.index(bytes.len()), cut.index(bytes.len()));
            bytes[at] = value;
            let _ = Message::decode(&Bytes::from(bytes.clone()));
            bytes.truncate(cut);
            let _ = Message::decode(&Bytes::from(bytes));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = Message::decode(&Bytes::from(bytes));
    }
}
