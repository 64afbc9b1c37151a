//! Pieces of files into blocks, and where each went into the index.

use std::collections::{BTreeMap, HashMap};
use std::mem;

use galera_protocol::xbstream::EntryPath;
use tokio::sync::{mpsc, oneshot};

use super::{Command, Committed, FileId};
use crate::pipeline::manifest::Digest;
use crate::repository::error::RepositoryError;
use crate::repository::index::{ENTRIES_MAX, Extent, FileRecord, PackRecord};
use crate::repository::lanes::Feeder;
use crate::sink::Piece;

/// Most files open at once. Each costs 2 KiB for its hash; a backup has a few dozen open.
const OPEN_FILES_MAX: usize = 4096;

pub(super) struct Assembler {
    commands: mpsc::Receiver<Command>,
    blocks: Option<Feeder<Vec<u8>>>,
    block: Vec<u8>,
    block_bytes: usize,
    raw_position: u64,
    open: HashMap<FileId, OpenFile>,
    finished: BTreeMap<EntryPath, FileRecord>,
    entries: u64,
    packs: Option<oneshot::Receiver<Vec<PackRecord>>>,
    /// Who waits for the commit. Kept here so that it hangs up only after a failure was noted.
    reply: Option<oneshot::Sender<Committed>>,
}

struct OpenFile {
    path: EntryPath,
    hasher: blake3::Hasher,
    position: u64,
    bytes: u64,
    extents: Vec<Extent>,
}

impl Assembler {
    pub(super) fn new(
        commands: mpsc::Receiver<Command>,
        blocks: Feeder<Vec<u8>>,
        block_bytes: usize,
        packs: oneshot::Receiver<Vec<PackRecord>>,
    ) -> Self {
        Self {
            commands,
            blocks: Some(blocks),
            block: Vec::with_capacity(block_bytes),
            block_bytes,
            raw_position: 0,
            open: HashMap::new(),
            finished: BTreeMap::new(),
            entries: 0,
            packs: Some(packs),
            reply: None,
        }
    }

    /// Works until the commit, or until the sink is gone.
    pub(super) fn run(&mut self) -> Result<(), RepositoryError> {
        while let Some(command) = self.commands.blocking_recv() {
            match command {
                Command::Create(file, path) => self.create(file, path)?,
                Command::Write(file, piece) => self.write(file, piece)?,
                Command::Finish(file) => self.finish(file),
                Command::Rename(from, to) => self.rename(&from, to),
                Command::Remove(path) => drop(self.finished.remove(&path)),
                Command::Commit(reply) => {
                    self.reply = Some(reply);
                    return self.commit();
                }
            }
        }
        Ok(())
    }

    fn create(&mut self, file: FileId, path: EntryPath) -> Result<(), RepositoryError> {
        if self.open.len() >= OPEN_FILES_MAX {
            let limit = OPEN_FILES_MAX as u64;
            return Err(RepositoryError::Limit { what: "open files", limit });
        }
        self.count_entry()?;
        self.finished.remove(&path);
        self.open.insert(file, OpenFile::new(path));
        Ok(())
    }

    fn write(&mut self, file: FileId, piece: Piece) -> Result<(), RepositoryError> {
        let Some(open) = self.open.get_mut(&file) else { return Ok(()) };
        match piece {
            Piece::Data(bytes) => {
                let is_new_extent = open.add(self.raw_position, &bytes)?;
                if is_new_extent {
                    self.count_entry()?;
                }
                self.append(&bytes)
            }
            Piece::Hole(length) => open.skip(length),
            Piece::Seek(position) => {
                open.position = position;
                Ok(())
            }
        }
    }

    /// Adds raw bytes; blocks that become full go to the workers.
    fn append(&mut self, mut bytes: &[u8]) -> Result<(), RepositoryError> {
        self.raw_position += bytes.len() as u64;
        while !bytes.is_empty() {
            let free = self.block_bytes - self.block.len();
            let (now, later) = bytes.split_at(free.min(bytes.len()));
            self.block.extend_from_slice(now);
            if self.block.len() == self.block_bytes {
                self.send_block()?;
            }
            bytes = later;
        }
        Ok(())
    }

    fn send_block(&mut self) -> Result<(), RepositoryError> {
        let block = mem::replace(&mut self.block, Vec::with_capacity(self.block_bytes));
        match &mut self.blocks {
            Some(blocks) => Ok(blocks.send(block)?),
            None => Err(RepositoryError::WorkerLost),
        }
    }

    fn finish(&mut self, file: FileId) {
        if let Some(open) = self.open.remove(&file) {
            let record = open.into_record();
            self.finished.insert(record.path.clone(), record);
        }
    }

    fn rename(&mut self, from: &EntryPath, to: EntryPath) {
        if let Some(mut record) = self.finished.remove(from) {
            record.path = to.clone();
            self.finished.insert(to, record);
        }
    }

    /// Flushes the last block, waits for the packs, and answers.
    fn commit(&mut self) -> Result<(), RepositoryError> {
        if let Some(open) = self.open.values().next() {
            return Err(RepositoryError::Unfinished { path: open.path.to_string() });
        }
        if !self.block.is_empty() {
            self.send_block()?;
        }
        let (Some(blocks), Some(packs)) = (self.blocks.take(), self.packs.take()) else {
            return Err(RepositoryError::WorkerLost);
        };
        blocks.finish()?;
        let packs = packs.blocking_recv().map_err(|_| RepositoryError::WorkerLost)?;
        let files = mem::take(&mut self.finished).into_values().collect();
        if let Some(reply) = self.reply.take() {
            // Nobody waits for the answer if the sink was dropped; then nobody needs it.
            drop(reply.send(Committed { files, packs, data_bytes: self.raw_position }));
        }
        Ok(())
    }

    fn count_entry(&mut self) -> Result<(), RepositoryError> {
        self.entries += 1;
        if self.entries > ENTRIES_MAX {
            return Err(RepositoryError::Limit { what: "entries in an index", limit: ENTRIES_MAX });
        }
        Ok(())
    }
}

impl OpenFile {
    fn new(path: EntryPath) -> Self {
        Self { path, hasher: blake3::Hasher::new(), position: 0, bytes: 0, extents: Vec::new() }
    }

    /// Takes note of bytes that begin at `raw_offset`; true if that made another extent.
    fn add(&mut self, raw_offset: u64, bytes: &[u8]) -> Result<bool, RepositoryError> {
        let length = bytes.len() as u64;
        let extent = Extent { file_offset: self.position, raw_offset, length };
        self.advance(length)?;
        self.hasher.update(bytes);
        match self.extents.last_mut() {
            _ if length == 0 => Ok(false),
            Some(last) if last.adjoins(&extent) => {
                last.length += length;
                Ok(false)
            }
            Some(_) | None => {
                self.extents.push(extent);
                Ok(true)
            }
        }
    }

    /// Leaves a hole, which counts for the size even at the end (spec 06 §2.3).
    fn skip(&mut self, length: u64) -> Result<(), RepositoryError> {
        self.advance(length)
    }

    fn advance(&mut self, length: u64) -> Result<(), RepositoryError> {
        let end = self.position.checked_add(length).filter(|&end| end <= FILE_BYTES_MAX);
        self.position =
            end.ok_or(RepositoryError::Limit { what: "bytes in a file", limit: FILE_BYTES_MAX })?;
        self.bytes = self.bytes.max(self.position);
        Ok(())
    }

    fn into_record(mut self) -> FileRecord {
        self.extents.shrink_to_fit();
        let hash = Digest::from(self.hasher.finalize());
        FileRecord { path: self.path, bytes: self.bytes, hash, extents: self.extents }
    }
}

/// The largest file: what `off_t` holds.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;
