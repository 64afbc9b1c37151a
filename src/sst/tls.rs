//! TLS of the donor's connections: the donor is the client, we are the server (spec 05 §3.3, R7).
//!
//! Donors check our chain, and some our common name; most present a certificate of their own. Ours
//! is the stricter side: with a CA, only its certificates may connect. Names are not looked at,
//! nor extended key usages, for certificates that servers generate have neither.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use galera_protocol::tls::TlsFailure;
use openssl::error::ErrorStack;
use openssl::ssl::{self, Ssl};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use crate::net::tls::transport::Transport;
use crate::net::tls::{self, Keys};

/// Bytes taken from the system at once: sixteen full TLS records.
const BUFFER_BYTES: usize = 256 * 1024;

/// What is demanded of the donor's certificate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DonorCheck {
    /// It must be there and lead to our CA.
    #[default]
    Authority,
    /// It is not asked for.
    Nothing,
}

/// Takes donors' TLS connections.
#[derive(Clone, Debug)]
pub struct TlsAcceptor {
    keys: Keys,
    check: DonorCheck,
}

impl TlsAcceptor {
    /// With these keys, as they are when a donor comes.
    pub fn new(keys: Keys, check: DonorCheck) -> Self {
        Self { keys, check }
    }

    /// The keys in use.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    pub(super) fn accept(&self, tcp: TcpStream, head: Bytes) -> Result<TlsStream, ErrorStack> {
        let material = self.keys.material();
        let mut ssl = Ssl::new(material.receiver(self.check == DonorCheck::Authority))?;
        ssl.set_accept_state();
        let stream = SslStream::new(ssl, Transport::buffered(tcp, &head, BUFFER_BYTES))?;
        Ok(TlsStream { stream })
    }
}

/// A donor's connection inside TLS.
#[derive(Debug)]
pub(super) struct TlsStream {
    stream: SslStream<Transport>,
}

impl TlsStream {
    pub(super) fn tcp(&self) -> &TcpStream {
        self.stream.get_ref().tcp()
    }

    /// True once the handshake is done.
    pub(super) fn is_established(&self) -> bool {
        self.stream.ssl().is_init_finished()
    }

    pub(super) fn version(&self) -> &'static str {
        self.stream.ssl().version_str()
    }

    /// Why the handshake failed, by the error of the read that did it.
    pub(super) fn failure(&self, error: &io::Error) -> TlsFailure {
        let ssl_error = error.get_ref().and_then(|error| error.downcast_ref::<ssl::Error>());
        match ssl_error {
            Some(error) => tls::of_error(error, self.stream.ssl(), self.stream.get_ref().head()),
            None => TlsFailure::Closed,
        }
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
        self.stream.get_ref().has_ended()
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
                Poll::Ready(Ok(_)) if self.stream.get_ref().is_drained() => break,
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
