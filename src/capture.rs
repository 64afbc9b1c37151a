//! Captured traffic: from packets to the bytes of each connection.
//!
//! ```text
//!  pcap, pcapng ─▶ packets ─▶ segments ─▶ streams ─▶ bytes in order, gaps, ends
//! ```
//!
//! A capture is untrusted: every length is checked, and what is kept for reordering is bounded.
//!
//! Not here: what the bytes mean ([`crate::decode`]).

pub mod packets;
pub mod segment;
pub mod streams;

pub use packets::{CaptureError, Packet, Packets};
pub use segment::Segment;
pub use streams::{Flow, StreamEvent, Streams};

/// A point in time of a capture: microseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub i64);
