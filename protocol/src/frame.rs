//! The net header: where a frame ends and whether it is intact (spec 01 §2.3).
//!
//! A byte stream (of TCP, or inside TLS) is a row of frames; [`FrameDecoder`] cuts it into bodies
//! and [`encode`] puts a header in front of one. What a body means is [`crate::gmcast::message`]'s
//! business. There is no resynchronisation: after any error the link is useless and has to be
//! closed.
//!
//! The header, little-endian:
//!
//! | offset | size | field                                            |
//! |-------:|-----:|--------------------------------------------------|
//! |      0 |    4 | word: length, checksum kind, version (see below) |
//! |      4 |    4 | checksum of the body, or 0                       |
//! |      8 |  len | body                                             |
//!
//! | bits of the word | meaning                              |
//! |------------------|--------------------------------------|
//! | 0–23             | body length, at most [`BODY_BYTES_MAX`] |
//! | 24               | the checksum is CRC-32               |
//! | 25               | the checksum is CRC-32C              |
//! | 26–27            | reserved, 0                          |
//! | 28–31            | framing version, 0                   |

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::checksum::Checksum;

/// Bytes of the net header.
pub const HEADER_BYTES: usize = 8;

/// The largest body. Fixed in every release; a longer one ends the link.
pub const BODY_BYTES_MAX: usize = 32_768;

const LENGTH_MASK: u32 = 0x00ff_ffff;
const CRC32_FLAG: u32 = 1 << 24;
const CRC32C_FLAG: u32 = 1 << 25;
const RESERVED_FLAGS: u32 = 0x0c00_0000;
const VERSION_SHIFT: u32 = 28;

/// Why bytes are not a frame, or a body cannot become one. The link is beyond repair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The framing version is not 0.
    #[error("read frame header: unsupported framing version {0}")]
    Version(u8),
    /// A reserved bit is set.
    #[error("read frame header: reserved flag set")]
    ReservedFlag,
    /// The body is longer than any release sends.
    #[error("frame body of {length} bytes, limit {BODY_BYTES_MAX}")]
    TooLong {
        /// The length asked for.
        length: usize,
    },
    /// A frame without a body, which nodes take as a disconnect.
    #[error("frame without a body")]
    Empty,
    /// The body does not match its checksum.
    #[error("read frame: {0:?} checksum mismatch")]
    Checksum(Checksum),
    /// The bytes are a TLS record: the peer uses TLS where we do not.
    #[error("read frame header: this is TLS, not a plain group connection")]
    Tls,
}

/// The eight bytes in front of a body, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    length: usize,
    kind: Checksum,
    checksum: u32,
}

impl Header {
    fn parse(bytes: [u8; HEADER_BYTES]) -> Result<Self, FrameError> {
        let [a, b, c, d, e, f, g, h] = bytes;
        let word = u32::from_le_bytes([a, b, c, d]);
        Self::check_word(word)
            .map_err(|error| if is_tls(bytes) { FrameError::Tls } else { error })?;
        Ok(Self {
            length: (word & LENGTH_MASK) as usize,
            kind: kind_of(word),
            checksum: u32::from_le_bytes([e, f, g, h]),
        })
    }

    fn check_word(word: u32) -> Result<(), FrameError> {
        let length = (word & LENGTH_MASK) as usize;
        match (word >> VERSION_SHIFT) as u8 {
            0 if word & RESERVED_FLAGS != 0 => Err(FrameError::ReservedFlag),
            0 => check_length(length),
            version => Err(FrameError::Version(version)),
        }
    }

    fn of(kind: Checksum, body: &[u8]) -> Result<Self, FrameError> {
        check_length(body.len())?;
        Ok(Self { length: body.len(), kind, checksum: kind.of(body) })
    }

    fn encode(&self, out: &mut impl BufMut) {
        let flag = match self.kind {
            Checksum::None => 0,
            Checksum::Crc32 => CRC32_FLAG,
            Checksum::Crc32c => CRC32C_FLAG,
        };
        out.put_u32_le(self.length as u32 | flag);
        out.put_u32_le(self.checksum);
    }

    fn verify(&self, body: &[u8]) -> Result<(), FrameError> {
        if self.kind.of(body) == self.checksum {
            Ok(())
        } else {
            Err(FrameError::Checksum(self.kind))
        }
    }
}

/// With both flags set nodes look at the CRC-32C one first.
fn kind_of(word: u32) -> Checksum {
    if word & CRC32C_FLAG != 0 {
        Checksum::Crc32c
    } else if word & CRC32_FLAG != 0 {
        Checksum::Crc32
    } else {
        Checksum::None
    }
}

fn check_length(length: usize) -> Result<(), FrameError> {
    match length {
        0 => Err(FrameError::Empty),
        1..=BODY_BYTES_MAX => Ok(()),
        _ => Err(FrameError::TooLong { length }),
    }
}

/// A TLS record header (alert or handshake, version 3.1 and later). Read as a net header its length
/// is always over the limit, so no valid frame looks like one.
fn is_tls(bytes: [u8; HEADER_BYTES]) -> bool {
    matches!(bytes, [0x15 | 0x16, 0x03, 0x01..=0x04, ..])
}

/// Cuts a byte stream into frame bodies.
///
/// Holds no bytes of its own: the caller keeps appending to one buffer. After an error it repeats
/// that error and touches nothing more, so that frames behind a violation are never handled.
#[derive(Clone, Debug, Default)]
pub struct FrameDecoder {
    progress: Progress,
}

#[derive(Clone, Copy, Debug, Default)]
enum Progress {
    #[default]
    Header,
    Body(Header),
    Failed(FrameError),
}

impl FrameDecoder {
    /// A decoder at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next body off the front of `buffer`, or `None` until more bytes are appended.
    ///
    /// A header is judged as soon as it is there: nothing is reserved for a body that is too long.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let result = self.step(buffer);
        if let Err(error) = result {
            self.progress = Progress::Failed(error);
        }
        result
    }

    /// True between frames: the end of the stream here cuts nothing off.
    pub fn is_between_frames(&self) -> bool {
        matches!(self.progress, Progress::Header)
    }

    fn step(&mut self, buffer: &mut BytesMut) -> Result<Option<Bytes>, FrameError> {
        let header = match self.progress {
            Progress::Failed(error) => return Err(error),
            Progress::Body(header) => header,
            Progress::Header => match buffer.first_chunk::<HEADER_BYTES>() {
                None => return Ok(None),
                Some(bytes) => Header::parse(*bytes)?,
            },
        };
        if let Progress::Header = self.progress {
            buffer.advance(HEADER_BYTES);
        }
        if buffer.len() < header.length {
            self.progress = Progress::Body(header);
            buffer.reserve(header.length - buffer.len());
            return Ok(None);
        }
        self.progress = Progress::Header;
        let body = buffer.split_to(header.length).freeze();
        header.verify(&body)?;
        Ok(Some(body))
    }
}

/// Appends a whole frame with this body to `out`.
pub fn encode(kind: Checksum, body: &[u8], out: &mut BytesMut) -> Result<(), FrameError> {
    let header = Header::of(kind, body)?;
    out.reserve(HEADER_BYTES + body.len());
    header.encode(out);
    out.put_slice(body);
    Ok(())
}

/// The eight bytes that go in front of this body, for writers that send both without joining them.
pub fn header(kind: Checksum, body: &[u8]) -> Result<[u8; HEADER_BYTES], FrameError> {
    let mut bytes = [0; HEADER_BYTES];
    Header::of(kind, body)?.encode(&mut bytes.as_mut_slice());
    Ok(bytes)
}

/// True if a plain group connection begins like this: the net header of a HANDSHAKE. A TLS client
/// that reads these bytes has reached a member that runs without TLS.
pub fn is_plain_greeting(bytes: &[u8]) -> bool {
    matches!(bytes, [0x24, 0, 0, 0..=3, ..])
}

#[cfg(test)]
mod tests;
