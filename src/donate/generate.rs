//! Content that is computed where it is needed: the same for the same seed, on every machine.
//!
//! Half of each page is noise and half is zeros, so that it compresses as data files do.

/// Bytes of a page: noise in its first half.
const PAGE_BYTES: u64 = 16 << 10;

/// Bytes that one step of the generator gives.
const WORD_BYTES: u64 = 8;

/// A file of a generated data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Noise {
    /// Of the data set.
    pub(super) seed: u64,
    /// Which file of it.
    pub(super) file: u64,
}

impl Noise {
    /// Fills `out` with what stands at `offset`, which is a multiple of eight.
    pub(super) fn fill(self, offset: u64, out: &mut [u8]) {
        let words = out.chunks_mut(WORD_BYTES as usize);
        for (at, word) in (offset..).step_by(WORD_BYTES as usize).zip(words) {
            let bytes = self.word(at).to_le_bytes();
            word.copy_from_slice(&bytes[..word.len()]);
        }
    }

    fn word(self, offset: u64) -> u64 {
        if offset % PAGE_BYTES >= PAGE_BYTES / 2 {
            return 0;
        }
        mix(mix(self.seed ^ mix(self.file)) ^ (offset / WORD_BYTES))
    }
}

/// The output function of splitmix64: every bit of the input changes half of the output's.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_what_stands_there_in_the_whole() {
        let noise = Noise { seed: 7, file: 3 };
        let mut whole = vec![0; 100_003];
        noise.fill(0, &mut whole);
        for (offset, length) in [(0, 1), (8, 100), (16_384, 50_000), (99_992, 11)] {
            let mut part = vec![0xff; length];
            noise.fill(offset as u64, &mut part);
            assert_eq!(part, whole[offset..offset + length], "at {offset}");
        }
    }

    #[test]
    fn another_seed_or_file_gives_other_content() {
        let bytes = |seed, file| {
            let mut bytes = [0; 64];
            Noise { seed, file }.fill(0, &mut bytes);
            bytes
        };
        assert_eq!(bytes(1, 1), bytes(1, 1));
        assert_ne!(bytes(1, 1), bytes(2, 1));
        assert_ne!(bytes(1, 1), bytes(1, 2));
    }
}
