//! A link's send queue: bounded in bytes, never blocks the driver.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// Most bytes that may wait on one link: what Galera means its own limit to be (spec 01 §7.3).
pub(super) const QUEUE_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Most frames that may wait on one link; small frames must not cost memory without bound either.
pub(super) const QUEUE_FRAMES_MAX: usize = 64 * 1024;

/// A frame body on its way to the writer; its bytes count until it is dropped.
pub(super) struct Queued {
    pub(super) body: Bytes,
    _bytes: OwnedSemaphorePermit,
}

/// The driver's end.
pub(super) struct SendQueue {
    frames: mpsc::Sender<Queued>,
    bytes: Arc<Semaphore>,
}

/// The queue is full, or its link is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full;

/// Makes a queue; the receiver belongs to the link's writer task.
pub(super) fn send_queue() -> (SendQueue, mpsc::Receiver<Queued>) {
    let (frames, receiver) = mpsc::channel(QUEUE_FRAMES_MAX);
    (SendQueue { frames, bytes: Arc::new(Semaphore::new(QUEUE_BYTES_MAX)) }, receiver)
}

impl SendQueue {
    /// Queues a frame body, whole or not at all.
    pub(super) fn push(&self, body: Bytes) -> Result<(), Full> {
        let length = u32::try_from(body.len()).map_err(|_| Full)?;
        let permit = Arc::clone(&self.bytes).try_acquire_many_owned(length).map_err(|_| Full)?;
        self.frames.try_send(Queued { body, _bytes: permit }).map_err(|_| Full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_refuses_and_takes_again_once_bytes_have_left() {
        let (queue, mut frames) = send_queue();
        let large = Bytes::from(vec![0; QUEUE_BYTES_MAX]);
        assert_eq!(queue.push(large.clone()), Ok(()));
        assert_eq!(queue.push(Bytes::from_static(b"x")), Err(Full));
        let first = frames.recv().await.expect("queued");
        assert_eq!(first.body.len(), large.len());
        drop(first);
        assert_eq!(queue.push(Bytes::from_static(b"x")), Ok(()));
    }
}
