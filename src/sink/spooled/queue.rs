//! Steps on disk, first in, first out, in segments that go when they were read.
//!
//! | offset | size | field |
//! |-------:|-----:|---|
//! | 0 | 1 | kind |
//! | 1 | 8 | file |
//! | 9 | 8 | length of a hole, or offset of a seek |
//! | 17 | 4 | length of the first name or of the bytes |
//! | 21 | 4 | length of the second name |
//!
//! Little-endian; then the names or bytes. Nobody else reads it, and it does not outlive the process.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::PathBuf;

use bytes::{Buf, BufMut, Bytes};
use galera_protocol::xbstream::EntryPath;

use super::{FileId, Step};
use crate::sink::Piece;
use crate::sink::spool::Spool;

/// A segment ends with the step that makes it this large.
const SEGMENT_BYTES: u64 = 64 << 20;

const HEAD_BYTES: usize = 25;

/// The largest piece that a step may hold: far above what the pipeline makes.
const BYTES_MAX: usize = 64 << 20;

/// The queue.
#[derive(Debug)]
pub(super) struct DiskQueue {
    spool: Spool,
    /// The last one is written to.
    segments: VecDeque<Segment>,
    /// The first segment, being read.
    reading: Option<BufReader<File>>,
    steps: u64,
}

#[derive(Debug)]
struct Segment {
    path: PathBuf,
    file: File,
    bytes: u64,
    steps: u64,
}

impl DiskQueue {
    pub(super) const fn new(spool: Spool) -> Self {
        Self { spool, segments: VecDeque::new(), reading: None, steps: 0 }
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.steps == 0
    }

    /// Forgets everything, and leaves nothing on disk.
    pub(super) fn clear(&mut self) {
        self.reading = None;
        self.segments.clear();
        self.steps = 0;
        self.spool.clear();
    }

    /// Appends a step.
    pub(super) fn push(&mut self, step: &Step) -> io::Result<()> {
        let (head, parts) = encode(step);
        let bytes = (head.len() + parts[0].len() + parts[1].len()) as u64;
        self.spool.take(bytes).map_err(io::Error::other)?;
        if self.segments.back().is_none_or(|last| last.bytes >= SEGMENT_BYTES) {
            let (path, file) = self.spool.file()?;
            self.segments.push_back(Segment { path, file, bytes: 0, steps: 0 });
        }
        let Some(last) = self.segments.back_mut() else { return Ok(()) };
        last.file.write_all(&head)?;
        last.file.write_all(parts[0])?;
        last.file.write_all(parts[1])?;
        last.bytes += bytes;
        last.steps += 1;
        self.steps += 1;
        Ok(())
    }

    /// Takes the first step.
    pub(super) fn pop(&mut self) -> io::Result<Option<Step>> {
        let Some(first) = self.segments.front_mut() else { return Ok(None) };
        if self.steps == 0 {
            return Ok(None);
        }
        let reading = match &mut self.reading {
            Some(reading) => reading,
            none => none.insert(BufReader::new(File::open(&first.path)?)),
        };
        let step = decode(reading)?;
        first.steps -= 1;
        self.steps -= 1;
        let is_done = first.steps == 0 && (first.bytes >= SEGMENT_BYTES || self.steps == 0);
        if is_done {
            self.reading = None;
            if let Some(Segment { path, bytes, .. }) = self.segments.pop_front() {
                self.spool.remove(&path, bytes)?;
            }
        }
        Ok(Some(step))
    }
}

fn encode(step: &Step) -> ([u8; HEAD_BYTES], [&[u8]; 2]) {
    const NONE: &[u8] = &[];
    let (kind, file, number, parts) = match step {
        Step::Create(file, path) => (0, file.0, 0, [path.as_bytes(), NONE]),
        Step::Write(file, Piece::Data(bytes)) => (1, file.0, 0, [&bytes[..], NONE]),
        Step::Write(file, Piece::Hole(length)) => (2, file.0, *length, [NONE, NONE]),
        Step::Write(file, Piece::Seek(offset)) => (3, file.0, *offset, [NONE, NONE]),
        Step::Finish(file) => (4, file.0, 0, [NONE, NONE]),
        Step::Rename(from, to) => (5, 0, 0, [from.as_bytes(), to.as_bytes()]),
        Step::Remove(path) => (6, 0, 0, [path.as_bytes(), NONE]),
        Step::Stream(bytes) => (7, 0, 0, [&bytes[..], NONE]),
    };
    let mut head = [0; HEAD_BYTES];
    let mut out = &mut head[..];
    out.put_u8(kind);
    out.put_u64_le(file);
    out.put_u64_le(number);
    for part in parts {
        out.put_u32_le(u32::try_from(part.len()).unwrap_or(u32::MAX));
    }
    (head, parts)
}

fn decode(from: &mut impl Read) -> io::Result<Step> {
    let mut head = [0; HEAD_BYTES];
    from.read_exact(&mut head)?;
    let mut head = &head[..];
    let (kind, file, number) = (head.get_u8(), FileId(head.get_u64_le()), head.get_u64_le());
    let lengths = [head.get_u32_le() as usize, head.get_u32_le() as usize];
    if lengths.iter().any(|&length| length > BYTES_MAX) {
        return Err(damaged());
    }
    let mut parts = lengths.map(|length| vec![0; length]);
    for part in &mut parts {
        from.read_exact(part)?;
    }
    let [first, second] = parts;
    Ok(match kind {
        0 => Step::Create(file, path(&first)?),
        1 => Step::Write(file, Piece::Data(Bytes::from(first))),
        2 => Step::Write(file, Piece::Hole(number)),
        3 => Step::Write(file, Piece::Seek(number)),
        4 => Step::Finish(file),
        5 => Step::Rename(path(&first)?, path(&second)?),
        6 => Step::Remove(path(&first)?),
        7 => Step::Stream(Bytes::from(first)),
        _ => return Err(damaged()),
    })
}

fn path(bytes: &[u8]) -> io::Result<EntryPath> {
    EntryPath::parse(bytes).map_err(|_| damaged())
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "the spool is damaged")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(limit: u64) -> (tempfile::TempDir, DiskQueue) {
        let parent = tempfile::tempdir().expect("temporary directory");
        let spool = Spool::create(parent.path().into(), "spool", limit).expect("made");
        (parent, DiskQueue::new(spool))
    }

    fn steps() -> Vec<Step> {
        let path = |name: &[u8]| EntryPath::parse(name).expect("valid name");
        let file = FileId(7);
        vec![
            Step::Create(file, path(b"db/t.ibd")),
            Step::Write(file, Piece::Data(Bytes::from_static(b"bytes"))),
            Step::Write(file, Piece::Hole(1 << 40)),
            Step::Write(file, Piece::Seek(37)),
            Step::Finish(file),
            Step::Rename(path(b"a"), path(b"db/\xff")),
            Step::Remove(path(b"a")),
            Step::Stream(Bytes::from(vec![1; 100_000])),
        ]
    }

    #[test]
    fn every_step_comes_back_in_order_however_pushes_and_pops_mix() {
        let (parent, mut queue) = queue(u64::MAX);
        for ahead in 1..steps().len() {
            let (mut pushed, mut popped) = (steps().into_iter(), Vec::new());
            for step in pushed.by_ref().take(ahead) {
                queue.push(&step).expect("pushed");
            }
            for step in pushed {
                queue.push(&step).expect("pushed");
                popped.extend(queue.pop().expect("popped"));
            }
            while let Some(step) = queue.pop().expect("popped") {
                popped.push(step);
            }
            assert_eq!(popped, steps());
            assert!(queue.is_empty());
        }
        assert_eq!(std::fs::read_dir(parent.path().join("spool")).expect("there").count(), 0);
    }

    #[test]
    fn a_full_spool_says_so() {
        let (_parent, mut queue) = queue(1000);
        let step = Step::Stream(Bytes::from(vec![0; 600]));
        queue.push(&step).expect("pushed");
        let error = queue.push(&step).expect_err("full");
        assert!(error.to_string().contains("--spool-max"), "{error}");
    }
}
