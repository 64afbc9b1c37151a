//! What donors put around their archive, taken off as the bytes pass: a cipher (`encrypt=1`), an outer
//! compressor, tar instead of xbstream (spec 05 §3.1, 3.2).
//!
//! Layers nest as they are found, each at most once: the inner [`Stream`] may be an [`Unwrapped`] itself.
//! Memory is bounded by one read and one unit of the format, however much that expands to.

use std::io;
use std::pin::Pin;
use std::process::ExitStatus;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use galera_protocol::sst::conversation::End;
use galera_protocol::sst::sniff::Layer;
use tokio::io::{AsyncRead, ReadBuf};

use super::decipher::{DecipherError, DecryptionKey, Decryptor};
use super::stream::Stream;
use super::tar::{TarError, TarReader};
use crate::unpack::{Fault, Format, UnpackError, Unpacker};

/// Bytes read at once.
const READ_BYTES: usize = 256 * 1024;

#[derive(Debug)]
enum Codec {
    Cipher(Decryptor),
    Compressor {
        unpacker: Unpacker,
        /// Taken from the input and not decompressed yet.
        pending: Bytes,
    },
    Tar(TarReader),
}

/// A connection with one layer taken off.
#[derive(Debug)]
pub(super) struct Unwrapped {
    inner: Stream,
    codec: Codec,
    input: BytesMut,
    output: BytesMut,
    /// The inner stream has ended.
    has_ended: bool,
    /// And nothing is left in the codec.
    is_finished: bool,
}

impl Unwrapped {
    /// Takes `layer` off; `None` if that cannot be done here. `head` was read already.
    pub(super) fn new(
        inner: Stream,
        layer: Layer,
        key: Option<&DecryptionKey>,
        head: &Bytes,
    ) -> Option<Self> {
        let codec = codec_of(layer, key)?;
        let (input, output) = (BytesMut::from(&head[..]), BytesMut::new());
        Some(Self { inner, codec, input, output, has_ended: false, is_finished: false })
    }

    /// The connection as it came.
    pub(super) fn inner(&self) -> &Stream {
        &self.inner
    }

    /// One step; the output stays empty if the codec needs more input.
    fn work(&mut self) -> io::Result<()> {
        let (input, output) = (&mut self.input, &mut self.output);
        match &mut self.codec {
            Codec::Cipher(decryptor) => decryptor.work(input, output, self.has_ended)?,
            Codec::Compressor { unpacker, pending } => {
                if pending.is_empty() {
                    *pending = input.split().freeze();
                }
                match unpacker.next(pending).map_err(Broken::Compressor)? {
                    Some(piece) => output.extend_from_slice(&piece),
                    None if self.has_ended => unpacker.end().map_err(Broken::Compressor)?,
                    None => {}
                }
            }
            Codec::Tar(reader) => {
                reader.push(input, output)?;
                if self.has_ended && output.is_empty() {
                    reader.finish(input)?;
                }
            }
        }
        self.is_finished = self.has_ended && self.output.is_empty();
        Ok(())
    }
}

fn codec_of(layer: Layer, key: Option<&DecryptionKey>) -> Option<Codec> {
    let compressor =
        |format| Some(Codec::Compressor { unpacker: Unpacker::of(format), pending: Bytes::new() });
    match layer {
        Layer::OpensslEnc | Layer::Xbcrypt => Decryptor::new(layer, key?).map(Codec::Cipher),
        Layer::Gzip => compressor(Format::Gzip),
        Layer::Zstd => compressor(Format::Zstd),
        Layer::Lz4 => compressor(Format::Lz4),
        Layer::Qpress => compressor(Format::Qpress),
        Layer::Tar => Some(Codec::Tar(TarReader::default())),
        Layer::Tls | Layer::Xbstream | Layer::Bzip2 | Layer::Xz => None,
    }
}

/// Bytes that are not what their layer promises.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    /// A compressor that is known here.
    #[error(transparent)]
    Compressor(UnpackError),
    /// The operator's decompressor says so.
    #[error("the decompressor ended with {0}")]
    Command(ExitStatus),
}

impl Broken {
    fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Compressor(UnpackError { fault: Fault::Truncated, .. }) => {
                io::ErrorKind::UnexpectedEof
            }
            Self::Compressor(_) | Self::Command(_) => io::ErrorKind::InvalidData,
        }
    }
}

impl From<Broken> for io::Error {
    fn from(error: Broken) -> Self {
        Self::new(error.kind(), error)
    }
}

/// What an error of a layer says about the end of the connection; `None` if it came from below.
pub(super) fn end_of(error: &io::Error) -> Option<End> {
    if error.kind() != io::ErrorKind::InvalidData {
        return None;
    }
    let cause = error.get_ref()?;
    if cause.is::<DecipherError>() {
        return Some(End::Undeciphered);
    }
    let is_ours = cause.is::<Broken>() || cause.is::<TarError>();
    is_ours.then_some(End::Unpackable)
}

impl AsyncRead for Unwrapped {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while this.output.is_empty() && !this.is_finished {
            this.work()?;
            if !this.output.is_empty() || this.has_ended {
                continue;
            }
            this.input.reserve(READ_BYTES);
            let inner = Pin::new(&mut this.inner);
            match tokio_util::io::poll_read_buf(inner, context, &mut this.input) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Ready(Ok(count)) => this.has_ended = count == 0,
            }
        }
        let count = this.output.len().min(buffer.remaining());
        buffer.put_slice(&this.output[..count]);
        this.output.advance(count);
        Poll::Ready(Ok(()))
    }
}
