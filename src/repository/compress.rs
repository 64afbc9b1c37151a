//! Blocks to frames and back: zstd, each on its own, hashed as stored.

use std::io;

use bytes::Bytes;

use super::error::Fault;
use super::pack::BlockRecord;
use crate::pipeline::manifest::Digest;

/// A compressed block.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    pub(crate) record: BlockRecord,
}

/// Makes a worker that compresses blocks.
pub(crate) fn worker(level: i32) -> impl FnMut(Vec<u8>) -> io::Result<Frame> + Send + 'static {
    let mut compressor = None;
    move |block| {
        let compressor = match &mut compressor {
            Some(compressor) => compressor,
            empty => empty.insert(new_compressor(level)?),
        };
        let bytes = compressor.compress(&block)?;
        let record = BlockRecord {
            stored_bytes: size(bytes.len())?,
            raw_bytes: size(block.len())?,
            hash: Digest::of(&bytes),
        };
        Ok(Frame { bytes: bytes.into(), record })
    }
}

fn new_compressor(level: i32) -> io::Result<zstd::bulk::Compressor<'static>> {
    let mut compressor = zstd::bulk::Compressor::new(level)?;
    compressor.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(true))?;
    Ok(compressor)
}

fn size(bytes: usize) -> io::Result<u32> {
    u32::try_from(bytes).map_err(|_| io::Error::other("block larger than 4 GiB"))
}

/// Checks a frame against its record and decompresses it; `block` is its number, for errors.
pub(crate) fn open_frame(
    decompressor: &mut zstd::bulk::Decompressor<'_>,
    block: usize,
    record: &BlockRecord,
    frame: &[u8],
) -> Result<Vec<u8>, Fault> {
    if Digest::of(frame) != record.hash {
        return Err(Fault::Block { block });
    }
    let expected = usize::try_from(record.raw_bytes).map_err(|_| Fault::BlockTable)?;
    match decompressor.decompress(frame, expected) {
        Ok(raw) if raw.len() == expected => Ok(raw),
        Ok(_) | Err(_) => Err(Fault::Decompress { block }),
    }
}
