//! The chunks of `xbcrypt`, each decrypted on its own (spec 06 §5).
//!
//! | offset | size | field                                         |
//! |-------:|-----:|-----------------------------------------------|
//! |      0 |    8 | magic `XBCRYP01`, `XBCRYP02` or `XBCRYP03`    |
//! |      8 |    8 | reserved                                      |
//! |     16 |    8 | original size, of no use                      |
//! |     24 |    8 | encrypted size `e`                            |
//! |     32 |    4 | CRC-32 of the encrypted bytes                 |
//! |     36 |    8 | length `v` of the IV; not in version 1        |
//! |   44+v |    e | AES in counter mode; version 3 ends with SHA-256 of the plain bytes |

use std::fmt;

use bytes::{Buf, BytesMut};
use openssl::symm::{Cipher, decrypt};
use sha2::{Digest, Sha256};

use super::DecipherError;

const MAGIC: &[u8] = b"XBCRYP0";
const HEADER_BYTES: usize = 36;
const IV_LENGTH_BYTES: usize = 8;
const IV_BYTES: usize = 16;
const HASH_BYTES: usize = 32;

/// Longest chunk that is taken; writers use 64 KiB unless they are told otherwise.
const CHUNK_BYTES_MAX: u64 = 64 << 20;

/// Decrypts one connection.
pub(in crate::sst) struct Xbcrypt {
    key: Vec<u8>,
    cipher: Option<Cipher>,
}

/// Where the parts of one chunk are.
struct Chunk {
    version: u8,
    checksum: u32,
    iv: std::ops::Range<usize>,
    data: std::ops::Range<usize>,
}

impl Xbcrypt {
    /// Goes by the length of the key, as the tool does.
    pub(super) fn new(key: &[u8]) -> Self {
        let cipher = match key.len() {
            16 => Some(Cipher::aes_128_ctr()),
            24 => Some(Cipher::aes_192_ctr()),
            32 => Some(Cipher::aes_256_ctr()),
            _ => None,
        };
        Self { key: key.to_owned(), cipher }
    }

    /// Decrypts the whole chunks that are there.
    pub(super) fn push(
        &self,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<(), DecipherError> {
        while let Some(chunk) = parse(input)? {
            if input.len() < chunk.data.end {
                break;
            }
            self.decrypt(input, &chunk, output)?;
            input.advance(chunk.data.end);
        }
        Ok(())
    }

    fn decrypt(
        &self,
        input: &[u8],
        chunk: &Chunk,
        output: &mut BytesMut,
    ) -> Result<(), DecipherError> {
        let data = &input[chunk.data.clone()];
        if crc32fast::hash(data) != chunk.checksum {
            return Err(DecipherError::Damaged);
        }
        let cipher = self.cipher.ok_or(DecipherError::WrongKey)?;
        // Before version 3 the counter begins at zero, whatever IV is there.
        let mut counter = [0; IV_BYTES];
        if chunk.version == 3 {
            counter.copy_from_slice(&input[chunk.iv.clone()]);
        }
        let plain = decrypt(cipher, &self.key, Some(&counter), data);
        let mut plain = plain.map_err(|_| DecipherError::WrongKey)?;
        if chunk.version == 3 {
            let at = plain.len().checked_sub(HASH_BYTES).ok_or(DecipherError::Damaged)?;
            let hash = plain.split_off(at);
            if Sha256::digest(&plain)[..] != hash[..] {
                return Err(DecipherError::WrongKey);
            }
        }
        output.extend_from_slice(&plain);
        Ok(())
    }
}

/// The chunk at the front; `None` until its header is there.
fn parse(input: &[u8]) -> Result<Option<Chunk>, DecipherError> {
    let Some(header) = input.get(..HEADER_BYTES) else { return Ok(None) };
    if !header.starts_with(MAGIC) || !matches!(header[7], b'1'..=b'3') {
        return Err(DecipherError::Damaged);
    }
    let version = header[7] - b'0';
    let data_bytes = size(&header[24..32])?;
    let checksum = u32::from_le_bytes([header[32], header[33], header[34], header[35]]);
    let (mut at, mut iv_bytes) = (HEADER_BYTES, 0);
    if version > 1 {
        let Some(field) = input.get(at..at + IV_LENGTH_BYTES) else { return Ok(None) };
        iv_bytes = size(field)?;
        at += IV_LENGTH_BYTES;
        if iv_bytes != IV_BYTES {
            return Err(DecipherError::Damaged);
        }
    }
    let iv = at..at + iv_bytes;
    let data = iv.end..iv.end + data_bytes;
    Ok(Some(Chunk { version, checksum, iv, data }))
}

fn size(field: &[u8]) -> Result<usize, DecipherError> {
    let bytes = <[u8; 8]>::try_from(field).map_err(|_| DecipherError::Damaged)?;
    let size = u64::from_le_bytes(bytes);
    if size > CHUNK_BYTES_MAX {
        return Err(DecipherError::Damaged);
    }
    usize::try_from(size).map_err(|_| DecipherError::Damaged)
}

impl fmt::Debug for Xbcrypt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Xbcrypt").field("key_bytes", &self.key.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use openssl::symm::encrypt;

    use super::*;

    const KEY: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

    fn chunk(version: u8, plain: &[u8]) -> Vec<u8> {
        let iv = if version == 3 { [7; IV_BYTES] } else { [0; IV_BYTES] };
        let mut whole = plain.to_vec();
        if version == 3 {
            whole.extend_from_slice(&Sha256::digest(plain));
        }
        let data = encrypt(Cipher::aes_256_ctr(), KEY, Some(&iv), &whole).expect("encrypt");
        let mut chunk = format!("XBCRYP0{version}").into_bytes();
        chunk.extend_from_slice(&[0; 8]);
        chunk.extend_from_slice(&(data.len() as u64).to_le_bytes());
        chunk.extend_from_slice(&(data.len() as u64).to_le_bytes());
        chunk.extend_from_slice(&crc32fast::hash(&data).to_le_bytes());
        if version > 1 {
            chunk.extend_from_slice(&(IV_BYTES as u64).to_le_bytes());
            // Version 2 stores an IV that nobody uses.
            chunk.extend_from_slice(if version == 3 { &iv } else { &[9; IV_BYTES] });
        }
        chunk.extend_from_slice(&data);
        chunk
    }

    fn opened(key: &[u8], bytes: &[u8], piece: usize) -> Result<(Vec<u8>, usize), DecipherError> {
        let (decryptor, mut input, mut output) =
            (Xbcrypt::new(key), BytesMut::new(), BytesMut::new());
        for piece in bytes.chunks(piece) {
            input.extend_from_slice(piece);
            decryptor.push(&mut input, &mut output)?;
        }
        Ok((output.to_vec(), input.len()))
    }

    #[test]
    fn chunks_of_every_version_are_opened_however_they_arrive() {
        for version in 1..=3 {
            let bytes = [chunk(version, b"XBSTCK01 and so on"), chunk(version, b"more")].concat();
            for piece in [1, 7, 1000] {
                let (plain, rest) = opened(KEY, &bytes, piece).expect("opened");
                assert_eq!((plain.as_slice(), rest), (&b"XBSTCK01 and so onmore"[..], 0));
            }
        }
    }

    #[test]
    fn a_wrong_key_damage_and_lengths_without_limit_are_refused() {
        let good = chunk(3, b"XBSTCK01");
        let other = b"another key of thirty-two bytes!";
        assert_eq!(opened(other, &good, 1000), Err(DecipherError::WrongKey));
        assert_eq!(opened(b"short", &good, 1000), Err(DecipherError::WrongKey));
        let mut damaged = good.clone();
        *damaged.last_mut().expect("not empty") ^= 1;
        assert_eq!(opened(KEY, &damaged, 1000), Err(DecipherError::Damaged));
        let mut endless = good;
        endless[24..32].copy_from_slice(&u64::MAX.to_le_bytes());
        assert_eq!(opened(KEY, &endless, 1000), Err(DecipherError::Damaged));
    }
}
