//! One file out of a backup, as a stream of bytes.

use std::collections::VecDeque;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream};
use galera_protocol::xbstream::{EntryPath, Event, Reader, ReaderConfig};

use super::read::Segments;
use super::reader::ChunkedBackup;
use crate::repository::error::{Fault, RepositoryError};

/// Zeros of a hole are given in pieces of this size.
const ZEROS: &[u8] = &[0; 64 << 10];

type Pieces = Pin<Box<dyn Stream<Item = Result<Bytes, RepositoryError>> + Send>>;

struct Cat {
    path: EntryPath,
    pieces: Pieces,
    reader: Reader,
    input: Bytes,
    /// What a chunk said, in order; bytes are slices of the input.
    ready: VecDeque<Piece>,
    /// Bytes given and ready.
    position: u64,
    /// A seek alone does not make a file longer.
    seek_to: u64,
    has_ended: bool,
}

enum Piece {
    Data(Bytes),
    Zeros(u64),
}

impl ChunkedBackup {
    /// Reads one file, holes as zeros. Bytes are given away before the checksum of their chunk is
    /// known, and a wrong one ends the stream with an error.
    pub fn read_file(
        &self,
        path: &EntryPath,
    ) -> Result<impl Stream<Item = Result<Bytes, RepositoryError>> + Send + use<>, RepositoryError>
    {
        let files = &self.listing().files;
        let no_file = || RepositoryError::NoFile { path: path.to_string() };
        let at = files.binary_search_by(|file| file.path.cmp(path)).map_err(|_| no_file())?;
        if let Some(fault) = files[at].fault.clone() {
            return Err(RepositoryError::damaged(path.to_string(), fault));
        }
        let cat = Cat {
            path: path.clone(),
            pieces: Box::pin(self.stream_of(Segments::of(self, at..at + 1))),
            reader: Reader::new(ReaderConfig::default()),
            input: Bytes::new(),
            ready: VecDeque::new(),
            position: 0,
            seek_to: 0,
            has_ended: false,
        };
        Ok(stream::try_unfold(cat, |mut cat| async move {
            Ok(cat.next().await?.map(|bytes| (bytes, cat)))
        }))
    }
}

impl Cat {
    async fn next(&mut self) -> Result<Option<Bytes>, RepositoryError> {
        loop {
            match self.ready.pop_front() {
                Some(Piece::Data(bytes)) => return Ok(Some(bytes)),
                Some(Piece::Zeros(length)) => return Ok(Some(self.zeros(length))),
                None if self.has_ended => return Ok(None),
                None => self.read().await?,
            }
        }
    }

    fn zeros(&mut self, length: u64) -> Bytes {
        let given = usize::try_from(length).map_or(ZEROS.len(), |length| length.min(ZEROS.len()));
        let left = length - given as u64;
        if left > 0 {
            self.ready.push_front(Piece::Zeros(left));
        }
        Bytes::from_static(&ZEROS[..given])
    }

    async fn read(&mut self) -> Result<(), RepositoryError> {
        let event = self.reader.read(&mut self.input);
        match event.map_err(|error| self.damaged(Fault::Content(error.fault)))? {
            Some(event) => self.note(event),
            None => match self.pieces.next().await {
                Some(piece) => {
                    self.input = piece?;
                    Ok(())
                }
                None => {
                    self.has_ended = true;
                    let ended = self.reader.end();
                    ended.map_err(|error| self.damaged(Fault::Content(error.fault)))
                }
            },
        }
    }

    fn note(&mut self, event: Event) -> Result<(), RepositoryError> {
        match event {
            Event::Data { bytes, .. } => {
                self.zeros_to(self.seek_to);
                self.position += bytes.len() as u64;
                self.ready.push_back(Piece::Data(bytes));
            }
            Event::Hole { length, .. } => {
                self.zeros_to(self.seek_to);
                self.zeros_to(self.position.saturating_add(length));
            }
            Event::Seek { offset, .. } if offset >= self.position => self.seek_to = offset,
            Event::Seek { .. } => return Err(self.damaged(Fault::Rewritten)),
            Event::Renamed { .. } | Event::Removed { .. } => {
                return Err(self.damaged(Fault::Chunk));
            }
            Event::Opened { .. } | Event::Closed { .. } => {}
        }
        Ok(())
    }

    fn zeros_to(&mut self, offset: u64) {
        if offset > self.position {
            self.ready.push_back(Piece::Zeros(offset - self.position));
            self.position = offset;
        }
    }

    fn damaged(&self, fault: Fault) -> RepositoryError {
        RepositoryError::damaged(self.path.to_string(), fault)
    }
}
