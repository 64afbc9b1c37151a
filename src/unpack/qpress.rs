//! `.qp`: a qpress archive of one file, in blocks of QuickLZ (spec 06 §4.3).

use bytes::Bytes;

use super::Fault;
use super::gather::{Gather, le_u32, le_u64};
use super::quicklz::{self, BlockHeader};

const MAGIC: &[u8; 8] = b"qpress10";
const BLOCK: &[u8; 8] = b"NEWBNEWB";
const END: &[u8; 8] = b"ENDSENDS";

/// Magic, chunk size, `F` and the length of the name.
const START_BYTES: usize = 21;

/// Marker, position and Adler-32.
const BLOCK_START_BYTES: usize = 20;

/// Longest name that a file system takes, and its NUL.
const NAME_BYTES_MAX: usize = 256;

/// Largest block that is taken, plain or compressed. Tools write 64 KiB unless told otherwise.
const BLOCK_BYTES_MAX: u64 = 64 << 20;

/// Takes an archive apart.
#[derive(Debug, Default)]
pub(super) struct Decompression {
    gather: Gather,
    state: State,
    chunk_bytes: u64,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Start,
    Name {
        byte_len: usize,
    },
    /// The marker of a block or of the end.
    Marker,
    BlockStart,
    BlockFlags {
        checksum: u32,
    },
    BlockHeader {
        checksum: u32,
        flags: u8,
    },
    Block {
        checksum: u32,
        raw: Bytes,
        header: BlockHeader,
    },
    Recovery,
    End,
}

impl Decompression {
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Fault> {
        loop {
            if matches!(self.state, State::End) {
                return if input.is_empty() { Ok(None) } else { Err(Fault::Malformed("archive")) };
            }
            let Some(unit) = self.gather.take(input, self.wanted()) else { return Ok(None) };
            if let Some(piece) = self.read(unit)? {
                return Ok(Some(piece));
            }
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::End)
    }

    fn wanted(&self) -> usize {
        match &self.state {
            State::Start => START_BYTES,
            State::Name { byte_len } => *byte_len,
            State::Marker | State::Recovery => 8,
            State::BlockStart => BLOCK_START_BYTES - 8,
            State::BlockFlags { .. } => 1,
            State::BlockHeader { flags, .. } => quicklz::header_bytes(*flags) - 1,
            State::Block { header, raw, .. } => header.compressed.saturating_sub(raw.len()),
            State::End => 0,
        }
    }

    fn read(&mut self, unit: Bytes) -> Result<Option<Bytes>, Fault> {
        self.state = match core::mem::take(&mut self.state) {
            State::Start => self.start(&unit)?,
            State::Name { .. } => State::Marker,
            State::Marker if unit.as_ref() == BLOCK => State::BlockStart,
            State::Marker if unit.as_ref() == END => State::Recovery,
            State::Marker => return Err(Fault::Magic),
            // The position before the checksum is wrong in what XtraBackup 8.0 wrote.
            State::BlockStart => State::BlockFlags { checksum: le_u32(&unit, 8) },
            State::BlockFlags { checksum } => State::BlockHeader { checksum, flags: unit[0] },
            State::BlockHeader { checksum, flags } => self.block(checksum, flags, &unit)?,
            State::Block { checksum, raw, header } => {
                self.state = State::Marker;
                return expand(checksum, &raw, &header, &unit).map(Some);
            }
            State::Recovery | State::End => State::End,
        };
        Ok(None)
    }

    fn start(&mut self, unit: &[u8]) -> Result<State, Fault> {
        if !unit.starts_with(MAGIC) {
            return Err(Fault::Magic);
        }
        if unit[16] != b'F' {
            return Err(Fault::Unsupported("an archive of directories"));
        }
        self.chunk_bytes = le_u64(unit, 8);
        let byte_len = usize::try_from(le_u32(unit, 17)).unwrap_or(usize::MAX);
        if byte_len >= NAME_BYTES_MAX {
            return Err(Fault::Range("name length"));
        }
        Ok(State::Name { byte_len: byte_len + 1 })
    }

    fn block(&self, checksum: u32, flags: u8, rest: &[u8]) -> Result<State, Fault> {
        let mut raw = vec![flags];
        raw.extend_from_slice(rest);
        let header = BlockHeader::parse(&raw)?;
        let limit = BLOCK_BYTES_MAX.min(self.chunk_bytes);
        if header.plain as u64 > limit || header.compressed as u64 > BLOCK_BYTES_MAX {
            return Err(Fault::Range("block size"));
        }
        Ok(State::Block { checksum, raw: raw.into(), header })
    }
}

fn expand(checksum: u32, start: &[u8], header: &BlockHeader, body: &[u8]) -> Result<Bytes, Fault> {
    if adler32(&[start, body]) != checksum {
        return Err(Fault::Checksum("block"));
    }
    quicklz::expand(header, body).map(Bytes::from)
}

/// Adler-32 as zlib computes it.
fn adler32(parts: &[&[u8]]) -> u32 {
    const MODULUS: u32 = 65_521;
    /// So many bytes can be summed before the sums overflow.
    const RUN: usize = 5_552;
    let (mut low, mut high) = (1_u32, 0_u32);
    for run in parts.iter().flat_map(|part| part.chunks(RUN)) {
        for &byte in run {
            low += u32::from(byte);
            high += low;
        }
        low %= MODULUS;
        high %= MODULUS;
    }
    high << 16 | low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adler_is_zlibs_wherever_the_parts_are_cut() {
        assert_eq!(adler32(&[b"Wikipedia"]), 0x11e6_0398);
        assert_eq!(adler32(&[b"Wiki", b"pedia"]), 0x11e6_0398);
        assert_eq!(adler32(&[&[0xff; 20_000]]), adler_slow());
    }

    fn adler_slow() -> u32 {
        let (mut low, mut high) = (1_u64, 0_u64);
        for _ in 0..20_000 {
            low = (low + 255) % 65_521;
            high = (high + low) % 65_521;
        }
        (high << 16 | low) as u32
    }
}
