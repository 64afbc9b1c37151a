//! The index as bytes: JSON lines in one zstd frame.

use std::io::{self, BufRead, BufReader, Read, Write};

use galera_protocol::xbstream::EntryPath;
use serde::{Deserialize, Serialize};

use super::{ENTRIES_MAX, Extent, FileRecord, Index, PackRecord};
use crate::pipeline::manifest::{BackupId, Digest, FORMAT_VERSION, PLAIN_FORMAT_VERSION};
use crate::repository::error::{Fault, RepositoryError};

/// The longest line that is read: a file with a million extents.
const LINE_BYTES_MAX: u64 = 64 << 20;
const COMPRESSION_LEVEL: i32 = 3;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Line {
    Index(Head),
    Pack(PackLine),
    File(FileLine),
    End(End),
}

#[derive(Serialize, Deserialize)]
struct Head {
    format_version: u32,
    backup_id: BackupId,
}

#[derive(Serialize, Deserialize)]
struct PackLine {
    name: String,
    bytes: u64,
    blake3: Digest,
    raw_offset: u64,
    raw_bytes: u64,
    blocks: u64,
    table_blake3: Digest,
}

/// A name that is not UTF-8 stands in `path_hex`.
#[derive(Serialize, Deserialize)]
struct FileLine {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_hex: Option<String>,
    bytes: u64,
    blake3: Digest,
    /// Offset in the file, offset in the raw bytes, length.
    extents: Vec<(u64, u64, u64)>,
}

#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct End {
    packs: usize,
    files: usize,
}

/// Writes an index; gives it compressed.
pub(crate) fn encode<'a>(
    id: &BackupId,
    packs: &[PackRecord],
    files: impl ExactSizeIterator<Item = &'a FileRecord>,
) -> io::Result<Vec<u8>> {
    let end = End { packs: packs.len(), files: files.len() };
    let mut out = zstd::Encoder::new(Vec::new(), COMPRESSION_LEVEL)?;
    out.include_checksum(true)?;
    let head = Head { format_version: PLAIN_FORMAT_VERSION, backup_id: id.clone() };
    write_line(&mut out, &Line::Index(head))?;
    for pack in packs {
        write_line(&mut out, &Line::Pack(pack.into()))?;
    }
    for file in files {
        write_line(&mut out, &Line::File(file.into()))?;
    }
    write_line(&mut out, &Line::End(end))?;
    out.finish()
}

fn write_line(out: &mut impl Write, line: &Line) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}

/// Reads an index and checks it; `object` names it in errors.
pub(crate) fn decode(
    object: &str,
    id: &BackupId,
    compressed: &[u8],
) -> Result<Index, RepositoryError> {
    let damaged = |fault| RepositoryError::damaged(object, fault);
    let decoder = zstd::Decoder::with_buffer(compressed)
        .map_err(|_| damaged(Fault::IndexLine { line: 0 }))?;
    let mut lines = Lines { from: BufReader::new(decoder), number: 0, text: Vec::new() };
    match lines.next().map_err(damaged)? {
        Some(Line::Index(head))
            if head.backup_id == *id && head.format_version <= FORMAT_VERSION => {}
        Some(_) | None => return Err(damaged(Fault::IndexLine { line: 1 })),
    }
    read_records(&mut lines, damaged)?.check()
}

/// Reads the list of files of an encrypted backup, whose index has packs only.
pub(crate) fn decode_files(
    object: &str,
    id: &BackupId,
    compressed: &[u8],
    packs: Index,
) -> Result<Index, RepositoryError> {
    let damaged = |fault| RepositoryError::damaged(object, fault);
    let decoder = zstd::Decoder::with_buffer(compressed)
        .map_err(|_| damaged(Fault::IndexLine { line: 0 }))?;
    let mut lines = Lines { from: BufReader::new(decoder), number: 0, text: Vec::new() };
    match lines.next().map_err(damaged)? {
        Some(Line::Index(head)) if head.backup_id == *id => {}
        Some(_) | None => return Err(damaged(Fault::IndexLine { line: 1 })),
    }
    let listed = read_records(&mut lines, damaged)?;
    if !listed.packs.is_empty() {
        return Err(damaged(Fault::Packs));
    }
    Index { files: listed.files, ..packs }.check()
}

fn read_records<R: BufRead>(
    lines: &mut Lines<R>,
    damaged: impl Fn(Fault) -> RepositoryError,
) -> Result<Index, RepositoryError> {
    let mut index = Index::default();
    let mut entries = 0_u64;
    while let Some(line) = lines.next().map_err(&damaged)? {
        match line {
            Line::Pack(pack) => index.packs.push(pack.into()),
            Line::File(file) => {
                entries += 1 + file.extents.len() as u64;
                let malformed = Fault::IndexLine { line: lines.number };
                index.files.push(file.into_record().ok_or_else(|| damaged(malformed))?);
            }
            Line::End(end) if end == index.end() => return Ok(index),
            Line::End(_) => return Err(damaged(Fault::IndexEnd)),
            Line::Index(_) => return Err(damaged(Fault::IndexLine { line: lines.number })),
        }
        if entries + index.packs.len() as u64 > ENTRIES_MAX {
            return Err(RepositoryError::Limit { what: "entries in an index", limit: ENTRIES_MAX });
        }
    }
    Err(damaged(Fault::IndexEnd))
}

struct Lines<R> {
    from: R,
    number: usize,
    text: Vec<u8>,
}

impl<R: BufRead> Lines<R> {
    fn next(&mut self) -> Result<Option<Line>, Fault> {
        self.number += 1;
        self.text.clear();
        let malformed = Fault::IndexLine { line: self.number };
        let mut limited = (&mut self.from).take(LINE_BYTES_MAX);
        match limited.read_until(b'\n', &mut self.text) {
            Ok(0) => Ok(None),
            Ok(_) => serde_json::from_slice(&self.text).map(Some).map_err(|_| malformed),
            Err(_) => Err(malformed),
        }
    }
}

impl Index {
    fn end(&self) -> End {
        End { packs: self.packs.len(), files: self.files.len() }
    }
}

impl From<&PackRecord> for PackLine {
    fn from(pack: &PackRecord) -> Self {
        Self {
            name: pack.name.clone(),
            bytes: pack.bytes,
            blake3: pack.hash,
            raw_offset: pack.raw_offset,
            raw_bytes: pack.raw_bytes,
            blocks: pack.blocks,
            table_blake3: pack.table_hash,
        }
    }
}

impl From<PackLine> for PackRecord {
    fn from(line: PackLine) -> Self {
        Self {
            name: line.name,
            bytes: line.bytes,
            hash: line.blake3,
            raw_offset: line.raw_offset,
            raw_bytes: line.raw_bytes,
            blocks: line.blocks,
            table_hash: line.table_blake3,
        }
    }
}

impl From<&FileRecord> for FileLine {
    fn from(file: &FileRecord) -> Self {
        let (path, path_hex) = match std::str::from_utf8(file.path.as_bytes()) {
            Ok(path) => (Some(path.to_owned()), None),
            Err(_) => (None, Some(to_hex(file.path.as_bytes()))),
        };
        let extents = file.extents.iter().map(|e| (e.file_offset, e.raw_offset, e.length));
        Self { path, path_hex, bytes: file.bytes, blake3: file.hash, extents: extents.collect() }
    }
}

impl FileLine {
    fn into_record(self) -> Option<FileRecord> {
        let raw = match (self.path, self.path_hex) {
            (Some(path), None) => path.into_bytes(),
            (None, Some(hex)) => from_hex(&hex)?,
            (Some(_), Some(_)) | (None, None) => return None,
        };
        let extents = self.extents.into_iter().map(|(file_offset, raw_offset, length)| Extent {
            file_offset,
            raw_offset,
            length,
        });
        Some(FileRecord {
            path: EntryPath::parse(&raw).ok()?,
            bytes: self.bytes,
            hash: self.blake3,
            extents: extents.collect(),
        })
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| match *pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}
