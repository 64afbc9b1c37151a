//! Bytes along a layout: each field's place and value, until the bytes end or the layout does.

use core::fmt;

use super::layout::{Field, Item, Kind, Layout, Meaning, When};
use super::tables;
use crate::decode::Problem;
use crate::id::NodeId;

/// Entries of one list that are described. Far more than fit into a frame.
const ENTRIES_MAX: u64 = 4096;

/// One field of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldValue {
    /// What it is called.
    pub name: &'static str,
    /// Which entry of a list it belongs to.
    pub entry: Option<u32>,
    /// Where it starts, counted from the start of the frame.
    pub offset: usize,
    /// Its bytes.
    pub length: usize,
    /// What stands there.
    pub value: Value,
    /// What that means.
    pub meaning: Meaning,
}

/// The value of a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// An unsigned number.
    Unsigned(u64),
    /// A signed number.
    Signed(i64),
    /// A UUID in wire order.
    Uuid(NodeId),
    /// Text; what is not UTF-8 is escaped.
    Text(String),
    /// Uninterpreted bytes: only their place is told.
    Bytes,
}

impl Value {
    /// The number, if it is one that is not negative.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Unsigned(number) => Some(*number),
            Self::Signed(number) => u64::try_from(*number).ok(),
            Self::Uuid(_) | Self::Text(_) | Self::Bytes => None,
        }
    }
}

/// The value with its meaning: `USER (8)`, `SOURCE|COMMIT`, `type=JOIN order=DROP`.
impl fmt::Display for FieldValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.value, self.meaning) {
            (Value::Unsigned(number), Meaning::Named(names)) => {
                match tables::name(names, *number) {
                    Some(name) => write!(f, "{name} ({number})"),
                    None => write!(f, "unknown ({number})"),
                }
            }
            (Value::Unsigned(number), Meaning::Flags(flags)) => show_flags(*number, flags, f),
            (Value::Unsigned(number), Meaning::Bits(parts)) => {
                for (at, part) in parts.iter().enumerate() {
                    let value = part.of(*number);
                    let space = if at == 0 { "" } else { " " };
                    match tables::name(part.names, value) {
                        Some(name) => write!(f, "{space}{}={name}", part.name)?,
                        None => write!(f, "{space}{}={value}", part.name)?,
                    }
                }
                Ok(())
            }
            (Value::Unsigned(number), Meaning::Plain) => number.fmt(f),
            (Value::Signed(number), _) => number.fmt(f),
            (Value::Uuid(uuid), _) => uuid.fmt(f),
            (Value::Text(text), _) => write!(f, "{text:?}"),
            (Value::Bytes, _) => write!(f, "{} bytes", self.length),
        }
    }
}

fn show_flags(
    number: u64,
    flags: &[(u64, &'static str)],
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    let mut left = number;
    let mut separator = "";
    for (mask, name) in flags.iter().filter(|(mask, _)| number & mask != 0) {
        write!(f, "{separator}{name}")?;
        separator = "|";
        left &= !mask;
    }
    match (left, separator) {
        (0, "") => f.write_str("none"),
        (0, _) => Ok(()),
        (left, separator) => write!(f, "{separator}{left:#x}"),
    }
}

/// Where a walk stopped, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stop {
    pub(super) field: &'static str,
    pub(super) offset: usize,
    pub(super) problem: Problem,
}

/// A walk through the bytes of a frame.
#[derive(Debug)]
pub(super) struct Walk<'a> {
    bytes: &'a [u8],
    /// Where the next field starts.
    pub(super) at: usize,
    end: usize,
    pub(super) fields: Vec<FieldValue>,
}

impl<'a> Walk<'a> {
    /// Walks `bytes[at..end]`; offsets are counted from the start of `bytes`.
    pub(super) fn new(bytes: &'a [u8], at: usize, end: usize) -> Self {
        Self { bytes, at, end: end.min(bytes.len()), fields: Vec::new() }
    }

    pub(super) fn left(&self) -> &'a [u8] {
        self.bytes.get(self.at..self.end).unwrap_or_default()
    }

    /// Follows a layout.
    pub(super) fn follow(&mut self, layout: &Layout) -> Result<(), Stop> {
        self.follow_entry(layout, None)
    }

    fn follow_entry(&mut self, layout: &Layout, entry: Option<u32>) -> Result<(), Stop> {
        let first = self.fields.len();
        for item in layout.items {
            match item {
                Item::One(field) if self.applies(field.when, first) => self.read(field, entry)?,
                Item::Entries { count, entry, when } if self.applies(*when, first) => {
                    self.follow_entries(count, entry, first)?;
                }
                Item::One(_) | Item::Entries { .. } => {}
            }
        }
        Ok(())
    }

    fn follow_entries(&mut self, count: &str, entry: &Layout, first: usize) -> Result<(), Stop> {
        let count = self.number(count, first).unwrap_or(0);
        for number in 0..count.min(ENTRIES_MAX) {
            self.follow_entry(entry, Some(number as u32))?;
        }
        Ok(())
    }

    fn applies(&self, when: When, first: usize) -> bool {
        match when {
            When::Always => true,
            When::Left => !self.left().is_empty(),
            When::Has(field, mask) => self.number(field, first).unwrap_or(0) & mask != 0,
            When::AtLeast(field, least) => self.number(field, first).unwrap_or(0) >= least,
        }
    }

    /// A number that this layout has read before.
    fn number(&self, name: &str, first: usize) -> Option<u64> {
        let fields = self.fields.get(first..)?;
        fields.iter().find(|field| field.name == name)?.value.number()
    }

    fn read(&mut self, field: &Field, entry: Option<u32>) -> Result<(), Stop> {
        let left = self.left();
        let stop = Stop { field: field.name, offset: self.at, problem: Problem::Truncated };
        let length = field.kind.length(left).filter(|&length| length <= left.len()).ok_or(stop)?;
        let value = field.kind.value(&left[..length]);
        let (name, meaning, offset) = (field.name, field.meaning, self.at);
        self.fields.push(FieldValue { name, entry, offset, length, value, meaning });
        self.at += length;
        Ok(())
    }
}

impl Kind {
    /// Bytes of a field that starts here; none if its end is not there.
    fn length(self, left: &[u8]) -> Option<usize> {
        match self {
            Self::Unsigned(length) | Self::BigEndian(length) | Self::Signed(length) => Some(length),
            Self::Uuid => Some(16),
            Self::Padded(length) => Some(length),
            Self::Text => left.iter().position(|&byte| byte == 0).map(|length| length + 1),
            Self::Rest => Some(left.len()),
        }
    }

    fn value(self, bytes: &[u8]) -> Value {
        let number = |bytes: &mut dyn Iterator<Item = &u8>| {
            bytes.fold(0_u64, |number, &byte| number << 8 | u64::from(byte))
        };
        match self {
            Self::Unsigned(_) => Value::Unsigned(number(&mut bytes.iter().rev())),
            Self::BigEndian(_) => Value::Unsigned(number(&mut bytes.iter())),
            Self::Signed(length) => {
                let unused = 64 - 8 * length.min(8) as u32;
                let number = number(&mut bytes.iter().rev());
                Value::Signed(((number << unused) as i64) >> unused)
            }
            Self::Uuid => Value::Uuid(NodeId::from_bytes(bytes.try_into().unwrap_or_default())),
            Self::Padded(_) | Self::Text => Value::Text(text(bytes)),
            Self::Rest => Value::Bytes,
        }
    }
}

/// Text up to its first NUL.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    match core::str::from_utf8(&bytes[..end]) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes[..end].escape_ascii().to_string(),
    }
}
