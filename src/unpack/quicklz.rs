//! One block of QuickLZ 1.5.0, level 1, the only level that backup tools write (spec 06 §4.4).

use super::Fault;
use super::gather::le_u32;

/// Slots of the table of positions.
const SLOTS: usize = 4096;

/// A slot that was never set.
const UNSET: usize = usize::MAX;

/// What a block says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BlockHeader {
    pub(super) is_compressed: bool,
    /// Bytes with the header.
    pub(super) compressed: usize,
    /// Bytes of plain content.
    pub(super) plain: usize,
}

/// Length of the header, told by its first byte.
pub(super) fn header_bytes(flags: u8) -> usize {
    if flags & 2 != 0 { 9 } else { 3 }
}

impl BlockHeader {
    /// Parses exactly the header.
    pub(super) fn parse(raw: &[u8]) -> Result<Self, Fault> {
        let flags = raw.first().copied().unwrap_or_default();
        if raw.len() != header_bytes(flags) {
            return Err(Fault::Truncated);
        }
        let level = (flags >> 2) & 3;
        if flags & 1 != 0 && level != 1 {
            return Err(Fault::Unsupported("a QuickLZ level other than 1"));
        }
        let (compressed, plain) = match raw.len() {
            3 => (u32::from(raw[1]), u32::from(raw[2])),
            _ => (le_u32(raw, 1), le_u32(raw, 5)),
        };
        let size = |size: u32| usize::try_from(size).map_err(|_| Fault::Range("block size"));
        let (compressed, plain) = (size(compressed)?, size(plain)?);
        if compressed < raw.len() {
            return Err(Fault::Range("block size"));
        }
        Ok(Self { is_compressed: flags & 1 != 0, compressed, plain })
    }
}

/// The plain content of a block whose header was parsed and found within limits.
pub(super) fn expand(header: &BlockHeader, body: &[u8]) -> Result<Vec<u8>, Fault> {
    if !header.is_compressed {
        let stored = body.get(..header.plain).ok_or(Fault::Range("block size"))?;
        return Ok(stored.to_vec());
    }
    let mut expansion = Expansion::new(header.plain, body);
    while expansion.out.len() < header.plain {
        expansion.step()?;
    }
    Ok(expansion.out)
}

struct Expansion<'a> {
    input: &'a [u8],
    out: Vec<u8>,
    plain: usize,
    /// Bits not used yet, above them a one that marks the end.
    control: u32,
    positions: Box<[usize]>,
    /// The next position that may be entered in the table.
    next_entry: usize,
}

impl<'a> Expansion<'a> {
    fn new(plain: usize, input: &'a [u8]) -> Self {
        let positions = vec![UNSET; SLOTS].into();
        Self { input, out: Vec::with_capacity(plain), plain, control: 1, positions, next_entry: 0 }
    }

    fn step(&mut self) -> Result<(), Fault> {
        if self.control == 1 {
            self.control = le_u32(self.take(4)?, 0);
            if self.control == 0 {
                return Err(Fault::Malformed("control word"));
            }
        }
        let is_match = self.control & 1 == 1;
        self.control >>= 1;
        if is_match { self.copy_match() } else { self.copy_literal() }
    }

    fn copy_literal(&mut self) -> Result<(), Fault> {
        let byte = self.take(1)?[0];
        self.out.push(byte);
        self.enter_up_to(self.out.len().saturating_sub(2));
        Ok(())
    }

    fn copy_match(&mut self) -> Result<(), Fault> {
        let token = self.take(2)?;
        let token = u16::from_le_bytes([token[0], token[1]]);
        let length = match token & 15 {
            0 => usize::from(self.take(1)?[0]),
            short => usize::from(short) + 2,
        };
        let begin = self.out.len();
        let source = self.positions[usize::from(token >> 4)];
        if source >= begin || begin + length > self.plain {
            return Err(Fault::Malformed("match"));
        }
        for at in source..source + length {
            // It may run into what it writes.
            self.out.push(self.out[at]);
        }
        self.enter_up_to(begin + 1);
        // Positions inside the match are never entered.
        self.next_entry = self.out.len();
        Ok(())
    }

    /// Enters all positions before `end` that were not entered yet.
    fn enter_up_to(&mut self, end: usize) {
        while self.next_entry < end {
            let at = self.next_entry;
            let Some(&[a, b, c]) = self.out.get(at..at + 3) else { return };
            let value = u32::from_le_bytes([a, b, c, 0]);
            self.positions[(((value >> 12) ^ value) & 0xfff) as usize] = at;
            self.next_entry += 1;
        }
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.input.split_at_checked(count).ok_or(Fault::Truncated)?;
        self.input = rest;
        Ok(taken)
    }
}
