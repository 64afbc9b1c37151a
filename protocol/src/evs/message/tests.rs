use bytes::Bytes;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::evs::seqno::{FifoSeqno, Range, Seqno};
use crate::id::{NodeId, ViewId, ViewKind};
use crate::message::Order;

/// Messages captured from Galera 26.4.23; where they come from stands beside each of them.
const VECTORS: &str = include_str!("../../../tests/vectors/evs.json");

fn vectors() -> Vec<Value> {
    let all: Vec<Value> = serde_json::from_str(VECTORS).expect("vector file is JSON");
    all.into_iter().filter(|v| v["fields"].get("type").is_some()).collect()
}

fn hex(text: &str) -> Bytes {
    let digits = text.as_bytes().chunks(2);
    digits
        .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect::<Vec<_>>()
        .into()
}

fn bytes_of(vector: &Value) -> Bytes {
    hex(vector["hex"].as_str().expect("hex"))
}

fn vector(name: &str) -> Bytes {
    bytes_of(vectors().iter().find(|v| v["name"] == name).expect("vector"))
}

fn number(value: &Value) -> i64 {
    value.as_i64().expect("a number")
}

fn byte(value: &Value) -> u8 {
    u8::try_from(number(value)).expect("a byte")
}

fn node(value: &Value) -> NodeId {
    value.as_str().expect("a UUID").parse().expect("a UUID")
}

fn view(value: &Value) -> ViewId {
    let kind = match value["type"].as_str() {
        Some("REG") => ViewKind::Regular,
        Some("TRANS") => ViewKind::Transitional,
        other => panic!("view type {other:?}"),
    };
    ViewId::new(kind, node(&value["uuid"]), u32::try_from(number(&value["seq"])).unwrap())
}

fn range(value: &Value) -> Range {
    Range::new(Seqno(number(&value[0])), Seqno(number(&value[1])))
}

fn order(value: &Value) -> Order {
    match value.as_str() {
        Some("DROP") => Order::Drop,
        Some("UNRELIABLE") => Order::Unreliable,
        Some("SAFE") => Order::Safe,
        other => panic!("order {other:?}"),
    }
}

fn nodes(value: &Value) -> NodeList {
    let entry = |v: &Value| {
        let entry = NodeEntry {
            is_operational: v["operational"].as_bool().unwrap(),
            is_suspected: v["suspected"].as_bool().unwrap(),
            is_evicted: v["evicted"].as_bool().unwrap(),
            segment: byte(&v["segment"]),
            leave_seqno: Seqno(number(&v["leave_seq"])),
            view: view(&v["view_id"]),
            safe: Seqno(number(&v["safe_seq"])),
            range: range(&v["im_range"]),
        };
        (node(&v["uuid"]), entry)
    };
    value.as_array().expect("a list").iter().map(entry).collect()
}

/// Builds the message from the decoded fields of a vector; only the payload comes from the bytes.
fn from_fields(fields: &Value, bytes: &Bytes) -> Message {
    let header = Header {
        order: order(&fields["order"]),
        flags: Flags(byte(&fields["flags"])),
        version: byte(&fields["version"]),
        fifo_seqno: FifoSeqno(number(&fields["fifo_seq"])),
        source: fields.get("source").map(node),
        view: view(&fields["source_view_id"]),
    };
    let seqno = |name: &str| Seqno(number(&fields[name]));
    let proposal = || Proposal {
        safe: seqno("seq"),
        aru: seqno("aru_seq"),
        nodes: nodes(&fields["node_list"]),
    };
    let body = match fields["type"].as_str().expect("a type") {
        "USER" => Body::User(User {
            user_type: byte(&fields["user_type"]),
            seq_range: byte(&fields["seq_range"]),
            seqno: seqno("seq"),
            aru: seqno("aru_seq"),
            payload: bytes.slice(usize::try_from(number(&fields["payload_off"])).unwrap()..),
        }),
        "DELEGATE" => Body::Delegate(Box::new(from_fields(&fields["inner"], bytes))),
        "GAP" => Body::Gap(Gap {
            seqno: seqno("seq"),
            aru: seqno("aru_seq"),
            range_node: node(&fields["range_uuid"]),
            range: range(&fields["range"]),
        }),
        "JOIN" => Body::Join(proposal()),
        "INSTALL" => {
            Body::Install(Install { view: view(&fields["install_view_id"]), proposal: proposal() })
        }
        "LEAVE" => Body::Leave(Leave { last_sent: seqno("seq"), aru: seqno("aru_seq") }),
        "DELAYED_LIST" => {
            let entries = fields["delayed_list"].as_array().expect("a list").iter();
            Body::DelayedList(DelayedList(
                entries.map(|e| (node(&e["uuid"]), byte(&e["cnt"]))).collect(),
            ))
        }
        other => panic!("type {other}"),
    };
    Message { header, body }
}

#[test]
fn every_captured_message_decodes_to_its_fields_and_encodes_to_its_bytes() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 27);
    for vector in vectors {
        let bytes = bytes_of(&vector);
        let expected = from_fields(&vector["fields"], &bytes);
        let decoded = Message::decode(&bytes).unwrap_or_else(|e| panic!("{}: {e}", vector["name"]));
        assert_eq!(decoded, expected, "{}", vector["name"]);
        assert_eq!(expected.encode(), bytes, "{}", vector["name"]);
        assert_eq!(expected.encoded_len(), bytes.len(), "{}", vector["name"]);
    }
}

#[test]
fn every_captured_message_is_refused_when_any_tail_is_missing() {
    for vector in vectors() {
        let bytes = bytes_of(&vector);
        // A USER message is whole wherever its payload ends, and a DELEGATE of one likewise.
        let fixed = if vector["fields"]["type"] == "USER" { 52 } else { bytes.len() };
        for length in 0..fixed {
            assert!(
                Message::decode(&bytes.slice(..length)).is_err(),
                "{} {length}",
                vector["name"]
            );
        }
    }
}

#[test]
fn a_captured_aggregate_splits_into_its_sub_messages() {
    let message = Message::decode(&vector("user_aggregate")).unwrap();
    let Body::User(user) = message.body else { panic!("not USER") };
    let parts = split_aggregate(&user.payload).unwrap();
    let shape: Vec<_> = parts.iter().map(|p| (p.user_type, p.payload.len())).collect();
    assert_eq!(shape, [(1, 316), (1, 316)]);
}

#[test]
fn an_aggregate_whose_lengths_do_not_add_up_is_refused() {
    let good = Bytes::from_static(&[0, 1, 2, 0, 7, 7]);
    assert_eq!(split_aggregate(&good).unwrap().len(), 1);
    for bad in [&[0u8, 1, 3, 0, 7, 7][..], &[0, 1, 1, 0, 7, 7], &[0, 1, 2], &[]] {
        assert!(split_aggregate(&Bytes::copy_from_slice(bad)).is_err(), "{bad:?}");
    }
}

fn field_of(bytes: &[u8]) -> &'static str {
    Message::decode(&Bytes::copy_from_slice(bytes)).unwrap_err().field
}

#[test]
fn impossible_types_orders_versions_and_view_kinds_are_refused_by_name() {
    let good = vector("user_keepalive");
    let with = |at: usize, value: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = value;
        bytes
    };
    assert_eq!(field_of(&with(0, 0x01)), "type");
    for order in 5..=7u8 {
        assert_eq!(field_of(&with(0, order << 5 | 0x05)), "order");
    }
    assert_eq!(field_of(&with(2, 2)), "version");
}

#[test]
fn a_node_list_with_a_duplicate_or_a_false_count_is_refused() {
    let good = vector("join_existing_answers");
    let mut twice = good.to_vec();
    twice.copy_within(52..68, 122);
    assert_eq!(field_of(&twice), "duplicate node");
    for count in [3u8, 255] {
        let mut lying = good.to_vec();
        lying[48] = count;
        assert_eq!(field_of(&lying), "count");
    }
    let mut short = good.to_vec();
    short[48] = 1;
    assert_eq!(field_of(&short), "end");
}

#[test]
fn a_delegate_inside_a_delegate_and_one_without_source_are_refused() {
    let delegate = Message::decode(&vector("delegate_leave")).unwrap();
    let mut named = delegate.clone();
    named.header.source = Some(NodeId::version1(1, 0, [1; 6]));
    let nested = Message { header: delegate.header, body: Body::Delegate(Box::new(named)) };
    assert_eq!(field_of(&nested.encode()), "nested delegate");

    let Body::Delegate(mut inner) = delegate.body else { panic!("not DELEGATE") };
    inner.header.source = None;
    let bare = Message { header: delegate.header, body: Body::Delegate(inner) };
    assert_eq!(field_of(&bare.encode()), "delegated source");
}

#[test]
fn a_membership_message_hides_its_version_from_nodes_that_do_not_know_it() {
    assert_eq!(vector("join_initial")[0] & 0x03, 0);
    assert_eq!(vector("install_first")[0] & 0x03, 0);
    assert_eq!(vector("leave")[0] & 0x03, 1);
}

fn any_node() -> impl Strategy<Value = NodeId> {
    any::<[u8; 16]>().prop_map(NodeId::from_bytes)
}

fn any_view() -> impl Strategy<Value = ViewId> {
    (0u8..4, any_node(), 0u32..1 << 30)
        .prop_map(|(kind, node, seq)| ViewId::new(ViewKind::from_number(kind).unwrap(), node, seq))
}

fn any_range() -> impl Strategy<Value = Range> {
    any::<(i64, i64)>().prop_map(|(low, high)| Range::new(Seqno(low), Seqno(high)))
}

fn any_entry() -> impl Strategy<Value = NodeEntry> {
    let flags = any::<(bool, bool, bool, u8)>();
    (flags, any::<(i64, i64)>(), any_view(), any_range()).prop_map(
        |((is_operational, is_suspected, is_evicted, segment), (leave, safe), view, range)| {
            NodeEntry {
                is_operational,
                is_suspected,
                is_evicted,
                segment,
                leave_seqno: Seqno(leave),
                view,
                safe: Seqno(safe),
                range,
            }
        },
    )
}

fn any_proposal() -> impl Strategy<Value = Proposal> {
    let nodes = proptest::collection::btree_map(any_node(), any_entry(), 0..6);
    (any::<(i64, i64)>(), nodes).prop_map(|((safe, aru), nodes)| Proposal {
        safe: Seqno(safe),
        aru: Seqno(aru),
        nodes: nodes.into_iter().collect(),
    })
}

fn any_user() -> impl Strategy<Value = Body> {
    let payload = proptest::collection::vec(any::<u8>(), 0..64);
    (any::<(u8, u8, i64, i64)>(), payload).prop_map(
        |((user_type, seq_range, seq, aru), payload)| {
            let payload = payload.into();
            Body::User(User { user_type, seq_range, seqno: Seqno(seq), aru: Seqno(aru), payload })
        },
    )
}

fn any_body() -> impl Strategy<Value = Body> {
    let gap =
        (any::<(i64, i64)>(), any_node(), any_range()).prop_map(|((seq, aru), node, range)| {
            Body::Gap(Gap { seqno: Seqno(seq), aru: Seqno(aru), range_node: node, range })
        });
    let leave = any::<(i64, i64)>()
        .prop_map(|(seq, aru)| Body::Leave(Leave { last_sent: Seqno(seq), aru: Seqno(aru) }));
    let delayed = proptest::collection::btree_map(any_node(), any::<u8>(), 0..5)
        .prop_map(|nodes| Body::DelayedList(DelayedList(nodes)));
    prop_oneof![
        any_user(),
        gap,
        any_proposal().prop_map(Body::Join),
        (any_view(), any_proposal())
            .prop_map(|(view, proposal)| Body::Install(Install { view, proposal })),
        leave,
        delayed,
    ]
}

fn any_header() -> impl Strategy<Value = Header> {
    let source = proptest::option::of(any_node());
    (0u8..5, any::<u8>(), 0u8..=1, any::<i64>(), source, any_view()).prop_map(
        |(order, flags, version, fifo, source, view)| {
            let flags = Flags(flags & !Flags::SOURCE.0 | u8::from(source.is_some()) << 2);
            let order = Order::from_number(order).unwrap();
            Header { order, flags, version, fifo_seqno: FifoSeqno(fifo), source, view }
        },
    )
}

fn any_message() -> impl Strategy<Value = Message> {
    let plain = (any_header(), any_body()).prop_map(|(header, body)| Message { header, body });
    let delegate = (any_header(), any_header(), any_node(), any_user()).prop_map(
        |(outer, inner, node, user)| {
            let flags = inner.flags.union(Flags::SOURCE);
            let header = Header { source: Some(node), flags, ..inner };
            let inner = Box::new(Message { header, body: user });
            Message { header: outer, body: Body::Delegate(inner) }
        },
    );
    prop_oneof![7 => plain, 1 => delegate]
}

proptest! {
    #[test]
    fn what_is_encoded_decodes_to_itself(message in any_message()) {
        let bytes = message.encode();
        prop_assert_eq!(bytes.len(), message.encoded_len());
        prop_assert_eq!(Message::decode(&bytes), Ok(message));
    }

    #[test]
    fn mangled_messages_never_panic(
        which in 0usize..27,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = bytes_of(&vectors()[which]).to_vec();
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(cut.index(bytes.len() + 1));
        if let Ok(message) = Message::decode(&bytes.into()) {
            let _ = message.encode();
            if let Body::User(user) = message.body {
                let _ = split_aggregate(&user.payload);
            }
        }
    }
}
