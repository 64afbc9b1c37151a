//! The SST conversation: request payload, connection classification, sniffing (spec 05).
