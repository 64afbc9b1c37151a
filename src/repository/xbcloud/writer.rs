//! Writes a backup chunk by chunk: the sink of layout `xbcloud`.
//!
//! ```text
//! create started ─► chunks … ─► the file that says "complete" ─► first stream, sums ─► manifest
//! ```
//!
//! Memory is what waits in open files for its chunk, all together at most `pending_bytes_max`, and the
//! chunks under way; what grows is a list of the chunks, 32 bytes each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use galera_protocol::xbstream::{ClosingFile, EntryPath};
use tokio_util::task::TaskTracker;

use super::LAYOUT;
use super::chunk::{Content, Encoded};
use super::listing::Listing;
use super::name::{as_object_name, chunk_name, first_stream_name, sums_name};
use super::pending::Pending;
use super::puts::{Puts, Stored};
use super::sums::{Md5Sum, lines};
use crate::pipeline::manifest::{
    BackupId, Digest, Manifest, SinkSeen, Storage, StoredObject, Witness,
};
use crate::repository::error::{Fault, RepositoryError};
use crate::repository::store::{Store, StoreOptions};
use crate::repository::upload::UploadConfig;
use crate::repository::url::RepositoryUrl;
use crate::repository::writer::{begin, clear_started, write_error};
use crate::repository::{MANIFEST_NAME, object_name};
use crate::sink::{Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile};

/// How chunks are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChunkConfig {
    /// Bytes of a chunk; what Percona's tools write.
    pub chunk_bytes: usize,
    /// Bytes that wait in open files for their chunk, all together; above it, chunks are shorter.
    pub pending_bytes_max: usize,
    /// Chunks under way at once.
    pub chunks_in_flight: usize,
    /// How objects larger than a chunk are sent.
    pub upload: UploadConfig,
    /// How to reach an object store.
    pub store: StoreOptions,
}

impl Default for ChunkConfig {
    fn default() -> Self {
        Self {
            chunk_bytes: 10 << 20,
            pending_bytes_max: 32 << 20,
            chunks_in_flight: 4,
            upload: UploadConfig::default(),
            store: StoreOptions::default(),
        }
    }
}

/// Files that are held back until the end: by them `xbcloud` knows a complete backup.
const HELD_BACK_MAX: usize = 4;

/// Longest hole of one chunk: readers limit what a chunk may stand for.
const HOLE_BYTES_MAX: u32 = 1 << 30;

/// The sink that writes one backup in layout `xbcloud`.
#[derive(Debug)]
pub struct ChunkedSink {
    puts: Arc<Puts>,
    config: ChunkConfig,
    held_back: Arc<HeldBack>,
}

/// Small files whose chunks are put last.
#[derive(Debug, Default)]
struct HeldBack(std::sync::Mutex<BTreeMap<EntryPath, Option<Bytes>>>);

/// One open file of a [`ChunkedSink`].
#[derive(Debug)]
pub struct ChunkedFile {
    path: EntryPath,
    puts: Arc<Puts>,
    pending: Pending,
    pending_bytes_max: usize,
    next_index: u64,
    under_way: TaskTracker,
    held_back: Option<Arc<HeldBack>>,
}

impl ChunkedSink {
    /// Makes a place for the backup `id`. Nothing is visible before commit.
    pub async fn create(
        url: &RepositoryUrl,
        id: BackupId,
        config: ChunkConfig,
    ) -> Result<Self, SinkError> {
        Ok(Self::start(begin(url, &config.store, &id).await?, id, config))
    }

    fn start(store: Store, id: BackupId, config: ChunkConfig) -> Self {
        let puts = Puts::new(store, id, config.chunks_in_flight);
        Self { puts, config, held_back: Arc::default() }
    }

    /// A file that is no more, in the store or held back.
    async fn forget(&self, path: &EntryPath) -> Result<(), SinkError> {
        self.held_back.take(path);
        if self.puts.knows(path) {
            self.puts.settle().await?;
            self.puts.remove(path).await?;
        }
        Ok(())
    }

    async fn publish(&self, manifest: Manifest) -> Result<u64, SinkError> {
        self.puts.settle().await?;
        self.put_held_back().await?;
        let published = async {
            let stored = self.puts.stored()?;
            self.check_stored(&stored).await?;
            self.put_first_stream(&manifest).await?;
            let sums = self.put_sums(&stored).await?;
            self.put_manifest(manifest, &stored, sums).await
        };
        published.await.map_err(|error| write_error(self.puts.store().url(), error))
    }

    async fn put_held_back(&self) -> Result<(), SinkError> {
        for (path, bytes) in self.held_back.take_all() {
            let Some(bytes) = bytes else {
                let error = RepositoryError::Unfinished { path: path.to_string() };
                return Err(self.puts.error(&path, error));
            };
            let mut index = 0;
            if !bytes.is_empty() {
                Arc::clone(&self.puts)
                    .put(path.clone(), 0, Content::Data { offset: 0, bytes })
                    .await;
                index += 1;
            }
            Arc::clone(&self.puts).put_end(path, index).await;
        }
        self.puts.settle().await
    }

    /// An object store is asked what it has: an answer may have been untrue.
    async fn check_stored(&self, stored: &Files) -> Result<(), RepositoryError> {
        let (store, id) = (self.puts.store(), self.puts.id());
        let listing = Listing::read(store, id).await?;
        for (path, chunks) in stored {
            let sizes = chunks.iter().map(|chunk| chunk.bytes);
            let found = listing.file(path);
            if !found.is_some_and(|file| file.chunks.iter().copied().eq(sizes)) {
                let object = store.full_name(&object_name(id, &path.to_string()));
                return Err(RepositoryError::Lost { object });
            }
        }
        if listing.files.len() != stored.len() {
            let object = store.full_name(id.as_str());
            return Err(RepositoryError::damaged(object, Fault::Listed));
        }
        Ok(())
    }

    /// As much of the donor's first stream as Percona's operator reads back; its transition key is a
    /// secret and not ours to store.
    async fn put_first_stream(&self, manifest: &Manifest) -> Result<(), RepositoryError> {
        const FILE: &str = "sst_info";
        let state = &manifest.state;
        let version = manifest.versions.server.as_deref().unwrap_or_default();
        let text = format!(
            "[sst]\ngalera-gtid={}:{}\nbinlog-name=\nmysql-version={version}\n",
            state.uuid, state.seqno_at_least
        );
        let Ok(path) = EntryPath::parse(FILE.as_bytes()) else { return Ok(()) };
        let data = Content::Data { offset: 0, bytes: text.into() };
        for (index, content) in (0..).zip([data, Content::End]) {
            let chunk = Encoded::new(&path, content);
            let name = format!("{}/{}", first_stream_name(self.puts.id()), chunk_name(FILE, index));
            self.puts.store().put(&name, &chunk.pieces).await?;
        }
        Ok(())
    }

    /// The list of sums; many chunks make it large.
    async fn put_sums(&self, stored: &Files) -> Result<StoredObject, RepositoryError> {
        let name = sums_name(self.puts.id());
        let mut upload = self.puts.store().upload(&name, self.config.upload).await?;
        let (mut hasher, mut bytes) = (blake3::Hasher::new(), 0);
        let written = async {
            for (path, chunks) in stored {
                let sums: Vec<Md5Sum> = chunks.iter().map(|chunk| chunk.sum).collect();
                let lines = Bytes::from(lines(as_object_name(path).unwrap_or_default(), &sums));
                hasher.update(&lines);
                bytes += lines.len() as u64;
                upload.write(lines).await?;
            }
            upload.finish().await
        };
        if let Err(error) = written.await {
            upload.abort().await;
            return Err(error);
        }
        // A beginning whose answer was lost was begun again; nobody else would end the first.
        self.puts.store().end_uploads(self.puts.id().as_str()).await?;
        Ok(StoredObject { name, bytes, blake3: Digest::from(hasher.finalize()) })
    }

    async fn put_manifest(
        &self,
        mut manifest: Manifest,
        stored: &Files,
        sums: StoredObject,
    ) -> Result<u64, RepositoryError> {
        let chunks = stored.values().flatten();
        let (packs, pack_bytes) = chunks.fold((0, 0), |sum, it| (sum.0 + 1, sum.1 + it.bytes));
        let stored_bytes = pack_bytes + sums.bytes;
        let seen = SinkSeen { objects: packs + 1, bytes: stored_bytes };
        manifest.backup_id = self.puts.id().clone();
        manifest.witnesses.sink = Some(Witness { holds: true, seen });
        manifest.totals.files = stored.len() as u64;
        manifest.totals.stored_bytes = stored_bytes;
        manifest.times.stored = Some(jiff::Timestamp::now());
        manifest.storage = Some(Storage {
            layout: LAYOUT.into(),
            packs,
            pack_bytes,
            index: sums,
            files: None,
            encryption: None,
        });
        let name = object_name(self.puts.id(), MANIFEST_NAME);
        let json = manifest
            .encode()
            .map_err(|source| RepositoryError::Encode { object: name.clone(), source })?;
        self.puts.store().put_new(&name, json).await?;
        Ok(stored_bytes)
    }
}

type Files = BTreeMap<EntryPath, Vec<Stored>>;

impl Sink for ChunkedSink {
    type File = ChunkedFile;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    async fn create(&mut self, entry: &Entry) -> Result<ChunkedFile, SinkError> {
        if as_object_name(&entry.path).is_none() {
            let error = RepositoryError::Name { name: entry.path.to_string() };
            return Err(self.puts.error(&entry.path, error));
        }
        self.forget(&entry.path).await?;
        let held_back = self.held_back.claim(&entry.path).then(|| Arc::clone(&self.held_back));
        if held_back.is_none() {
            self.puts.open(&entry.path);
        }
        Ok(ChunkedFile {
            path: entry.path.clone(),
            puts: Arc::clone(&self.puts),
            pending: Pending::new(self.config.chunk_bytes.max(1)),
            pending_bytes_max: self.config.pending_bytes_max,
            next_index: 0,
            under_way: TaskTracker::new(),
            held_back,
        })
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        let held_back = self.held_back.take(from).flatten();
        if held_back.is_none() && !self.puts.knows(from) {
            return Ok(());
        }
        if as_object_name(to).is_none() {
            return Err(self.puts.error(to, RepositoryError::Name { name: to.to_string() }));
        }
        self.forget(to).await?;
        match held_back {
            Some(bytes) => self.held_back.hold(to, bytes),
            None => {
                self.puts.settle().await?;
                self.puts.rename(from, to).await?;
            }
        }
        Ok(())
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        self.forget(path).await
    }

    async fn commit(self, manifest: Manifest) -> Result<Receipt, SinkError> {
        let location = format!("{}/{}", self.puts.store().url(), self.puts.id());
        match self.publish(manifest).await {
            Ok(stored_bytes) => {
                clear_started(self.puts.store(), self.puts.id()).await;
                Ok(Receipt::new(location, stored_bytes))
            }
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn abort(self) {
        self.puts.stop().await;
        let id = self.puts.id();
        if let Err(error) = self.puts.store().delete_backup(id).await {
            tracing::warn!(%id, %error, "cannot remove what an aborted backup left");
        }
    }
}

impl ChunkedFile {
    async fn flush(&mut self) -> Result<(), SinkError> {
        if let Some(held_back) = self.held_back.take() {
            // Too large for that after all.
            held_back.take(&self.path);
            self.puts.open(&self.path);
        }
        let before = self.pending.len();
        for content in self.pending.flush() {
            self.send(content).await?;
        }
        self.puts.count_pending(before, self.pending.len());
        Ok(())
    }

    async fn send(&mut self, content: Content) -> Result<(), SinkError> {
        let turn = self.puts.turn().await?;
        let put = Arc::clone(&self.puts).put(self.path.clone(), self.next_index, content);
        self.next_index += 1;
        self.under_way.spawn(async move {
            put.await;
            drop(turn);
        });
        Ok(())
    }

    async fn data(&mut self, mut bytes: Bytes) -> Result<(), SinkError> {
        while !bytes.is_empty() {
            let before = self.pending.len();
            self.pending.write(&mut bytes);
            self.puts.count_pending(before, self.pending.len());
            let is_over = self.puts.pending_bytes.load(Ordering::Relaxed) > self.pending_bytes_max;
            if !bytes.is_empty() || (is_over && self.held_back.is_none()) {
                self.flush().await?;
            }
        }
        Ok(())
    }

    async fn hole(&mut self, length: u64) -> Result<(), SinkError> {
        self.flush().await?;
        let mut left = length;
        while left > 0 {
            let length = u32::try_from(left).unwrap_or(HOLE_BYTES_MAX).min(HOLE_BYTES_MAX);
            let offset = self.pending.offset();
            self.send(Content::Hole { offset, length }).await?;
            self.pending.restart(offset.saturating_add(u64::from(length)));
            left -= u64::from(length);
        }
        Ok(())
    }

    async fn seek(&mut self, offset: u64) -> Result<(), SinkError> {
        if self.pending.seek(offset) {
            return Ok(());
        }
        self.flush().await?;
        self.send(Content::Seek { offset }).await?;
        self.pending.restart(offset);
        Ok(())
    }
}

impl SinkFile for ChunkedFile {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        match piece {
            Piece::Data(bytes) => self.data(bytes).await,
            Piece::Hole(length) => self.hole(length).await,
            Piece::Seek(offset) => self.seek(offset).await,
        }
    }

    async fn finish(mut self) -> Result<(), SinkError> {
        if let Some(held_back) = self.held_back.take() {
            let bytes = self.pending.take();
            self.puts.count_pending(bytes.len(), 0);
            held_back.hold(&self.path, bytes);
            return Ok(());
        }
        let before = self.pending.len();
        if let Some(content) = self.pending.last() {
            self.send(content).await?;
        }
        self.puts.count_pending(before, 0);
        let turn = self.puts.ending().await?;
        self.under_way.close();
        let (puts, path, index) = (Arc::clone(&self.puts), self.path.clone(), self.next_index);
        tokio::spawn(async move {
            self.under_way.wait().await;
            puts.put_end(path, index).await;
            drop(turn);
        });
        Ok(())
    }
}

impl HeldBack {
    /// Whether a file is one to hold back.
    fn claim(&self, path: &EntryPath) -> bool {
        let kind = ClosingFile::from_path(path);
        let is_telling = matches!(kind, Some(ClosingFile::Info | ClosingFile::Tablespaces));
        let mut files = self.lock();
        let is_claimed = is_telling && files.len() < HELD_BACK_MAX;
        if is_claimed {
            files.insert(path.clone(), None);
        }
        is_claimed
    }

    fn hold(&self, path: &EntryPath, bytes: Bytes) {
        self.lock().insert(path.clone(), Some(bytes));
    }

    /// Outer none: there is no such file; inner: it is open.
    fn take(&self, path: &EntryPath) -> Option<Option<Bytes>> {
        self.lock().remove(path)
    }

    fn take_all(&self) -> BTreeMap<EntryPath, Option<Bytes>> {
        core::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<EntryPath, Option<Bytes>>> {
        self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
