//! The thread that writes an archive: what goes straight in, what waits, what was renamed meanwhile.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use galera_protocol::xbstream::EntryPath;

use super::archive::{Archive, Direct};
use super::{FileId, MANIFEST_NAME, SUMS_NAME, sums};
use crate::pipeline::hash::Content;
use crate::sink::Piece;
use crate::sink::spool::Spool;

/// Longest file: what `off_t` holds.
const FILE_BYTES_MAX: u64 = i64::MAX as u64;

/// The state of an archive being written.
#[derive(Debug)]
pub(super) struct Writer {
    archive: Archive,
    spool: Spool,
    /// Whether headers can be written after what they head.
    is_seekable: bool,
    open: BTreeMap<FileId, Open>,
    /// The file that goes straight in.
    direct: Option<FileId>,
    /// Complete files that wait for the end.
    waiting: BTreeMap<EntryPath, Waiting>,
    /// Hashes of what is in the archive; the later of two files of one name counts.
    hashes: BTreeMap<EntryPath, blake3::Hash>,
}

#[derive(Debug)]
struct Open {
    path: EntryPath,
    position: u64,
    size: u64,
    to: To,
}

#[derive(Debug)]
enum To {
    Archive { entry: Direct, content: Box<Content> },
    Spool { name: PathBuf, file: File, counted_bytes: u64 },
}

/// A complete file on disk. It is opened again when it is needed: there may be very many.
#[derive(Debug)]
struct Waiting {
    name: PathBuf,
    size: u64,
    counted_bytes: u64,
}

impl Writer {
    pub(super) fn new(output: File, spool: Spool, is_seekable: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let mtime = now.map_or(0, |now| now.as_secs());
        Self {
            archive: Archive::new(output, mtime),
            spool,
            is_seekable,
            open: BTreeMap::new(),
            direct: None,
            waiting: BTreeMap::new(),
            hashes: BTreeMap::new(),
        }
    }

    pub(super) fn create(&mut self, file: FileId, path: EntryPath) -> io::Result<()> {
        self.remove(&path)?;
        let is_direct = self.is_seekable && self.direct.is_none() && is_settled(&path);
        let to = if is_direct {
            self.direct = Some(file);
            let content = Box::new(Content::new(true));
            To::Archive { entry: self.archive.begin(&path)?, content }
        } else {
            let (name, file) = self.spool.file()?;
            To::Spool { name, file, counted_bytes: 0 }
        };
        self.open.insert(file, Open { path, position: 0, size: 0, to });
        Ok(())
    }

    pub(super) fn write(&mut self, file: FileId, piece: &Piece) -> io::Result<()> {
        let Some(open) = self.open.get_mut(&file) else { return Ok(()) };
        let at = open.advance(piece)?;
        match &mut open.to {
            To::Archive { entry, content } => match piece {
                Piece::Data(bytes) => {
                    content.write(bytes);
                    self.archive.write_at(*entry, at, bytes)?;
                }
                Piece::Hole(length) => content.hole(*length),
                Piece::Seek(offset) => content.seek(*offset),
            },
            To::Spool { file, counted_bytes, .. } => {
                if let Piece::Data(bytes) = piece {
                    self.spool.take(bytes.len() as u64).map_err(io::Error::other)?;
                    *counted_bytes += bytes.len() as u64;
                    file.write_all_at(bytes, at)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, file: FileId) -> io::Result<()> {
        let Some(Open { path, size, to, .. }) = self.open.remove(&file) else { return Ok(()) };
        match to {
            To::Archive { entry, content } => {
                self.direct = None;
                self.archive.end(entry, &path, size)?;
                if let (_, Some(hash)) = content.finish() {
                    self.hashes.insert(path, hash);
                }
                self.append_settled()
            }
            To::Spool { name, file, counted_bytes } => {
                file.set_len(size)?;
                self.waiting.insert(path, Waiting { name, size, counted_bytes });
                self.append_settled()
            }
        }
    }

    /// Renames what waits; InnoDB's files, the only ones that do not, are never renamed.
    pub(super) fn rename(&mut self, from: &EntryPath, to: EntryPath) -> io::Result<()> {
        if self.hashes.contains_key(from) {
            return Err(renamed_too_late(from));
        }
        if let Some(waiting) = self.waiting.remove(from) {
            self.remove(&to)?;
            self.waiting.insert(to, waiting);
        }
        Ok(())
    }

    /// Removes what waits. What is in the archive is covered by a later file of its name.
    pub(super) fn remove(&mut self, path: &EntryPath) -> io::Result<()> {
        match self.waiting.remove(path) {
            Some(waiting) => self.spool.remove(&waiting.name, waiting.counted_bytes),
            None => Ok(()),
        }
    }

    /// As [`Writer::remove`], where no file of that name follows.
    pub(super) fn remove_for_good(&mut self, path: &EntryPath) -> io::Result<()> {
        if self.hashes.contains_key(path) {
            return Err(renamed_too_late(path));
        }
        self.remove(path)
    }

    /// Writes what waits, the manifest, the hashes and the trailer; gives the archive's size.
    pub(super) fn commit(&mut self, manifest: &[u8], sync: bool) -> io::Result<u64> {
        if let Some(open) = self.open.values().next() {
            return Err(io::Error::other(format!("{} is not finished", open.path)));
        }
        while let Some((path, waiting)) = self.waiting.pop_first() {
            self.append(path, &waiting)?;
        }
        self.append_bytes(MANIFEST_NAME, manifest)?;
        let mut list = Vec::new();
        self.hashes.iter().for_each(|(path, hash)| sums::push(&mut list, path, *hash));
        self.append_bytes(SUMS_NAME, &list)?;
        self.archive.finish(sync)?;
        Ok(self.archive.bytes())
    }

    /// Frees the spool of what nobody will change any more.
    fn append_settled(&mut self) -> io::Result<()> {
        if self.direct.is_some() {
            return Ok(());
        }
        let settled: Vec<_> =
            self.waiting.keys().filter(|path| is_settled(path)).cloned().collect();
        for path in settled {
            if let Some(waiting) = self.waiting.remove(&path) {
                self.append(path, &waiting)?;
            }
        }
        Ok(())
    }

    fn append(&mut self, path: EntryPath, waiting: &Waiting) -> io::Result<()> {
        let mut file = File::open(&waiting.name)?;
        file.seek(SeekFrom::Start(0))?;
        let hash = self.archive.append(&path, waiting.size, &mut file)?;
        self.hashes.insert(path, hash);
        self.spool.remove(&waiting.name, waiting.counted_bytes)
    }

    fn append_bytes(&mut self, name: &str, mut bytes: &[u8]) -> io::Result<()> {
        let path = EntryPath::parse(name.as_bytes()).map_err(io::Error::other)?;
        let hash = self.archive.append(&path, bytes.len() as u64, &mut bytes)?;
        self.hashes.insert(path, hash);
        Ok(())
    }
}

impl Open {
    /// Moves on by a piece; gives where it begins.
    fn advance(&mut self, piece: &Piece) -> io::Result<u64> {
        let at = self.position;
        let (end, counts) = match piece {
            Piece::Data(bytes) => (at.checked_add(bytes.len() as u64), !bytes.is_empty()),
            Piece::Hole(length) => (at.checked_add(*length), *length > 0),
            Piece::Seek(offset) => (Some(*offset), false),
        };
        let end = end.filter(|&end| end <= FILE_BYTES_MAX).ok_or(io::ErrorKind::FileTooLarge)?;
        self.position = end;
        if counts {
            self.size = self.size.max(end);
        }
        Ok(at)
    }
}

/// InnoDB's own files: while a backup runs, MariaDB says what became of them in marker files, and
/// never renames or removes them in the stream.
fn is_settled(path: &EntryPath) -> bool {
    let name = path.file_name();
    let is_system = [&b"ibdata"[..], b"undo", b"ib_logfile", b"xtrabackup_logfile"]
        .iter()
        .any(|prefix| name.starts_with(prefix));
    name.ends_with(b".ibd") || name.ends_with(b".ibu") || is_system
}

fn renamed_too_late(path: &EntryPath) -> io::Error {
    io::Error::other(format!("the stream changes {path}, which is in the archive already"))
}
