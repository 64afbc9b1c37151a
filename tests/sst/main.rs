//! The SST listener against scripted donors.

#[path = "../support/donor.rs"]
pub mod donor;
mod failures;
mod receiver;
mod socat;
mod success;
