//! All links of a capture into one row of records.

use std::collections::BTreeMap;

use super::link::LinkDirection;
use super::tls::{KeyLog, TlsStage};
use super::{Record, What};
use crate::capture::{Flow, Segment, StreamEvent, Streams, Timestamp};

/// Directions that are followed at a time; of more, those of the lowest addresses are given up.
const LINKS_MAX: usize = 4096;

/// Takes segments, gives records.
#[derive(Debug, Default)]
pub struct Dissector {
    streams: Streams,
    tls: TlsStage,
    links: BTreeMap<Flow, LinkDirection>,
    count: u64,
    now: Timestamp,
}

impl Dissector {
    /// Opens the TLS connections that these keys belong to.
    pub fn with_keys(keys: KeyLog) -> Self {
        Self { tls: TlsStage::new(keys), ..Self::default() }
    }

    /// What a segment completes.
    pub fn take(&mut self, segment: &Segment) -> Vec<Record> {
        self.now = segment.time;
        let events = self.streams.take(segment);
        self.follow(events)
    }

    /// Takes bytes that did not come from a capture: one direction of one link, from its start.
    pub fn take_bytes(&mut self, flow: Flow, bytes: bytes::Bytes) -> Vec<Record> {
        self.follow(vec![(flow, StreamEvent::Data(bytes))])
    }

    /// Takes what happened on a stream that somebody else put together.
    pub fn take_event(&mut self, time: Timestamp, flow: Flow, event: StreamEvent) -> Vec<Record> {
        self.now = time;
        self.follow(vec![(flow, event)])
    }

    /// What is left at the end of the capture.
    pub fn finish(&mut self) -> Vec<Record> {
        let events = self.streams.finish();
        let mut records = self.follow(events);
        let held = self.tls.finish();
        records.extend(self.follow_opened(held));
        records
    }

    fn follow(&mut self, events: Vec<(Flow, StreamEvent)>) -> Vec<Record> {
        let opened = events.into_iter().flat_map(|(flow, event)| self.tls.take(flow, event));
        let opened = opened.collect();
        self.follow_opened(opened)
    }

    fn follow_opened(&mut self, events: Vec<(Flow, StreamEvent)>) -> Vec<Record> {
        let mut records = Vec::new();
        for (flow, event) in events {
            let is_over = matches!(event, StreamEvent::Ended | StreamEvent::Reset);
            if self.links.len() >= LINKS_MAX && !self.links.contains_key(&flow) {
                self.links.pop_first();
            }
            let found = self.links.entry(flow).or_default().take(event);
            records.extend(found.into_iter().map(|what| self.record(flow, what)));
            if is_over {
                self.links.remove(&flow);
            }
        }
        records
    }

    fn record(&mut self, flow: Flow, what: What) -> Record {
        self.count += 1;
        Record { number: self.count, time: self.now, from: flow.from, to: flow.to, what }
    }
}
