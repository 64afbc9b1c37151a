//! Parts for simulations: seeded randomness and a virtual network.
//!
//! Nothing here knows a protocol. A simulation owns a [`Network`], feeds what arrives to its
//! members, and passes on what they send; time is whatever the next event says.

mod network;
mod random;

pub use network::{Arrival, Faults, Network};
pub use random::Random;
