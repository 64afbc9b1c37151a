//! One direction of a connection: what it carries, and where one message ends.

use bytes::{Buf, Bytes, BytesMut};
use galera_protocol::describe::{describe_frame, message::looks_like_frame};
use galera_protocol::frame::{self, BODY_BYTES_MAX, HEADER_BYTES};
use galera_protocol::xbstream::{Event, FileId, Reader, ReaderConfig};
use std::collections::BTreeMap;

use super::{LinkEvent, SstEvent, What};
use crate::capture::StreamEvent;

/// Bytes after which a connection is known to be none of ours.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// Follows one direction.
#[derive(Debug, Default)]
pub(super) struct LinkDirection {
    state: State,
    /// The capture has its first byte.
    has_start: bool,
}

#[derive(Debug)]
enum State {
    /// Not known yet.
    Fresh(BytesMut),
    Group(Frames),
    Sst(Box<Transfer>),
    /// Nothing more can be told.
    Opaque,
}

impl Default for State {
    fn default() -> Self {
        Self::Fresh(BytesMut::new())
    }
}

impl LinkDirection {
    /// Takes what happened on the stream.
    pub(super) fn take(&mut self, event: StreamEvent) -> Vec<What> {
        match event {
            StreamEvent::Opened => {
                self.has_start = true;
                Vec::new()
            }
            StreamEvent::Data(bytes) => self.data(&bytes),
            StreamEvent::Gap(length) => self.gap(length),
            StreamEvent::Ended => self.end(LinkEvent::Ended),
            StreamEvent::Reset => self.end(LinkEvent::Reset),
        }
    }

    fn data(&mut self, bytes: &Bytes) -> Vec<What> {
        match &mut self.state {
            State::Fresh(head) => {
                head.extend_from_slice(bytes);
                self.recognise(bytes)
            }
            State::Group(frames) => frames.take(bytes),
            State::Sst(transfer) => transfer.take(bytes.clone()),
            State::Opaque => Vec::new(),
        }
    }

    fn recognise(&mut self, last: &Bytes) -> Vec<What> {
        let State::Fresh(head) = &mut self.state else { return Vec::new() };
        if head.len() < HEADER_BYTES {
            return Vec::new();
        }
        if head.starts_with(b"XBSTCK01") {
            let head = core::mem::take(head).freeze();
            let mut transfer = Box::new(Transfer::new());
            let mut found = vec![What::Sst(SstEvent::Began("xbstream"))];
            found.extend(transfer.take(head));
            self.state = State::Sst(transfer);
            return found;
        }
        if matches!(head.as_ref(), [0x15..=0x17, 0x03, 0x00..=0x04, ..]) && self.has_start {
            self.state = State::Opaque;
            return vec![What::Link(LinkEvent::Tls)];
        }
        if frame::is_plain_greeting(head) && self.has_start || looks_like_frame(head) {
            let head = core::mem::take(head).freeze();
            return self.group(&head);
        }
        // In the middle of a connection a message may begin with any segment.
        if looks_like_frame(last) {
            return self.group(last);
        }
        let may_be_a_frame = frame_length(head).is_some_and(|length| head.len() < length);
        if self.has_start && !may_be_a_frame || head.len() > HEAD_BYTES_MAX {
            self.state = State::Opaque;
        }
        Vec::new()
    }

    fn group(&mut self, bytes: &Bytes) -> Vec<What> {
        let mut frames = Frames::default();
        let mut found = Vec::new();
        if self.has_start {
            found.push(What::Link(LinkEvent::Opened));
        }
        found.extend(frames.take(bytes));
        self.state = State::Group(frames);
        found
    }

    fn gap(&mut self, length: u64) -> Vec<What> {
        match &mut self.state {
            State::Fresh(head) => {
                head.clear();
                Vec::new()
            }
            State::Group(frames) => {
                frames.lose();
                vec![What::Link(LinkEvent::Gap(length))]
            }
            State::Sst(transfer) => transfer.gap(length),
            State::Opaque => Vec::new(),
        }
    }

    fn end(&mut self, event: LinkEvent) -> Vec<What> {
        match core::mem::replace(&mut self.state, State::Opaque) {
            State::Group(_) => vec![What::Link(event)],
            State::Sst(transfer) => transfer.end(),
            State::Fresh(_) | State::Opaque => Vec::new(),
        }
    }
}

/// Cuts a stream into frames.
#[derive(Debug, Default)]
struct Frames {
    buffer: BytesMut,
    /// Where the next frame begins is not known.
    is_lost: bool,
    skipped: u64,
}

impl Frames {
    fn take(&mut self, bytes: &Bytes) -> Vec<What> {
        self.buffer.extend_from_slice(bytes);
        let mut found = Vec::new();
        while self.find(&mut found) {
            let Some(length) = frame_length(&self.buffer) else {
                self.is_lost = true;
                continue;
            };
            if self.buffer.len() < length {
                break;
            }
            let bytes = self.buffer.split_to(length).freeze();
            let description = describe_frame(&bytes);
            found.push(What::Frame { bytes, description });
        }
        found
    }

    /// Goes on to where a frame begins; false if there is none yet.
    fn find(&mut self, found: &mut Vec<What>) -> bool {
        if self.is_lost {
            let length = self.buffer.len();
            let start = (0..length).find(|&at| looks_like_frame(&self.buffer[at..]));
            // A frame that begins in what is kept may still be completed.
            let skipped = start.unwrap_or(length.saturating_sub(HEADER_BYTES + BODY_BYTES_MAX));
            self.buffer.advance(skipped);
            self.skipped += skipped as u64;
            self.is_lost = start.is_none();
            if !self.is_lost {
                let skipped = core::mem::take(&mut self.skipped);
                found.extend((skipped > 0).then_some(What::Link(LinkEvent::Unreadable(skipped))));
            }
        }
        !self.is_lost && self.buffer.len() >= HEADER_BYTES
    }

    fn lose(&mut self) {
        self.skipped += self.buffer.len() as u64;
        self.buffer.clear();
        self.is_lost = true;
    }
}

/// Bytes of the frame that begins here; none if this is no frame's header.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let word = u32::from_le_bytes(*bytes.first_chunk()?);
    let length = (word & 0x00ff_ffff) as usize;
    let is_known = word >> 26 == 0 && (1..=BODY_BYTES_MAX).contains(&length);
    is_known.then_some(HEADER_BYTES + length)
}

/// A donor's stream.
#[derive(Debug)]
struct Transfer {
    reader: Reader,
    open: BTreeMap<FileId, (String, u64)>,
    bytes: u64,
    files: u64,
    is_damaged: bool,
}

impl Transfer {
    fn new() -> Self {
        Self {
            reader: Reader::new(ReaderConfig::default()),
            open: BTreeMap::new(),
            bytes: 0,
            files: 0,
            is_damaged: false,
        }
    }

    fn take(&mut self, mut bytes: Bytes) -> Vec<What> {
        self.bytes += bytes.len() as u64;
        let mut found = Vec::new();
        while !self.is_damaged {
            match self.reader.read(&mut bytes) {
                Ok(Some(event)) => found.extend(self.note(event)),
                Ok(None) => break,
                Err(error) => found.push(self.damaged(error.to_string())),
            }
        }
        found
    }

    fn note(&mut self, event: Event) -> Option<What> {
        match event {
            Event::Opened { file, path, .. } => {
                self.open.insert(file, (path.to_string(), 0));
            }
            Event::Data { file, bytes } => self.grow(file, bytes.len() as u64),
            Event::Hole { file, length } => self.grow(file, length),
            Event::Closed { file } => {
                let (path, size) = self.open.remove(&file)?;
                self.files += 1;
                return Some(What::Sst(SstEvent::File { path, size }));
            }
            Event::Seek { .. } | Event::Renamed { .. } | Event::Removed { .. } => {}
        }
        None
    }

    fn grow(&mut self, file: FileId, length: u64) {
        if let Some((_, size)) = self.open.get_mut(&file) {
            *size += length;
        }
    }

    fn damaged(&mut self, why: String) -> What {
        self.is_damaged = true;
        What::Sst(SstEvent::Damaged(why))
    }

    fn gap(&mut self, length: u64) -> Vec<What> {
        self.bytes += length;
        if self.is_damaged {
            return Vec::new();
        }
        vec![self.damaged(format!("{length} bytes of it were not captured"))]
    }

    fn end(self: Box<Self>) -> Vec<What> {
        vec![What::Sst(SstEvent::Ended { bytes: self.bytes, files: self.files })]
    }
}

#[cfg(test)]
mod tests {
    use galera_protocol::checksum::Checksum;

    use super::*;

    fn keepalive() -> Bytes {
        let mut frame = BytesMut::new();
        let body = [&[0, 6, 0, 0][..], &[7; 16]].concat();
        frame::encode(Checksum::Crc32c, &body, &mut frame).expect("frame");
        frame.freeze()
    }

    fn kinds(found: &[What]) -> Vec<&str> {
        let kind = |what: &What| match what {
            What::Frame { description, .. } => description.sections.last().map_or("", |s| s.kind),
            What::Link(event) => event.kind(),
            What::Sst(event) => event.kind(),
        };
        found.iter().map(kind).collect::<Vec<&'static str>>()
    }

    fn group() -> LinkDirection {
        let mut link = LinkDirection::default();
        assert_eq!(kinds(&link.take(StreamEvent::Data(keepalive()))), ["KEEPALIVE"]);
        link
    }

    #[test]
    fn frames_are_found_however_the_stream_is_cut() {
        let mut link = group();
        let two = [keepalive(), keepalive()].concat();
        let found: Vec<What> = two
            .chunks(5)
            .flat_map(|piece| link.take(StreamEvent::Data(Bytes::copy_from_slice(piece))))
            .collect();
        assert_eq!(kinds(&found), ["KEEPALIVE", "KEEPALIVE"]);
    }

    #[test]
    fn after_a_gap_the_next_frame_is_found() {
        let mut link = group();
        assert_eq!(kinds(&link.take(StreamEvent::Gap(100))), ["GAP_IN_CAPTURE"]);
        let rest = [&keepalive()[9..], &keepalive(), &keepalive()].concat();
        let found = link.take(StreamEvent::Data(rest.into()));
        assert_eq!(kinds(&found), ["UNREADABLE", "KEEPALIVE", "KEEPALIVE"]);
    }

    #[test]
    fn a_damaged_frame_is_told_and_the_next_one_read() {
        let mut link = group();
        let mut damaged = keepalive().to_vec();
        damaged[15] ^= 1;
        let found = link.take(StreamEvent::Data([&damaged[..], &keepalive()].concat().into()));
        assert_eq!(kinds(&found), ["KEEPALIVE", "KEEPALIVE"]);
        let What::Frame { description, .. } = &found[0] else { panic!("a frame") };
        assert!(description.fault.is_some());
    }

    #[test]
    fn other_protocols_are_left_alone() {
        let mut link = LinkDirection::default();
        link.take(StreamEvent::Opened);
        let http = Bytes::from_static(b"GET / HTTP/1.1\r\n");
        assert_eq!(link.take(StreamEvent::Data(http)), []);
        assert_eq!(link.take(StreamEvent::Data(keepalive())), []);
    }
}
