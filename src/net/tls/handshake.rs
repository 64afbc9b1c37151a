//! The handshake on a connected socket, in either role.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use galera_protocol::tls::TlsFailure;
use openssl::ssl::{Ssl, SslContext, SslRef};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_openssl::SslStream;
use tracing::debug;

use super::failure;

/// Bytes that are remembered of what the peer says first: enough to know who it is.
const HEAD_BYTES: usize = 8;

/// TCP that remembers its first bytes.
#[derive(Debug)]
pub struct Watched {
    tcp: TcpStream,
    head: [u8; HEAD_BYTES],
    seen: usize,
}

/// A connection inside TLS.
pub type TlsStream = SslStream<Watched>;

impl Watched {
    fn new(tcp: TcpStream) -> Self {
        Self { tcp, head: [0; HEAD_BYTES], seen: 0 }
    }

    /// The connection underneath.
    pub fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    fn head(&self) -> &[u8] {
        &self.head[..self.seen]
    }
}

/// Starts TLS as client, within `limit`.
pub async fn dial(
    context: &SslContext,
    tcp: TcpStream,
    limit: Duration,
) -> Result<TlsStream, TlsFailure> {
    let mut stream = wrap(context, tcp)?;
    let done = timeout(limit, Pin::new(&mut stream).connect()).await;
    finish(stream, done.ok())
}

/// Starts TLS as server, within `limit`.
pub async fn accept(
    context: &SslContext,
    tcp: TcpStream,
    limit: Duration,
) -> Result<TlsStream, TlsFailure> {
    let mut stream = wrap(context, tcp)?;
    let done = timeout(limit, Pin::new(&mut stream).accept()).await;
    finish(stream, done.ok())
}

fn wrap(context: &SslContext, tcp: TcpStream) -> Result<TlsStream, TlsFailure> {
    let wrapped = Ssl::new(context).and_then(|ssl: Ssl| SslStream::new(ssl, Watched::new(tcp)));
    wrapped.map_err(|error| {
        debug!(%error, "set up TLS for a connection");
        TlsFailure::Other
    })
}

fn finish(
    stream: TlsStream,
    done: Option<Result<(), openssl::ssl::Error>>,
) -> Result<TlsStream, TlsFailure> {
    match done {
        Some(Ok(())) => Ok(stream),
        Some(Err(error)) => Err(explain(&error, stream.ssl(), stream.get_ref().head())),
        None => Err(TlsFailure::Silent),
    }
}

fn explain(error: &openssl::ssl::Error, ssl: &SslRef, head: &[u8]) -> TlsFailure {
    let failure = failure::of_error(error, ssl, head);
    debug!(%error, verification = %ssl.verify_result(), %failure, "TLS handshake failed");
    failure
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(context, buffer);
        let seen = self.seen;
        if seen < HEAD_BYTES {
            let new = &buffer.filled()[before..];
            let count = new.len().min(HEAD_BYTES - seen);
            self.head[seen..seen + count].copy_from_slice(&new[..count]);
            self.seen += count;
        }
        read
    }
}

impl AsyncWrite for Watched {
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
