//! A link's connection: plain TCP or inside TLS, and how it comes about in each mode.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use galera_protocol::tls::TlsFailure;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::socket::{self, Options};
use super::tls::handshake::{self, TlsStream};
use super::tls::{Keys, dynamic};

/// Whether links run inside TLS.
#[derive(Clone, Debug, Default)]
pub enum Security {
    /// Plain TCP.
    #[default]
    Plain,
    /// TLS on every link (`socket.ssl`).
    Tls(Keys),
    /// Each link as its peer has it (`socket.dynamic`); without keys of our own all are plain.
    Dynamic(Option<Keys>),
}

impl Security {
    /// True if members are told to call us back with TLS.
    pub fn advertises_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// The keys, if there are any.
    pub fn keys(&self) -> Option<&Keys> {
        match self {
            Self::Plain | Self::Dynamic(None) => None,
            Self::Tls(keys) | Self::Dynamic(Some(keys)) => Some(keys),
        }
    }
}

/// A connection that is ready for frames.
#[derive(Debug)]
pub enum Stream {
    /// Plain TCP.
    Plain(TcpStream),
    /// Inside TLS.
    Tls(Box<TlsStream>),
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// TCP failed.
    #[error(transparent)]
    Tcp(#[from] io::Error),
    /// TLS failed.
    #[error("{0}")]
    Tls(TlsFailure),
}

/// Connects as the mode demands; TCP and TLS share one `limit`.
pub async fn dial(
    security: &Security,
    remote: SocketAddr,
    bind: Option<IpAddr>,
    limit: Duration,
) -> Result<Stream, ConnectError> {
    let deadline = Instant::now() + limit;
    let connected = timeout_at(deadline, socket::connect(remote, bind, Options::LINK)).await;
    let tcp = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    let keys = match security {
        Security::Plain | Security::Dynamic(None) => return Ok(Stream::Plain(tcp)),
        Security::Tls(keys) => keys,
        Security::Dynamic(Some(_)) if dynamic::greets_plainly(&tcp).await => {
            return Ok(Stream::Plain(tcp));
        }
        Security::Dynamic(Some(keys)) => keys,
    };
    let left = deadline.saturating_duration_since(Instant::now());
    let stream = handshake::dial(keys.material().dialler(), tcp, left).await;
    stream.map(|stream| Stream::Tls(Box::new(stream))).map_err(ConnectError::Tls)
}

/// Takes a caller as the mode demands, within `limit`.
pub async fn accept(
    security: &Security,
    tcp: TcpStream,
    limit: Duration,
) -> Result<Stream, TlsFailure> {
    let keys = match security {
        Security::Plain | Security::Dynamic(None) => return Ok(Stream::Plain(tcp)),
        Security::Tls(keys) => keys,
        Security::Dynamic(Some(keys)) => {
            if !dynamic::begins_tls(&tcp).await {
                return Ok(Stream::Plain(tcp));
            }
            keys
        }
    };
    let stream = handshake::accept(keys.material().listener(), tcp, limit).await?;
    Ok(Stream::Tls(Box::new(stream)))
}

impl Stream {
    /// The connection underneath.
    pub fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => stream.get_ref().tcp(),
        }
    }

    /// The TLS session, if there is one.
    pub fn tls(&self) -> Option<&openssl::ssl::SslRef> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => Some(stream.ssl()),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(context),
        }
    }
}
