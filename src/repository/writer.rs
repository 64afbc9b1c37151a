//! Writes one backup into a repository: the sink of layout `packs`.
//!
//! ```text
//! PackFile ─┐                                ┌ worker ┐
//! PackFile ─┼─ commands ─► assembler ─ block ┼ worker ┼─ frames, in order ─► appender ─► store
//! PackSink ─┘   (bounded)  hash, index       └ worker ┘   zstd, hash         pack, hash
//! ```
//!
//! Files interleave, so they share one block: each piece is appended to it as it comes, and the index
//! remembers where. Memory therefore does not depend on how many files are open: it is the current
//! block, three blocks and frames in each worker's lane, and the parts under way to the store; with the
//! defaults and four workers below 45 MiB. What grows is the index, about 100 bytes a file and 24
//! an extent.

mod appender;
mod assembler;

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::appender::Appender;
use self::assembler::Assembler;
use super::error::RepositoryError;
use super::index::FileRecord;
use super::seal::Recipients;
use super::store::{Store, StoreOptions};
use super::upload::UploadConfig;
use super::url::RepositoryUrl;
use super::{
    FILES_NAME, INDEX_NAME, LAYOUT, MANIFEST_NAME, STARTED_NAME, compress, index, object_name,
};
use crate::pipeline::manifest::{
    BackupId, Digest, ENCRYPTED_FORMAT_VERSION, Encryption, Manifest, SinkSeen, Storage,
    StoredObject, Witness,
};
use crate::sink::{Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile};

/// How packs are made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackConfig {
    /// Bytes of a block before compression, at most 16 MiB. A file's part is read by decompressing
    /// whole blocks; larger ones compress little better.
    pub block_bytes: usize,
    /// A pack ends with the block that makes it this large.
    pub pack_bytes: u64,
    /// zstd level. 1 for the fastest, above 9 only on idle machines.
    pub compression_level: i32,
    /// Threads that compress.
    pub workers: usize,
    /// How objects are sent.
    pub upload: UploadConfig,
    /// Whom to encrypt for; nobody: not encrypted.
    pub recipients: Recipients,
    /// How to reach an object store.
    pub store: StoreOptions,
}

impl Default for PackConfig {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(4);
        Self {
            block_bytes: 1 << 20,
            pack_bytes: 512 << 20,
            compression_level: 3,
            workers,
            upload: UploadConfig::default(),
            recipients: Recipients::default(),
            store: StoreOptions::default(),
        }
    }
}

/// The sink that writes one backup into a repository.
#[derive(Debug)]
pub struct PackSink {
    store: Store,
    id: BackupId,
    config: PackConfig,
    commands: mpsc::Sender<Command>,
    failure: Failure,
    assembler: JoinHandle<()>,
    appender: JoinHandle<()>,
    next_file: u64,
    /// Ends what the appender waits for.
    stop: CancellationToken,
}

/// One open file of a [`PackSink`].
#[derive(Debug)]
pub struct PackFile {
    file: FileId,
    target: String,
    commands: mpsc::Sender<Command>,
    failure: Failure,
}

/// Commands that wait for the assembler. Each may hold a piece of the stream.
const COMMANDS_WAITING_MAX: usize = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct FileId(u64);

#[derive(Debug)]
enum Command {
    Create(FileId, EntryPath),
    Write(FileId, Piece),
    Finish(FileId),
    Rename(EntryPath, EntryPath),
    Remove(EntryPath),
    Commit(oneshot::Sender<Committed>),
    Stop,
}

/// What the assembler and the appender made of the backup.
#[derive(Debug)]
struct Committed {
    files: Vec<FileRecord>,
    packs: Vec<index::PackRecord>,
    data_bytes: u64,
}

/// What was written beside the packs.
struct Stored {
    index: StoredObject,
    files: Option<StoredObject>,
}

/// Why the workers stopped: whoever fails writes it down before hanging up.
#[derive(Clone, Debug, Default)]
pub(super) struct Failure(Arc<OnceLock<Arc<RepositoryError>>>);

impl Failure {
    pub(super) fn is_set(&self) -> bool {
        self.0.get().is_some()
    }

    pub(super) fn set(&self, error: RepositoryError) {
        tracing::debug!(%error, "packs cannot be written");
        // The first cause is the one worth telling; later ones follow from it.
        drop(self.0.set(Arc::new(error)));
    }

    pub(super) fn at(&self, target: &str) -> SinkError {
        let cause = self.0.get().cloned().unwrap_or_else(|| Arc::new(RepositoryError::WorkerLost));
        SinkError::Write { target: target.to_owned(), source: std::io::Error::other(cause) }
    }
}

impl PackSink {
    /// Makes a place for the backup `id` and starts the workers. Nothing is visible before commit.
    ///
    /// Proves that the repository can be written to, so that no donor is disturbed for nothing.
    pub async fn create(
        url: &RepositoryUrl,
        id: BackupId,
        config: PackConfig,
    ) -> Result<Self, SinkError> {
        Ok(Self::start(begin(url, &config.store, &id).await?, id, config))
    }

    fn start(store: Store, id: BackupId, config: PackConfig) -> Self {
        let failure = Failure::default();
        let (commands, queue) = mpsc::channel(COMMANDS_WAITING_MAX);
        let (blocks, frames) = super::lanes::start(config.workers, || {
            compress::worker(config.compression_level, config.recipients.clone())
        });
        let (packs, packs_made) = oneshot::channel();
        let stop = CancellationToken::new();
        let mut appender = Appender::new(store.clone(), &id, &config, frames, packs, stop.clone());
        let appender = spawn(failure.clone(), move || appender.run());
        let mut assembler = Assembler::new(queue, blocks, config.block_bytes, packs_made);
        let assembler = spawn(failure.clone(), move || assembler.run());
        Self { store, id, config, commands, failure, assembler, appender, next_file: 0, stop }
    }

    async fn send(&self, command: Command) -> Result<(), SinkError> {
        self.commands.send(command).await.map_err(|_| self.failure.at(self.store.url()))
    }

    /// Waits until all packs are stored.
    async fn gather(&self) -> Result<Committed, SinkError> {
        let (reply, committed) = oneshot::channel();
        self.send(Command::Commit(reply)).await?;
        committed.await.map_err(|_| self.failure.at(self.store.url()))
    }

    /// Writes the index; of an encrypted backup it has no files, which stand in an object of their own.
    async fn write_index(&self, made: &Committed) -> Result<Stored, RepositoryError> {
        let recipients = &self.config.recipients;
        if recipients.is_empty() {
            let bytes = self.encode(&made.packs, &made.files)?;
            return Ok(Stored { index: self.write_object(INDEX_NAME, bytes).await?, files: None });
        }
        let index = self.write_object(INDEX_NAME, self.encode(&made.packs, &[])?).await?;
        let files = recipients.seal(self.encode(&[], &made.files)?);
        let files = files.map_err(RepositoryError::Compress)?;
        Ok(Stored { index, files: Some(self.write_object(FILES_NAME, files).await?) })
    }

    fn encode(
        &self,
        packs: &[index::PackRecord],
        files: &[FileRecord],
    ) -> Result<Vec<u8>, RepositoryError> {
        index::encode(&self.id, packs, files.iter()).map_err(RepositoryError::Compress)
    }

    async fn write_object(
        &self,
        object: &str,
        bytes: Vec<u8>,
    ) -> Result<StoredObject, RepositoryError> {
        let blake3 = Digest::of(&bytes);
        let stored = StoredObject { name: object.into(), bytes: bytes.len() as u64, blake3 };
        let name = object_name(&self.id, object);
        let mut upload = self.store.upload(&name, self.config.upload).await?;
        let written = async {
            upload.write(Bytes::from(bytes)).await?;
            upload.finish().await
        };
        match written.await {
            Ok(()) => Ok(stored),
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }

    async fn write_manifest(
        &self,
        mut manifest: Manifest,
        made: &Committed,
        Stored { index, files }: Stored,
    ) -> Result<u64, RepositoryError> {
        let storage = Storage {
            layout: LAYOUT.into(),
            packs: made.packs.len() as u64,
            pack_bytes: made.packs.iter().map(|pack| pack.bytes).sum(),
            index,
            files,
            encryption: self.encryption(),
        };
        let of_files = storage.files.as_ref().map_or(0, |files| files.bytes);
        let stored_bytes = storage.pack_bytes + storage.index.bytes + of_files;
        let objects = storage.packs + 1 + u64::from(storage.files.is_some());
        let seen = SinkSeen { objects, bytes: stored_bytes };
        if storage.encryption.is_some() {
            manifest.format_version = manifest.format_version.max(ENCRYPTED_FORMAT_VERSION);
        }
        manifest.backup_id = self.id.clone();
        manifest.witnesses.sink = Some(Witness { holds: true, seen });
        manifest.totals.files = made.files.len() as u64;
        manifest.totals.file_bytes = made.files.iter().map(|file| file.bytes).sum();
        manifest.totals.data_bytes = made.data_bytes;
        manifest.totals.stored_bytes = stored_bytes;
        manifest.times.stored = Some(jiff::Timestamp::now());
        manifest.storage = Some(storage);
        let name = object_name(&self.id, MANIFEST_NAME);
        let json = manifest
            .encode()
            .map_err(|source| RepositoryError::Encode { object: name.clone(), source })?;
        self.store.put_new(&name, json).await?;
        Ok(stored_bytes)
    }

    fn encryption(&self) -> Option<Encryption> {
        let recipients = &self.config.recipients;
        let age_recipients = || recipients.names();
        (!recipients.is_empty()).then(|| Encryption { age_recipients: age_recipients() })
    }

    /// An upload whose beginning was not answered was begun again; nobody else would end the first.
    async fn end_lost_uploads(&self) {
        if let Err(error) = self.store.end_uploads(self.id.as_str()).await {
            tracing::warn!(id = %self.id, %error, "unfinished uploads may be left; prune ends them");
        }
    }

    async fn publish(&self, manifest: Manifest) -> Result<u64, SinkError> {
        let made = self.gather().await?;
        let written = async {
            let index = self.write_index(&made).await?;
            self.end_lost_uploads().await;
            self.write_manifest(manifest, &made, index).await
        };
        written.await.map_err(|error| write_error(self.store.url(), error))
    }

    /// Stops the workers and waits for them, so that nothing is written afterwards.
    async fn stop(self) -> (Store, BackupId) {
        self.stop.cancel();
        // Open files hold the channel open, so hanging up would not be enough. An error means that
        // the assembler has ended.
        drop(self.commands.send(Command::Stop).await);
        drop(self.assembler.await);
        drop(self.appender.await);
        (self.store, self.id)
    }
}

impl Sink for PackSink {
    type File = PackFile;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    async fn create(&mut self, entry: &Entry) -> Result<PackFile, SinkError> {
        let file = FileId(self.next_file);
        self.next_file += 1;
        self.send(Command::Create(file, entry.path.clone())).await?;
        Ok(PackFile {
            file,
            target: entry.path.to_string(),
            commands: self.commands.clone(),
            failure: self.failure.clone(),
        })
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        self.send(Command::Rename(from.clone(), to.clone())).await
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        self.send(Command::Remove(path.clone())).await
    }

    async fn commit(self, manifest: Manifest) -> Result<Receipt, SinkError> {
        let location = format!("{}/{}", self.store.url(), self.id);
        match self.publish(manifest).await {
            Ok(stored_bytes) => {
                let (store, id) = self.stop().await;
                clear_started(&store, &id).await;
                Ok(Receipt::new(location, stored_bytes))
            }
            Err(error) => {
                self.abort().await;
                Err(error)
            }
        }
    }

    async fn abort(self) {
        let (store, id) = self.stop().await;
        if let Err(error) = store.delete_backup(&id).await {
            tracing::warn!(%id, %error, "cannot remove what an aborted backup left");
        }
    }
}

impl PackFile {
    async fn send(&self, command: Command) -> Result<(), SinkError> {
        self.commands.send(command).await.map_err(|_| self.failure.at(&self.target))
    }
}

impl SinkFile for PackFile {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        self.send(Command::Write(self.file, piece)).await
    }

    async fn finish(self) -> Result<(), SinkError> {
        self.send(Command::Finish(self.file)).await
    }
}

fn spawn(
    failure: Failure,
    mut work: impl FnMut() -> Result<(), RepositoryError> + Send + 'static,
) -> JoinHandle<()> {
    tokio::task::spawn_blocking(move || {
        // `work` owns its channels; the reason must be readable before they hang up.
        if let Err(error) = work() {
            failure.set(error);
        }
        drop(work);
    })
}

/// Opens the store and takes the place of the backup `id` in it, whatever its layout.
pub(super) async fn begin(
    url: &RepositoryUrl,
    options: &StoreOptions,
    id: &BackupId,
) -> Result<Store, SinkError> {
    let begun = async {
        let store = Store::create(url, options).await?;
        mark_started(&store, id).await?;
        refuse_existing(&store, id).await?;
        Ok(store)
    };
    begun.await.map_err(|error| create_error(url, error))
}

/// The mark names its writer: two that write one backup must not meet, and a lost answer is not taken
/// for another writer.
pub(super) async fn mark_started(store: &Store, id: &BackupId) -> Result<(), RepositoryError> {
    let writer = uuid::Uuid::new_v4().to_string();
    store.put_new(&object_name(id, STARTED_NAME), writer.into_bytes()).await
}

/// What would be written over it must not be there; nor would an abort leave it.
async fn refuse_existing(store: &Store, id: &BackupId) -> Result<(), RepositoryError> {
    let manifest = object_name(id, MANIFEST_NAME);
    if store.size(&manifest).await?.is_none() {
        return Ok(());
    }
    clear_started(store, id).await;
    Err(RepositoryError::OtherBackup { object: store.full_name(&manifest) })
}

/// Only tidiness: with a manifest beside it the mark means nothing.
pub(super) async fn clear_started(store: &Store, id: &BackupId) {
    if let Err(error) = store.delete(&object_name(id, STARTED_NAME)).await {
        tracing::debug!(%id, %error, "start mark stays");
    }
}

fn create_error(url: &RepositoryUrl, error: RepositoryError) -> SinkError {
    SinkError::Create { target: url.to_string(), source: std::io::Error::other(error) }
}

pub(super) fn write_error(target: &str, error: RepositoryError) -> SinkError {
    SinkError::Write { target: target.to_owned(), source: std::io::Error::other(error) }
}

#[cfg(test)]
mod tests;
