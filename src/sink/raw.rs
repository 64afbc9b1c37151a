//! `xbstream:FILE`, `xbstream:-`, `exec:COMMAND` — the stream as the donor sent it.
//!
//! From a donor, bytes pass as they are. From a source that has files but no stream, such as a
//! repository, an equivalent stream is made of them.
//!
//! A file is written as `FILE.partial` and appears by a rename at commit. What was written to standard
//! output or a pipe cannot be taken back: there, only the exit status tells a whole stream from a part.
//! A command ([`CommandLine`]) is killed rather than shown an end of input that is none.

mod command;
mod output;

use std::collections::BTreeSet;
use std::path::PathBuf;

use bytes::{Bytes, BytesMut};
use galera_protocol::xbstream::chunk::{Body, ChunkHeader, Extent, Flags};
use galera_protocol::xbstream::{EntryPath, FILES_MAX};

use super::{Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile};
use crate::pipeline::manifest::Manifest;
pub(in crate::sink) use output::Place;
use output::{Output, Queue};

pub use command::{CommandError, CommandLine};

/// Where the stream goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RawTarget {
    /// A file, which must not exist; or a pipe or device, which must.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// A command's standard input.
    Command(CommandLine),
}

/// Writes a stream.
#[derive(Debug)]
pub struct Raw {
    output: Output,
    stream_as_sent: bool,
    /// Names that were used, to mark a second use; only where the stream is made of files.
    created: BTreeSet<EntryPath>,
}

impl Raw {
    /// Opens the target; `sync`: it is on stable storage before it appears.
    pub async fn create(target: RawTarget, sync: bool) -> Result<Self, SinkError> {
        let output = Output::open(target, sync).await?;
        Ok(Self { output, stream_as_sent: true, created: BTreeSet::new() })
    }

    /// For a source that has files and no stream: one is made of them.
    #[must_use]
    pub fn of_files(self) -> Self {
        Self { stream_as_sent: false, ..self }
    }

    async fn chunk(&self, path: &EntryPath, body: Body) -> Result<(), SinkError> {
        let header = encode(path, Flags::default(), body);
        self.output.queue().write([header, Bytes::new()]).await
    }
}

impl Sink for Raw {
    type File = RawFile;

    fn needs(&self) -> Needs {
        Needs { stream_as_sent: self.stream_as_sent, ..Needs::default() }
    }

    async fn create(&mut self, entry: &Entry) -> Result<RawFile, SinkError> {
        let is_new = self.created.len() >= FILES_MAX || self.created.insert(entry.path.clone());
        let flags = if is_new { Flags::default() } else { Flags::REWRITE };
        Ok(RawFile { queue: self.output.queue(), path: entry.path.clone(), flags, position: 0 })
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        self.created.remove(from);
        self.created.insert(to.clone());
        self.chunk(from, Body::Rename { to: to.as_bytes().into() }).await
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        self.created.remove(path);
        self.chunk(path, Body::Remove).await
    }

    async fn stream(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        match self.output.queue().write([bytes, Bytes::new()]).await {
            Ok(()) => Ok(()),
            Err(error) => Err(self.output.explain(error).await),
        }
    }

    async fn commit(self, _: Manifest) -> Result<Receipt, SinkError> {
        self.output.commit().await
    }

    async fn abort(self) {
        self.output.abort().await;
    }
}

/// A file that becomes chunks.
#[derive(Debug)]
pub struct RawFile {
    queue: Queue,
    path: EntryPath,
    flags: Flags,
    position: u64,
}

impl RawFile {
    async fn data(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        let checksum = crc32fast::hash(&bytes);
        let extent = Extent { length: bytes.len() as u64, offset: self.position, checksum };
        self.position += extent.length;
        let header = encode(&self.path, self.flags, Body::Payload(extent));
        self.queue.write([header, bytes]).await
    }

    /// Percona's sparse chunk with no payload; MariaDB's tools never leave holes.
    async fn hole(&mut self, length: u64) -> Result<(), SinkError> {
        let mut left = length;
        while left > 0 {
            let part = u32::try_from(left).unwrap_or(HOLE_PART_BYTES).min(HOLE_PART_BYTES);
            let map = [part.to_le_bytes(), [0; 4]].concat();
            let checksum = crc32fast::hash(&map);
            let extent = Extent { length: 0, offset: self.position, checksum };
            let header = encode(&self.path, self.flags, Body::Sparse { entries: 1, extent });
            self.queue.write([header, map.into()]).await?;
            self.position += u64::from(part);
            left -= u64::from(part);
        }
        Ok(())
    }

    async fn seek(&mut self, offset: u64) -> Result<(), SinkError> {
        self.position = offset;
        let header = encode(&self.path, self.flags, Body::Seek { offset });
        self.queue.write([header, Bytes::new()]).await
    }
}

/// Longest hole of one chunk: readers limit what a chunk may stand for.
const HOLE_PART_BYTES: u32 = 1 << 30;

impl SinkFile for RawFile {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        match piece {
            Piece::Data(bytes) => self.data(bytes).await,
            Piece::Hole(length) => self.hole(length).await,
            Piece::Seek(offset) => self.seek(offset).await,
        }
    }

    async fn finish(self) -> Result<(), SinkError> {
        // An empty file that replaces another opens with an empty payload: only there is the flag
        // looked at.
        if self.position == 0 && self.flags.has(Flags::REWRITE) {
            let empty = Extent { length: 0, offset: 0, checksum: 0 };
            let header = encode(&self.path, self.flags, Body::Payload(empty));
            self.queue.write([header, Bytes::new()]).await?;
        }
        let header = encode(&self.path, Flags::default(), Body::End);
        self.queue.write([header, Bytes::new()]).await
    }
}

fn encode(path: &EntryPath, flags: Flags, body: Body) -> Bytes {
    let mut header = BytesMut::new();
    ChunkHeader { flags, path: path.as_bytes().into(), body }.encode(&mut header);
    header.freeze()
}
