//! `.lz4`: concatenated LZ4 frames, taken apart here because a library's frame reader stops after the
//! first, silently.

use std::hash::Hasher;

use bytes::{BufMut, Bytes, BytesMut};
use twox_hash::XxHash32;

use super::Fault;
use super::gather::{Gather, le_u32};

const MAGIC: u32 = 0x184d_2204;

/// Magic and the two bytes that say what follows.
const START_BYTES: usize = 6;

/// Marks a block that is not compressed.
const STORED: u32 = 1 << 31;

/// Takes frames apart.
#[derive(Debug, Default)]
pub(super) struct Decompression {
    gather: Gather,
    state: State,
    frame: Frame,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Start,
    Descriptor,
    Size,
    Block {
        byte_len: usize,
        is_stored: bool,
    },
    Checksum,
}

/// What a frame's descriptor says.
#[derive(Debug, Default)]
struct Frame {
    flags: Flags,
    descriptor: Vec<u8>,
    block_max: usize,
    content: XxHash32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Flags(u8);

impl Flags {
    fn version(self) -> u8 {
        self.0 >> 6
    }

    fn has_independent_blocks(self) -> bool {
        self.0 & 0x20 != 0
    }

    fn block_checksum_bytes(self) -> usize {
        if self.0 & 0x10 != 0 { 4 } else { 0 }
    }

    fn content_size_bytes(self) -> usize {
        if self.0 & 0x08 != 0 { 8 } else { 0 }
    }

    fn has_content_checksum(self) -> bool {
        self.0 & 0x04 != 0
    }

    fn has_dictionary(self) -> bool {
        self.0 & 0x01 != 0
    }
}

impl Decompression {
    pub(super) fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Fault> {
        while let Some(unit) = self.gather.take(input, self.wanted()) {
            if let Some(piece) = self.read(&unit)? {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Start) && self.gather.is_empty()
    }

    fn wanted(&self) -> usize {
        match self.state {
            State::Start => START_BYTES,
            // And one byte that checks the header.
            State::Descriptor => self.frame.flags.content_size_bytes() + 1,
            State::Size | State::Checksum => 4,
            State::Block { byte_len, .. } => byte_len + self.frame.flags.block_checksum_bytes(),
        }
    }

    fn read(&mut self, unit: &[u8]) -> Result<Option<Bytes>, Fault> {
        match self.state {
            State::Start => self.start(unit)?,
            State::Descriptor => self.check_descriptor(unit)?,
            State::Size => self.read_size(unit)?,
            State::Block { byte_len, is_stored } => {
                self.state = State::Size;
                return self.read_block(unit, byte_len, is_stored).map(Some);
            }
            State::Checksum => self.check_content(unit)?,
        }
        Ok(None)
    }

    fn start(&mut self, unit: &[u8]) -> Result<(), Fault> {
        if le_u32(unit, 0) != MAGIC {
            return Err(Fault::Magic);
        }
        let (flags, block) = (Flags(unit[4]), unit[5]);
        if flags.version() != 1 {
            return Err(Fault::Unsupported("this version of LZ4 frames"));
        }
        if flags.has_dictionary() {
            return Err(Fault::Unsupported("a dictionary"));
        }
        if !flags.has_independent_blocks() {
            return Err(Fault::Unsupported("a frame whose blocks depend on each other"));
        }
        let block_max = match (block >> 4) & 7 {
            code @ 4..=7 => 1 << (2 * code + 8),
            _ => return Err(Fault::Range("block size")),
        };
        let descriptor = vec![unit[4], unit[5]];
        self.frame = Frame { flags, descriptor, block_max, content: XxHash32::with_seed(0) };
        self.state = State::Descriptor;
        Ok(())
    }

    fn check_descriptor(&mut self, unit: &[u8]) -> Result<(), Fault> {
        let Some((check, size)) = unit.split_last() else { return Err(Fault::Truncated) };
        self.frame.descriptor.extend_from_slice(size);
        if (hash(&self.frame.descriptor) >> 8) as u8 != *check {
            return Err(Fault::Checksum("header"));
        }
        self.state = State::Size;
        Ok(())
    }

    fn read_size(&mut self, unit: &[u8]) -> Result<(), Fault> {
        let size = le_u32(unit, 0);
        if size == 0 {
            let ends = if self.frame.flags.has_content_checksum() {
                State::Checksum
            } else {
                State::Start
            };
            self.state = ends;
            return Ok(());
        }
        let byte_len = usize::try_from(size & !STORED).map_err(|_| Fault::Range("block size"))?;
        // A short last block may be larger compressed than plain.
        let limit = lz4_flex::block::get_maximum_output_size(self.frame.block_max);
        if byte_len > limit {
            return Err(Fault::Range("block size"));
        }
        self.state = State::Block { byte_len, is_stored: size & STORED != 0 };
        Ok(())
    }

    fn read_block(
        &mut self,
        unit: &[u8],
        byte_len: usize,
        is_stored: bool,
    ) -> Result<Bytes, Fault> {
        let (block, check) = unit.split_at(byte_len);
        if !check.is_empty() && hash(block) != le_u32(check, 0) {
            return Err(Fault::Checksum("block"));
        }
        let plain = if is_stored { Bytes::copy_from_slice(block) } else { self.expand(block)? };
        self.frame.content.write(&plain);
        Ok(plain)
    }

    fn expand(&self, block: &[u8]) -> Result<Bytes, Fault> {
        let mut plain = BytesMut::with_capacity(self.frame.block_max);
        plain.put_bytes(0, self.frame.block_max);
        let length = lz4_flex::block::decompress_into(block, &mut plain)
            .map_err(|_| Fault::Malformed("block"))?;
        plain.truncate(length);
        Ok(plain.freeze())
    }

    fn check_content(&mut self, unit: &[u8]) -> Result<(), Fault> {
        if self.frame.content.finish_32() != le_u32(unit, 0) {
            return Err(Fault::Checksum("content"));
        }
        self.state = State::Start;
        Ok(())
    }
}

fn hash(bytes: &[u8]) -> u32 {
    XxHash32::oneshot(0, bytes)
}
