//! TLS of the donor's connections: the donor is the client, we are the server (spec 05 §3.3, R7).
//!
//! Donors check our chain, and some our common name; most present a certificate of their own. Ours
//! is the stricter side: with a CA, only its certificates may connect. Names are not looked at,
//! nor extended key usages, for certificates that servers generate have neither.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use openssl::error::ErrorStack;
use openssl::ssl::{
    Ssl, SslContext, SslContextBuilder, SslFiletype, SslMethod, SslOptions, SslVerifyMode,
    SslVersion,
};
use openssl::x509::X509PurposeId;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// Bytes taken from the system at once: sixteen full TLS records.
const BUFFER_BYTES: usize = 256 * 1024;

/// Where the keys are, and whom to trust. All files are PEM.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// Our certificate, followed by its intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// Who may have signed the donor's certificate. Without it the donor is not asked for one.
    pub ca: Option<PathBuf>,
}

/// TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("use {path} for TLS", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the library said.
        #[source]
        source: ErrorStack,
    },
    /// The library refuses a setting.
    #[error("set up TLS")]
    Setup(#[from] ErrorStack),
    /// TLS within TLS.
    #[error("the connection is encrypted already")]
    Nested,
}

/// Takes donors' TLS connections.
#[derive(Clone)]
pub struct TlsAcceptor {
    context: SslContext,
}

impl TlsAcceptor {
    /// Reads the files.
    pub fn new(files: &TlsFiles) -> Result<Self, TlsError> {
        let mut context = SslContext::builder(SslMethod::tls_server())?;
        // EL7's socat knows nothing newer than 1.2.
        context.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        send_nothing_unasked(&mut context)?;
        load(&files.certificate, |path| context.set_certificate_chain_file(path))?;
        load(&files.key, |path| context.set_private_key_file(path, SslFiletype::PEM))?;
        load(&files.key, |_| context.check_private_key())?;
        if let Some(ca) = &files.ca {
            require_certificate(&mut context, ca)?;
        }
        Ok(Self { context: context.build() })
    }

    pub(super) fn accept(&self, tcp: TcpStream, head: Bytes) -> Result<TlsStream, TlsError> {
        let mut ssl = Ssl::new(&self.context)?;
        ssl.set_accept_state();
        let stream = SslStream::new(ssl, Replayed::new(tcp, head))?;
        Ok(TlsStream { stream })
    }
}

impl std::fmt::Debug for TlsAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TlsAcceptor").finish_non_exhaustive()
    }
}

fn load(path: &Path, mut set: impl FnMut(&Path) -> Result<(), ErrorStack>) -> Result<(), TlsError> {
    set(path).map_err(|source| TlsError::File { path: path.to_owned(), source })
}

/// A donor behind `socat -u` never reads, so that tickets would lie unread in its socket, and
/// closing a socket with unread bytes resets the connection.
fn send_nothing_unasked(context: &mut SslContextBuilder) -> Result<(), ErrorStack> {
    context.set_options(SslOptions::NO_TICKET);
    context.set_num_tickets(0)
}

fn require_certificate(context: &mut SslContextBuilder, ca: &Path) -> Result<(), TlsError> {
    load(ca, |path| context.set_ca_file(path))?;
    context.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    context.verify_param_mut().set_purpose(X509PurposeId::ANY)?;
    Ok(())
}

/// A donor's connection inside TLS.
#[derive(Debug)]
pub(super) struct TlsStream {
    stream: SslStream<Replayed>,
}

impl TlsStream {
    pub(super) fn tcp(&self) -> &TcpStream {
        &self.stream.get_ref().tcp
    }

    /// True once the handshake is done.
    pub(super) fn is_established(&self) -> bool {
        self.stream.ssl().is_init_finished()
    }

    pub(super) fn version(&self) -> &'static str {
        self.stream.ssl().version_str()
    }

    fn read_record(
        &mut self,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<usize>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        match read {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => Poll::Ready(Err(self.explain(error))),
            Poll::Ready(Ok(())) => match buffer.filled().len() - before {
                0 if self.is_cut() => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
                count => Poll::Ready(Ok(count)),
            },
        }
    }

    /// The library takes an end of TCP for an end of TLS. It is one only after `close_notify`,
    /// behind which nothing is read any more.
    fn is_cut(&self) -> bool {
        self.stream.get_ref().has_ended
    }

    fn explain(&self, error: io::Error) -> io::Error {
        if self.is_cut() { io::Error::new(io::ErrorKind::UnexpectedEof, error) } else { error }
    }
}

impl AsyncRead for TlsStream {
    /// Takes as many records as there are: one alone is too little for a reader of gigabytes.
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        while buffer.remaining() > 0 {
            match self.read_record(context, buffer) {
                Poll::Ready(Ok(0)) => break,
                Poll::Ready(Ok(_)) if self.stream.get_ref().buffer.is_empty() => break,
                Poll::Ready(Ok(_)) => {}
                // An error is reported again by the next read, behind the bytes before it.
                Poll::Ready(Err(_)) | Poll::Pending if buffer.filled().len() > before => break,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// TCP whose first bytes were read already, with a large buffer: the library asks for five bytes
/// at a time.
#[derive(Debug)]
struct Replayed {
    tcp: TcpStream,
    buffer: BytesMut,
    has_ended: bool,
}

impl Replayed {
    fn new(tcp: TcpStream, head: Bytes) -> Self {
        let mut buffer = BytesMut::with_capacity(BUFFER_BYTES);
        buffer.extend_from_slice(&head);
        Self { tcp, buffer, has_ended: false }
    }

    fn fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.buffer.reserve(BUFFER_BYTES);
        let read =
            tokio_util::io::poll_read_buf(Pin::new(&mut self.tcp), context, &mut self.buffer);
        match read {
            Poll::Ready(Ok(count)) => {
                self.has_ended |= count == 0;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for Replayed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.buffer.is_empty() {
            match self.fill(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => return Poll::Pending,
            }
        }
        let count = self.buffer.len().min(buffer.remaining());
        buffer.put_slice(&self.buffer[..count]);
        self.buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

/// The handshake, and nothing else, writes.
impl AsyncWrite for Replayed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}
