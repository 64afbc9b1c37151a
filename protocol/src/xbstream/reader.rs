//! The push reader: bytes of a stream in, what they say about files out.
//!
//! ```text
//!  socket ── Bytes ──▶ Reader::read ──▶ Opened, Data, Hole, Seek, Closed, Renamed, Removed
//!                          └─▶ StreamError: wrong magic, offset, checksum, name, order
//! ```
//!
//! Payload passes through as slices of the caller's own buffers, as it arrives: a chunk of a gibibyte
//! never lies in memory. A checksum stands before its payload, so bytes are delivered before they
//! are proved; what was made of a stream counts only if no error followed.
//!
//! Not here: files, and whether the stream is a whole backup ([`super::completeness`]).

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use nom::{Err as Nom, Needed};

use super::chunk::{Body, ChunkHeader, Dialect, Extent, Flags};
use super::error::{Fault, StreamError};
use super::names::{Names, OpenFile};
use super::path::EntryPath;
use super::payload::{Payload, Taken, at_most};
use super::sparse::SparseMap;

/// Largest payload of a chunk that is taken unless configured. Tools write 10 MiB, or whatever their
/// user chose as read buffer.
pub const PAYLOAD_BYTES_MAX: u64 = 1 << 30;

/// A file between its `Opened` and its `Closed`. Never used twice in a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileId(pub u64);

/// How to read a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaderConfig {
    /// Whose extensions it uses; none: told from the first chunk that only one of them has.
    pub dialect: Option<Dialect>,
    /// Largest payload of one chunk in bytes, holes included.
    pub payload_max: u64,
}

impl Default for ReaderConfig {
    fn default() -> Self {
        Self { dialect: None, payload_max: PAYLOAD_BYTES_MAX }
    }
}

/// What a stream says, in its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A file's first chunk.
    Opened {
        /// Names the file in the events that follow.
        file: FileId,
        /// Its name.
        path: EntryPath,
        /// It replaces a complete file of that name, if there is one.
        rewrite: bool,
    },
    /// Bytes at the file's position, which they advance.
    Data {
        /// The file.
        file: FileId,
        /// A slice of the input; never empty.
        bytes: Bytes,
    },
    /// Zeros at the file's position that were not sent.
    Hole {
        /// The file.
        file: FileId,
        /// How many; never 0.
        length: u64,
    },
    /// The file's position moves; nothing is cut off or added.
    Seek {
        /// The file.
        file: FileId,
        /// Where to, absolute.
        offset: u64,
    },
    /// The file is complete.
    Closed {
        /// The file.
        file: FileId,
    },
    /// A complete file of this stream has another name now, and replaces one that had it.
    Renamed {
        /// The old name.
        from: EntryPath,
        /// The new name.
        to: EntryPath,
    },
    /// A complete file of this stream is gone.
    Removed {
        /// Its name.
        path: EntryPath,
    },
}

/// Reads one stream.
#[derive(Debug)]
pub struct Reader {
    payload_max: u64,
    dialect: Option<Dialect>,
    names: Names,
    state: State,
    /// Header or map so far: a few hundred bytes, or the limit of a map.
    scratch: BytesMut,
    /// What the last header said; at most two.
    events: VecDeque<Event>,
    /// Bytes of the stream so far, `scratch` included.
    taken: u64,
    chunk_offset: u64,
    path: Option<EntryPath>,
}

#[derive(Debug)]
enum State {
    Header,
    Map { file: FileId, byte_len: usize, extent: Extent },
    Payload(Payload),
    Skip { left: u64 },
    Failed(StreamError),
}

enum Progress {
    NeedsInput,
    Event(Event),
    Enter(State),
}

impl From<Taken> for Progress {
    fn from(taken: Taken) -> Self {
        match taken {
            Taken::Nothing => Self::NeedsInput,
            Taken::Event(event) => Self::Event(event),
            Taken::All => Self::Enter(State::Header),
        }
    }
}

impl Reader {
    /// Starts before the first byte of a stream.
    pub fn new(config: ReaderConfig) -> Self {
        Self {
            payload_max: config.payload_max,
            dialect: config.dialect,
            names: Names::default(),
            state: State::Header,
            scratch: BytesMut::new(),
            events: VecDeque::new(),
            taken: 0,
            chunk_offset: 0,
            path: None,
        }
    }

    /// Takes bytes off the front of `input` up to the next event; none when `input` is used up.
    ///
    /// After an error every call returns that error.
    pub fn read(&mut self, input: &mut Bytes) -> Result<Option<Event>, StreamError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            match self.step(input) {
                Ok(Progress::Event(event)) => return Ok(Some(event)),
                Ok(Progress::NeedsInput) => return Ok(None),
                Ok(Progress::Enter(state)) => self.state = state,
                Err(fault) => return Err(self.fail(fault)),
            }
        }
    }

    /// The stream ended: whether it may end here, on a chunk boundary and with every file complete.
    ///
    /// [`Fault::OpenAtEnd`] says that only the latter is wrong: that is how a part of a stream looks
    /// that was cut between chunks.
    pub fn end(&mut self) -> Result<(), StreamError> {
        self.settle_trailing_seek().map_err(|fault| self.fail(fault))?;
        let at_boundary = match &self.state {
            State::Failed(error) => return Err(error.clone()),
            State::Header => self.scratch.is_empty(),
            State::Map { .. } | State::Payload(_) | State::Skip { .. } => false,
        };
        if !at_boundary {
            return Err(self.fail(Fault::Truncated));
        }
        let Some((count, first)) = self.names.still_open() else { return Ok(()) };
        self.path = Some(first.clone());
        Err(self.fail(Fault::OpenAtEnd { count }))
    }

    /// The dialect: as configured, or as the stream told so far.
    pub fn dialect(&self) -> Option<Dialect> {
        self.dialect
    }

    /// Bytes of the stream that were understood so far.
    pub fn position(&self) -> u64 {
        self.taken - self.scratch.len() as u64
    }

    /// While the dialect is open, a seek at the very end lacks the bytes that would tell it apart.
    fn settle_trailing_seek(&mut self) -> Result<(), Fault> {
        let parsed = ChunkHeader::parse(&self.scratch, Some(Dialect::MariaDb));
        let is_seek = matches!(parsed, Ok(([], ChunkHeader { body: Body::Seek { .. }, .. })));
        if is_seek && matches!(self.state, State::Header) && self.dialect.is_none() {
            self.dialect = Some(Dialect::MariaDb);
            self.read_header(&mut Bytes::new())?;
        }
        Ok(())
    }

    fn fail(&mut self, fault: Fault) -> StreamError {
        if let State::Failed(error) = &self.state {
            return error.clone();
        }
        let error = StreamError { chunk_offset: self.chunk_offset, path: self.path.take(), fault };
        self.events.clear();
        self.state = State::Failed(error.clone());
        error
    }

    fn step(&mut self, input: &mut Bytes) -> Result<Progress, Fault> {
        let before = input.len();
        let progress = match &mut self.state {
            State::Header => return self.read_header(input),
            State::Map { .. } => return self.read_map(input),
            State::Payload(payload) => payload.take(input)?.into(),
            State::Skip { left } => skip(left, input),
            State::Failed(error) => return Err(error.fault),
        };
        self.taken += (before - input.len()) as u64;
        Ok(progress)
    }

    fn read_header(&mut self, input: &mut Bytes) -> Result<Progress, Fault> {
        self.chunk_offset = self.position();
        self.path = None;
        loop {
            let missing = match ChunkHeader::parse(&self.scratch, self.dialect) {
                Ok((rest, header)) => {
                    let header_len = self.scratch.len() - rest.len();
                    self.scratch.advance(header_len);
                    return self.start_chunk(header).map(Progress::Enter);
                }
                Err(Nom::Incomplete(Needed::Size(missing))) => missing.get(),
                Err(Nom::Incomplete(Needed::Unknown)) => 1,
                Err(Nom::Error(failure) | Nom::Failure(failure)) => {
                    let (field, problem) = failure.cause();
                    return Err(Fault::Header { field, problem });
                }
            };
            if !self.gather(input, missing) {
                return Ok(Progress::NeedsInput);
            }
        }
    }

    /// Moves up to `missing` bytes into `scratch`; false when there are none.
    fn gather(&mut self, input: &mut Bytes, missing: usize) -> bool {
        let bytes = input.split_to(missing.min(input.len()));
        self.scratch.extend_from_slice(&bytes);
        self.taken += bytes.len() as u64;
        !bytes.is_empty()
    }

    fn start_chunk(&mut self, header: ChunkHeader) -> Result<State, Fault> {
        if let Body::Unknown { kind, ignorable } = header.body {
            // Its name means nothing to us and is not looked at.
            return self.start_unknown(kind, ignorable);
        }
        self.dialect = self.dialect.or(header.body.dialect());
        let path = EntryPath::parse(&header.path)?;
        self.path = Some(path.clone());
        match header.body {
            Body::Payload(extent) => self.start_payload(path, header.flags, &extent),
            Body::Sparse { entries, extent } => {
                self.start_sparse(path, header.flags, entries, extent)
            }
            Body::Seek { offset } => self.seek(path, header.flags, offset),
            Body::End => self.end_file(path, header.flags),
            Body::Rename { to } => self.rename(path, &to),
            Body::Remove => self.remove(path),
            Body::Unknown { kind, .. } => Err(Fault::UnknownType(kind)),
        }
    }

    fn start_unknown(&self, kind: u8, ignorable: Option<Extent>) -> Result<State, Fault> {
        let extent = ignorable.ok_or(Fault::UnknownType(kind))?;
        self.check_length(extent.length)?;
        Ok(State::Skip { left: extent.length })
    }

    fn start_payload(
        &mut self,
        path: EntryPath,
        flags: Flags,
        extent: &Extent,
    ) -> Result<State, Fault> {
        self.check_length(extent.length)?;
        let end = extent.offset.checked_add(extent.length);
        let file = self.opened(path, flags)?;
        file.advance(extent.offset, end)?;
        Ok(State::Payload(Payload::new(file.id, extent, crc32fast::Hasher::new(), None)))
    }

    fn start_sparse(
        &mut self,
        path: EntryPath,
        flags: Flags,
        entries: u32,
        extent: Extent,
    ) -> Result<State, Fault> {
        self.check_length(extent.length)?;
        let byte_len = SparseMap::byte_len(entries)?;
        let file = self.opened(path, flags)?.id;
        Ok(State::Map { file, byte_len, extent })
    }

    fn read_map(&mut self, input: &mut Bytes) -> Result<Progress, Fault> {
        let State::Map { file, byte_len, extent } = self.state else {
            return Ok(Progress::NeedsInput);
        };
        self.gather(input, byte_len - self.scratch.len());
        if self.scratch.len() < byte_len {
            return Ok(Progress::NeedsInput);
        }
        let bytes = core::mem::take(&mut self.scratch).freeze();
        let mut checksum = crc32fast::Hasher::new();
        checksum.update(&bytes);
        let (map, end) = SparseMap::new(bytes, &extent)?;
        // Holes are part of one read buffer too; without a limit 62 bytes could stand for exabytes.
        self.check_length(end - extent.offset)?;
        let path = self.path.as_ref();
        if let Some(open) = path.and_then(|path| self.names.open_file(path)) {
            open.advance(extent.offset, Some(end))?;
        }
        Ok(Progress::Enter(State::Payload(Payload::new(file, &extent, checksum, Some(map)))))
    }

    fn seek(&mut self, path: EntryPath, flags: Flags, offset: u64) -> Result<State, Fault> {
        let file = self.opened(path, flags)?;
        file.seek(offset)?;
        let file = file.id;
        self.events.push_back(Event::Seek { file, offset });
        Ok(State::Header)
    }

    fn end_file(&mut self, path: EntryPath, flags: Flags) -> Result<State, Fault> {
        // An empty file is its end chunk alone.
        let file = self.opened(path.clone(), flags)?.id;
        self.names.close(path);
        self.events.push_back(Event::Closed { file });
        Ok(State::Header)
    }

    fn rename(&mut self, from: EntryPath, to: &[u8]) -> Result<State, Fault> {
        let to = EntryPath::parse(to)?;
        if self.names.rename(&from, &to)? {
            self.events.push_back(Event::Renamed { from, to });
        }
        Ok(State::Header)
    }

    fn remove(&mut self, path: EntryPath) -> Result<State, Fault> {
        if self.names.remove(&path)? {
            self.events.push_back(Event::Removed { path });
        }
        Ok(State::Header)
    }

    /// The open file of that name; opened now if this is its first chunk.
    fn opened(&mut self, path: EntryPath, flags: Flags) -> Result<&mut OpenFile, Fault> {
        // Percona's readers ignore the bit.
        let rewrite = flags.has(Flags::REWRITE) && self.dialect != Some(Dialect::Percona);
        let (file, is_new) = self.names.open(&path, rewrite)?;
        if is_new {
            self.events.push_back(Event::Opened { file: file.id, path, rewrite });
        }
        Ok(file)
    }

    fn check_length(&self, length: u64) -> Result<(), Fault> {
        let limit = self.payload_max;
        if length > limit { Err(Fault::PayloadTooLarge { length, limit }) } else { Ok(()) }
    }
}

fn skip(left: &mut u64, input: &mut Bytes) -> Progress {
    let taken = input.split_to(at_most(*left, input.len()));
    *left -= taken.len() as u64;
    if *left == 0 { Progress::Enter(State::Header) } else { Progress::NeedsInput }
}

#[cfg(test)]
mod tests;
