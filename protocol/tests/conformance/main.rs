//! What the core sends where a real member was captured doing the same, byte by byte.
//!
//! The captures are `tests/vectors/`. A member's numbers of its whole life (EVS's `fifo_seq`, the
//! names of connections) depend on what it did before, so they are taken over; nothing else is.
//! Whole histories of PC are replayed beside that layer (`pc/tests/traces.rs`), and what GCS sends
//! is compared in `gcs/tests/vectors.rs`.

mod evs;
mod gmcast;
mod vectors;
