//! Bytes that arrive in pieces, put together up to a length that is known.

use bytes::{Bytes, BytesMut};

/// Puts a unit together.
#[derive(Debug, Default)]
pub(super) struct Gather {
    scratch: BytesMut,
}

impl Gather {
    /// The next `wanted` bytes, taken off the front of `input`; none while some are missing.
    ///
    /// Grows as bytes arrive, not by what is wanted.
    pub(super) fn take(&mut self, input: &mut Bytes, wanted: usize) -> Option<Bytes> {
        if self.scratch.is_empty() && input.len() >= wanted {
            return Some(input.split_to(wanted));
        }
        let missing = wanted.saturating_sub(self.scratch.len());
        self.scratch.extend_from_slice(&input.split_to(missing.min(input.len())));
        if self.scratch.len() < wanted {
            return None;
        }
        Some(core::mem::take(&mut self.scratch).freeze())
    }

    /// Whether nothing is under way.
    pub(super) fn is_empty(&self) -> bool {
        self.scratch.is_empty()
    }
}

/// A little-endian number at an offset; zero if it is not there.
pub(super) fn le_u32(bytes: &[u8], at: usize) -> u32 {
    let field = bytes.get(at..at + 4).and_then(|field| field.try_into().ok());
    field.map_or(0, u32::from_le_bytes)
}

/// As [`le_u32`].
pub(super) fn le_u64(bytes: &[u8], at: usize) -> u64 {
    let field = bytes.get(at..at + 8).and_then(|field| field.try_into().ok());
    field.map_or(0, u64::from_le_bytes)
}
