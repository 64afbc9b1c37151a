//! Between two members: passes on what they say, tells what it was, and breaks it on purpose by rule.
//!
//! ```text
//!  member ── TCP ──▶ proxy ── TCP ──▶ member
//!                     └─▶ Observed: what went through, and what was done to it
//! ```
//!
//! Frames are what rules see; a connection that does not begin with one (TLS, a state transfer) goes
//! through as it is. Order is kept except where a rule changes it, and a slow reader slows its writer.
//!
//! Not here: finding the other member, or speaking for anybody. Members that learn each other's real
//! addresses connect past the proxy.

pub mod record;
mod relay;
pub mod rule;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, lookup_host};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::capture::{Flow, StreamEvent, Timestamp};
use relay::Direction;
use rule::Rules;

/// Longest wait for the other member to take a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Connections at a time; more wait in the listener's queue.
const CONNECTIONS_MAX: usize = 256;

/// What went through the proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Observed {
    /// Bytes were passed on, or the stream began or ended.
    Passed {
        /// When.
        time: Timestamp,
        /// Whose.
        flow: Flow,
        /// What.
        event: StreamEvent,
    },
    /// A rule was applied.
    Broken {
        /// When.
        time: Timestamp,
        /// To a message of whom.
        flow: Flow,
        /// What was done, and to what.
        what: String,
    },
}

/// What to stand between.
#[derive(Clone, Debug)]
pub struct ProxyConfig {
    /// Where one side connects to.
    pub listen: SocketAddr,
    /// Whom it reaches there: `host:port`.
    pub to: String,
    /// What to break.
    pub rules: Arc<Rules>,
}

/// Why there is no proxy.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// The port is taken, or not ours.
    #[error("listen on {0}")]
    Listen(SocketAddr, #[source] io::Error),
    /// The other side's name means nothing.
    #[error("resolve {0}")]
    Resolve(String, #[source] io::Error),
}

/// Relays until it is told to stop.
pub async fn run(
    config: ProxyConfig,
    observer: mpsc::Sender<Observed>,
    cancel: CancellationToken,
) -> Result<(), ProxyError> {
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.map_err(|source| ProxyError::Listen(config.listen, source))?;
    let resolved = lookup_host(&config.to).await.and_then(|mut addresses| {
        addresses.next().ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
    });
    let to = resolved.map_err(|source| ProxyError::Resolve(config.to.clone(), source))?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            () = cancel.cancelled() => return Ok(()),
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => {
                // An error is the caller's that went away again.
                if let Ok((client, from)) = accepted {
                    let rules = Arc::clone(&config.rules);
                    connections.spawn(connection(client, from, to, rules, observer.clone()));
                }
            }
        }
    }
}

async fn connection(
    client: TcpStream,
    from: SocketAddr,
    to: SocketAddr,
    rules: Arc<Rules>,
    observer: mpsc::Sender<Observed>,
) {
    let server = match timeout(CONNECT_LIMIT, TcpStream::connect(to)).await {
        Ok(Ok(server)) => server,
        Ok(Err(error)) => return tracing::warn!(%to, %error, "connect"),
        Err(_) => return tracing::warn!(%to, "connect: no answer"),
    };
    // Small messages must not wait for each other.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let flow = Flow { from, to, generation: 0 };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let cut = CancellationToken::new();
    let there = Direction::new(flow, true, Arc::clone(&rules), observer.clone(), cut.clone());
    let back = Direction::new(flow.reverse(), false, rules, observer, cut);
    tokio::join!(there.relay(from_client, to_server), back.relay(from_server, to_client));
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use galera_protocol::checksum::Checksum;
    use galera_protocol::frame;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// A gmcast message without fields: OK is 3, KEEPALIVE 6.
    fn message(kind: u8) -> Bytes {
        let mut out = BytesMut::new();
        let body = [&[0, kind, 0, 0][..], &[7; 16]].concat();
        frame::encode(Checksum::Crc32c, &body, &mut out).expect("frame");
        out.freeze()
    }

    /// What arrives of bytes that go through a proxy with a rule, and what was broken.
    async fn through(rule: &str, bytes: Vec<u8>) -> (Vec<u8>, Vec<String>) {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        // Free a moment ago.
        let listen =
            TcpListener::bind("127.0.0.1:0").await.expect("listen").local_addr().expect("address");
        let to = server.local_addr().expect("address").to_string();
        let rules = Arc::new(Rules::new(vec![rule.parse().expect("rule")]));
        let (observer, mut observed) = mpsc::channel(100);
        let cancel = CancellationToken::new();
        let proxy = tokio::spawn(run(ProxyConfig { listen, to, rules }, observer, cancel.clone()));
        let mut client = loop {
            match TcpStream::connect(listen).await {
                Ok(client) => break client,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        let (mut accepted, _) = server.accept().await.expect("accept");
        client.write_all(&bytes).await.expect("send");
        client.shutdown().await.expect("end");
        let mut arrived = Vec::new();
        accepted.read_to_end(&mut arrived).await.expect("receive");
        drop((client, accepted));
        let mut broken = Vec::new();
        let mut ended = 0;
        while ended < 2 {
            match observed.recv().await.expect("observed") {
                Observed::Broken { what, .. } => broken.push(what),
                Observed::Passed { event: StreamEvent::Ended, .. } => ended += 1,
                Observed::Passed { .. } => {}
            }
        }
        cancel.cancel();
        proxy.await.expect("no panic").expect("no error");
        (arrived, broken)
    }

    #[tokio::test]
    async fn frames_are_dropped_corrupted_put_back_and_cut_by_rule() {
        let (ok, keepalive) = (message(3), message(6));
        let all = [&ok[..], &keepalive, &ok].concat();
        let mut corrupted = all.clone();
        corrupted[2 * ok.len() - 1] ^= 1;
        for (rule, expected, told) in [
            ("drop type=KEEPALIVE", [&ok[..], &ok].concat(), "dropped KEEPALIVE"),
            ("corrupt type=KEEPALIVE", corrupted, "corrupted KEEPALIVE"),
            ("reorder times=1", [&keepalive[..], &ok, &ok].concat(), "put behind the next one OK"),
            ("cut type=KEEPALIVE", ok.to_vec(), "cut before KEEPALIVE"),
            ("delay=1ms type=KEEPALIVE", all.clone(), "delayed KEEPALIVE"),
        ] {
            let (arrived, broken) = through(rule, all.clone()).await;
            assert!(arrived == expected, "{rule}: {arrived:02x?}");
            assert_eq!(broken, [told], "{rule}");
        }
    }

    #[tokio::test]
    async fn what_is_no_frame_goes_through_as_it_is() {
        let bytes = b"\x16\x03\x01 a client hello, or anything at all".to_vec();
        assert_eq!(through("drop", bytes.clone()).await, (bytes, vec![]));
    }
}
