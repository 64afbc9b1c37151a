//! Frame checksums (spec 01 §2.4).
