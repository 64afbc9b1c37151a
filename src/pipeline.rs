//! Stream → files → sink: verification, manifest, progress.
