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
    /// of each link brings, some times over where peers send faster than we read.
    pub(super) async fn read(&mut self, inbox: &mut Vec<(LinkId, LinkEvent)>) {
        poll_fn(|context| self.poll_read(context, inbox)).await;
    }

    fn poll_read(
        &mut self,
        context: &mut Context<'_>,
        inbox: &mut Vec<(LinkId, LinkEvent)>,
    ) -> Poll<()> {
        for (id, link) in &mut self.open {
            let mut tell = |event| inbox.push((*id, event));
            if link.poll_read(context, &mut self.buffer, &mut tell).is_ready() {
                // There may be more, of which nobody will tell us.
                context.waker().wake_by_ref();
            }
        }
        if inbox.is_empty() { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Writes what was sent, as far as the connections take it. What they do not take now goes out
    /// at a later call; the caller's task is woken for it.
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
