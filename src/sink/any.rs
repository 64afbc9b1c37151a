//! Every kind of sink as one type, for where the kind is known only at run time.

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;

use super::datadir::{Datadir, DatadirFile};
use super::discard::{Discard, DiscardedFile};
use super::raw::{Raw, RawFile};
use super::spooled::{Spooled, SpooledFile};
use super::tar::{Tar, TarFile};
use super::{Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile};
use crate::pipeline::manifest::Manifest;
use crate::repository::{ChunkedFile, ChunkedSink, PackFile, PackSink};

/// A sink of any kind.
#[derive(Debug)]
pub enum AnySink {
    /// A repository.
    Packs(Box<PackSink>),
    /// A repository in Percona's layout.
    Chunks(Box<ChunkedSink>),
    /// A data directory.
    Datadir(Box<Datadir>),
    /// The stream as it was sent.
    Raw(Box<Raw>),
    /// A tar archive.
    Tar(Box<Tar>),
    /// A repository behind a spool.
    Spooled(Box<Spooled<PackSink>>),
    /// A repository in Percona's layout behind a spool.
    SpooledChunks(Box<Spooled<ChunkedSink>>),
    /// Nowhere.
    Discard(Discard),
}

/// One file of an [`AnySink`].
#[derive(Debug)]
pub enum AnyFile {
    /// In a repository.
    Packs(PackFile),
    /// In a repository in Percona's layout.
    Chunks(ChunkedFile),
    /// In a data directory.
    Datadir(DatadirFile),
    /// In a stream.
    Raw(RawFile),
    /// In a tar archive.
    Tar(TarFile),
    /// On its way through a spool.
    Spooled(SpooledFile),
    /// Not kept.
    Discard(DiscardedFile),
}

impl Sink for AnySink {
    type File = AnyFile;

    fn needs(&self) -> Needs {
        match self {
            Self::Packs(sink) => sink.needs(),
            Self::Chunks(sink) => sink.needs(),
            Self::Datadir(sink) => sink.needs(),
            Self::Raw(sink) => sink.needs(),
            Self::Tar(sink) => sink.needs(),
            Self::Spooled(sink) => sink.needs(),
            Self::SpooledChunks(sink) => sink.needs(),
            Self::Discard(sink) => sink.needs(),
        }
    }

    async fn create(&mut self, entry: &Entry) -> Result<AnyFile, SinkError> {
        match self {
            Self::Packs(sink) => sink.create(entry).await.map(AnyFile::Packs),
            Self::Chunks(sink) => sink.create(entry).await.map(AnyFile::Chunks),
            Self::Datadir(sink) => sink.create(entry).await.map(AnyFile::Datadir),
            Self::Raw(sink) => sink.create(entry).await.map(AnyFile::Raw),
            Self::Tar(sink) => sink.create(entry).await.map(AnyFile::Tar),
            Self::Spooled(sink) => sink.create(entry).await.map(AnyFile::Spooled),
            Self::SpooledChunks(sink) => sink.create(entry).await.map(AnyFile::Spooled),
            Self::Discard(sink) => sink.create(entry).await.map(AnyFile::Discard),
        }
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        match self {
            Self::Packs(sink) => sink.rename(from, to).await,
            Self::Chunks(sink) => sink.rename(from, to).await,
            Self::Datadir(sink) => sink.rename(from, to).await,
            Self::Raw(sink) => sink.rename(from, to).await,
            Self::Tar(sink) => sink.rename(from, to).await,
            Self::Spooled(sink) => sink.rename(from, to).await,
            Self::SpooledChunks(sink) => sink.rename(from, to).await,
            Self::Discard(sink) => sink.rename(from, to).await,
        }
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        match self {
            Self::Packs(sink) => sink.remove(path).await,
            Self::Chunks(sink) => sink.remove(path).await,
            Self::Datadir(sink) => sink.remove(path).await,
            Self::Raw(sink) => sink.remove(path).await,
            Self::Tar(sink) => sink.remove(path).await,
            Self::Spooled(sink) => sink.remove(path).await,
            Self::SpooledChunks(sink) => sink.remove(path).await,
            Self::Discard(sink) => sink.remove(path).await,
        }
    }

    async fn stream(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        match self {
            Self::Packs(sink) => sink.stream(bytes).await,
            Self::Chunks(sink) => sink.stream(bytes).await,
            Self::Datadir(sink) => sink.stream(bytes).await,
            Self::Raw(sink) => sink.stream(bytes).await,
            Self::Tar(sink) => sink.stream(bytes).await,
            Self::Spooled(sink) => sink.stream(bytes).await,
            Self::SpooledChunks(sink) => sink.stream(bytes).await,
            Self::Discard(sink) => sink.stream(bytes).await,
        }
    }

    async fn commit(self, manifest: Manifest) -> Result<Receipt, SinkError> {
        match self {
            Self::Packs(sink) => sink.commit(manifest).await,
            Self::Chunks(sink) => sink.commit(manifest).await,
            Self::Datadir(sink) => sink.commit(manifest).await,
            Self::Raw(sink) => sink.commit(manifest).await,
            Self::Tar(sink) => sink.commit(manifest).await,
            Self::Spooled(sink) => sink.commit(manifest).await,
            Self::SpooledChunks(sink) => sink.commit(manifest).await,
            Self::Discard(sink) => sink.commit(manifest).await,
        }
    }

    async fn abort(self) {
        match self {
            Self::Packs(sink) => sink.abort().await,
            Self::Chunks(sink) => sink.abort().await,
            Self::Datadir(sink) => sink.abort().await,
            Self::Raw(sink) => sink.abort().await,
            Self::Tar(sink) => sink.abort().await,
            Self::Spooled(sink) => sink.abort().await,
            Self::SpooledChunks(sink) => sink.abort().await,
            Self::Discard(sink) => sink.abort().await,
        }
    }
}

impl SinkFile for AnyFile {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        match self {
            Self::Packs(file) => file.write(piece).await,
            Self::Chunks(file) => file.write(piece).await,
            Self::Datadir(file) => file.write(piece).await,
            Self::Raw(file) => file.write(piece).await,
            Self::Tar(file) => file.write(piece).await,
            Self::Spooled(file) => file.write(piece).await,
            Self::Discard(file) => file.write(piece).await,
        }
    }

    async fn finish(self) -> Result<(), SinkError> {
        match self {
            Self::Packs(file) => file.finish().await,
            Self::Chunks(file) => file.finish().await,
            Self::Datadir(file) => file.finish().await,
            Self::Raw(file) => file.finish().await,
            Self::Tar(file) => file.finish().await,
            Self::Spooled(file) => file.finish().await,
            Self::Discard(file) => file.finish().await,
        }
    }
}
