//! Stream → files → sink: verification, manifest, progress.

pub mod manifest;
