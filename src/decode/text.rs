//! Records as lines, and their bytes as fields with offsets.

use bytes::Bytes;
use galera_protocol::describe::{Description, FieldValue, Layer, Meaning, Section, Value, tables};

use super::follow::{self, Follow};
use super::{Record, What};
use crate::capture::Timestamp;

/// Bytes of a field that are shown as hex.
const BYTES_SHOWN: usize = 32;

/// A time of day in UTC, to the microsecond.
pub fn time(time: Timestamp) -> String {
    jiff::Timestamp::from_microsecond(time.0)
        .map(|time| time.strftime("%H:%M:%S.%6f").to_string())
        .unwrap_or_else(|_| time.0.to_string())
}

/// One line.
pub fn line(record: &Record, follow: &Follow) -> String {
    let (from, to) = (follow.place(&record.from), follow.place(&record.to));
    let time = time(record.time);
    format!("{:>6} {time} {from} > {to}  {}", record.number, summary(record, follow))
}

/// What a record says, without time and place.
pub fn summary(record: &Record, follow: &Follow) -> String {
    match &record.what {
        What::Frame { description, .. } => message(description, follow),
        What::Link(event) => format!("link: {event}"),
        What::Sst(event) => format!("SST: {event}"),
    }
}

fn message(description: &Description, follow: &Follow) -> String {
    let sections = description.sections.iter().filter(|section| is_telling(section, description));
    let mut parts: Vec<String> = sections.map(|section| part(section, follow)).collect();
    if let Some(fault) = &description.fault {
        parts.push(format!("MALFORMED {fault}"));
    }
    parts.join(" | ")
}

/// Layers that only carry another one are left out.
fn is_telling(section: &Section, description: &Description) -> bool {
    match (section.layer, section.kind) {
        (Layer::Frame, _) => description.sections.len() == 1,
        (Layer::Gmcast, "USER") => description.section(Layer::Evs).is_none(),
        (Layer::Pc, "USER") => description.section(Layer::Gcs).is_none(),
        (Layer::Gmcast | Layer::Evs | Layer::Pc | Layer::Gcs, _) => true,
    }
}

fn part(section: &Section, follow: &Follow) -> String {
    let layer = match section.layer {
        Layer::Frame => "frame",
        Layer::Gmcast => "gmcast",
        Layer::Evs => "EVS",
        Layer::Pc => "PC",
        Layer::Gcs => "GCS",
    };
    let mut text = format!("{layer} {}", kind(section));
    for name in shown(section) {
        if let Some(field) = section.field(name) {
            text += &format!(" {}={}", name.replace(' ', "-"), short(field, follow));
        }
    }
    let entries: Vec<String> = section.entries().map(|fields| entry(fields, follow)).collect();
    if !entries.is_empty() {
        text += &format!(" [{}]", entries.join(", "));
    }
    text
}

/// The type, and for GAP which of its meanings.
pub(super) fn kind(section: &Section) -> &'static str {
    const RETRANSMISSION: u64 = 0x02;
    const COMMIT: u64 = 0x10;
    if section.layer != Layer::Evs || section.kind != "GAP" {
        return section.kind;
    }
    let flags = section.number("flags").unwrap_or_default();
    if flags & COMMIT != 0 {
        "GAP(commit)"
    } else if flags & RETRANSMISSION != 0 {
        "GAP(request)"
    } else if section.signed("seqno") == Some(-1) && section.signed("aru") == Some(-1) {
        "GAP(install)"
    } else {
        "GAP(ack)"
    }
}

fn shown(section: &Section) -> &'static [&'static str] {
    match (section.layer, section.kind) {
        (Layer::Gmcast, "HANDSHAKE_RESPONSE") => &["address or reason", "group name"],
        (Layer::Gmcast, "FAIL") => &["address or reason"],
        (Layer::Evs, "USER") => &["source", "seqno", "seq range", "aru"],
        (Layer::Evs, "GAP") if kind(section) == "GAP(request)" => {
            &["seqno", "aru", "range node", "range low", "range high"]
        }
        (Layer::Evs, "GAP") => &["seqno", "aru", "source view"],
        (Layer::Evs, "JOIN" | "LEAVE") => &["seqno", "aru", "source view"],
        (Layer::Evs, "INSTALL") => &["seqno", "aru", "install view"],
        (Layer::Pc, _) => &["seq"],
        (Layer::Gcs, "write-set" | "ACTION") => &["action id", "fragment", "action size", "data"],
        (Layer::Gcs, "STATE_REQ") => &["action id", "donors", "group uuid", "seqno", "request"],
        (Layer::Gcs, "STATE_UUID") => &["exchange uuid"],
        (Layer::Gcs, "STATE_MSG") => {
            &["name", "current status", "group uuid", "received", "flags", "gcs protocol"]
        }
        (Layer::Gcs, "FLOW") => &["stop", "configuration"],
        (Layer::Gcs, _) => &["seqno", "code", "seqno or error"],
        (Layer::Frame | Layer::Gmcast | Layer::Evs, _) => &[],
    }
}

fn entry(fields: &[FieldValue], follow: &Follow) -> String {
    let node = follow::uuid(fields, "node").or_else(|| follow::uuid(fields, "link uuid"));
    let mut text = node.map_or_else(String::new, |node| follow.name(&node));
    for name in ["node flags", "link address", "weight", "last seq", "safe seqno", "to seq"] {
        let Some(field) = fields.iter().find(|field| field.name == name) else { continue };
        let value = short(field, follow);
        let is_usual = matches!(value.as_str(), "OPERATIONAL" | "WEIGHT" | "4294967295");
        if !is_usual {
            let label = if name == "node flags" { "" } else { name };
            text += &format!(" {label}{}{value}", if label.is_empty() { "" } else { " " });
        }
    }
    text
}

fn short(field: &FieldValue, follow: &Follow) -> String {
    match (&field.value, field.meaning) {
        (Value::Uuid(uuid), _) => follow.name(uuid),
        (Value::Unsigned(number), Meaning::Named(names)) => {
            tables::name(names, *number).map_or_else(|| number.to_string(), ToOwned::to_owned)
        }
        (Value::Unsigned(number), Meaning::Bits([seq, kind]))
            if kind.names == tables::VIEW_KINDS =>
        {
            let name = tables::name(kind.names, kind.of(*number)).unwrap_or_default();
            format!("{name}:{}", seq.of(*number))
        }
        (Value::Unsigned(_) | Value::Signed(_) | Value::Text(_) | Value::Bytes, _) => {
            field.to_string().replace(' ', "-")
        }
    }
}

/// Every field of a frame with its offset, length, bytes and value, a line each.
pub fn fields(bytes: &Bytes, description: &Description, follow: &Follow) -> String {
    let mut text = String::new();
    for section in &description.sections {
        text += &format!("       {} {}\n", section.layer, kind(section));
        for field in &section.fields {
            text += &field_line(bytes, field, follow);
        }
    }
    let unknown = description.unknown_bytes(bytes.len());
    if unknown > 0 {
        text += &format!("       {unknown} bytes belong to no field\n");
    }
    text
}

fn field_line(bytes: &Bytes, field: &FieldValue, follow: &Follow) -> String {
    let end = field.offset + field.length;
    let raw = bytes.get(field.offset..end).unwrap_or_default();
    let mut hex: String = raw.iter().take(BYTES_SHOWN).map(|byte| format!("{byte:02x}")).collect();
    if raw.len() > BYTES_SHOWN {
        hex.push('…');
    }
    let entry = field.entry.map(|entry| format!("[{entry}] ")).unwrap_or_default();
    let mut value = field.to_string();
    if let Value::Uuid(uuid) = &field.value {
        let name = follow.name(uuid);
        if !value.starts_with(&name) && !uuid.is_nil() {
            value = format!("{value} ({name})");
        }
    }
    format!(
        "       {:>6} {:>5}  {entry}{}: {value}  {hex}\n",
        field.offset, field.length, field.name
    )
}
