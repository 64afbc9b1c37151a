//! The net header: where a frame ends and whether it is intact (spec 01 §2.3).
