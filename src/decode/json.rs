//! Records as JSON, one object each.

use galera_protocol::describe::{Description, FieldValue, Value as FieldKind};
use serde_json::{Value, json};

use super::{Follow, Note, Record, What, text};
use crate::capture::Timestamp;

/// A record with what is known of its ends.
pub fn record(record: &Record, follow: &Follow, with_bytes: bool) -> Value {
    let node = |address| follow.node_at(address).map(|node| node.to_string());
    let mut object = json!({
        "number": record.number,
        "time": time(record.time),
        "from": record.from.to_string(),
        "to": record.to.to_string(),
        "from_name": follow.place(&record.from),
        "to_name": follow.place(&record.to),
        "from_node": node(&record.from),
        "to_node": node(&record.to),
        "layer": record.layer(),
        "type": record.kind(),
        "summary": text::summary(record, follow),
    });
    if let What::Frame { bytes, description } = &record.what {
        object["sections"] = sections(description);
        object["fault"] = description.fault.as_ref().map(ToString::to_string).into();
        if with_bytes {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            object["hex"] = hex.into();
        }
    }
    object
}

/// A note; told from a record by its `note`.
pub fn note(at: Timestamp, note: &Note, follow: &Follow) -> Value {
    json!({"time": time(at), "note": follow.sentence(note)})
}

fn time(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.0).map_or_else(|_| String::new(), |t| t.to_string())
}

fn sections(description: &Description) -> Value {
    let one = |section: &galera_protocol::describe::Section| {
        let fields: Vec<Value> = section.fields.iter().map(field).collect();
        json!({"layer": section.layer.name(), "type": text::kind(section), "fields": fields})
    };
    description.sections.iter().map(one).collect()
}

fn field(field: &FieldValue) -> Value {
    let value = match &field.value {
        FieldKind::Unsigned(number) => json!(number),
        FieldKind::Signed(number) => json!(number),
        FieldKind::Uuid(uuid) => json!(uuid.to_string()),
        FieldKind::Text(text) => json!(text),
        FieldKind::Bytes => Value::Null,
    };
    json!({
        "name": field.name,
        "entry": field.entry,
        "offset": field.offset,
        "length": field.length,
        "value": value,
        "text": field.to_string(),
    })
}
