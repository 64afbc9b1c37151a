use bytes::Bytes;
use serde_json::Value as Json;

use super::message::looks_like_frame;
use super::*;

fn vectors(name: &str) -> Json {
    let path = format!("{}/tests/vectors/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).expect("vectors")).expect("JSON")
}

fn list(json: &Json) -> &[Json] {
    json.as_array().or_else(|| json["vectors"].as_array()).expect("a list")
}

fn bytes(vector: &Json) -> Option<Bytes> {
    let hex = vector["hex"].as_str()?;
    let pairs = hex.as_bytes().chunks(2);
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    pairs.map(byte).collect::<Option<Vec<u8>>>().map(Bytes::from)
}

/// A captured message, and what its vector says of it.
fn described(layer: Layer, file: &str) -> Vec<(String, usize, Description, Json)> {
    let json = vectors(file);
    let one = |vector: &Json| {
        let bytes = bytes(vector)?;
        let user_type = vector["gcs_msg_type"].as_u64();
        let user_type = user_type.or_else(|| vector["context"]["evs_user_type"].as_u64());
        let description = describe_message(layer, user_type.unwrap_or(1) as u8, &bytes);
        Some((vector["name"].to_string(), bytes.len(), description, vector.clone()))
    };
    list(&json).iter().filter_map(one).collect()
}

#[test]
fn every_byte_of_every_captured_message_belongs_to_a_field() {
    let mut count = 0;
    let files =
        [(Layer::Frame, "gmcast"), (Layer::Evs, "evs"), (Layer::Pc, "pc"), (Layer::Gcs, "gcs")];
    for (layer, file) in files {
        for (name, length, description, _) in described(layer, file) {
            if description.fault.is_none() {
                assert_eq!(description.unknown_bytes(length), 0, "{file} {name}: {description:?}");
                count += 1;
            }
        }
    }
    assert!(count > 60, "only {count} messages without a fault");
}

#[test]
fn valid_frames_have_no_fault_and_bad_ones_say_where() {
    for (name, _, description, vector) in described(Layer::Frame, "gmcast") {
        let is_valid = vector["valid"].as_bool().unwrap_or(true);
        // Nodes take bytes behind the last field without a word; people should know of them.
        let has_trailing = name.contains("trailing_bytes");
        assert!(!is_valid || description.fault.is_none() != has_trailing, "{name}");
    }
    let (_, _, description, vector) = described(Layer::Frame, "gmcast").remove(0);
    let mut frame = bytes(&vector).expect("hex").to_vec();
    assert_eq!(description.fault, None);
    assert!(looks_like_frame(&frame));
    frame[12] ^= 1;
    let fault = describe_frame(&frame.clone().into()).fault.expect("a wrong checksum");
    assert_eq!(fault.to_string(), "frame: checksum at byte 4: checksum mismatch");
    assert!(!looks_like_frame(&frame));
    let cut = describe_frame(&Bytes::from(frame).slice(..20)).fault.expect("cut");
    assert_eq!((cut.layer, cut.offset), (Layer::Frame, 20));
}

#[test]
fn fields_of_evs_are_those_that_the_vectors_name() {
    for (name, _, description, vector) in described(Layer::Evs, "evs") {
        let (fields, section) = (&vector["fields"], &description.sections[0]);
        if let Some(kind) = fields["type"].as_str() {
            assert_eq!(section.kind, kind, "{name}");
        }
        for (ours, theirs) in
            [("fifo seqno", "fifo_seq"), ("seqno", "seq"), ("aru", "aru_seq"), ("flags", "flags")]
        {
            if let (Some(expected), Some(found)) = (fields[theirs].as_i64(), section.signed(ours)) {
                assert_eq!(found, expected, "{name}: {ours}");
            }
        }
    }
}

#[test]
fn a_description_never_panics_on_mangled_frames() {
    for (_, _, _, vector) in described(Layer::Frame, "gmcast") {
        let frame = bytes(&vector).expect("hex");
        for at in 0..frame.len() {
            let _ = describe_frame(&frame.slice(..at));
            let mut mangled = frame.to_vec();
            mangled[at] = mangled[at].wrapping_add(0x81);
            let _ = describe_frame(&mangled.into());
        }
    }
    for (layer, file) in [(Layer::Evs, "evs"), (Layer::Pc, "pc"), (Layer::Gcs, "gcs")] {
        for (_, _, _, vector) in described(layer, file) {
            let message = bytes(&vector).expect("hex");
            for at in 0..message.len() {
                for user_type in [1, 5, 6, 8, 255] {
                    let _ = describe_message(layer, user_type, &message.slice(..at));
                }
            }
        }
    }
}

#[test]
fn names_flags_and_parts_of_numbers_are_spelled_out() {
    let all = described(Layer::Evs, "evs");
    let (.., description, _) =
        all.iter().find(|(.., d, _)| d.sections[0].kind == "INSTALL").expect("one");
    let install = &description.sections[0];
    let text = |name: &str| install.field(name).map(ToString::to_string).expect("field");
    assert!(text("type and order").contains("type=INSTALL"), "{}", text("type and order"));
    assert!(text("flags").contains("SOURCE"), "{}", text("flags"));
    assert!(text("install view").contains("kind="), "{}", text("install view"));
    assert_eq!(install.entries().count() as u64, install.number("number of nodes").expect("count"));
}
