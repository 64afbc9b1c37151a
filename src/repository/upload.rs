//! One large object on its way into the store: equal parts, a bounded number of them in flight.

use bytes::Bytes;
use object_store::{MultipartUpload, PutPayload};
use tokio::task::JoinSet;

use super::error::RepositoryError;
use super::store::Store;

/// How an object is cut and sent. Memory is at most `part_bytes × (parts_in_flight + 1)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadConfig {
    /// Size of each part but the last. S3 takes none smaller than 5 MiB and at most 10,000.
    pub part_bytes: usize,
    /// Parts under way at once: more hides latency, and costs memory.
    pub parts_in_flight: usize,
}

impl Default for UploadConfig {
    fn default() -> Self {
        Self { part_bytes: 8 << 20, parts_in_flight: 2 }
    }
}

/// An unfinished object. Without [`Upload::finish`] it never appears; unless aborted, stores may keep its
/// parts for a while.
pub(crate) struct Upload {
    store: Store,
    name: String,
    sent_bytes: u64,
    parts: Box<dyn MultipartUpload>,
    config: UploadConfig,
    pending: Vec<Bytes>,
    pending_bytes: usize,
    in_flight: JoinSet<Result<(), object_store::Error>>,
}

impl Upload {
    pub(super) fn new(
        store: Store,
        name: String,
        parts: Box<dyn MultipartUpload>,
        config: UploadConfig,
    ) -> Self {
        let (pending, in_flight) = (Vec::new(), JoinSet::new());
        Self { store, name, sent_bytes: 0, parts, config, pending, pending_bytes: 0, in_flight }
    }

    /// Appends; waits while too many parts are under way.
    pub(crate) async fn write(&mut self, mut bytes: Bytes) -> Result<(), RepositoryError> {
        self.store.pace(bytes.len()).await;
        while self.pending_bytes + bytes.len() >= self.config.part_bytes {
            let head = bytes.split_to(self.config.part_bytes - self.pending_bytes);
            self.pend(head);
            self.send_part().await?;
        }
        self.pend(bytes);
        Ok(())
    }

    /// Sends the rest and makes the object appear.
    pub(crate) async fn finish(&mut self) -> Result<(), RepositoryError> {
        if self.pending_bytes > 0 {
            self.send_part().await?;
        }
        while !self.in_flight.is_empty() {
            self.settle_one().await?;
        }
        let completed = self.parts.complete().await;
        // The answer may have been lost, or have come from something that stores nothing.
        let is_stored = self.store.check_stored(&self.name, self.sent_bytes).await;
        match (completed, is_stored) {
            (Ok(_), Ok(true)) => Ok(()),
            (Err(_), Ok(true)) if self.store.is_remote() => Ok(()),
            (Ok(_), Ok(false)) => {
                Err(RepositoryError::Lost { object: self.store.full_name(&self.name) })
            }
            (Ok(_), Err(error)) => Err(error),
            (Err(source), _) => Err(self.failed(source)),
        }
    }

    /// Takes back what was sent.
    pub(crate) async fn abort(mut self) {
        self.in_flight.shutdown().await;
        if let Err(error) = self.parts.abort().await {
            tracing::warn!(object = self.name, %error, "cannot abort upload");
        }
    }

    fn pend(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.pending_bytes += bytes.len();
            self.pending.push(bytes);
        }
    }

    async fn send_part(&mut self) -> Result<(), RepositoryError> {
        while self.in_flight.len() >= self.config.parts_in_flight {
            self.settle_one().await?;
        }
        self.sent_bytes += self.pending_bytes as u64;
        self.pending_bytes = 0;
        let part = PutPayload::from_iter(self.pending.drain(..));
        self.in_flight.spawn(self.parts.put_part(part));
        Ok(())
    }

    async fn settle_one(&mut self) -> Result<(), RepositoryError> {
        match self.in_flight.join_next().await {
            None | Some(Ok(Ok(()))) => Ok(()),
            Some(Ok(Err(source))) => Err(self.failed(source)),
            Some(Err(_)) => Err(RepositoryError::WorkerLost),
        }
    }

    fn failed(&self, source: object_store::Error) -> RepositoryError {
        self.store.write_error(&self.name, source)
    }
}
