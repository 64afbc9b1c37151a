//! All connections to peers: read together, written together.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use galera_protocol::checksum::Checksum;
use galera_protocol::gmcast::LinkId;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::debug;

use super::link::{Link, LinkEvent};
use super::outbox::Full;

/// How long closing links may take to flush once the member has ended.
const END_LIMIT: Duration = Duration::from_secs(6);

/// The links of a member, and those that are being closed.
pub(super) struct Links {
    open: BTreeMap<LinkId, Link>,
    closing: JoinSet<()>,
    checksum: Checksum,
    /// What one read brings, for whichever link reads.
    buffer: BytesMut,
}

impl Links {
    pub(super) fn new(checksum: Checksum) -> Self {
        let (open, closing) = (BTreeMap::new(), JoinSet::new());
        Self { open, closing, checksum, buffer: BytesMut::new() }
    }

    pub(super) fn insert(&mut self, id: LinkId, link: Link) {
        self.open.insert(id, link);
    }

    /// Sends one frame body with the next write; false if there is no such link.
    pub(super) fn send(&mut self, id: LinkId, body: &[u8]) -> Result<bool, Full> {
        match self.open.get_mut(&id) {
            Some(link) => link.send(self.checksum, body).map(|()| true),
            None => Ok(false),
        }
    }

    /// Nothing more is read from this link; what was sent on it is flushed.
    pub(super) fn close(&mut self, id: LinkId) {
        while self.closing.try_join_next().is_some() {}
        if let Some(link) = self.open.remove(&id) {
            debug!(?id, remote = %link.remote, "link closed");
            self.closing.spawn(link.close());
        }
    }

    /// Closes all links and waits until they have flushed.
    pub(super) async fn close_all(mut self) {
        for (_, link) in std::mem::take(&mut self.open) {
            self.closing.spawn(link.close());
        }
        let closed = async { while self.closing.join_next().await.is_some() {} };
        if timeout(END_LIMIT, closed).await.is_err() {
            debug!("links did not flush in time");
        }
    }

    /// Waits until something has come in on any link, and adds all of it to `inbox`: what one read
    /// of each link brings, some times over where peers send faster than we read. Writes meanwhile
    /// what the connections did not take before.
    pub(super) async fn read(&mut self, inbox: &mut Vec<(LinkId, LinkEvent)>) {
        poll_fn(|context| self.poll_read(context, inbox)).await;
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        inbox: &mut Vec<(LinkId, LinkEvent)>,
    ) -> Poll<()> {
        for (id, link) in &mut self.open {
            let _ = link.poll_write(context);
            let mut tell = |event| inbox.push((*id, event));
            if link.poll_read(context, &mut self.buffer, &mut tell).is_ready() {
                // There may be more, of which nobody will tell us.
                context.waker().wake_by_ref();
            }
        }
        if inbox.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Writes what was sent, as far as the connections take it; the rest goes out during
    /// [`Self::read`].
    pub(super) async fn write(&mut self) {
        poll_fn(|context| {
            for link in self.open.values_mut() {
                let _ = link.poll_write(context);
            }
            Poll::Ready(())
        })
        .await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::stream::Stream;
    use galera_protocol::frame;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    /// So much that no socket takes it at once.
    const FRAMES: usize = 1000;
    static BODY: [u8; 30_000] = [7; 30_000];

    async fn connected() -> (Links, LinkId, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
        let address = listener.local_addr().expect("address");
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (theirs, _) = theirs.expect("accept");
        let (mut links, id) = (Links::new(Checksum::Crc32c), LinkId::Dialled(0));
        links.insert(id, Link::new(Stream::Plain(ours.expect("connect")), address));
        (links, id, theirs)
    }

    #[tokio::test]
    async fn what_a_connection_did_not_take_follows_while_we_wait_for_something_to_read() {
        let (mut links, id, mut theirs) = connected().await;
        for _ in 0..FRAMES {
            assert_eq!(links.send(id, &BODY), Ok(true));
        }
        links.write().await;
        let reader = async {
            let mut all = vec![0; FRAMES * (BODY.len() + frame::HEADER_BYTES)];
            theirs.read_exact(&mut all).await.expect("all of it");
            let mut answer = BytesMut::new();
            frame::encode(Checksum::Crc32c, b"enough", &mut answer).expect("a body");
            theirs.write_all(&answer).await.expect("answer");
        };
        let mut inbox = Vec::new();
        let ((), ()) = tokio::join!(links.read(&mut inbox), reader);
        assert!(matches!(&inbox[..], [(_, LinkEvent::Frame(body))] if body == &b"enough"[..]));
    }

    #[tokio::test]
    async fn frames_are_put_together_however_they_arrive_and_the_end_is_told() {
        let (mut links, id, mut theirs) = connected().await;
        let mut bytes = BytesMut::new();
        let bodies: Vec<Vec<u8>> = (1_u8..40).map(|n| vec![n; usize::from(n) * 800]).collect();
        for body in &bodies {
            frame::encode(Checksum::Crc32c, body, &mut bytes).expect("a body");
        }
        let writer = async move {
            for piece in bytes.chunks(1009) {
                theirs.write_all(piece).await.expect("write");
                tokio::task::yield_now().await;
            }
        };
        let reader = async {
            let (mut got, mut inbox) = (Vec::new(), Vec::new());
            loop {
                links.read(&mut inbox).await;
                for (from, event) in inbox.drain(..) {
                    assert_eq!(from, id);
                    match event {
                        LinkEvent::Frame(body) => got.push(body.to_vec()),
                        LinkEvent::Closed(end) => return (got, end),
                    }
                }
            }
        };
        let ((), (got, end)) = tokio::join!(writer, reader);
        assert_eq!(got, bodies);
        assert_eq!(end, galera_protocol::gmcast::LinkEnd::EndOfStream);
    }
}
