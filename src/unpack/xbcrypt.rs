//! `.xbcrypt`: chunks of AES in counter mode (spec 06 §5).
//!
//! Only read, never written: versions 1 and 2 use one key stream for everything, and version 3 notices
//! accidents and wrong keys but no forgery.

use std::fmt;

use bytes::Bytes;
use openssl::symm::{Cipher, Crypter, Mode};
use sha2::{Digest, Sha256};

use super::Fault;
use super::gather::{Gather, le_u32, le_u64};

const MAGIC: &[u8; 7] = b"XBCRYP0";

/// Up to the checksum; the length of the vector follows in versions 2 and 3.
const HEADER_BYTES: usize = 36;

const VECTOR_BYTES: usize = 16;

const HASH_BYTES: usize = 32;

/// Largest chunk that is taken. Tools write 64 KiB unless told otherwise.
const CHUNK_BYTES_MAX: u64 = 64 << 20;

/// A key for AES: its length chooses the variant.
#[derive(Clone, PartialEq, Eq)]
pub struct Key {
    bytes: Vec<u8>,
    cipher: Cipher,
}

/// Why a key cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// AES has no such key.
    #[error("a key of {0} bytes; AES takes 16, 24 or 32")]
    Length(usize),
    /// The usual slip with files.
    #[error("a key of {0} bytes with the newline at its end; write the file without it")]
    Newline(usize),
}

impl Key {
    /// Takes the characters of the key as they are.
    pub fn new(bytes: Vec<u8>) -> Result<Self, KeyError> {
        let cipher = match bytes.len() {
            16 => Cipher::aes_128_ctr(),
            24 => Cipher::aes_192_ctr(),
            32 => Cipher::aes_256_ctr(),
            length @ (17 | 25 | 33) if bytes.last() == Some(&b'\n') => {
                return Err(KeyError::Newline(length));
            }
            length => return Err(KeyError::Length(length)),
        };
        Ok(Self { bytes, cipher })
    }

    /// Bits, as in the name of the variant.
    pub fn bits(&self) -> usize {
        self.bytes.len() * 8
    }

    fn decrypt(&self, vector: &[u8], bytes: &[u8]) -> Result<Vec<u8>, Fault> {
        let refused = |error: openssl::error::ErrorStack| Fault::Codec(error.into());
        let crypter = Crypter::new(self.cipher, Mode::Decrypt, &self.bytes, Some(vector));
        let mut plain = vec![0; bytes.len() + VECTOR_BYTES];
        let length = crypter.map_err(refused)?.update(bytes, &mut plain).map_err(refused)?;
        plain.truncate(length);
        Ok(plain)
    }
}

/// Never shows the key.
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key(AES-{})", self.bits())
    }
}

/// Takes chunks apart.
#[derive(Debug)]
pub(crate) struct Decryption {
    key: std::sync::Arc<Key>,
    gather: Gather,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    VectorLength(Chunk),
    Body { chunk: Chunk, vector_bytes: usize },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Chunk {
    version: Version,
    checksum: u32,
    byte_len: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
    Three,
}

impl Decryption {
    pub(crate) fn new(key: std::sync::Arc<Key>) -> Self {
        Self { key, gather: Gather::default(), state: State::Header }
    }

    pub(crate) fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Fault> {
        while let Some(unit) = self.gather.take(input, self.wanted()) {
            if let Some(plain) = self.read(&unit)?.filter(|plain| !plain.is_empty()) {
                return Ok(Some(plain.into()));
            }
        }
        Ok(None)
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.state == State::Header && self.gather.is_empty()
    }

    fn wanted(&self) -> usize {
        match self.state {
            State::Header => HEADER_BYTES,
            State::VectorLength(_) => 8,
            State::Body { chunk, vector_bytes } => vector_bytes + chunk.byte_len,
        }
    }

    fn read(&mut self, unit: &[u8]) -> Result<Option<Vec<u8>>, Fault> {
        match self.state {
            State::Header => self.state = start(unit)?,
            State::VectorLength(chunk) => {
                let vector_bytes = match le_u64(unit, 0) {
                    0 => 0,
                    16 => VECTOR_BYTES,
                    _ => return Err(Fault::Range("length of the vector")),
                };
                self.state = State::Body { chunk, vector_bytes };
            }
            State::Body { chunk, vector_bytes } => {
                self.state = State::Header;
                let (vector, body) = unit.split_at(vector_bytes);
                return self.decrypt(chunk, vector, body).map(Some);
            }
        }
        Ok(None)
    }

    fn decrypt(&self, chunk: Chunk, vector: &[u8], body: &[u8]) -> Result<Vec<u8>, Fault> {
        if crc32fast::hash(body) != chunk.checksum {
            return Err(Fault::Checksum("chunk"));
        }
        match chunk.version {
            // The vector of version 2 was never used.
            Version::One | Version::Two => self.key.decrypt(&[0; VECTOR_BYTES], body),
            // Without encryption; the hash is still appended.
            Version::Three if vector.is_empty() => without_hash(body.to_vec()),
            Version::Three => without_hash(self.key.decrypt(vector, body)?),
        }
    }
}

fn start(unit: &[u8]) -> Result<State, Fault> {
    let version = match (unit.starts_with(MAGIC), unit[7]) {
        (true, b'1') => Version::One,
        (true, b'2') => Version::Two,
        (true, b'3') => Version::Three,
        _ => return Err(Fault::Magic),
    };
    let (original, encrypted) = (le_u64(unit, 16), le_u64(unit, 24));
    // The original size means different things to different writers.
    if encrypted > CHUNK_BYTES_MAX || encrypted > original.saturating_add(HASH_BYTES as u64) {
        return Err(Fault::Range("chunk size"));
    }
    let byte_len = usize::try_from(encrypted).map_err(|_| Fault::Range("chunk size"))?;
    let chunk = Chunk { version, checksum: le_u32(unit, 32), byte_len };
    Ok(match version {
        Version::One => State::Body { chunk, vector_bytes: 0 },
        Version::Two | Version::Three => State::VectorLength(chunk),
    })
}

fn without_hash(mut plain: Vec<u8>) -> Result<Vec<u8>, Fault> {
    let length = plain.len().checked_sub(HASH_BYTES).ok_or(Fault::Range("chunk size"))?;
    let hash = plain.split_off(length);
    if Sha256::digest(&plain).as_slice() != hash.as_slice() {
        return Err(Fault::WrongKey);
    }
    Ok(plain)
}
