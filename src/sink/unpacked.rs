//! A wrapper for any sink of files: members that were compressed or encrypted arrive plain.
//!
//! Each such member has a task of its own, so several are unpacked at a time, and reading goes on
//! meanwhile. A queue of a few pieces keeps a task from falling behind without limit.

use std::collections::BTreeMap;

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile};
use crate::pipeline::manifest::Manifest;
use crate::unpack::{Unpack, UnpackError, Unpacker};

/// Pieces that wait for one member's task, of up to 1 MiB each.
const PIECES_QUEUED: usize = 2;

/// Unpacks for the sink inside.
#[derive(Debug)]
pub struct Unpacked<S> {
    inner: S,
    unpack: Unpack,
    /// Plain names in use, by the names that members have in the stream.
    plain: BTreeMap<EntryPath, EntryPath>,
}

impl<S: Sink> Unpacked<S>
where
    S::File: 'static,
{
    /// Wraps a sink.
    pub fn new(inner: S, unpack: Unpack) -> Self {
        Self { inner, unpack, plain: BTreeMap::new() }
    }

    /// Gives the sink back.
    pub fn into_inner(self) -> S {
        self.inner
    }

    fn plain_name(&self, path: &EntryPath) -> EntryPath {
        self.unpack.member(path).map_or_else(|| path.clone(), |(plain, _)| plain)
    }

    /// `t.ibd` and `t.ibd.zst` cannot both become `t.ibd`.
    fn claim(&mut self, path: &EntryPath, plain: &EntryPath) -> Result<(), SinkError> {
        let taken = self.plain.insert(plain.clone(), path.clone());
        match taken.filter(|other| other != path) {
            Some(other) => {
                Err(SinkError::SameName { first: other.to_string(), second: path.to_string() })
            }
            None => Ok(()),
        }
    }
}

impl<S: Sink> Sink for Unpacked<S>
where
    S::File: 'static,
{
    type File = UnpackedFile<S::File>;

    fn needs(&self) -> Needs {
        self.inner.needs()
    }

    async fn create(&mut self, entry: &Entry) -> Result<Self::File, SinkError> {
        let Some((path, unpacker)) = self.unpack.member(&entry.path) else {
            self.claim(&entry.path, &entry.path)?;
            return self.inner.create(entry).await.map(UnpackedFile::Plain);
        };
        self.claim(&entry.path, &path)?;
        let file = self.inner.create(&Entry { path, size: None }).await?;
        Ok(UnpackedFile::Packed(Packed::start(file, unpacker, entry.path.clone())))
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        let (old, new) = (self.plain_name(from), self.plain_name(to));
        self.plain.remove(&old);
        self.plain.insert(new.clone(), to.clone());
        self.inner.rename(&old, &new).await
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        let plain = self.plain_name(path);
        self.plain.remove(&plain);
        self.inner.remove(&plain).await
    }

    async fn commit(self, manifest: Manifest) -> Result<Receipt, SinkError> {
        self.inner.commit(manifest).await
    }

    async fn abort(self) {
        self.inner.abort().await;
    }
}

/// A file of an [`Unpacked`] sink.
#[derive(Debug)]
pub enum UnpackedFile<F> {
    /// It is as it was sent.
    Plain(F),
    /// It is unpacked by a task.
    Packed(Packed),
}

/// A member on its way through its task.
#[derive(Debug)]
pub struct Packed {
    path: EntryPath,
    /// None once the task is known to have ended.
    pieces: Option<mpsc::Sender<Bytes>>,
    task: JoinHandle<Result<(), SinkError>>,
}

impl Packed {
    fn start<F: SinkFile + 'static>(file: F, unpacker: Unpacker, path: EntryPath) -> Self {
        let (pieces, queue) = mpsc::channel(PIECES_QUEUED);
        let task = tokio::spawn(unpack(file, unpacker, path.clone(), queue));
        Self { path, pieces: Some(pieces), task }
    }

    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        let bytes = match piece {
            Piece::Data(bytes) => bytes,
            // Tools send what they packed from start to end, without gaps.
            Piece::Hole(_) | Piece::Seek(_) => return Err(moved(&self.path)),
        };
        let sent = match &self.pieces {
            Some(pieces) => pieces.send(bytes).await.is_ok(),
            None => false,
        };
        if sent { Ok(()) } else { self.ended().await }
    }

    /// The task's own error, or that there is none left to tell.
    async fn ended(&mut self) -> Result<(), SinkError> {
        self.pieces = None;
        match (&mut self.task).await {
            Ok(result) => result,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

impl<F: SinkFile> SinkFile for UnpackedFile<F> {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        match self {
            Self::Plain(file) => file.write(piece).await,
            Self::Packed(packed) => packed.write(piece).await,
        }
    }

    async fn finish(self) -> Result<(), SinkError> {
        match self {
            Self::Plain(file) => file.finish().await,
            Self::Packed(mut packed) => packed.ended().await,
        }
    }
}

async fn unpack<F: SinkFile>(
    mut file: F,
    mut unpacker: Unpacker,
    path: EntryPath,
    mut queue: mpsc::Receiver<Bytes>,
) -> Result<(), SinkError> {
    let refused = |source| member_error(&path, source);
    while let Some(mut bytes) = queue.recv().await {
        while let Some(plain) = unpacker.next(&mut bytes).map_err(refused)? {
            file.write(Piece::Data(plain)).await?;
        }
    }
    unpacker.end().map_err(refused)?;
    file.finish().await
}

fn member_error(path: &EntryPath, source: UnpackError) -> SinkError {
    SinkError::Member { path: path.to_string(), source }
}

fn moved(path: &EntryPath) -> SinkError {
    let source = std::io::Error::other("a packed member may have no holes and no seeks");
    SinkError::Write { target: path.to_string(), source }
}
