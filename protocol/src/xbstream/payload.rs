//! The payload of a chunk: its bytes pass through, and are summed up on the way.

use bytes::Bytes;

use super::chunk::Extent;
use super::error::Fault;
use super::reader::{Event, FileId};
use super::sparse::{SparseMap, Step};

/// What was taken of the input.
pub(super) enum Taken {
    /// Nothing: there is no more, and the payload goes on.
    Nothing,
    /// What the file gets.
    Event(Event),
    /// The payload is over, and what was sent.
    All,
}

/// The payload of a chunk on its way through.
#[derive(Debug)]
pub(super) struct Payload {
    file: FileId,
    left: u64,
    expected: u32,
    checksum: crc32fast::Hasher,
    holes: Option<SparseMap>,
}

impl Payload {
    pub(super) fn new(
        file: FileId,
        extent: &Extent,
        checksum: crc32fast::Hasher,
        holes: Option<SparseMap>,
    ) -> Self {
        Self { file, left: extent.length, expected: extent.checksum, checksum, holes }
    }

    /// Takes what it can of `input`, up to the next event.
    pub(super) fn take(&mut self, input: &mut Bytes) -> Result<Taken, Fault> {
        let run = match self.holes.as_mut().map(SparseMap::next) {
            Some(Step::Hole(length)) => {
                return Ok(Taken::Event(Event::Hole { file: self.file, length }));
            }
            Some(Step::Run(length)) => length,
            Some(Step::Done) => 0,
            None => self.left,
        };
        if run == 0 {
            return self.verify().map(|()| Taken::All);
        }
        let bytes = input.split_to(at_most(run, input.len()));
        if bytes.is_empty() {
            return Ok(Taken::Nothing);
        }
        self.count(&bytes)?;
        Ok(Taken::Event(Event::Data { file: self.file, bytes }))
    }

    fn count(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        self.checksum.update(bytes);
        let taken = bytes.len() as u64;
        self.left -= taken;
        if let Some(holes) = &mut self.holes {
            holes.advance(taken);
        }
        // Verified before the last piece is delivered, not at the next call.
        if self.left == 0 { self.verify() } else { Ok(()) }
    }

    fn verify(&self) -> Result<(), Fault> {
        let (expected, found) = (self.expected, self.checksum.clone().finalize());
        if expected == found { Ok(()) } else { Err(Fault::Checksum { expected, found }) }
    }
}

/// The smaller of the two.
pub(super) fn at_most(wanted: u64, available: usize) -> usize {
    usize::try_from(wanted).map_or(available, |wanted| wanted.min(available))
}
