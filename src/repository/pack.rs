//! The format of a pack: blocks in zstd frames of their own, and a table of them at the end.
//!
//! Header and table are zstd *skippable* frames, so a pack as a whole is an ordinary zstd file and
//! `zstd -dc` on it gives the raw bytes. All integers are little-endian.
//!
//! | part | size | content |
//! |---|---:|---|
//! | header | 24 | `0x184D2A50`, 16, `GSSTPACK`, version, 0 |
//! | blocks | | zstd frames, back to back |
//! | table | 24 + 40 × n | `0x184D2A51`, size of the rest, n entries, n, version, `GSSTTABL` |
//!
//! A table's entry:
//!
//! | offset | size | field |
//! |-------:|-----:|---|
//! | 0 | 4 | size of the frame |
//! | 4 | 4 | size of the block, decompressed |
//! | 8 | 32 | BLAKE3 of the frame |

use bytes::{Buf, BufMut};

use super::error::Fault;
use crate::pipeline::manifest::Digest;

/// Version of the pack format, in header and table.
const VERSION: u32 = 1;
const HEADER_FRAME: u32 = 0x184D_2A50;
const TABLE_FRAME: u32 = 0x184D_2A51;
const HEADER_MAGIC: &[u8; 8] = b"GSSTPACK";
const TABLE_MAGIC: &[u8; 8] = b"GSSTTABL";
const TRAILER_BYTES: usize = 16;
const ENTRY_BYTES: usize = 8 + Digest::BYTES;

/// Size of the header.
pub(crate) const HEADER_BYTES: usize = 24;

/// The largest block that is read, decompressed: a bound on memory, far above what is written.
pub(crate) const BLOCK_BYTES_MAX: u32 = 16 << 20;

/// The largest frame that is read: what zstd makes of an incompressible block, and some.
const FRAME_BYTES_MAX: u32 = BLOCK_BYTES_MAX + (1 << 17);

/// Most blocks in a pack that is read: bounds the table to 40 MiB.
pub(crate) const BLOCKS_MAX: usize = 1 << 20;

/// One block of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockRecord {
    /// Size of its zstd frame.
    pub(crate) stored_bytes: u32,
    /// Its size decompressed.
    pub(crate) raw_bytes: u32,
    /// Hash of the frame.
    pub(crate) hash: Digest,
}

/// The bytes every pack begins with.
pub(crate) fn encode_header() -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_BYTES);
    out.put_u32_le(HEADER_FRAME);
    out.put_u32_le(16);
    out.put_slice(HEADER_MAGIC);
    out.put_u32_le(VERSION);
    out.put_u32_le(0);
    out
}

/// Checks the bytes a pack begins with.
pub(crate) fn check_header(bytes: &[u8]) -> Result<(), Fault> {
    if bytes == encode_header() { Ok(()) } else { Err(Fault::PackHeader) }
}

/// The block table, with the frame around it.
pub(crate) fn encode_table(blocks: &[BlockRecord]) -> Vec<u8> {
    let size = table_bytes(blocks.len());
    let mut out = Vec::with_capacity(size);
    out.put_u32_le(TABLE_FRAME);
    out.put_u32_le(le_u32(size - 8));
    for block in blocks {
        out.put_u32_le(block.stored_bytes);
        out.put_u32_le(block.raw_bytes);
        out.put_slice(block.hash.as_bytes());
    }
    out.put_u32_le(le_u32(blocks.len()));
    out.put_u32_le(VERSION);
    out.put_slice(TABLE_MAGIC);
    out
}

/// Size of the table of so many blocks.
pub(crate) const fn table_bytes(blocks: usize) -> usize {
    8 + ENTRY_BYTES * blocks + TRAILER_BYTES
}

/// Reads a block table.
pub(crate) fn decode_table(bytes: &[u8]) -> Result<Vec<BlockRecord>, Fault> {
    let entries = open_table(bytes).ok_or(Fault::BlockTable)?;
    let blocks = entries.chunks_exact(ENTRY_BYTES).map(decode_entry).collect::<Option<Vec<_>>>();
    blocks.ok_or(Fault::BlockTable)
}

/// The entries of a table whose frame, count and version are right.
fn open_table(mut bytes: &[u8]) -> Option<&[u8]> {
    if bytes.try_get_u32_le().ok()? != TABLE_FRAME {
        return None;
    }
    let size = usize::try_from(bytes.try_get_u32_le().ok()?).ok()?;
    if size != bytes.len() {
        return None;
    }
    let (entries, mut trailer) = bytes.split_at_checked(size.checked_sub(TRAILER_BYTES)?)?;
    let count = usize::try_from(trailer.try_get_u32_le().ok()?).ok()?;
    let version = trailer.try_get_u32_le().ok()?;
    let is_whole = count <= BLOCKS_MAX && entries.len() == count * ENTRY_BYTES;
    (is_whole && version == VERSION && trailer == TABLE_MAGIC).then_some(entries)
}

fn decode_entry(mut entry: &[u8]) -> Option<BlockRecord> {
    let stored_bytes = entry.try_get_u32_le().ok()?;
    let raw_bytes = entry.try_get_u32_le().ok()?;
    let hash = Digest::from_bytes(entry.try_into().ok()?);
    let is_sane =
        (1..=FRAME_BYTES_MAX).contains(&stored_bytes) && (1..=BLOCK_BYTES_MAX).contains(&raw_bytes);
    is_sane.then_some(BlockRecord { stored_bytes, raw_bytes, hash })
}

/// A size that our own limits keep far below 4 GiB.
fn le_u32(size: usize) -> u32 {
    u32::try_from(size).expect("a pack's table is bounded")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blocks() -> Vec<BlockRecord> {
        let block = |stored_bytes, raw_bytes| BlockRecord {
            stored_bytes,
            raw_bytes,
            hash: Digest::of(&[1, 2, 3]),
        };
        vec![block(700_000, 2 << 20), block(13, 1)]
    }

    #[test]
    fn a_table_round_trips() {
        let bytes = encode_table(&blocks());
        assert_eq!(bytes.len(), table_bytes(2));
        assert_eq!(decode_table(&bytes), Ok(blocks()));
        assert_eq!(decode_table(&encode_table(&[])), Ok(vec![]));
    }

    #[test]
    fn header_and_table_are_invisible_to_zstd() {
        let mut pack = encode_header();
        pack.extend(zstd::bulk::compress(b"raw bytes", 3).expect("compresses"));
        pack.extend(encode_table(&blocks()));
        assert_eq!(zstd::stream::decode_all(&pack[..]).expect("decompresses"), b"raw bytes");
    }

    #[test]
    fn impossible_sizes_are_refused() {
        for (stored_bytes, raw_bytes) in [(0, 1), (1, 0), (1, BLOCK_BYTES_MAX + 1), (u32::MAX, 1)] {
            let block = BlockRecord { stored_bytes, raw_bytes, hash: Digest::of(b"") };
            assert_eq!(decode_table(&encode_table(&[block])), Err(Fault::BlockTable));
        }
    }

    proptest! {
        #[test]
        fn mangled_tables_never_panic(at in 0..table_bytes(2), byte: u8, cut in 0..table_bytes(2)) {
            let mut bytes = encode_table(&blocks());
            bytes[at] = byte;
            let _ = decode_table(&bytes);
            let _ = decode_table(&bytes[..cut]);
        }
    }
}
