//! The output of `openssl enc -ALGO`: `Salted__`, eight bytes of salt, one run of the cipher.
//!
//! How the key is made of the passphrase depends on the donor's OpenSSL, and the stream does not
//! say: all three ways are tried on the first block, which must begin like a stream of a donor.

use std::fmt;
use std::str::FromStr;

use bytes::{Buf, BytesMut};
use galera_protocol::sst::sniff::{Sniffed, sniff};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkcs5::{KeyIvPair, bytes_to_key, pbkdf2_hmac};
use openssl::symm::{Cipher, Crypter, Mode};

use super::{DecipherError, DecryptionKey};

const MAGIC_BYTES: usize = 8;
const SALT_BYTES: usize = 8;
const BLOCK_BYTES: usize = 16;

/// Rounds of `-pbkdf2` unless it is told otherwise, and of `-iter 1`.
const ROUNDS: [usize; 2] = [10_000, 1];

/// `encrypt-algo`, by OpenSSL's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// aes-128-cbc
    Aes128Cbc,
    /// aes-192-cbc
    Aes192Cbc,
    /// aes-256-cbc
    #[default]
    Aes256Cbc,
    /// aes-128-ctr
    Aes128Ctr,
    /// aes-192-ctr
    Aes192Ctr,
    /// aes-256-ctr
    Aes256Ctr,
}

const NAMES: [(&str, Algorithm); 9] = [
    ("aes-128-cbc", Algorithm::Aes128Cbc),
    ("aes-192-cbc", Algorithm::Aes192Cbc),
    ("aes-256-cbc", Algorithm::Aes256Cbc),
    ("aes-128-ctr", Algorithm::Aes128Ctr),
    ("aes-192-ctr", Algorithm::Aes192Ctr),
    ("aes-256-ctr", Algorithm::Aes256Ctr),
    // The names of `xbcrypt`, which OpenSSL knows as well.
    ("aes128", Algorithm::Aes128Cbc),
    ("aes192", Algorithm::Aes192Cbc),
    ("aes256", Algorithm::Aes256Cbc),
];

impl Algorithm {
    fn cipher(self) -> Cipher {
        match self {
            Self::Aes128Cbc => Cipher::aes_128_cbc(),
            Self::Aes192Cbc => Cipher::aes_192_cbc(),
            Self::Aes256Cbc => Cipher::aes_256_cbc(),
            Self::Aes128Ctr => Cipher::aes_128_ctr(),
            Self::Aes192Ctr => Cipher::aes_192_ctr(),
            Self::Aes256Ctr => Cipher::aes_256_ctr(),
        }
    }
}

/// Not an algorithm that donors are told to use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of aes-128, aes-192 and aes-256 with -cbc or -ctr")]
pub struct ParseAlgorithmError(String);

impl FromStr for Algorithm {
    type Err = ParseAlgorithmError;

    fn from_str(text: &str) -> Result<Self, ParseAlgorithmError> {
        let name = text.to_ascii_lowercase();
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, algorithm)| *algorithm).ok_or_else(|| ParseAlgorithmError(text.to_owned()))
    }
}

/// Decrypts one connection.
pub(in crate::sst) struct OpensslEnc {
    key: DecryptionKey,
    running: Option<Crypter>,
    is_finished: bool,
}

impl OpensslEnc {
    pub(super) fn new(key: &DecryptionKey) -> Self {
        Self { key: key.clone(), running: None, is_finished: false }
    }

    /// Decrypts what is there.
    pub(super) fn push(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<(), DecipherError> {
        if self.running.is_none() {
            if input.len() < MAGIC_BYTES + SALT_BYTES + BLOCK_BYTES {
                return Ok(());
            }
            self.running = Some(self.begin(input)?);
            input.advance(MAGIC_BYTES + SALT_BYTES);
        }
        let Some(crypter) = &mut self.running else { return Ok(()) };
        append(output, input.len(), |room| crypter.update(input, room))?;
        input.clear();
        Ok(())
    }

    /// The last block, whose padding tells whether anything is missing. Asked again, there is nothing
    /// more.
    pub(super) fn finish(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<(), DecipherError> {
        if self.is_finished {
            return Ok(());
        }
        self.push(input, output)?;
        let Some(crypter) = &mut self.running else { return Err(DecipherError::Truncated) };
        append(output, 0, |room| crypter.finalize(room)).map_err(|_| DecipherError::Truncated)?;
        self.is_finished = true;
        Ok(())
    }

    /// The way of making a key under which the first block makes sense.
    fn begin(&self, input: &[u8]) -> Result<Crypter, DecipherError> {
        let (salt, rest) = input[MAGIC_BYTES..].split_at(SALT_BYTES);
        let block = &rest[..BLOCK_BYTES];
        let candidates = self.candidates(salt).map_err(|_| DecipherError::WrongKey)?;
        let cipher = self.key.algorithm.cipher();
        for KeyIvPair { key, iv } in candidates {
            let iv = iv.as_deref();
            let is_it = first_block(cipher, &key, iv, block).is_ok_and(|plain| is_known(&plain));
            if is_it {
                let crypter = Crypter::new(cipher, Mode::Decrypt, &key, iv);
                return crypter.map_err(|_| DecipherError::WrongKey);
            }
        }
        Err(DecipherError::WrongKey)
    }

    fn candidates(&self, salt: &[u8]) -> Result<Vec<KeyIvPair>, ErrorStack> {
        let cipher = self.key.algorithm.cipher();
        let (key_bytes, secret) = (cipher.key_len(), &self.key.secret);
        let mut candidates = Vec::new();
        for rounds in ROUNDS {
            let mut both = vec![0; key_bytes + BLOCK_BYTES];
            pbkdf2_hmac(secret, salt, rounds, MessageDigest::sha256(), &mut both)?;
            let iv = both.split_off(key_bytes);
            candidates.push(KeyIvPair { key: both, iv: Some(iv) });
        }
        let old = bytes_to_key(cipher, MessageDigest::sha256(), secret, Some(salt), 1)?;
        candidates.push(old);
        Ok(candidates)
    }
}

fn first_block(
    cipher: Cipher,
    key: &[u8],
    iv: Option<&[u8]>,
    block: &[u8],
) -> Result<Vec<u8>, ErrorStack> {
    let mut crypter = Crypter::new(cipher, Mode::Decrypt, key, iv)?;
    crypter.pad(false);
    let mut plain = vec![0; 2 * BLOCK_BYTES];
    let count = crypter.update(block, &mut plain)?;
    plain.truncate(count);
    Ok(plain)
}

fn is_known(plain: &[u8]) -> bool {
    matches!(sniff(plain, false), Sniffed::Layer(_))
}

/// Lets `work` write behind what is in `output` already.
fn append(
    output: &mut BytesMut,
    input_bytes: usize,
    work: impl FnOnce(&mut [u8]) -> Result<usize, ErrorStack>,
) -> Result<(), DecipherError> {
    let before = output.len();
    output.resize(before + input_bytes + BLOCK_BYTES, 0);
    let count = work(&mut output[before..]).map_err(|_| DecipherError::Damaged)?;
    output.truncate(before + count);
    Ok(())
}

impl fmt::Debug for OpensslEnc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpensslEnc").field("key", &self.key).finish_non_exhaustive()
    }
}
