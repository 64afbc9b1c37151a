//! Files as chunks of a stream, one at a time: with bounded memory, whatever their size.
//!
//! As the donors' tools write it: chunks of ten MiB, MariaDB's files one after the other, those of
//! XtraBackup four at a time, closing files alone and last.

use std::collections::VecDeque;
use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use galera_protocol::sst::request::Method;
use galera_protocol::xbstream::chunk::{Body as ChunkBody, Extent};
use galera_protocol::xbstream::{ChunkHeader, Flags};

use super::content::{Entry, OpenBody};

/// Payload of a chunk: what all tools write.
const CHUNK_BYTES: usize = 10 << 20;

/// Files that XtraBackup copies at once, as donors' scripts tell it to.
const PARALLEL: usize = 4;

/// A file of the stream that could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read {name}")]
pub struct ReadError {
    /// Its name.
    pub name: String,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// The chunks of a stream, in order.
#[derive(Debug)]
pub struct Chunks {
    waiting: VecDeque<Entry>,
    open: VecDeque<Open>,
    parallel: usize,
}

#[derive(Debug)]
struct Open {
    entry: Entry,
    body: OpenBody,
    offset: u64,
}

impl Chunks {
    /// In this order, interleaved as the method's tool does it.
    pub fn new(entries: Vec<Entry>, method: Method) -> Self {
        let parallel = match method {
            Method::Mariabackup => 1,
            Method::XtrabackupV2 => PARALLEL,
        };
        Self { waiting: entries.into(), open: VecDeque::new(), parallel }
    }

    /// The next chunk, header and payload; none at the end.
    pub fn next_chunk(&mut self) -> Result<Option<Bytes>, ReadError> {
        self.open_files()?;
        let Some(mut file) = self.open.pop_front() else { return Ok(None) };
        let chunk = file.next_chunk().map_err(|source| read_error(&file.entry, source))?;
        match chunk {
            Some(chunk) => {
                self.open.push_back(file);
                Ok(Some(chunk))
            }
            None => Ok(Some(file.header(ChunkBody::End).freeze())),
        }
    }

    fn open_files(&mut self) -> Result<(), ReadError> {
        while let Some(entry) = self.waiting.front() {
            let has_room = self.open.len() < self.parallel;
            let must_be_alone = entry.is_closing() && !self.open.is_empty();
            if !has_room || must_be_alone {
                break;
            }
            let body = entry.body.open().map_err(|source| read_error(entry, source))?;
            let Some(entry) = self.waiting.pop_front() else { break };
            self.open.push_back(Open { entry, body, offset: 0 });
        }
        Ok(())
    }
}

fn read_error(entry: &Entry, source: io::Error) -> ReadError {
    ReadError { name: entry.name.to_string(), source }
}

impl Open {
    fn header(&self, body: ChunkBody) -> BytesMut {
        let mut header = BytesMut::new();
        let path = self.entry.name.as_bytes().into();
        ChunkHeader { flags: Flags::default(), path, body }.encode(&mut header);
        header
    }

    fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        let mut payload = BytesMut::zeroed(CHUNK_BYTES);
        let length = self.body.read(&mut payload)?;
        if length == 0 {
            return Ok(None);
        }
        payload.truncate(length);
        let checksum = crc32fast::hash(&payload);
        let extent = Extent { length: length as u64, offset: self.offset, checksum };
        self.offset += length as u64;
        let mut chunk = self.header(ChunkBody::Payload(extent));
        chunk.put(payload);
        Ok(Some(chunk.freeze()))
    }
}

/// A whole stream of small files.
pub fn whole(entries: Vec<Entry>) -> Result<Vec<u8>, ReadError> {
    let mut chunks = Chunks::new(entries, Method::Mariabackup);
    let mut stream = Vec::new();
    while let Some(chunk) = chunks.next_chunk()? {
        stream.extend_from_slice(&chunk);
    }
    Ok(stream)
}
