//! `.zst`: concatenated zstd frames.

use std::fmt;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

use super::Fault;

/// Largest window that is taken, as a power of two: what decides about memory.
const WINDOW_LOG_MAX: u32 = 27;

/// Bytes of plain content in one piece.
const PIECE_BYTES: usize = 256 << 10;

/// Takes frames apart.
#[derive(Default)]
pub(super) struct Decompression {
    decoder: Option<Decoder<'static>>,
    /// A frame has begun and not ended.
    is_inside: bool,
    /// The last piece was filled to its end: there may be more without further input.
    may_hold_more: bool,
}

impl fmt::Debug for Decompression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("zstandard::Decompression").field("is_inside", &self.is_inside).finish()
    }
}

impl Decompression {
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Fault> {
        while !input.is_empty() || self.may_hold_more {
            let piece = self.step(input)?;
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    pub(super) fn is_complete(&self) -> bool {
        !self.is_inside
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Bytes, Fault> {
        let mut piece = BytesMut::with_capacity(PIECE_BYTES);
        piece.put_bytes(0, PIECE_BYTES);
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => none.insert(new_decoder()?),
        };
        if !self.is_inside {
            decoder.reinit().map_err(Fault::Codec)?;
        }
        let mut from = InBuffer::around(input.as_ref());
        let mut to = OutBuffer::around(&mut piece[..]);
        let missing = decoder.run(&mut from, &mut to).map_err(Fault::Codec)?;
        let (read, written) = (from.pos(), to.pos());
        input.advance(read);
        self.is_inside = missing != 0;
        self.may_hold_more = self.is_inside && written == PIECE_BYTES;
        piece.truncate(written);
        Ok(piece.freeze())
    }
}

fn new_decoder() -> Result<Decoder<'static>, Fault> {
    let mut decoder = Decoder::new().map_err(Fault::Codec)?;
    let limit = DParameter::WindowLogMax(WINDOW_LOG_MAX);
    decoder.set_parameter(limit).map_err(Fault::Codec)?;
    Ok(decoder)
}
