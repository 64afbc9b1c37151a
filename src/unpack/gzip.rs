//! What `gzip` and `pigz` write: concatenated gzip members. Only whole streams come so.

use std::fmt;
use std::io::Write;

use bytes::{Buf, Bytes};
use flate2::write::MultiGzDecoder;

use super::Fault;

/// Bytes given to the library at once: deflate grows by 1032 at most, which bounds a piece.
const STEP_BYTES: usize = 4 << 10;

/// Takes members apart.
pub(super) struct Decompression {
    decoder: MultiGzDecoder<Vec<u8>>,
}

impl Default for Decompression {
    fn default() -> Self {
        Self { decoder: MultiGzDecoder::new(Vec::new()) }
    }
}

impl fmt::Debug for Decompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("gzip::Decompression").finish_non_exhaustive()
    }
}

impl Decompression {
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Fault> {
        while !input.is_empty() {
            let step = &input[..input.len().min(STEP_BYTES)];
            let taken = self.decoder.write(step).map_err(Fault::Codec)?;
            if taken == 0 {
                return Err(Fault::Malformed("gzip member"));
            }
            input.advance(taken);
            self.decoder.flush().map_err(Fault::Codec)?;
            let piece = core::mem::take(self.decoder.get_mut());
            if !piece.is_empty() {
                return Ok(Some(piece.into()));
            }
        }
        Ok(None)
    }

    /// The last member's own length and checksum must have come.
    pub(super) fn is_complete(&mut self) -> bool {
        self.decoder.try_finish().is_ok()
    }
}
