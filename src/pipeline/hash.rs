//! A file's size and strong hash, computed as its pieces pass.
//!
//! MariaDB's tool seeks back in one case: it sends an Aria log and then corrects a few bytes of its
//! header. BLAKE3 is a tree, so that does not need a second pass: the first bytes of a file are kept,
//! and the subtrees to their right are hashed on their own.
//!
//! ```text
//!               root
//!             ╱      ╲
//!          ·            ·
//!        ╱   ╲       ╱    ╲
//!     head   right 0  right 1 …      head: [0, H)   right k: [H·2^k, H·2^(k+1))
//! ```

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

/// Bytes of a file that may still change: a power of two, and at least a chunk of BLAKE3. The header
/// of an Aria log is smaller.
const HEAD_BYTES: usize = 4 << 10;

/// Zeros to hash where a stream left a hole.
static ZEROS: [u8; 64 << 10] = [0; 64 << 10];

/// Size and hash of a file that is written piece by piece.
#[derive(Debug)]
pub(crate) struct Content {
    position: u64,
    size: u64,
    /// None: not asked for, or lost to bytes that were overwritten beyond the head.
    hash: Option<TreeHash>,
}

impl Content {
    pub(crate) fn new(hash: bool) -> Self {
        Self { position: 0, size: 0, hash: hash.then(TreeHash::default) }
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) {
        let new = self.overwrite(bytes);
        self.reach_position();
        if let Some(hash) = &mut self.hash {
            hash.update(new);
        }
        self.advance(new.len() as u64);
    }

    pub(crate) fn hole(&mut self, length: u64) {
        if self.position < self.size {
            // No tool seeks and leaves holes.
            self.hash = None;
        }
        self.reach_position();
        self.hash_zeros(length);
        self.advance(length);
    }

    pub(crate) fn seek(&mut self, offset: u64) {
        self.position = offset;
    }

    pub(crate) fn finish(self) -> (u64, Option<blake3::Hash>) {
        (self.size, self.hash.map(TreeHash::finish))
    }

    /// Writes what lies before the file's end, and returns the rest.
    fn overwrite<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let old = self.size.saturating_sub(self.position);
        let old = usize::try_from(old).map_or(bytes.len(), |old| old.min(bytes.len()));
        let (old, new) = bytes.split_at(old);
        if !old.is_empty() {
            let position = self.position;
            self.hash.take_if(|hash| !hash.overwrite(position, old));
        }
        self.position += old.len() as u64;
        new
    }

    /// A seek beyond the end counts only when something is written, and leaves zeros.
    fn reach_position(&mut self) {
        let gap = self.position.saturating_sub(self.size);
        self.hash_zeros(gap);
    }

    fn hash_zeros(&mut self, length: u64) {
        let Some(hash) = &mut self.hash else { return };
        let mut left = length;
        while left > 0 {
            let part = left.min(ZEROS.len() as u64);
            hash.update(&ZEROS[..part as usize]);
            left -= part;
        }
    }

    fn advance(&mut self, length: u64) {
        self.position += length;
        self.size = self.size.max(self.position);
    }
}

/// BLAKE3 of bytes whose head may be changed until the end.
#[derive(Debug, Default)]
struct TreeHash {
    head: Vec<u8>,
    /// Subtrees to the right of the head that are full, each as long as all before it.
    full: Vec<ChainingValue>,
    /// The subtree after those, if it has any bytes.
    current: Option<Box<blake3::Hasher>>,
}

impl TreeHash {
    fn update(&mut self, bytes: &[u8]) {
        let (to_head, mut rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - self.head.len()));
        self.head.extend_from_slice(to_head);
        while !rest.is_empty() {
            rest = self.update_right(rest);
        }
    }

    /// Hashes into the subtree under way, up to its end; returns the rest.
    fn update_right<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        // It starts where its length says: both are the length of all before it.
        let length = (HEAD_BYTES as u64) << self.full.len();
        let current = self.current.get_or_insert_with(|| {
            let mut hasher = Box::<blake3::Hasher>::default();
            hasher.set_input_offset(length);
            hasher
        });
        let missing = length - current.count();
        let part = usize::try_from(missing).map_or(bytes.len(), |part| part.min(bytes.len()));
        let (part, rest) = bytes.split_at(part);
        current.update(part);
        if current.count() == length {
            self.full.push(current.finalize_non_root());
            self.current = None;
        }
        rest
    }

    /// Changes bytes that were hashed; false if they are not in the head any more.
    fn overwrite(&mut self, position: u64, bytes: &[u8]) -> bool {
        let range = usize::try_from(position).ok().and_then(|start| {
            let end = start.checked_add(bytes.len())?;
            self.head.get_mut(start..end)
        });
        range.map(|range| range.copy_from_slice(bytes)).is_some()
    }

    fn finish(self) -> blake3::Hash {
        let last = self.current.map(|current| current.finalize_non_root());
        let mut right: Vec<ChainingValue> = self.full.into_iter().chain(last).collect();
        let Some(last) = right.pop() else { return blake3::hash(&self.head) };
        let head = blake3::Hasher::new().update(&self.head).finalize_non_root();
        let merge = |left, right: ChainingValue| merge_subtrees_non_root(&left, &right, Mode::Hash);
        let left = right.into_iter().fold(head, merge);
        merge_subtrees_root(&left, &last, Mode::Hash)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        (0..length).map(|at| (31 * at + 7 * (at >> 8)) as u8).collect()
    }

    #[test]
    fn the_tree_gives_the_ordinary_hash_around_every_border() {
        let content = noise(HEAD_BYTES * 9);
        for border in [0, 1024, HEAD_BYTES, HEAD_BYTES * 2, HEAD_BYTES * 4, HEAD_BYTES * 8] {
            for length in border.saturating_sub(1)..=border + 1 {
                let mut hash = TreeHash::default();
                hash.update(&content[..length]);
                assert_eq!(hash.finish(), blake3::hash(&content[..length]), "{length} bytes");
            }
        }
    }

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
    fn a_corrected_header_is_part_of_the_hash() {
        let mut log = noise(1 << 20);
        let mut content = Content::new(true);
        content.write(&log);
        content.seek(37);
        content.write(b"correct");
        log[37..44].copy_from_slice(b"correct");
        assert_eq!(content.finish(), (1 << 20, Some(blake3::hash(&log))));
    }

    #[test]
    fn overwriting_across_the_end_of_a_short_file_makes_it_longer() {
        let mut content = Content::new(true);
        content.write(b"abcdef");
        content.seek(4);
        content.write(b"WXYZ");
        assert_eq!(content.finish(), (8, Some(blake3::hash(b"abcdWXYZ"))));
    }

    #[test]
    fn bytes_overwritten_beyond_the_head_cost_the_hash_but_not_the_size() {
        let mut content = Content::new(true);
        content.write(&noise(2 * HEAD_BYTES));
        content.seek(HEAD_BYTES as u64 - 1);
        content.write(b"xy");
        assert_eq!(content.finish(), (2 * HEAD_BYTES as u64, None));
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_hash_of_the_whole(
            pieces in prop::collection::vec(0_usize..20_000, 0..12),
        ) {
            let whole = noise(pieces.iter().sum());
            let (mut content, mut rest) = (Content::new(true), whole.as_slice());
            for length in pieces {
                let (piece, after) = rest.split_at(length);
                content.write(piece);
                rest = after;
            }
            prop_assert_eq!(content.finish(), (whole.len() as u64, Some(blake3::hash(&whole))));
        }
    }
}
