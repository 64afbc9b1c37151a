//! `socket.dynamic`: each connection decides by itself whether it is TLS, for groups on their way
//! to or from it (spec 01 §6.5).
//!
//! | role      | waits for the peer's first byte | it came              | it did not          |
//! |-----------|--------------------------------:|----------------------|---------------------|
//! | initiator |                           0.5 s | the greeting: plain  | TLS                 |
//! | acceptor  |                          0.75 s | ClientHello: TLS     | plain, and greets   |
//!
//! Nothing is consumed by the look.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::timeout;

/// How long an initiator waits for a plain acceptor's greeting.
pub const INITIATOR_WAIT: Duration = Duration::from_millis(500);

/// How long an acceptor waits for a ClientHello; longer, so that both waits do not end in a tie.
pub const ACCEPTOR_WAIT: Duration = Duration::from_millis(750);

/// Is the acceptor at the other end one that speaks first, in plain text?
pub async fn greets_plainly(stream: &TcpStream) -> bool {
    has_spoken(stream, INITIATOR_WAIT).await
}

/// Does the initiator at the other end begin with TLS?
pub async fn begins_tls(stream: &TcpStream) -> bool {
    has_spoken(stream, ACCEPTOR_WAIT).await
}

/// An end of the stream counts as silence; whoever goes on finds out soon.
async fn has_spoken(stream: &TcpStream, limit: Duration) -> bool {
    let mut byte = [0];
    matches!(timeout(limit, stream.peek(&mut byte)).await, Ok(Ok(1)))
}
