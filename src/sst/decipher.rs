//! `encrypt=1`: the donor's connections encrypted with a key that both sides know, by `openssl enc`
//! (MariaDB) or `xbcrypt` (spec 05 §3.3, 06 §5). Decrypted as the bytes pass, recognised by their
//! first ones.
//!
//! Neither format proves who sent the bytes, nor that they are whole: checksums, files and the
//! donor's word do, as for a plain stream.

mod openssl_enc;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use galera_protocol::sst::sniff::Layer;
use tokio::io::{AsyncRead, ReadBuf};

use self::openssl_enc::OpensslEnc;
use super::stream::Stream;
use crate::unpack::{Decryption, Fault, Key};

pub use openssl_enc::Algorithm;

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

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

#[derive(Debug)]
enum Decryptor {
    OpensslEnc(OpensslEnc),
    /// None if the key has a length that AES does not know.
    Xbcrypt(Option<Decryption>),
}

/// A connection whose bytes are decrypted.
#[derive(Debug)]
pub(super) struct Deciphered {
    inner: Stream,
    decryptor: Decryptor,
    input: BytesMut,
    output: BytesMut,
    has_ended: bool,
}

impl Deciphered {
    /// Takes a layer off; `None` if it is none of those that a key opens. `head` was read already.
    pub(super) fn new(
        inner: Stream,
        layer: Layer,
        key: &DecryptionKey,
        head: &Bytes,
    ) -> Option<Self> {
        let decryptor = if layer == Layer::OpensslEnc {
            Decryptor::OpensslEnc(OpensslEnc::new(key))
        } else if layer == Layer::Xbcrypt {
            let key = Key::new(key.secret.clone()).ok();
            Decryptor::Xbcrypt(key.map(|key| Decryption::new(Arc::new(key))))
        } else {
            return None;
        };
        let (input, output) = (BytesMut::from(&head[..]), BytesMut::new());
        Some(Self { inner, decryptor, input, output, has_ended: false })
    }

    /// The connection as it came.
    pub(super) fn inner(&self) -> &Stream {
        &self.inner
    }

    fn work(&mut self) -> Result<(), DecipherError> {
        let (input, output) = (&mut self.input, &mut self.output);
        match (&mut self.decryptor, self.has_ended) {
            (Decryptor::OpensslEnc(decryptor), false) => decryptor.push(input, output),
            (Decryptor::OpensslEnc(decryptor), true) => decryptor.finish(input, output),
            (Decryptor::Xbcrypt(None), _) => Err(DecipherError::WrongKey),
            (Decryptor::Xbcrypt(Some(decryptor)), false) => push_chunks(decryptor, input, output),
            (Decryptor::Xbcrypt(Some(decryptor)), true) if decryptor.is_complete() => Ok(()),
            (Decryptor::Xbcrypt(Some(_)), true) => Err(DecipherError::Truncated),
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

impl AsyncRead for Deciphered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if !this.has_ended && !this.input.is_empty() && this.output.is_empty() {
            this.work()?;
        }
        while this.output.is_empty() && !this.has_ended {
            this.input.reserve(READ_BYTES);
            let inner = Pin::new(&mut this.inner);
            match tokio_util::io::poll_read_buf(inner, context, &mut this.input) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(count)) => this.has_ended = count == 0,
            }
            this.work()?;
        }
        let count = this.output.len().min(buffer.remaining());
        buffer.put_slice(&this.output[..count]);
        this.output.advance(count);
        Poll::Ready(Ok(()))
    }
}
