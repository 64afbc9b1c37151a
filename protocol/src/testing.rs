//! Parts for simulations: seeded randomness, a virtual network, and a model of data nodes.
//!
//! A simulation owns a [`Network`], which knows no protocol, feeds what arrives to its members, and
//! passes on what they send; time is whatever the next event says. A [`DataNode`] stands where a
//! database server would.

mod data_node;
pub mod fuzz;
mod network;
mod random;

pub use data_node::{DataNode, History, Send};
pub use network::{Arrival, Faults, Network};
pub use random::Random;
