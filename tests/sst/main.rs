//! The SST listener against scripted donors.

#[path = "../support/certificates.rs"]
pub mod certificates;
#[path = "../support/donor.rs"]
pub mod donor;
mod encrypted;
mod failures;
mod percona;
mod receiver;
mod socat;
mod success;
mod tls;
