//! The SST conversation: request payload, connection classification, sniffing (spec 05).

pub mod donor_code;
pub mod request;
