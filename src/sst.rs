//! The listener for the donor's two connections.
