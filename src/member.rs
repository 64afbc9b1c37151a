//! The driver task that owns the protocol core, and one reader and one writer task per link.
