//! A look at one address of a group without joining it: who answers, inside TLS or not, with which
//! certificates, and whether ours is let in. The acceptor speaks first in this protocol, so nothing
//! of ours but a TLS handshake is ever sent; the member sees a caller that hangs up.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use galera_protocol::frame::{FrameDecoder, HEADER_BYTES};
use galera_protocol::gmcast::config::UNIX_EPOCH_100NS;
use galera_protocol::gmcast::message::{Body, Message};
use galera_protocol::tls::{Stranger, TlsFailure};
use galera_protocol::{NodeId, Segment};
use openssl::error::ErrorStack;
use openssl::ssl::{SslContext, SslMethod, SslRef, SslVerifyMode};
use openssl::x509::X509;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::socket::{self, Options};
use super::tls::{handshake, of_io};
use super::trouble::{Cause, Trouble};

/// Limit of one TCP connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(3);

/// Limit for the first words of an acceptor; a dynamic one waits 0.75 or 1.5 s before it speaks.
const GREETING_LIMIT: Duration = Duration::from_millis(2_200);

/// Limit of a TLS handshake.
const TLS_LIMIT: Duration = Duration::from_secs(3);

/// Ports that no service is known for, above those that systems give to callers.
pub const UNUSED_PORTS: [u16; 2] = [61_617, 64_013];

/// Bytes read at once while a greeting is awaited.
const READ_BYTES: usize = 1024;

/// A member's first words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Who it is.
    pub node: NodeId,
    /// Its segment.
    pub segment: Segment,
    /// How far its clock is ahead of ours, in milliseconds: its greeting carries the time.
    pub clock_ahead_ms: i64,
}

/// What answers to plain TCP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plain {
    /// A member without TLS, or a dynamic one.
    Member(Greeting),
    /// Nothing is said: a TLS member, or nobody behind a proxy.
    Silent,
    /// Something is wrong.
    Trouble(Cause),
}

/// What answers to TLS.
#[derive(Debug)]
pub struct Tls {
    /// `TLSv1.3` or the like.
    pub version: &'static str,
    /// The cipher.
    pub cipher: String,
    /// What the peer showed, its own certificate first.
    pub chain: Vec<X509>,
    /// Its greeting, or why it hung up on our certificate.
    pub greeting: Result<Greeting, Cause>,
}

/// Listens to what `remote` says to a plain caller.
pub async fn plain(remote: SocketAddr) -> Plain {
    let mut stream = match connect(remote).await {
        Ok(stream) => stream,
        Err(cause) => return Plain::Trouble(cause),
    };
    match greeting(&mut stream).await {
        Ok(greeting) => Plain::Member(greeting),
        Err(Cause::Silent) => Plain::Silent,
        Err(cause) => Plain::Trouble(cause),
    }
}

/// Goes as far into TLS with `remote` as it lets us. Nothing is verified here: the certificates are
/// to be looked at. `ours` are the certificates to show, if there are any.
pub async fn tls(remote: SocketAddr, ours: Option<&SslContext>) -> Result<Tls, Cause> {
    let stream = connect(remote).await?;
    let bare;
    let context = match ours {
        Some(context) => context,
        None => {
            bare = bare_context().map_err(|error| Cause::Other(error.to_string()))?;
            &bare
        }
    };
    let mut stream = handshake::dial(context, stream, TLS_LIMIT).await.map_err(Cause::Tls)?;
    let (version, cipher, chain) = session(stream.ssl());
    let greeting = greeting(&mut stream).await;
    Ok(Tls { version, cipher, chain, greeting })
}

/// Is it TLS that makes this address silent to plain callers?
pub async fn speaks_tls(remote: SocketAddr) -> bool {
    match tls(remote, None).await {
        Ok(_) => true,
        Err(cause) => matches!(
            cause,
            Cause::Tls(TlsFailure::RefusedByPeer(_) | TlsFailure::NoCommonParameters)
        ),
    }
}

/// Looks again where nothing was said: is it TLS, or a proxy that takes every connection?
pub async fn sharpen(trouble: Trouble) -> Trouble {
    let may_be_proxy = matches!(
        trouble.cause,
        Cause::Silent | Cause::ClosedAtOnce | Cause::Tls(TlsFailure::Silent | TlsFailure::Closed)
    );
    let Ok(remote) = trouble.at.parse::<SocketAddr>() else { return trouble };
    if trouble.cause == Cause::Silent && speaks_tls(remote).await {
        Trouble { cause: Cause::PeerUsesTls, ..trouble }
    } else if may_be_proxy && takes_everything(remote.ip()).await {
        Trouble { cause: Cause::TakesEverything, ..trouble }
    } else {
        trouble
    }
}

/// True if connections are taken even where nobody can be listening.
async fn takes_everything(address: IpAddr) -> bool {
    for port in UNUSED_PORTS {
        let connected = connect(SocketAddr::new(address, port)).await;
        if connected.is_err() {
            return false;
        }
    }
    true
}

fn bare_context() -> Result<SslContext, ErrorStack> {
    let mut context = SslContext::builder(SslMethod::tls_client())?;
    context.set_verify(SslVerifyMode::NONE);
    Ok(context.build())
}

fn session(ssl: &SslRef) -> (&'static str, String, Vec<X509>) {
    let cipher = ssl.current_cipher().map_or_else(String::new, |cipher| cipher.name().to_owned());
    let chain = ssl.peer_cert_chain();
    let chain = chain.map(|chain| chain.iter().map(ToOwned::to_owned).collect());
    (ssl.version_str(), cipher, chain.unwrap_or_default())
}

async fn connect(remote: SocketAddr) -> Result<TcpStream, Cause> {
    let connected = timeout(CONNECT_LIMIT, socket::connect(remote, None, Options::LINK)).await;
    match connected {
        Ok(Ok(stream)) => Ok(stream),
        Ok(Err(error)) => Err(of_connect(&error)),
        Err(_) => Err(Cause::NoAnswer),
    }
}

/// What the system's error says about a connect.
pub fn of_connect(error: &std::io::Error) -> Cause {
    use std::io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    if error.kind() == ConnectionRefused {
        Cause::NobodyListens
    } else if matches!(error.kind(), HostUnreachable | NetworkUnreachable) {
        Cause::NoRoute
    } else if error.kind() == TimedOut {
        Cause::NoAnswer
    } else {
        Cause::Other(error.to_string())
    }
}

async fn greeting(stream: &mut (impl AsyncRead + Unpin)) -> Result<Greeting, Cause> {
    timeout(GREETING_LIMIT, read_greeting(stream)).await.unwrap_or(Err(Cause::Silent))
}

async fn read_greeting(stream: &mut (impl AsyncRead + Unpin)) -> Result<Greeting, Cause> {
    let mut buffer = BytesMut::with_capacity(READ_BYTES);
    let mut decoder = FrameDecoder::new();
    let mut stranger = None;
    loop {
        match stream.read_buf(&mut buffer).await {
            Ok(0) => return Err(stranger.map_or(Cause::ClosedAtOnce, of_stranger)),
            Ok(_) => {}
            Err(error) => return Err(of_io(&error).map_or(Cause::Broken, Cause::Tls)),
        }
        stranger = Stranger::from_head(&buffer);
        if let Some(stranger) = stranger.filter(|_| buffer.len() >= HEADER_BYTES) {
            return Err(of_stranger(stranger));
        }
        match decoder.decode(&mut buffer) {
            Ok(Some(body)) => return of_message(&Message::decode(&body)),
            Ok(None) => {}
            Err(error) => return Err(Cause::Other(error.to_string())),
        }
    }
}

fn of_stranger(stranger: Stranger) -> Cause {
    if stranger == Stranger::Tls { Cause::PeerUsesTls } else { Cause::Stranger(stranger) }
}

fn of_message(
    message: &Result<Message, galera_protocol::decode::DecodeError>,
) -> Result<Greeting, Cause> {
    match message {
        Ok(Message { segment, source, body: Body::Handshake { handshake } }) => Ok(Greeting {
            node: *source,
            segment: *segment,
            clock_ahead_ms: ahead_of_us(handshake.0.timestamp()),
        }),
        Ok(_) => Err(Cause::Other("its first message is no HANDSHAKE".to_owned())),
        Err(error) => Err(Cause::Other(error.to_string())),
    }
}

fn ahead_of_us(timestamp_100ns: u64) -> i64 {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let ours = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
    let theirs = timestamp_100ns.saturating_sub(UNIX_EPOCH_100NS) / 10_000;
    i64::try_from(theirs).unwrap_or(i64::MAX).saturating_sub(ours)
}
