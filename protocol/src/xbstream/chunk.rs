//! Chunk headers (spec 06 §1.2–1.9 and §2.1).
//!
//! The payload is not part of a header: it may be a gibibyte, and passes beside it.

use bytes::BufMut;
use nom::bytes::streaming::{tag, take};
use nom::error::context;
use nom::number::streaming::{le_u32, le_u64, u8};
use nom::{Parser, combinator};

use super::path::PATH_BYTES_MAX;
use crate::decode::{Parsed, Problem, fail};

/// What every chunk starts with.
pub const MAGIC: &[u8; 8] = b"XBSTCK01";

const PAYLOAD: u8 = b'P';
const END: u8 = b'E';
const SPARSE_OR_SEEK: u8 = b'S';
const RENAME: u8 = b'R';
const REMOVE: u8 = b'D';

/// Whose extensions of the format a stream uses. `P` and `E` are common to all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Percona XtraBackup: `S` is a payload with holes.
    Percona,
    /// MariaDB: `S` is a seek; `R` renames, `D` removes, a flag replaces.
    MariaDb,
}

/// The flag byte. Unknown bits are kept and ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u8);

impl Flags {
    /// A reader that does not know the type may skip the chunk.
    pub const IGNORABLE: Self = Self(0x01);
    /// The file replaces a finished one of its name (MariaDB; looked at where the file opens).
    pub const REWRITE: Self = Self(0x02);

    /// Whether all bits of `other` are set.
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// Everything of a chunk but its payload. On the wire, little-endian:
///
/// | offset | size | field                |
/// |-------:|-----:|----------------------|
/// |      0 |    8 | magic `XBSTCK01`     |
/// |      8 |    1 | flags                |
/// |      9 |    1 | type                 |
/// |     10 |    4 | length of the path n |
/// |     14 |    n | path                 |
/// | 14 + n |      | [`Body`]             |
///
/// No checksum covers any of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkHeader {
    /// The flag byte.
    pub flags: Flags,
    /// The file's name as it stands there, not yet checked.
    pub path: Box<[u8]>,
    /// What the type says.
    pub body: Body,
}

/// What follows the path, by type. Offsets are relative to the end of the path:
///
/// | type | offset | size | field |
/// |---|---:|---:|---|
/// | `P` | 0 | 8 | length of the payload |
/// |     | 8 | 8 | its offset in the file |
/// |     | 16 | 4 | CRC-32 of the payload |
/// | `E` | | | nothing |
/// | `S` MariaDB | 0 | 8 | offset in the file |
/// | `S` Percona | 0 | 4 | entries of the map k |
/// |     | 4 | 8 | length of the payload |
/// |     | 12 | 8 | offset in the file, before the first hole |
/// |     | 20 | 4 | CRC-32 of map and payload |
/// |     | 24 | 8 k | map: (hole u32, run u32) each |
/// | `R` | 0 | 4 | length of the new path m, then m bytes |
/// | `D` | | | nothing |
///
/// The map of a Percona sparse chunk follows the header and is not part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Bytes of the file follow.
    Payload(Extent),
    /// The file is complete.
    End,
    /// The next payload lies at this offset (MariaDB).
    Seek {
        /// Absolute offset in the file in bytes.
        offset: u64,
    },
    /// A map of holes and runs follows, then the bytes of the runs (Percona).
    Sparse {
        /// Entries of the map.
        entries: u32,
        /// The runs together; the offset is before the first hole.
        extent: Extent,
    },
    /// A finished file gets another name (MariaDB).
    Rename {
        /// The new name as it stands there, not yet checked.
        to: Box<[u8]>,
    },
    /// A finished file goes away (MariaDB).
    Remove,
    /// A type that is not known. Only if it may be ignored is it known to be shaped like a payload.
    Unknown {
        /// The type byte.
        kind: u8,
        /// Where its bytes lie, if it may be ignored.
        ignorable: Option<Extent>,
    },
}

/// Where a payload lies in its file, and its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of payload.
    pub length: u64,
    /// Offset in the file.
    pub offset: u64,
    /// CRC-32 (ISO-HDLC).
    pub checksum: u32,
}

impl ChunkHeader {
    /// Parses the start of `input`; asks for more with nom's `Incomplete`.
    ///
    /// Without a dialect an `S` chunk is told by the eight bytes after its first eight: another
    /// chunk's magic means seek, for as the high half of a payload's length it would be absurd.
    pub(super) fn parse(input: &[u8], dialect: Option<Dialect>) -> Parsed<'_, Self> {
        let (input, _) = context("magic", tag(&MAGIC[..])).parse(input)?;
        let (input, flags) = context("flags", u8.map(Flags)).parse(input)?;
        let (input, kind) = context("type", u8).parse(input)?;
        let (input, path) = name(input, "path")?;
        let (input, body) = Body::parse(input, kind, flags, dialect)?;
        Ok((input, Self { flags, path, body }))
    }

    /// The header at the start of `input` and its length; none if there is no whole one.
    pub fn decode(input: &[u8], dialect: Option<Dialect>) -> Option<(Self, usize)> {
        let (rest, header) = Self::parse(input, dialect).ok()?;
        Some((header, input.len() - rest.len()))
    }

    /// Appends the header; map and payload follow separately.
    ///
    /// A path longer than [`PATH_BYTES_MAX`] makes a chunk that no reader takes.
    pub fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(MAGIC);
        out.put_u8(self.flags.0);
        out.put_u8(self.body.kind());
        encode_name(&self.path, out);
        self.body.encode(out);
    }
}

impl Body {
    fn parse(input: &[u8], kind: u8, flags: Flags, dialect: Option<Dialect>) -> Parsed<'_, Self> {
        match (kind, dialect) {
            (PAYLOAD, _) => Extent::parse.map(Self::Payload).parse(input),
            (END, _) => Ok((input, Self::End)),
            (SPARSE_OR_SEEK, Some(Dialect::Percona)) => Self::parse_sparse(input),
            (SPARSE_OR_SEEK, Some(Dialect::MariaDb)) => Self::parse_seek(input),
            (SPARSE_OR_SEEK, None) => Self::parse_either(input),
            (RENAME, None | Some(Dialect::MariaDb)) => {
                name(input, "new path").map(|(rest, to)| (rest, Self::Rename { to }))
            }
            (REMOVE, None | Some(Dialect::MariaDb)) => Ok((input, Self::Remove)),
            _ => Self::parse_unknown(input, kind, flags),
        }
    }

    fn parse_seek(input: &[u8]) -> Parsed<'_, Self> {
        let (input, offset) = context("offset", le_u64).parse(input)?;
        Ok((input, Self::Seek { offset }))
    }

    fn parse_sparse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, entries) = context("map entries", le_u32).parse(input)?;
        let (input, extent) = Extent::parse(input)?;
        Ok((input, Self::Sparse { entries, extent }))
    }

    fn parse_either(input: &[u8]) -> Parsed<'_, Self> {
        let (_, next) = combinator::peek((take(8_usize), take(8_usize))).parse(input)?;
        if next.1 == MAGIC { Self::parse_seek(input) } else { Self::parse_sparse(input) }
    }

    fn parse_unknown(input: &[u8], kind: u8, flags: Flags) -> Parsed<'_, Self> {
        if !flags.has(Flags::IGNORABLE) {
            return Ok((input, Self::Unknown { kind, ignorable: None }));
        }
        let (input, extent) = Extent::parse(input)?;
        Ok((input, Self::Unknown { kind, ignorable: Some(extent) }))
    }

    fn encode(&self, out: &mut impl BufMut) {
        match self {
            Self::Payload(extent) | Self::Unknown { ignorable: Some(extent), .. } => {
                extent.encode(out);
            }
            Self::Seek { offset } => out.put_u64_le(*offset),
            Self::Sparse { entries, extent } => {
                out.put_u32_le(*entries);
                extent.encode(out);
            }
            Self::Rename { to } => encode_name(to, out),
            Self::End | Self::Remove | Self::Unknown { ignorable: None, .. } => {}
        }
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Payload(_) => PAYLOAD,
            Self::End => END,
            Self::Seek { .. } | Self::Sparse { .. } => SPARSE_OR_SEEK,
            Self::Rename { .. } => RENAME,
            Self::Remove => REMOVE,
            Self::Unknown { kind, .. } => *kind,
        }
    }

    /// The dialect that this type belongs to, if only one has it.
    pub fn dialect(&self) -> Option<Dialect> {
        match self {
            Self::Sparse { .. } => Some(Dialect::Percona),
            Self::Seek { .. } | Self::Rename { .. } | Self::Remove => Some(Dialect::MariaDb),
            Self::Payload(_) | Self::End | Self::Unknown { .. } => None,
        }
    }
}

impl Extent {
    fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, length) = context("payload length", le_u64).parse(input)?;
        let (input, offset) = context("payload offset", le_u64).parse(input)?;
        let (input, checksum) = context("checksum", le_u32).parse(input)?;
        Ok((input, Self { length, offset, checksum }))
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_u64_le(self.length);
        out.put_u64_le(self.offset);
        out.put_u32_le(self.checksum);
    }
}

fn name<'a>(input: &'a [u8], field: &'static str) -> Parsed<'a, Box<[u8]>> {
    let (rest, length) = context(field, le_u32).parse(input)?;
    match usize::try_from(length) {
        Ok(length) if length <= PATH_BYTES_MAX => {
            context(field, take(length)).map(Box::from).parse(rest)
        }
        _ => fail(input, field, Problem::TooLarge),
    }
}

fn encode_name(name: &[u8], out: &mut impl BufMut) {
    out.put_u32_le(u32::try_from(name.len()).unwrap_or(u32::MAX));
    out.put_slice(name);
}

#[cfg(test)]
mod tests;
