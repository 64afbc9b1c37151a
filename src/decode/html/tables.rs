//! The layout tables for the page's script.

use galera_protocol::describe::tables::{self, EVS_TYPES, GCS_TYPES, GMCAST_TYPES, PC_TYPES};
use galera_protocol::describe::{Field, Item, Layout, Meaning, When};
use serde_json::{Map, Value, json};

/// Every layout by its short name, and the names of message types.
pub(super) fn layouts() -> Value {
    let layouts: Map<String, Value> =
        tables::ALL.iter().map(|(name, layout)| ((*name).to_owned(), items(layout))).collect();
    json!({
        "layouts": layouts,
        "gmcast": names(GMCAST_TYPES),
        "evs": names(EVS_TYPES),
        "pc": names(PC_TYPES),
        "gcs": names(GCS_TYPES),
    })
}

fn items(layout: &Layout) -> Value {
    layout.items.iter().map(item).collect()
}

fn item(item: &Item) -> Value {
    match item {
        Item::One(field) => one(field),
        Item::Entries { count, entry, when } => {
            json!({"list": count, "entry": items(entry), "when": condition(*when)})
        }
    }
}

fn one(field: &Field) -> Value {
    let (kind, length) = field.kind.for_scripts();
    let mut object = json!({
        "name": field.name, "kind": kind, "len": length, "when": condition(field.when),
    });
    match field.meaning {
        Meaning::Plain => {}
        Meaning::Named(values) => object["names"] = names(values),
        Meaning::Flags(values) => {
            object["flags"] = values.iter().map(|(m, n)| json!([m, n])).collect()
        }
        Meaning::Bits(parts) => {
            let part = |part: &galera_protocol::describe::layout::Bits| {
                json!([part.shift, part.width, part.name, names(part.names)])
            };
            object["bits"] = parts.iter().map(part).collect();
        }
    }
    object
}

fn condition(when: When) -> Value {
    match when {
        When::Always => Value::Null,
        When::Has(field, mask) => json!(["has", field, mask]),
        When::AtLeast(field, least) => json!(["least", field, least]),
        When::Left => json!(["left"]),
    }
}

fn names(values: &[(u64, &str)]) -> Value {
    let pair = |(value, name): &(u64, &str)| (value.to_string(), Value::from(*name));
    Value::Object(values.iter().map(pair).collect())
}
