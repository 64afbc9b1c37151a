//! What waits to be written on a link: bounded in bytes, never blocks the driver.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use galera_protocol::checksum::Checksum;
use galera_protocol::frame::{self, HEADER_BYTES};
use tokio::io::AsyncWrite;
use tracing::error;

/// Most bytes that may wait on one link: what Galera means its own limit to be (spec 01 §7.3).
pub(super) const OUTBOX_BYTES_MAX: usize = 32 * 1024 * 1024;

/// A buffer that has grown beyond this is given back when it is empty.
const KEPT_BYTES_MAX: usize = 256 * 1024;

/// Frames on their way out, as they will be written.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Being written. TLS wants what it has begun to write at the same place until it is done, so
    /// nothing is added here.
    writing: BytesMut,
    waiting: BytesMut,
    has_failed: bool,
}

/// The outbox is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

impl Outbox {
    /// Takes a frame with this body, whole or not at all.
    pub(super) fn push(&mut self, checksum: Checksum, body: &[u8]) -> Result<(), Full> {
        if self.has_failed {
            return Ok(());
        }
        if self.len() + HEADER_BYTES + body.len() > OUTBOX_BYTES_MAX {
            return Err(Full);
        }
        // The core made the body, so one that is no frame is our own mistake.
        if let Err(error) = frame::encode(checksum, body, &mut self.waiting) {
            error!(%error, "own message withheld");
        }
        Ok(())
    }

    /// Bytes that wait.
    fn len(&self) -> usize {
        self.writing.len() + self.waiting.len()
    }

    /// Writes what waits, as far as the stream takes it: everything that came together in one go.
    ///
    /// After an error there is nothing more to be written. Whoever reads finds out as well.
    pub(super) fn poll_write(
        &mut self,
        context: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
    ) -> Poll<io::Result<()>> {
        loop {
            if self.writing.is_empty() {
                if self.waiting.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                std::mem::swap(&mut self.writing, &mut self.waiting);
                self.waiting.clear();
            }
            match ready!(Pin::new(&mut *stream).poll_write(context, &self.writing)) {
                Ok(0) => return Poll::Ready(self.fail(io::ErrorKind::WriteZero.into())),
                Ok(count) => self.writing.advance(count),
                Err(error) => return Poll::Ready(self.fail(error)),
            }
            if self.writing.is_empty() && self.writing.capacity() > KEPT_BYTES_MAX {
                self.writing = BytesMut::new();
            }
        }
    }

    fn fail(&mut self, error: io::Error) -> io::Result<()> {
        *self = Self { has_failed: true, ..Self::default() };
        Err(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;
    use tokio::io::AsyncReadExt;

    #[test]
    fn a_full_outbox_refuses_and_takes_again_once_bytes_have_left() {
        let mut outbox = Outbox::default();
        let body = vec![7; 32_000];
        while outbox.push(Checksum::None, &body).is_ok() {}
        assert!(outbox.len() <= OUTBOX_BYTES_MAX && outbox.len() + 32_008 > OUTBOX_BYTES_MAX);
        let mut context = Context::from_waker(noop_waker_ref());
        let (mut ours, _theirs) = tokio::io::duplex(64 * 1024);
        assert!(outbox.poll_write(&mut context, &mut ours).is_pending());
        assert_eq!(outbox.push(Checksum::None, &body), Ok(()));
    }

    #[tokio::test]
    async fn what_was_pushed_in_the_meantime_follows_in_order() {
        let mut outbox = Outbox::default();
        let (mut ours, mut theirs) = tokio::io::duplex(100);
        let mut expected = BytesMut::new();
        for number in 0..50 {
            let body = [number; 60];
            outbox.push(Checksum::Crc32c, &body).expect("room");
            frame::encode(Checksum::Crc32c, &body, &mut expected).expect("a body");
            let mut context = Context::from_waker(noop_waker_ref());
            let _ = outbox.poll_write(&mut context, &mut ours);
        }
        let writing = std::future::poll_fn(|context| outbox.poll_write(context, &mut ours));
        let mut read = vec![0; expected.len()];
        let (written, got) = tokio::join!(writing, theirs.read_exact(&mut read));
        assert!(written.is_ok() && got.is_ok());
        assert_eq!(read, expected);
    }

    #[test]
    fn after_an_error_nothing_piles_up() {
        let mut outbox = Outbox::default();
        let (mut ours, theirs) = tokio::io::duplex(100);
        drop(theirs);
        outbox.push(Checksum::None, b"x").expect("room");
        let mut context = Context::from_waker(noop_waker_ref());
        assert!(matches!(outbox.poll_write(&mut context, &mut ours), Poll::Ready(Err(_))));
        outbox.push(Checksum::None, b"x").expect("nobody cares");
        assert_eq!(outbox.len(), 0);
    }
}
