//! Sockets, TLS and the adapter around `galera_protocol::frame`.

pub mod frames;
pub mod socket;
