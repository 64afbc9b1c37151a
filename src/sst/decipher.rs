//! `encrypt=1`: the donor's connections encrypted with a key that both sides know, by `openssl enc`
//! (MariaDB) or `xbcrypt` (spec 05 §3.3, 06 §5). Decrypted as the bytes pass, recognised by their
//! first ones.
//!
//! Neither format proves who sent the bytes, nor that they are whole: checksums, files and the
//! donor's word do, as for a plain stream.

mod openssl_enc;

use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::BytesMut;
use galera_protocol::sst::sniff::Layer;

use self::openssl_enc::OpensslEnc;
use crate::unpack::{Decryption, Fault, Key};

pub use openssl_enc::Algorithm;

/// What opens the donor's connections.
#[derive(Clone, PartialEq, Eq)]
pub struct DecryptionKey {
    /// `encrypt-key`, or the first line of `encrypt-key-file`.
    pub secret: Vec<u8>,
    /// `encrypt-algo`; `xbcrypt` goes by the length of the key.
    pub algorithm: Algorithm,
}

impl fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecryptionKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// Why bytes cannot be decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DecipherError {
    #[error("the key or the algorithm is another one")]
    WrongKey,
    #[error("a damaged piece of encrypted data")]
    Damaged,
    #[error("the encrypted data is cut short")]
    Truncated,
}

impl From<DecipherError> for io::Error {
    fn from(error: DecipherError) -> Self {
        let kind = match error {
            DecipherError::WrongKey | DecipherError::Damaged => io::ErrorKind::InvalidData,
            DecipherError::Truncated => io::ErrorKind::UnexpectedEof,
        };
        Self::new(kind, error)
    }
}

impl From<Fault> for DecipherError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::WrongKey => Self::WrongKey,
            Fault::Magic
            | Fault::Truncated
            | Fault::Checksum(_)
            | Fault::Range(_)
            | Fault::Unsupported(_)
            | Fault::Malformed(_)
            | Fault::Codec(_) => Self::Damaged,
        }
    }
}

/// Decrypts one connection, in either format.
#[derive(Debug)]
pub(super) enum Decryptor {
    OpensslEnc(OpensslEnc),
    /// None if the key has a length that AES does not know.
    Xbcrypt(Option<Decryption>),
}

impl Decryptor {
    /// What opens this layer; `None` if it is none of those that a key opens.
    pub(super) fn new(layer: Layer, key: &DecryptionKey) -> Option<Self> {
        if layer == Layer::OpensslEnc {
            Some(Self::OpensslEnc(OpensslEnc::new(key)))
        } else if layer == Layer::Xbcrypt {
            let key = Key::new(key.secret.clone()).ok();
            Some(Self::Xbcrypt(key.map(|key| Decryption::new(Arc::new(key)))))
        } else {
            None
        }
    }

    /// Decrypts what is there; `has_ended` says that no more will come.
    pub(super) fn work(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
        has_ended: bool,
    ) -> Result<(), DecipherError> {
        match (self, has_ended) {
            (Self::OpensslEnc(decryptor), false) => decryptor.push(input, output),
            (Self::OpensslEnc(decryptor), true) => decryptor.finish(input, output),
            (Self::Xbcrypt(None), _) => Err(DecipherError::WrongKey),
            (Self::Xbcrypt(Some(decryptor)), false) => push_chunks(decryptor, input, output),
            (Self::Xbcrypt(Some(decryptor)), true) if decryptor.is_complete() => Ok(()),
            (Self::Xbcrypt(Some(_)), true) => Err(DecipherError::Truncated),
        }
    }
}

fn push_chunks(
    decryptor: &mut Decryption,
    input: &mut BytesMut,
    output: &mut BytesMut,
) -> Result<(), DecipherError> {
    let mut input = input.split().freeze();
    while let Some(plain) = decryptor.next(&mut input)? {
        output.extend_from_slice(&plain);
    }
    Ok(())
}
