//! The way of chunks into the store, and what is there already.
//!
//! A few payloads are under way at once, each in a task; a file's end follows when all of its payloads
//! are confirmed, so a file that has its end is whole whatever happens later.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use galera_protocol::xbstream::EntryPath;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::chunk::{Content, Encoded};
use super::name::{as_object_name, chunk_name};
use super::sums::Md5Sum;
use crate::pipeline::manifest::BackupId;
use crate::repository::error::{Fault, RepositoryError};
use crate::repository::index::ENTRIES_MAX;
use crate::repository::object_name;
use crate::repository::store::Store;
use crate::repository::writer::Failure;
use crate::sink::SinkError;

/// Files whose end waits for their payloads; each is a task and a request of a few bytes.
const ENDINGS_MAX: u32 = 32;

/// Puts chunks; shared by the sink and its files.
#[derive(Debug)]
pub(super) struct Puts {
    store: Store,
    id: BackupId,
    shelf: Mutex<Shelf>,
    payloads: Arc<Semaphore>,
    payloads_max: u32,
    endings: Arc<Semaphore>,
    failure: Failure,
    stop: CancellationToken,
    /// Bytes that wait in files for their chunk.
    pub(super) pending_bytes: AtomicUsize,
}

/// A chunk in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) bytes: u64,
    pub(super) sum: Md5Sum,
}

/// The files in the store and their chunks by number; not all of an open file's are there.
#[derive(Debug, Default)]
struct Shelf {
    files: BTreeMap<EntryPath, Vec<Option<Stored>>>,
    chunks: u64,
}

/// A place in the queue of payloads.
pub(super) type Turn = OwnedSemaphorePermit;

impl Puts {
    pub(super) fn new(store: Store, id: BackupId, in_flight: usize) -> Arc<Self> {
        let payloads_max = u32::try_from(in_flight).unwrap_or(u32::MAX).clamp(1, 1 << 10);
        Arc::new(Self {
            store,
            id,
            shelf: Mutex::default(),
            payloads: Arc::new(Semaphore::new(payloads_max as usize)),
            payloads_max,
            endings: Arc::new(Semaphore::new(ENDINGS_MAX as usize)),
            failure: Failure::default(),
            stop: CancellationToken::new(),
            pending_bytes: AtomicUsize::new(0),
        })
    }

    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    pub(super) const fn id(&self) -> &BackupId {
        &self.id
    }

    /// Begins to follow a file; true if one of that name was here.
    pub(super) fn open(&self, path: &EntryPath) -> bool {
        self.shelf().files.insert(path.clone(), Vec::new()).is_some()
    }

    pub(super) fn knows(&self, path: &EntryPath) -> bool {
        self.shelf().files.contains_key(path)
    }

    /// Waits until another payload may be sent.
    pub(super) async fn turn(&self) -> Result<Turn, SinkError> {
        let turn = Arc::clone(&self.payloads).acquire_owned().await;
        if self.failure.is_set() {
            return Err(self.failed());
        }
        turn.map_err(|_| self.failed())
    }

    /// Waits until another file may wait for its end.
    pub(super) async fn ending(&self) -> Result<Turn, SinkError> {
        let turn = Arc::clone(&self.endings).acquire_owned().await;
        if self.failure.is_set() {
            return Err(self.failed());
        }
        turn.map_err(|_| self.failed())
    }

    /// Encodes and stores a chunk; a failure is kept for whoever comes next.
    pub(super) async fn put(self: Arc<Self>, path: EntryPath, index: u64, content: Content) {
        let encoded = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || Encoded::new(&path, content)).await
        };
        let put = async {
            let encoded = encoded.map_err(|_| RepositoryError::WorkerLost)?;
            self.put_encoded(&path, index, &encoded).await
        };
        if let Err(error) = put.await {
            self.failure.set(error);
        }
    }

    /// Stores a file's end, if nothing has failed.
    pub(super) async fn put_end(self: Arc<Self>, path: EntryPath, index: u64) {
        if !self.failure.is_set() {
            self.put(path, index, Content::End).await;
        }
    }

    async fn put_encoded(
        &self,
        path: &EntryPath,
        index: u64,
        chunk: &Encoded,
    ) -> Result<(), RepositoryError> {
        let name = self.object(path, index)?;
        let put = self.stop.run_until_cancelled(self.store.put(&name, &chunk.pieces)).await;
        put.unwrap_or(Err(RepositoryError::WorkerLost))?;
        self.shelf().add(path, index, Stored { bytes: chunk.bytes, sum: chunk.sum })
    }

    fn object(&self, path: &EntryPath, index: u64) -> Result<String, RepositoryError> {
        let name =
            as_object_name(path).ok_or_else(|| RepositoryError::Name { name: path.to_string() })?;
        Ok(object_name(&self.id, &chunk_name(name, index)))
    }

    /// Waits until every finished file has its end.
    pub(super) async fn settle(&self) -> Result<(), SinkError> {
        let all = self.endings.acquire_many(ENDINGS_MAX).await;
        if self.failure.is_set() {
            return Err(self.failed());
        }
        all.map(drop).map_err(|_| self.failed())
    }

    /// Nothing is stored from now on; waits for what is under way.
    pub(super) async fn stop(&self) {
        self.stop.cancel();
        // An error would mean that this was done before.
        drop(self.endings.acquire_many(ENDINGS_MAX).await.map(SemaphorePermit::forget));
        drop(self.payloads.acquire_many(self.payloads_max).await.map(SemaphorePermit::forget));
        self.endings.close();
        self.payloads.close();
    }

    /// Removes a file that is in the store.
    pub(super) async fn remove(&self, path: &EntryPath) -> Result<(), SinkError> {
        let Some(chunks) = self.shelf().take(path) else { return Ok(()) };
        let removed = async {
            let names = (0..chunks.len() as u64).map(|index| self.object(path, index));
            let names: Vec<String> = names.collect::<Result<_, _>>()?;
            self.store.delete_all(names.into_iter()).await
        };
        removed.await.map_err(|error| self.error(path, error))
    }

    /// Gives a file that is in the store another name, which stands in each of its chunks.
    pub(super) async fn rename(&self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        let count = self.shelf().files.get(from).map(|chunks| chunks.len() as u64);
        let Some(count) = count else { return Ok(()) };
        self.open(to);
        for index in 0..count {
            let moved = self.copy_chunk(from, to, index).await;
            moved.map_err(|error| self.error(to, error))?;
        }
        self.remove(from).await
    }

    async fn copy_chunk(
        &self,
        from: &EntryPath,
        to: &EntryPath,
        index: u64,
    ) -> Result<(), RepositoryError> {
        let name = self.object(from, index)?;
        let damaged = || RepositoryError::damaged(&*name, Fault::Chunk);
        let chunk = self.store.read(&name).await?.ok_or_else(damaged)?;
        let renamed = Encoded::renamed(&chunk, to).ok_or_else(damaged)?;
        self.put_encoded(to, index, &renamed).await
    }

    /// The files and their chunks, all of which must be there.
    pub(super) fn stored(&self) -> Result<BTreeMap<EntryPath, Vec<Stored>>, RepositoryError> {
        let shelf = self.shelf();
        let whole = shelf.files.iter().map(|(path, chunks)| {
            let chunks: Option<Vec<Stored>> = chunks.iter().copied().collect();
            let chunks = chunks.filter(|chunks| !chunks.is_empty());
            let unfinished = || RepositoryError::Unfinished { path: path.to_string() };
            Ok((path.clone(), chunks.ok_or_else(unfinished)?))
        });
        whole.collect()
    }

    pub(super) fn count_pending(&self, before: usize, now: usize) {
        if now >= before {
            self.pending_bytes.fetch_add(now - before, Ordering::Relaxed);
        } else {
            self.pending_bytes.fetch_sub(before - now, Ordering::Relaxed);
        }
    }

    pub(super) fn failed(&self) -> SinkError {
        self.failure.at(self.store.url())
    }

    pub(super) fn error(&self, path: &EntryPath, error: RepositoryError) -> SinkError {
        let target = self.store.full_name(&format!("{}/{path}", self.id));
        SinkError::Write { target, source: std::io::Error::other(error) }
    }

    /// The lock only keeps threads apart; a shelf is whole after every call.
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelf {
    fn add(&mut self, path: &EntryPath, index: u64, stored: Stored) -> Result<(), RepositoryError> {
        self.chunks += 1;
        if self.chunks > ENTRIES_MAX {
            return Err(RepositoryError::Limit { what: "chunks in a backup", limit: ENTRIES_MAX });
        }
        let chunks = self.files.entry(path.clone()).or_default();
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if chunks.len() <= index {
            chunks.resize(index.saturating_add(1), None);
        }
        chunks[index] = Some(stored);
        Ok(())
    }

    fn take(&mut self, path: &EntryPath) -> Option<Vec<Option<Stored>>> {
        let chunks = self.files.remove(path)?;
        self.chunks = self.chunks.saturating_sub(chunks.len() as u64);
        Some(chunks)
    }
}
