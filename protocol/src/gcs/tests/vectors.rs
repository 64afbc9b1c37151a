//! Messages captured from Galera 26.4.23 with MariaDB 10.11, decoded and encoded again.

use bytes::Bytes;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::bench::{Bench, ME, N1};
use crate::gcs::action::Fragment;
use crate::gcs::code::CodeMessage;
use crate::gcs::message::{Message, MessageType};
use crate::gcs::name::Name;
use crate::gcs::number::Protocols;
use crate::gcs::state_message::StateMessage;
use crate::gcs::state_request::{RequestBody, StateRequest, encode_request};
use crate::gcs::{Input, Output};
use crate::id::NodeId;
use crate::time::Duration;

#[derive(Deserialize)]
struct File {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    gcs_msg_type: u8,
    length: usize,
    hex: String,
    truncated_to: Option<usize>,
    fields: serde_json::Map<String, Value>,
}

impl Vector {
    fn payload(&self) -> Bytes {
        let digits = |at: usize| u8::from_str_radix(&self.hex[at..at + 2], 16).expect("hex");
        (0..self.hex.len()).step_by(2).map(digits).collect()
    }

    fn number(&self, field: &str) -> i64 {
        self.fields[field].as_i64().unwrap_or_else(|| panic!("{}: {field}", self.name))
    }

    fn text(&self, field: &str) -> &str {
        self.fields[field].as_str().unwrap_or_else(|| panic!("{}: {field}", self.name))
    }
}

fn vectors() -> Vec<Vector> {
    let text = include_str!("../../../tests/vectors/gcs.json");
    serde_json::from_str::<File>(text).expect("vector file").vectors
}

fn vector(name: &str) -> Vector {
    vectors().into_iter().find(|vector| vector.name == name).expect("a vector of that name")
}

#[test]
fn every_vector_encodes_back_to_its_bytes() {
    for vector in vectors() {
        let payload = vector.payload();
        assert_eq!(payload.len(), vector.truncated_to.unwrap_or(vector.length), "{}", vector.name);
        let message = Message::decode(vector.gcs_msg_type, &payload).expect(&vector.name);
        assert_eq!(message.encode(), payload, "{}", vector.name);
        assert_eq!(message.message_type().number(), vector.gcs_msg_type);
    }
}

#[test]
fn every_field_of_every_vector_is_read() {
    for vector in vectors() {
        match Message::decode(vector.gcs_msg_type, &vector.payload()).expect(&vector.name) {
            Message::Action(fragment) => check_fragment(&vector, &fragment),
            Message::State(message) => check_state(&vector, &message),
            Message::StateUuid(exchange) => assert_eq!(exchange.to_string(), vector.text("uuid")),
            Message::Last(code) | Message::Join(code) | Message::Sync(code) => {
                check_code(&vector, &code);
            }
            Message::Vote(code) => check_code(&vector, &code),
            Message::Flow(flow) => {
                assert_eq!(i64::from(flow.configuration), vector.number("conf"));
                assert_eq!(i64::from(flow.stop), vector.number("stop"));
            }
            Message::Other { number, .. } => panic!("{}: type {number}", vector.name),
        }
    }
}

fn check_fragment(vector: &Vector, fragment: &Fragment) {
    let header = &fragment.header;
    assert_eq!(i64::from(header.protocol), vector.number("pv"), "{}", vector.name);
    assert_eq!(header.action_id.to_string(), vector.number("act_id").to_string());
    assert_eq!(i64::from(header.action_size), vector.number("act_size"));
    assert_eq!(i64::from(header.fragment), vector.number("frag"));
    let action_type = format!("{:?}", header.action_type).to_uppercase();
    assert_eq!(action_type.replace("STATEREQUEST", "STATE_REQ"), vector.text("at"));
}

fn check_code(vector: &Vector, message: &CodeMessage) {
    match message {
        CodeMessage::Long { state, seqno, code, text } => {
            assert_eq!(state.to_string(), vector.text("uuid"), "{}", vector.name);
            assert_eq!((seqno.0, *code), (vector.number("seqno"), vector.number("code")));
            let extra: String = text.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(extra, vector.text("extra"));
        }
        CodeMessage::Short(value) => assert_eq!(*value, vector.number("seqno"), "{}", vector.name),
    }
}

fn check_state(vector: &Vector, message: &StateMessage) {
    let name = &vector.name;
    let protocols = |gcs, repl, appl| [gcs, repl, appl].map(|field| vector.number(field));
    let triple = |p: Protocols| [p.gcs, p.repl, p.appl].map(i64::from);
    assert_eq!(triple(message.protocols), protocols("gcs", "repl", "appl"), "{name}");
    let previous = protocols("prim_gcs", "prim_repl", "prim_appl");
    assert_eq!(triple(message.previous_protocols), previous, "{name}");
    assert_eq!(i64::from(message.version), vector.number("version"), "{name}");
    assert_eq!(i64::from(message.flags.0), vector.number("flags"), "{name}");
    let statuses = [message.previous_status, message.current_status].map(|s| i64::from(s.number()));
    assert_eq!(statuses, [vector.number("prim_state"), vector.number("curr_state")], "{name}");
    assert_eq!(i64::from(message.previous_joined), vector.number("prim_joined"), "{name}");
    assert_eq!(message.exchange.to_string(), vector.text("state_uuid"), "{name}");
    assert_eq!(message.group.to_string(), vector.text("group_uuid"), "{name}");
    assert_eq!(message.previous_exchange.to_string(), vector.text("prim_uuid"), "{name}");
    assert_eq!(message.received.0, vector.number("received"), "{name}");
    assert_eq!(message.previous_configuration.0, vector.number("prim_seqno"), "{name}");
    assert_eq!(message.name, Name::from(vector.text("name")));
    assert_eq!(message.incoming_address, Name::from(vector.text("inc_addr")), "{name}");
    assert_eq!(message.cached.0, vector.number("cached"), "{name}");
    assert_eq!(i64::from(message.desync_count), vector.number("desync"), "{name}");
    let votes = message.votes;
    assert_eq!(votes.last_applied.0, vector.number("last_applied"), "{name}");
    assert_eq!(votes.seqno.0, vector.number("vote_seqno"), "{name}");
    assert_eq!(votes.result, vector.number("vote_res"), "{name}");
    assert_eq!(i64::from(votes.policy), vector.number("vote_policy"), "{name}");
}

#[test]
fn our_state_message_is_that_of_the_null_state_arbitrator() {
    let captured = vector("state_msg_null_arbitrator").payload();
    let read = StateMessage::decode(&captured).expect("captured");
    let protocols = Protocols { gcs: 6, repl: 127, appl: 127 };
    let ours = StateMessage::null(read.exchange, false, read.name.clone(), protocols);
    assert_eq!(ours.encode(), captured);
}

fn request(name: &str) -> (StateRequest, RequestBody) {
    let fragment = Fragment::decode(&vector(name).payload()).expect(name);
    let request = StateRequest::decode(&fragment.data).expect(name);
    assert_eq!(request.encode(), fragment.data, "{name}");
    let body = RequestBody::decode(&request.body).expect(name);
    (request, body)
}

#[test]
fn the_captured_requests_of_arbitrators_are_what_we_would_send() {
    let data = |name| Fragment::decode(&vector(name).payload()).expect(name).data;
    let trivial = encode_request("", "trivial", "").expect("valid");
    assert_eq!(data("action_state_req_trivial"), trivial);
    let named = encode_request("n1", "probe", "127.0.0.1:21350/probe_sst//1").expect("valid");
    assert_eq!(data("action_state_req_sst_with_donor"), named);
}

#[test]
fn the_captured_requests_of_data_nodes_are_read() {
    let (desync, body) = request("action_state_req_self_desync");
    assert!(desync.is_self_desync());
    assert_eq!((desync.form(), body), (2, RequestBody::Other(Bytes::from_static(&[0]))));

    let (with_history, body) = request("action_state_req_v3_ist");
    let position = with_history.position.expect("form 3");
    assert_eq!(position.state.to_string(), "b6aab2e6-e696-11f1-8093-c6cd977673c6");
    assert_eq!((position.form, position.seqno.0), (3, 2));
    let sst = "rsync\x00127.0.0.1:21315/rsync_sst\0".into();
    let ist = "b6aab2e6-e696-11f1-8093-c6cd977673c6:2-6|tcp://127.0.0.1:21313\0".into();
    assert_eq!(body, RequestBody::Container { sst, ist });
}

proptest! {
    #[test]
    fn mangled_vectors_never_panic(
        index in 0..64_usize,
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        length in any::<prop::sample::Index>(),
        message_type in prop::option::of(any::<u8>()),
    ) {
        let vectors = vectors();
        let vector = &vectors[index % vectors.len()];
        let mut bytes = vector.payload().to_vec();
        for (at, value) in changes {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        bytes.truncate(length.index(bytes.len() + 1));
        let payload = Bytes::from(bytes);
        let decoded = Message::decode(message_type.unwrap_or(vector.gcs_msg_type), &payload);
        if let Ok(message) = decoded {
            // What was understood survives a round trip.
            let again = Message::decode(message.message_type().number(), &message.encode());
            prop_assert_eq!(again.as_ref(), Ok(&message));
            if let Message::Action(fragment) = message {
                if let Ok(request) = StateRequest::decode(&fragment.data) {
                    prop_assert_eq!(request.encode(), fragment.data);
                    let _ = RequestBody::decode(&request.body);
                }
            }
        }
    }

    #[test]
    fn a_member_survives_whatever_it_hears(
        steps in prop::collection::vec((0..64_usize, 0..4_u8, 0..8_u8, any::<(u8, u8)>()), 0..60),
    ) {
        let vectors = vectors();
        let mut bench = Bench::new();
        bench.request("");
        for (index, source, kind, (at, value)) in steps {
            let source = NodeId::from_bytes([source; 16]);
            match kind {
                0 => bench.view(&[N1, ME, source]),
                1 => bench.lose_primary(&[ME, source]),
                2 => bench.input(Input::DataEnded),
                _ => {
                    let vector = &vectors[index % vectors.len()];
                    let mut bytes = vector.payload().to_vec();
                    if kind > 4 {
                        let at = usize::from(at) % bytes.len();
                        bytes[at] = value;
                    }
                    let message_type = MessageType::from_number(vector.gcs_msg_type);
                    bench.deliver(source, message_type, bytes.into());
                }
            }
            for output in bench.outputs() {
                if let Output::Send { message_type, payload } = output {
                    bench.deliver(ME, MessageType::from_number(message_type), payload);
                }
            }
            bench.pass(Duration::from_millis(100));
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(message_type in 0..12_u8, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Message::decode(message_type, &Bytes::from(bytes));
    }
}
