//! Sockets with the options that every connection of ours has, TLS, and sentences for what fails.

pub mod interface;
pub mod probe;
pub mod socket;
pub mod stream;
pub mod tls;
pub mod trouble;
