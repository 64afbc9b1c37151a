//! Scenarios with several members, and parts that the tests of the submodules share.

mod chaos;
mod mesh;
pub(super) mod network;
pub(super) mod single;
