//! A file's strong hash, computed as its pieces pass.

/// Zeros to hash where a stream left a hole.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Size and hash of a file that is written piece by piece.
#[derive(Debug)]
pub(super) struct Content {
    position: u64,
    size: u64,
    /// None: not asked for, or lost to bytes that were overwritten.
    hasher: Option<Box<blake3::Hasher>>,
}

impl Content {
    pub(super) fn new(hash: bool) -> Self {
        Self { position: 0, size: 0, hasher: hash.then(Box::default) }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) {
        self.reach_position();
        if let Some(hasher) = &mut self.hasher {
            hasher.update(bytes);
        }
        self.advance(bytes.len() as u64);
    }

    pub(super) fn hole(&mut self, length: u64) {
        self.reach_position();
        self.hash_zeros(length);
        self.advance(length);
    }

    pub(super) fn seek(&mut self, offset: u64) {
        self.position = offset;
    }

    pub(super) fn finish(self) -> (u64, Option<blake3::Hash>) {
        (self.size, self.hasher.map(|hasher| hasher.finalize()))
    }

    /// A seek counts only when something is written: forward it leaves zeros, backward it overwrites.
    fn reach_position(&mut self) {
        match self.position.checked_sub(self.size) {
            Some(gap) => self.hash_zeros(gap),
            None => self.hasher = None,
        }
    }

    fn hash_zeros(&mut self, length: u64) {
        let Some(hasher) = &mut self.hasher else { return };
        let mut left = length;
        while left > 0 {
            let part = left.min(ZEROS.len() as u64);
            hasher.update(&ZEROS[..part as usize]);
            left -= part;
        }
    }

    fn advance(&mut self, length: u64) {
        self.position += length;
        self.size = self.size.max(self.position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_and_gaps_hash_as_zeros() {
        let mut content = Content::new(true);
        content.write(b"ab");
        content.hole(100_000);
        content.seek(100_004);
        content.write(b"c");
        let expected = [b"ab".as_slice(), &[0; 100_002], b"c"].concat();
        assert_eq!(content.finish(), (100_005, Some(blake3::hash(&expected))));
    }

    #[test]
    fn a_trailing_seek_changes_nothing() {
        let mut content = Content::new(true);
        content.write(b"ab");
        content.seek(50);
        assert_eq!(content.finish(), (2, Some(blake3::hash(b"ab"))));
    }

    #[test]
    fn overwritten_bytes_cost_the_hash_but_not_the_size() {
        let mut content = Content::new(true);
        content.write(b"abcdef");
        content.seek(1);
        content.write(b"xy");
        assert_eq!(content.finish(), (6, None));
    }
}
