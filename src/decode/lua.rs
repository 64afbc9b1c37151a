//! A dissector for Wireshark and tshark, generated from the tables that `decode` itself walks, so that
//! both show the same fields.
//!
//! The tables become Lua tables; what follows them is the same walk as in
//! [`galera_protocol::describe::message`], written in Lua once.

use std::fmt::Write as _;

use galera_protocol::describe::layout::Bits;
use galera_protocol::describe::tables::{self, EVS_TYPES, GCS_TYPES, GMCAST_TYPES, PC_TYPES};
use galera_protocol::describe::{Field, Item, Layout, Meaning, When};

/// What does not depend on the tables.
const WALK: &str = include_str!("lua/walk.lua");

/// The dissector's text.
pub fn dissector() -> String {
    let mut text =
        String::from("-- Galera group protocol. Generated: galera-sst decode --wireshark\n");
    text += "-- tshark -X lua_script:galera.lua -r capture.pcapng, or into Wireshark's plugin folder.\n\n";
    for (name, names) in [
        ("GMCAST_TYPES", GMCAST_TYPES),
        ("EVS_TYPES", EVS_TYPES),
        ("PC_TYPES", PC_TYPES),
        ("GCS_TYPES", GCS_TYPES),
    ] {
        text += &format!("local {name} = {}\n", value_names(names));
    }
    text += "local LAYOUTS = {\n";
    for (name, layout) in tables::ALL {
        text += &format!("  {name} = {},\n", items(layout));
    }
    text += "}\n\n";
    text + WALK
}

fn items(layout: &Layout) -> String {
    let mut text = String::from("{");
    for item in layout.items {
        match item {
            Item::One(field) => text += &one(field),
            Item::Entries { count, entry, when } => {
                let (condition, entry) = (condition(*when), items(entry));
                let _ = write!(text, "{{list = {count:?}, {condition}entry = {entry}}}, ");
            }
        }
    }
    text + "}"
}

fn one(field: &Field) -> String {
    let (kind, length) = field.kind.for_scripts();
    let condition = condition(field.when);
    let meaning = match field.meaning {
        Meaning::Plain => String::new(),
        Meaning::Named(names) => format!("names = {}, ", value_names(names)),
        Meaning::Flags(flags) => format!("flags = {}, ", value_names(flags)),
        Meaning::Bits(parts) => {
            format!("bits = {{{}}}, ", parts.iter().map(bits).collect::<String>())
        }
    };
    format!("{{name = {:?}, kind = {kind:?}, len = {length}, {condition}{meaning}}}, ", field.name)
}

fn bits(part: &Bits) -> String {
    let Bits { shift, width, name, names } = part;
    let mask = ((1_u64 << width) - 1) << shift;
    let names = if names.is_empty() { "nil".to_owned() } else { value_names(names) };
    format!("{{name = {name:?}, mask = {mask:#x}, names = {names}}}, ")
}

fn condition(when: When) -> String {
    match when {
        When::Always => String::new(),
        When::Has(field, mask) => format!("has = {{{field:?}, {mask}}}, "),
        When::AtLeast(field, least) => format!("least = {{{field:?}, {least}}}, "),
        When::Left => "left = true, ".to_owned(),
    }
}

fn value_names(names: &[(u64, &str)]) -> String {
    let pairs: Vec<String> =
        names.iter().map(|(value, name)| format!("[{value}] = {name:?}")).collect();
    format!("{{{}}}", pairs.join(", "))
}
