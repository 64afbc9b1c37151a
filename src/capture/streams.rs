//! TCP streams put together: in order, without repetitions, gaps told where bytes are lost.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::{Buf, Bytes};

use super::{Segment, Timestamp};

/// Bytes of one direction that wait for an earlier segment. What is missing by then was not captured.
const WAITING_BYTES_MAX: usize = 4 << 20;

/// Directions that are followed at a time; of more, the longest silent one is given up.
const FLOWS_MAX: usize = 4096;

/// One direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Who sends.
    pub from: SocketAddr,
    /// Who receives.
    pub to: SocketAddr,
    /// Which connection between these two, counted from 0.
    pub generation: u32,
}

impl Flow {
    /// The other direction.
    pub fn reverse(&self) -> Self {
        Self { from: self.to, to: self.from, ..*self }
    }
}

/// What happened on a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// It began here; otherwise the capture began in the middle of it.
    Opened,
    /// Its next bytes.
    Data(Bytes),
    /// So many bytes were not captured.
    Gap(u64),
    /// The sender ended it.
    Ended,
    /// The sender broke the connection.
    Reset,
}

/// Puts streams together.
#[derive(Debug, Default)]
pub struct Streams {
    flows: BTreeMap<(SocketAddr, SocketAddr), Direction>,
}

#[derive(Debug)]
struct Direction {
    flow: Flow,
    /// Number of the next byte; grows beyond 32 bits.
    next: u64,
    waiting: BTreeMap<u64, Bytes>,
    waiting_bytes: usize,
    ends_at: Option<u64>,
    is_over: bool,
    last_seen: Timestamp,
}

impl Streams {
    /// Takes a segment; what follows from it, in order.
    pub fn take(&mut self, segment: &Segment) -> Vec<(Flow, StreamEvent)> {
        let key = (segment.from, segment.to);
        let mut events = Vec::new();
        let generation = match self.flows.get(&key) {
            Some(direction) if segment.syn && direction.restarts(segment) => {
                Some(direction.flow.generation + 1)
            }
            Some(_) => None,
            None => Some(0),
        };
        if let Some(generation) = generation {
            self.make_room();
            let flow = Flow { from: segment.from, to: segment.to, generation };
            self.flows.insert(key, Direction::new(flow, segment));
            if segment.syn {
                events.push((flow, StreamEvent::Opened));
            }
        }
        if let Some(direction) = self.flows.get_mut(&key) {
            let flow = direction.flow;
            events.extend(direction.take(segment).into_iter().map(|event| (flow, event)));
        }
        events
    }

    /// The capture is over: what still waits, after its gaps.
    pub fn finish(&mut self) -> Vec<(Flow, StreamEvent)> {
        let mut events = Vec::new();
        for direction in self.flows.values_mut() {
            let (flow, mut found) = (direction.flow, Vec::new());
            direction.flush(&mut found);
            events.extend(found.into_iter().map(|event| (flow, event)));
        }
        events
    }

    fn make_room(&mut self) {
        if self.flows.len() < FLOWS_MAX {
            return;
        }
        let oldest = self.flows.iter().min_by_key(|(_, direction)| direction.last_seen);
        if let Some(key) = oldest.map(|(key, _)| *key) {
            self.flows.remove(&key);
        }
    }
}

impl Direction {
    fn new(flow: Flow, segment: &Segment) -> Self {
        // Far from zero, so that earlier bytes have numbers too.
        let next = (1 << 32) + u64::from(segment.seq) + u64::from(segment.syn);
        Self {
            flow,
            next,
            waiting: BTreeMap::new(),
            waiting_bytes: 0,
            ends_at: None,
            is_over: false,
            last_seen: segment.time,
        }
    }

    /// A SYN that is not a repetition of this connection's own.
    fn restarts(&self, segment: &Segment) -> bool {
        self.is_over || self.number(segment.seq.wrapping_add(1)).abs_diff(self.next) > 1 << 20
    }

    /// The full number of a byte: the one nearest to the next that is due.
    fn number(&self, seq: u32) -> u64 {
        let distance = seq.wrapping_sub(self.next as u32) as i32;
        self.next.saturating_add_signed(i64::from(distance))
    }

    fn take(&mut self, segment: &Segment) -> Vec<StreamEvent> {
        let mut events = Vec::new();
        self.last_seen = segment.time;
        if self.is_over {
            return events;
        }
        let start = self.number(segment.seq.wrapping_add(u32::from(segment.syn)));
        if !segment.payload.is_empty() {
            self.keep(start, segment.payload.clone());
        }
        if segment.fin {
            self.ends_at = Some(start + segment.payload.len() as u64);
        }
        self.deliver(&mut events);
        while self.waiting_bytes > WAITING_BYTES_MAX {
            self.skip_gap(&mut events);
        }
        if segment.rst {
            self.flush(&mut events);
            events.push(StreamEvent::Reset);
            self.is_over = true;
        } else if self.ends_at.is_some_and(|end| self.next >= end) {
            events.push(StreamEvent::Ended);
            self.is_over = true;
        }
        events
    }

    fn keep(&mut self, start: u64, payload: Bytes) {
        // Of two with the same start the longer one is worth more.
        let known = self.waiting.get(&start).map_or(0, Bytes::len);
        if payload.len() > known && start + payload.len() as u64 > self.next {
            self.waiting_bytes += payload.len() - known;
            self.waiting.insert(start, payload);
        }
    }

    /// What is due now.
    fn deliver(&mut self, events: &mut Vec<StreamEvent>) {
        while let Some(first) = self.waiting.first_entry().filter(|entry| *entry.key() <= self.next)
        {
            let (start, mut bytes) = first.remove_entry();
            self.waiting_bytes -= bytes.len();
            let known = usize::try_from(self.next - start).unwrap_or(usize::MAX);
            bytes.advance(known.min(bytes.len()));
            self.next += bytes.len() as u64;
            if !bytes.is_empty() {
                events.push(StreamEvent::Data(bytes));
            }
        }
    }

    fn skip_gap(&mut self, events: &mut Vec<StreamEvent>) {
        if let Some((&start, _)) = self.waiting.first_key_value() {
            events.push(StreamEvent::Gap(start.saturating_sub(self.next)));
            self.next = start;
        }
        self.deliver(events);
    }

    fn flush(&mut self, events: &mut Vec<StreamEvent>) {
        while !self.waiting.is_empty() {
            self.skip_gap(events);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(seq: u32, payload: &[u8]) -> Segment {
        Segment {
            time: Timestamp(0),
            from: ([127, 0, 0, 1], 1).into(),
            to: ([127, 0, 0, 1], 2).into(),
            seq,
            syn: false,
            fin: false,
            rst: false,
            payload: Bytes::copy_from_slice(payload),
        }
    }

    fn text(events: Vec<(Flow, StreamEvent)>) -> String {
        let one = |(_, event)| match event {
            StreamEvent::Opened => "<".to_owned(),
            StreamEvent::Data(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            StreamEvent::Gap(length) => format!("[{length}]"),
            StreamEvent::Ended => ">".to_owned(),
            StreamEvent::Reset => "!".to_owned(),
        };
        events.into_iter().map(one).collect()
    }

    fn all(segments: &[Segment]) -> String {
        let mut streams = Streams::default();
        let mut events: Vec<_> = segments.iter().flat_map(|next| streams.take(next)).collect();
        events.extend(streams.finish());
        text(events)
    }

    #[test]
    fn segments_are_ordered_and_repetitions_left_out_even_where_numbers_wrap() {
        let syn = Segment { syn: true, ..segment(u32::MAX - 2, b"") };
        let end = Segment { fin: true, ..segment(6, b"ij") };
        let found = all(&[
            syn,
            segment(u32::MAX - 1, b"abc"),
            segment(4, b"gh"),
            segment(u32::MAX - 1, b"abc"),
            segment(1, b"def"),
            end,
        ]);
        assert_eq!(found, "<abcdefghij>");
    }

    #[test]
    fn what_was_not_captured_is_a_gap() {
        assert_eq!(all(&[segment(10, b"ab"), segment(20, b"cd")]), "ab[8]cd");
        let reset = Segment { rst: true, ..segment(30, b"") };
        assert_eq!(all(&[segment(10, b"ab"), segment(20, b"cd"), reset]), "ab[8]cd!");
    }

    #[test]
    fn the_same_ports_may_be_used_again() {
        let syn = |seq| Segment { syn: true, ..segment(seq, b"") };
        let end = Segment { fin: true, ..segment(3, b"") };
        let found =
            all(&[syn(0), segment(1, b"ab"), end, syn(1 << 30), segment((1 << 30) + 1, b"c")]);
        assert_eq!(found, "<ab><c");
    }

    proptest! {
        #[test]
        fn any_order_of_segments_gives_the_stream(order in Just((0_u32..20).collect::<Vec<_>>()).prop_shuffle()) {
            let whole: Vec<u8> = (0..60).collect();
            let mut streams = Streams::default();
            streams.take(&Segment { syn: true, ..segment(u32::MAX, b"") });
            let mut found = Vec::new();
            for at in order {
                let start = at as usize * 3;
                for (_, event) in streams.take(&segment(at * 3, &whole[start..start + 3])) {
                    if let StreamEvent::Data(bytes) = event {
                        found.extend_from_slice(&bytes);
                    }
                }
            }
            prop_assert_eq!(found, whole);
        }
    }
}
