//! The handshake on a connected socket, in either role.

use std::pin::Pin;
use std::time::Duration;

use galera_protocol::tls::TlsFailure;
use openssl::ssl::{Ssl, SslContext, SslRef};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_openssl::SslStream;
use tracing::debug;

use super::failure;
use super::transport::Transport;

/// A connection inside TLS.
pub type TlsStream = SslStream<Transport>;

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
    let wrapped = Ssl::new(context).and_then(|ssl: Ssl| SslStream::new(ssl, Transport::new(tcp)));
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
