//! What the tests on real clusters stand on: servers, garbd and the built binary as child
//! processes on the loopback interface, load on them, and questions to them.
//!
//! Nothing here outlives its test. Every process dies with the thread that started it, and every
//! owner ends its processes, with whatever they forked, when it is dropped. So processes must be
//! started by the test's own thread.

pub(crate) mod attack;
pub(crate) mod cluster;
pub(crate) mod content;
pub(crate) mod fault;
pub(crate) mod garbd;
#[expect(dead_code, reason = "the tests without servers need more kinds of certificates")]
pub(crate) mod howto;
pub(crate) mod id_clock;
pub(crate) mod job;
pub(crate) mod ledger;
pub(crate) mod local;
pub(crate) mod ports;
pub(crate) mod process;
pub(crate) mod seed;
pub(crate) mod server;
pub(crate) mod server_log;
pub(crate) mod session;
pub(crate) mod wait;
pub(crate) mod writer;
