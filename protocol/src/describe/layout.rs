//! The words in which layouts are written down.

/// How a field stands on the wire. Numbers are little-endian unless they say otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Unsigned, of so many bytes: 1, 2, 3, 4 or 8.
    Unsigned(usize),
    /// Unsigned, most significant byte first.
    BigEndian(usize),
    /// Two's complement, of so many bytes: 2, 4 or 8.
    Signed(usize),
    /// 16 bytes.
    Uuid,
    /// Text in a field of this size, filled up with NULs.
    Padded(usize),
    /// Text up to a NUL.
    Text,
    /// Everything up to the end.
    Rest,
}

impl Kind {
    /// A word and the bytes that it always has, or 0: what walks written in other languages go by.
    pub const fn for_scripts(self) -> (&'static str, usize) {
        match self {
            Self::Unsigned(length) => ("u", length),
            Self::BigEndian(length) => ("be", length),
            Self::Signed(length) => ("i", length),
            Self::Uuid => ("uuid", 16),
            Self::Padded(length) => ("padded", length),
            Self::Text => ("text", 0),
            Self::Rest => ("rest", 0),
        }
    }
}

/// What a number means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Itself.
    Plain,
    /// One of these.
    Named(&'static [(u64, &'static str)]),
    /// Any of these masks.
    Flags(&'static [(u64, &'static str)]),
    /// Several numbers in one: lowest bit, number of bits, name, meanings.
    Bits(&'static [Bits]),
}

/// A number inside a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bits {
    /// Its lowest bit.
    pub shift: u32,
    /// How many bits.
    pub width: u32,
    /// What it is called.
    pub name: &'static str,
    /// What its values mean; empty if it is a plain number.
    pub names: &'static [(u64, &'static str)],
}

impl Bits {
    /// Its value in the number around it.
    pub const fn of(&self, number: u64) -> u64 {
        (number >> self.shift) & ((1 << self.width) - 1)
    }
}

/// When a field is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Always.
    Always,
    /// If an earlier field of the same layout has one of these bits.
    Has(&'static str, u64),
    /// If an earlier field of the same layout is at least this.
    AtLeast(&'static str, u64),
    /// If any bytes are left.
    Left,
}

/// One field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// What it is called. Lower case, unique in its layout.
    pub name: &'static str,
    /// How it stands there.
    pub kind: Kind,
    /// What it means.
    pub meaning: Meaning,
    /// When it is there.
    pub when: When,
}

/// A part of a layout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item {
    /// One field.
    One(Field),
    /// Entries, as many as an earlier field says.
    Entries {
        /// The field with their number.
        count: &'static str,
        /// One entry.
        entry: &'static Layout,
        /// When the list is there.
        when: When,
    },
}

/// The fields of a message or of a part of one, in order.
#[derive(Debug, PartialEq, Eq)]
pub struct Layout {
    /// What it is called: upper case for messages.
    pub name: &'static str,
    /// Its fields.
    pub items: &'static [Item],
}

/// A plain field that is always there.
pub const fn field(name: &'static str, kind: Kind) -> Item {
    Item::One(Field { name, kind, meaning: Meaning::Plain, when: When::Always })
}

/// A field with a meaning.
pub const fn with(name: &'static str, kind: Kind, meaning: Meaning) -> Item {
    Item::One(Field { name, kind, meaning, when: When::Always })
}

/// A plain field that may be absent.
pub const fn only(when: When, name: &'static str, kind: Kind) -> Item {
    Item::One(Field { name, kind, meaning: Meaning::Plain, when })
}

/// A number inside a number.
pub const fn bits(
    shift: u32,
    width: u32,
    name: &'static str,
    names: &'static [(u64, &'static str)],
) -> Bits {
    Bits { shift, width, name, names }
}
