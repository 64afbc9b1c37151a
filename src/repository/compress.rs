//! Blocks to frames and back: zstd, then perhaps age, each on its own, hashed as stored.

use std::io;

use bytes::Bytes;

use super::error::Fault;
use super::pack::{BLOCK_BYTES_MAX, BlockRecord};
use super::seal::Identities;
use super::seal::Recipients;
use crate::pipeline::manifest::Digest;

/// A compressed block.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) bytes: Bytes,
    pub(crate) record: BlockRecord,
}

/// Makes a worker that compresses blocks.
pub(crate) fn worker(
    level: i32,
    recipients: Recipients,
) -> impl FnMut(Vec<u8>) -> io::Result<Frame> + Send + 'static {
    let mut compressor = None;
    move |block| {
        let compressor = match &mut compressor {
            Some(compressor) => compressor,
            empty => empty.insert(new_compressor(level)?),
        };
        let bytes = recipients.seal(compressor.compress(&block)?)?;
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

/// What stands between a reader and the content of blocks.
#[derive(Clone, Debug)]
pub(crate) enum Lock {
    /// Nothing.
    Open,
    /// Encryption, and keys for it.
    Keys(Identities),
    /// Encryption, and no keys: only hashes can be checked.
    Shut,
}

/// The largest frame without its encryption.
const PLAIN_BYTES_MAX: u64 = BLOCK_BYTES_MAX as u64 + (1 << 17);

/// Checks a frame against its record and decompresses it; `block` is its number, for errors.
pub(crate) fn open_frame(
    decompressor: &mut zstd::bulk::Decompressor<'_>,
    block: usize,
    record: &BlockRecord,
    frame: &[u8],
    lock: &Lock,
) -> Result<Vec<u8>, Fault> {
    if Digest::of(frame) != record.hash {
        return Err(Fault::Block { block });
    }
    let expected = usize::try_from(record.raw_bytes).map_err(|_| Fault::BlockTable)?;
    let opened;
    let frame = match lock {
        Lock::Open => frame,
        Lock::Keys(identities) => {
            opened = identities.open(frame, PLAIN_BYTES_MAX).ok_or(Fault::Decrypt { block })?;
            opened.as_slice()
        }
        // Nobody may look inside, and nobody does: without the list of files there is no use for it.
        Lock::Shut => return Ok(vec![0; expected]),
    };
    match decompressor.decompress(frame, expected) {
        Ok(raw) if raw.len() == expected => Ok(raw),
        Ok(_) | Err(_) => Err(Fault::Decompress { block }),
    }
}
