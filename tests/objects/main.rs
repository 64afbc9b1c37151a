//! Repositories in object stores: real ones, and a proxy of ours that spoils what passes through it.

mod backup;
mod faults;
mod google;
mod killed;
mod message;
mod proxy;
mod rcat;
mod servers;
mod stores;
#[path = "../sinks/streams.rs"]
#[allow(dead_code, reason = "the tests of sinks use all of it")]
mod streams;
