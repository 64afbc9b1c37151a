//! Sockets with the options that every connection of ours has.

pub mod socket;
