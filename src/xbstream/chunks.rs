//! Every chunk of a stream as it stands there: for people who look into a stream, good or bad.
//!
//! Follows headers only; whether the files that they make are right is the reader's business.

use std::io::{self, Read};

use galera_protocol::xbstream::chunk::MAGIC;
use galera_protocol::xbstream::{Body, ChunkHeader, Dialect};

/// Longest header: two names of 511 bytes and the fixed parts.
const HEADER_BYTES_MAX: usize = 2048;

/// Read at a time.
const BUFFER_BYTES: usize = 1 << 20;

/// One chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    /// Where it starts in the stream.
    pub offset: u64,
    /// Its header.
    pub header: ChunkHeader,
    /// Whether its checksum fits; none if it has none.
    pub is_intact: Option<bool>,
}

/// Why no further chunk can be told.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The input failed.
    #[error("read the stream")]
    Read(#[source] io::Error),
    /// There is no chunk at this offset.
    #[error("no chunk header at byte {0}")]
    Header(u64),
    /// The stream ends inside the chunk at this offset.
    #[error("the stream ends inside the chunk at byte {0}")]
    Truncated(u64),
}

/// Chunks of a stream, in order.
#[derive(Debug)]
pub struct Chunks<R> {
    input: R,
    dialect: Option<Dialect>,
    buffer: Vec<u8>,
    start: usize,
    offset: u64,
}

impl<R: Read> Chunks<R> {
    /// Reads from the start of a stream.
    pub fn new(input: R, dialect: Option<Dialect>) -> Self {
        Self { input, dialect, buffer: Vec::new(), start: 0, offset: 0 }
    }

    /// The next chunk; none at the end.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, ChunkError> {
        let offset = self.offset;
        self.fill(HEADER_BYTES_MAX)?;
        let available = &self.buffer[self.start..];
        if available.is_empty() {
            return Ok(None);
        }
        // A seek at the very end lacks the bytes that would tell it from a sparse chunk.
        let decoded = ChunkHeader::decode(available, self.dialect)
            .or_else(|| ChunkHeader::decode(available, Some(Dialect::MariaDb)));
        let Some((header, length)) = decoded else { return Err(no_header(available, offset)) };
        self.advance(length);
        let is_intact = self.check(&header.body, offset)?;
        Ok(Some(Chunk { offset, header, is_intact }))
    }

    /// Passes over what follows the header.
    fn check(&mut self, body: &Body, offset: u64) -> Result<Option<bool>, ChunkError> {
        let (map, extent) = match body {
            Body::Payload(extent) => (0, extent),
            Body::Sparse { entries, extent } => (u64::from(*entries) * 8, extent),
            Body::Unknown { ignorable: Some(extent), .. } => (0, extent),
            Body::End
            | Body::Seek { .. }
            | Body::Rename { .. }
            | Body::Remove
            | Body::Unknown { ignorable: None, .. } => return Ok(None),
        };
        let mut checksum = crc32fast::Hasher::new();
        let mut left = map.saturating_add(extent.length);
        while left > 0 {
            self.fill(1)?;
            let available = &self.buffer[self.start..];
            if available.is_empty() {
                return Err(ChunkError::Truncated(offset));
            }
            let taken = usize::try_from(left).map_or(available.len(), |n| n.min(available.len()));
            checksum.update(&available[..taken]);
            left -= taken as u64;
            self.advance(taken);
        }
        Ok(Some(checksum.finalize() == extent.checksum))
    }

    fn advance(&mut self, length: usize) {
        self.start += length;
        self.offset += length as u64;
    }

    /// Reads until so many bytes are there, or the input ends.
    fn fill(&mut self, wanted: usize) -> Result<(), ChunkError> {
        while self.buffer.len() - self.start < wanted {
            self.buffer.drain(..self.start);
            self.start = 0;
            let filled = self.buffer.len();
            self.buffer.resize(filled + BUFFER_BYTES, 0);
            let read = self.input.read(&mut self.buffer[filled..]);
            self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(ChunkError::Read(error)),
            }
        }
        Ok(())
    }
}

fn no_header(available: &[u8], offset: u64) -> ChunkError {
    let magic = &MAGIC[..MAGIC.len().min(available.len())];
    if available.len() < HEADER_BYTES_MAX && available.starts_with(magic) {
        ChunkError::Truncated(offset)
    } else {
        ChunkError::Header(offset)
    }
}

/// The name of a chunk's type.
pub fn kind(body: &Body) -> &'static str {
    match body {
        Body::Payload(_) => "payload",
        Body::End => "end",
        Body::Seek { .. } => "seek",
        Body::Sparse { .. } => "sparse",
        Body::Rename { .. } => "rename",
        Body::Remove => "remove",
        Body::Unknown { .. } => "unknown",
    }
}
