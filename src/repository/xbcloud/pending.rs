//! What is written of a file and not yet in a chunk.
//!
//! Small seeks back, as MariaDB makes into its Aria logs, are carried out in memory: no chunk of a kind
//! that Percona's tools do not know comes of them.

use bytes::{Bytes, BytesMut};

use super::chunk::Content;

/// Bytes of a file that wait for their chunk.
#[derive(Debug)]
pub(super) struct Pending {
    chunk_bytes: usize,
    bytes: BytesMut,
    /// Offset in the file of the first of them.
    offset: u64,
    /// Where the next are written, within them or at their end.
    at: usize,
}

impl Pending {
    pub(super) fn new(chunk_bytes: usize) -> Self {
        Self { chunk_bytes, bytes: BytesMut::new(), offset: 0, at: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Takes what fits; the rest is written after a flush.
    pub(super) fn write(&mut self, bytes: &mut Bytes) {
        let within = (self.bytes.len() - self.at).min(bytes.len());
        let over = bytes.split_to(within);
        self.bytes[self.at..self.at + within].copy_from_slice(&over);
        self.at += within;
        let room = self.chunk_bytes.saturating_sub(self.bytes.len()).min(bytes.len());
        let more = bytes.split_to(room);
        self.reserve(room);
        self.bytes.extend_from_slice(&more);
        self.at += room;
    }

    /// Grows by doubling, but never beyond a chunk.
    fn reserve(&mut self, more: usize) {
        let needed = self.bytes.len() + more;
        if needed > self.bytes.capacity() {
            let wanted = needed.max(2 * self.bytes.capacity()).min(self.chunk_bytes);
            self.bytes.reserve(wanted - self.bytes.len());
        }
    }

    /// Moves to another place; what that needs beside a flush before it.
    pub(super) fn seek(&mut self, offset: u64) -> bool {
        let within = offset.checked_sub(self.offset).and_then(|at| usize::try_from(at).ok());
        match within.filter(|&at| at <= self.bytes.len()) {
            Some(at) => {
                self.at = at;
                true
            }
            None => false,
        }
    }

    /// Goes on at a place that no byte here is for; there are none here.
    pub(super) fn restart(&mut self, offset: u64) {
        (self.offset, self.at) = (offset, 0);
    }

    /// Where the next chunk begins.
    pub(super) const fn offset(&self) -> u64 {
        self.offset
    }

    /// All bytes of a file that never made a chunk.
    pub(super) fn take(&mut self) -> Bytes {
        self.at = 0;
        core::mem::take(&mut self.bytes).freeze()
    }

    /// The last chunk of a file, if there is one more. Where it would go on matters no longer.
    pub(super) fn last(&mut self) -> Option<Content> {
        self.flush().into_iter().find(|chunk| matches!(chunk, Content::Data { .. }))
    }

    /// The chunks that all of it makes.
    pub(super) fn flush(&mut self) -> Vec<Content> {
        let mut chunks = Vec::new();
        let position = self.offset + self.at as u64;
        if !self.bytes.is_empty() {
            let bytes = core::mem::take(&mut self.bytes).freeze();
            let offset = self.offset;
            self.offset += bytes.len() as u64;
            chunks.push(Content::Data { offset, bytes });
        }
        if position != self.offset {
            chunks.push(Content::Seek { offset: position });
            self.offset = position;
        }
        self.at = 0;
        chunks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(pending: &mut Pending, bytes: &'static [u8]) -> usize {
        let mut bytes = Bytes::from_static(bytes);
        pending.write(&mut bytes);
        bytes.len()
    }

    fn data(offset: u64, bytes: &'static [u8]) -> Content {
        Content::Data { offset, bytes: Bytes::from_static(bytes) }
    }

    #[test]
    fn a_chunk_takes_no_more_than_it_may() {
        let mut pending = Pending::new(4);
        assert_eq!(write(&mut pending, b"abc"), 0);
        assert_eq!(write(&mut pending, b"def"), 2);
        assert_eq!(pending.flush(), [data(0, b"abcd")]);
        assert_eq!(write(&mut pending, b"ef"), 0);
        assert_eq!(pending.flush(), [data(4, b"ef")]);
        assert_eq!(pending.flush(), []);
    }

    #[test]
    fn a_seek_into_what_is_here_changes_it() {
        let mut pending = Pending::new(8);
        write(&mut pending, b"abcdef");
        assert!(pending.seek(2));
        write(&mut pending, b"XY");
        assert!(pending.seek(6));
        assert_eq!(write(&mut pending, b"gh"), 0);
        assert_eq!(pending.flush(), [data(0, b"abXYefgh")]);
    }

    #[test]
    fn writing_over_the_end_goes_on_behind_it() {
        let mut pending = Pending::new(8);
        write(&mut pending, b"abc");
        assert!(pending.seek(1));
        assert_eq!(write(&mut pending, b"12345"), 0);
        assert_eq!(pending.flush(), [data(0, b"a12345")]);
    }

    #[test]
    fn a_flush_in_the_middle_says_where_it_goes_on() {
        let mut pending = Pending::new(8);
        write(&mut pending, b"abcdef");
        assert!(pending.seek(2));
        assert_eq!(pending.flush(), [data(0, b"abcdef"), Content::Seek { offset: 2 }]);
        write(&mut pending, b"x");
        assert_eq!(pending.flush(), [data(2, b"x")]);
    }

    #[test]
    fn the_last_chunk_needs_no_seek_behind_it() {
        let mut pending = Pending::new(8);
        write(&mut pending, b"abcdef");
        assert!(pending.seek(2));
        assert_eq!(pending.last(), Some(data(0, b"abcdef")));
        assert_eq!(pending.last(), None);
    }

    #[test]
    fn a_seek_elsewhere_is_for_the_stream() {
        let mut pending = Pending::new(8);
        write(&mut pending, b"abc");
        assert!(!pending.seek(4));
        pending.flush();
        pending.restart(100);
        assert!(!pending.seek(2));
        write(&mut pending, b"x");
        assert_eq!(pending.flush(), [data(100, b"x")]);
    }
}
