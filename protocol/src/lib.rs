//! The Galera group protocol, the SST conversation and xbstream, without any input or output.
//!
//! Bytes, commands and time go in; ordered actions come out. Nothing here opens a socket, reads a
//! clock, starts a thread or touches a file, so every decision can be replayed and simulated.
//!
//! | layer | module | decides |
//! |---|---|---|
//! | framing | [`frame`], [`checksum`] | where a frame ends, whether it is intact |
//! | links | [`gmcast`] | who may connect, the mesh, relaying, segments |
//! | order | [`evs`] | who is in the group, total order, retransmission |
//! | quorum | [`pc`] | whether this component may act |
//! | group | [`gcs`] | group position, protocol versions, donor choice |
//! | transfer | [`sst`], [`xbstream`] | what is asked for, and whether the stream is complete |
//! | verdict | [`verdict`] | whether there is a backup |
//!
//! [`describe`] tells people what is in a message; no decision depends on it.
//!
//! The layers never import each other: they share the vocabulary of [`time`], [`id`], [`view`] and
//! [`message`], and [`member`] alone moves one layer's outputs into the next layer's inputs.

pub mod checksum;
pub mod decode;
pub mod describe;
pub mod evs;
pub mod frame;
pub mod gcs;
pub mod gmcast;
pub mod id;
pub mod member;
pub mod message;
pub mod pc;
pub mod planted;
pub mod sst;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod time;
pub mod tls;
pub mod verdict;
pub mod view;
pub mod xbstream;

pub use decode::DecodeError;
pub use id::{NodeId, Segment, StateId, ViewId, ViewKind};
pub use time::Instant;
