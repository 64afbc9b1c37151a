//! Repositories in object stores: real ones, and a proxy of ours that spoils what passes through it.

mod backup;
mod faults;
mod google;
mod proxy;
mod servers;
mod stores;
