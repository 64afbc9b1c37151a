//! The captured messages, by name.

use bytes::Bytes;
use serde_json::Value;

fn find(all: &[Value], name: &str) -> Bytes {
    let vector = all.iter().find(|vector| vector["name"] == name).expect("a vector of that name");
    let hex = vector["hex"].as_str().expect("hexadecimal");
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal");
    (0..hex.len()).step_by(2).map(byte).collect::<Vec<_>>().into()
}

/// One EVS message.
pub(crate) fn evs(name: &str) -> Bytes {
    let all: Vec<Value> =
        serde_json::from_str(include_str!("../vectors/evs.json")).expect("vector file is JSON");
    find(&all, name)
}

/// The body of one frame.
pub(crate) fn gmcast(name: &str) -> Bytes {
    const NET_HEADER_BYTES: usize = 8;
    let file: Value =
        serde_json::from_str(include_str!("../vectors/gmcast.json")).expect("vector file is JSON");
    let all = file["vectors"].as_array().expect("a list");
    find(all, name).slice(NET_HEADER_BYTES..)
}
