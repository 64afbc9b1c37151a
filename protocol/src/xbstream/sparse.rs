//! The map of a Percona sparse chunk (spec 06 §2): which bytes are holes, which are payload.

use bytes::{Buf, Bytes};

use super::chunk::Extent;
use super::error::Fault;

/// Bytes of one entry: hole and run, u32 each.
const ENTRY_BYTES: usize = 8;

/// Largest map in bytes. A real one has at most one entry per page of the donor's read buffer:
/// 641 for 10 MiB of 16 KiB pages.
const MAP_BYTES_MAX: usize = 16 << 20;

/// Holes and runs of one chunk, taken out from the front.
#[derive(Debug)]
pub(super) struct SparseMap {
    entries: Bytes,
    run_left: u64,
}

/// What comes next in a sparse chunk.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Bytes that are zero and not sent.
    Hole(u64),
    /// This many bytes of payload.
    Run(u64),
    /// Nothing.
    Done,
}

impl SparseMap {
    /// Length in bytes of a map with that many entries.
    pub(super) fn byte_len(entries: u32) -> Result<usize, Fault> {
        usize::try_from(entries)
            .ok()
            .and_then(|entries| entries.checked_mul(ENTRY_BYTES))
            .filter(|&length| (ENTRY_BYTES..=MAP_BYTES_MAX).contains(&length))
            .ok_or(Fault::SparseMap)
    }

    /// Checks that the runs are exactly the payload; returns the file's position after the chunk too.
    pub(super) fn new(entries: Bytes, extent: &Extent) -> Result<(Self, u64), Fault> {
        let (mut holes, mut runs) = (0_u64, 0_u64);
        let mut rest = entries.clone();
        // At most 2^21 entries of 32 bits each: the sums cannot overflow.
        while rest.remaining() >= ENTRY_BYTES {
            holes += u64::from(rest.get_u32_le());
            runs += u64::from(rest.get_u32_le());
        }
        if runs != extent.length {
            return Err(Fault::SparseMap);
        }
        let end = extent.offset.checked_add(holes + runs).ok_or(Fault::OffsetRange)?;
        Ok((Self { entries, run_left: 0 }, end))
    }

    /// The next hole, or what is left of the current run.
    pub(super) fn next(&mut self) -> Step {
        loop {
            if self.run_left > 0 {
                return Step::Run(self.run_left);
            }
            if self.entries.remaining() < ENTRY_BYTES {
                return Step::Done;
            }
            let hole = self.entries.get_u32_le();
            self.run_left = u64::from(self.entries.get_u32_le());
            if hole > 0 {
                return Step::Hole(u64::from(hole));
            }
        }
    }

    /// Bytes of the current run were taken.
    pub(super) fn advance(&mut self, taken: u64) {
        self.run_left = self.run_left.saturating_sub(taken);
    }
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};

    use super::*;

    fn map(entries: &[(u32, u32)], length: u64) -> Result<(SparseMap, u64), Fault> {
        let mut bytes = BytesMut::new();
        for &(hole, run) in entries {
            bytes.put_u32_le(hole);
            bytes.put_u32_le(run);
        }
        SparseMap::new(bytes.freeze(), &Extent { length, offset: 100, checksum: 0 })
    }

    #[test]
    fn holes_and_runs_come_in_order_and_empty_ones_are_left_out() {
        let (mut map, end) = map(&[(0, 3), (5, 0), (0, 0), (2, 1)], 4).expect("valid map");
        assert_eq!(end, 111);
        assert_eq!(map.next(), Step::Run(3));
        map.advance(2);
        assert_eq!(map.next(), Step::Run(1));
        map.advance(1);
        assert_eq!(map.next(), Step::Hole(5));
        assert_eq!(map.next(), Step::Hole(2));
        assert_eq!(map.next(), Step::Run(1));
        map.advance(1);
        assert_eq!(map.next(), Step::Done);
    }

    #[test]
    fn runs_that_are_not_the_payload_are_refused() {
        assert_eq!(map(&[(0, 10)], 4).expect_err("sum differs"), Fault::SparseMap);
    }

    #[test]
    fn a_map_needs_entries_and_may_not_be_huge() {
        assert_eq!(SparseMap::byte_len(0), Err(Fault::SparseMap));
        assert_eq!(SparseMap::byte_len(641), Ok(5128));
        assert_eq!(SparseMap::byte_len(u32::MAX), Err(Fault::SparseMap));
    }
}
