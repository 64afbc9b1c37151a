use proptest::prelude::*;
use serde::Deserialize;

use super::super::node::{Entry, NODES_MAX};
use super::super::testing::{JsonViewId, VECTORS, node, unhex, valid_messages};
use super::*;
use crate::id::{NodeId, Segment, ViewId, ViewKind};

#[derive(Deserialize)]
struct Vector {
    name: String,
    hex: String,
    length: usize,
    decoded: Option<Decoded>,
    full_frame_hex: Option<String>,
    pc_offset_in_frame: Option<usize>,
}

#[derive(Deserialize)]
struct Decoded {
    version: u8,
    flags: u8,
    #[serde(rename = "type")]
    kind: u8,
    crc16: u16,
    seq: u32,
    #[serde(default)]
    nodes: Vec<JsonNode>,
    payload_hex: Option<String>,
}

#[derive(Deserialize)]
struct JsonNode {
    uuid: String,
    prim: bool,
    un: bool,
    evicted: bool,
    weight: Option<u8>,
    segment: u8,
    last_seq: u32,
    last_prim: JsonViewId,
    to_seq: i64,
}

impl JsonNode {
    fn entry(&self) -> (NodeId, Entry) {
        let entry = Entry {
            is_primary: self.prim,
            is_unknown: self.un,
            is_evicted: self.evicted,
            weight: self.weight,
            segment: Segment(self.segment),
            last_seq: self.last_seq,
            last_primary: self.last_prim.id(),
            to_seq: self.to_seq,
        };
        (self.uuid.parse().unwrap(), entry)
    }
}

impl Decoded {
    fn message(&self) -> Message {
        let nodes = self.nodes.iter().map(JsonNode::entry).collect();
        let body = match self.kind {
            1 => Body::State(nodes),
            2 => Body::Install(nodes),
            _ => Body::User(unhex(self.payload_hex.as_ref().unwrap())),
        };
        Message { version: self.version, flags: Flags(self.flags), seq: self.seq, body }
    }
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(VECTORS).unwrap()
}

#[test]
fn captured_messages_decode_and_encode_to_the_same_bytes() {
    let vectors = vectors();
    for vector in &vectors {
        let Some(decoded) = &vector.decoded else { continue };
        let bytes = unhex(&vector.hex);
        assert_eq!(bytes.len(), vector.length, "{}", vector.name);
        let message = decoded.message();
        assert_eq!(Message::decode(&bytes).as_ref(), Ok(&message), "{}", vector.name);
        // The weight byte of an entry without a weight carries nothing.
        if vector.name != "syn_state_legacy_no_weight" {
            assert_eq!(message.encode(), bytes, "{}", vector.name);
        }
    }
    assert!(vectors.len() >= 30);
}

#[test]
fn captured_checksums_are_those_we_compute() {
    let checked = |decoded: &&Decoded| decoded.flags & 1 == 1;
    let vectors = vectors();
    let decoded: Vec<_> =
        vectors.iter().filter_map(|vector| vector.decoded.as_ref()).filter(checked).collect();
    assert_eq!(decoded.len(), 2);
    for decoded in decoded {
        assert_eq!(decoded.message().encode()[2..4], decoded.crc16.to_le_bytes());
    }
}

#[test]
fn messages_that_must_be_refused_are_refused_for_the_right_reason() {
    let expected = [
        ("neg_bad_version_2", "version", Problem::Version),
        ("neg_bad_type_0", "type", Problem::Invalid),
        ("neg_bad_type_4", "type", Problem::Invalid),
        ("neg_truncated_header", "seq", Problem::Truncated),
        ("neg_truncated_map", "to seq", Problem::Truncated),
        ("neg_bad_crc", "crc16", Problem::Checksum),
    ];
    let vectors = vectors();
    let refused: Vec<_> = vectors.iter().filter(|vector| vector.decoded.is_none()).collect();
    assert_eq!(refused.len(), expected.len());
    for (vector, (name, field, problem)) in refused.into_iter().zip(expected) {
        assert_eq!(vector.name, name);
        let error = Message::decode(&unhex(&vector.hex)).unwrap_err();
        assert_eq!((error.field, error.problem), (field, problem), "{name}");
    }
}

#[test]
fn a_message_stands_in_its_frame_where_the_capture_says() {
    for vector in vectors() {
        let (Some(frame), Some(at)) = (vector.full_frame_hex, vector.pc_offset_in_frame) else {
            continue;
        };
        assert_eq!(unhex(&frame).slice(at..), unhex(&vector.hex), "{}", vector.name);
    }
}

#[test]
fn bytes_behind_a_node_map_are_ignored() {
    for bytes in valid_messages() {
        let message = Message::decode(&bytes).unwrap();
        if matches!(message.body, Body::User(_)) {
            continue;
        }
        let longer = [&bytes[..], b"more"].concat();
        assert_eq!(Message::decode(&longer.into()), Ok(message));
    }
}

#[test]
fn a_node_listed_twice_is_refused() {
    let one = Message::state(1, [(node(1), Entry::new(1, Segment(0)))].into()).encode();
    let mut twice = one.to_vec();
    twice[8] = 2;
    twice.extend_from_slice(&one[12..]);
    let error = Message::decode(&twice.into()).unwrap_err();
    assert_eq!((error.field, error.offset, error.problem), ("node", 64, Problem::Invalid));
}

#[test]
fn more_entries_than_a_message_can_hold_are_refused_before_they_are_read() {
    for count in [u32::try_from(NODES_MAX).unwrap() + 1, u32::MAX] {
        let bytes = [&[1, 1, 0, 0, 0, 0, 0, 0][..], &count.to_le_bytes()].concat();
        let error = Message::decode(&bytes.into()).unwrap_err();
        assert_eq!(error.problem, Problem::TooLarge);
    }
}

#[test]
fn entries_in_any_order_are_understood_and_written_in_ascending_order() {
    let nodes: NodeMap = [1, 2].map(|n| (node(n), Entry::new(n, Segment(0)))).into();
    let sorted = Message::state(1, nodes).encode();
    let swapped = [&sorted[..12], &sorted[64..], &sorted[12..64]].concat();
    assert_eq!(Message::decode(&swapped.into()).unwrap().encode(), sorted);
}

#[test]
fn unknown_flags_survive_and_a_checksum_flag_on_state_means_nothing() {
    let mut bytes = Message::state(1, NodeMap::new()).encode().to_vec();
    bytes[0] = 0xf1;
    let message = Message::decode(&bytes.into()).unwrap();
    assert_eq!(message.flags, Flags(0x0f));
    assert_eq!(message.encode()[2..4], [0, 0]);
}

prop_compose! {
    fn any_entry()(
        id in any::<[u8; 16]>(), bits in 0u8..8, weight in any::<Option<u8>>(),
        segment in any::<u8>(), last_seq in any::<u32>(), view in any::<[u8; 16]>(),
        is_primary_kind in any::<bool>(), seq in 0u32..1 << 30, to_seq in any::<i64>(),
    ) -> (NodeId, Entry) {
        let kind = if is_primary_kind { ViewKind::Primary } else { ViewKind::NonPrimary };
        let entry = Entry {
            is_primary: bits & 1 == 1,
            is_unknown: bits & 2 == 2,
            is_evicted: bits & 4 == 4,
            weight,
            segment: Segment(segment),
            last_seq,
            last_primary: ViewId::new(kind, NodeId::from_bytes(view), seq),
            to_seq,
        };
        (NodeId::from_bytes(id), entry)
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    let nodes = || {
        prop::collection::btree_map(
            any_entry().prop_map(|(id, _)| id),
            any_entry().prop_map(|(_, entry)| entry),
            0..8,
        )
    };
    let body = prop_oneof![
        nodes().prop_map(Body::State),
        nodes().prop_map(Body::Install),
        prop::collection::vec(any::<u8>(), 0..200).prop_map(|bytes| Body::User(bytes.into())),
    ];
    (0u8..=1, 0u8..16, any::<u32>(), body).prop_map(|(version, flags, seq, body)| Message {
        version,
        flags: Flags(flags),
        seq,
        body,
    })
}

proptest! {
    #[test]
    fn messages_round_trip(message in any_message()) {
        prop_assert_eq!(Message::decode(&message.encode()), Ok(message));
    }

    #[test]
    fn mangled_messages_never_panic(
        at in 0usize..64, cut in 0usize..300, byte in any::<u8>(),
        which in any::<prop::sample::Index>(),
    ) {
        let valid = valid_messages();
        let mut bytes = which.get(&valid).to_vec();
        let at = at % bytes.len();
        bytes[at] = byte;
        bytes.truncate(cut);
        if let Ok(message) = Message::decode(&bytes.into()) {
            let _ = message.encode();
        }
    }
}
