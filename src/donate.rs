//! The other side of a backup: a donor without a database, and a group for it to be in.
//!
//! For demonstrations and for people's own tests: a backup job can be tried in CI, with every fault
//! that a donor can have, where no server is installed. The group is real (the protocol core of every
//! other command), and so are the two connections of the transfer; only the data is whatever one
//! likes. Not for anybody's database: nothing here joins a group of servers.
//!
//! ```text
//!  members ──── group protocol ──── backup, garbd, …
//!     │ chosen as donor                 ▲
//!     ▼                                 │ metadata; pause; files
//!  script ◄── stream ◄── content        │ faults on purpose
//!     └─────────────────────────────────╯
//!     └─► exit status ──► JOIN in the group
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`content`] | what is served: a directory, or generated files |
//! | [`stream`] | files as chunks of a stream |
//! | [`script`] | the conversation with one joiner, as a donor's script has it |
//! | [`fault`] | what goes wrong on purpose |
//! | [`group`] | members that know each other and serve whoever asks |

mod closing;
pub mod content;
pub mod fault;
mod generate;
pub mod group;
pub mod script;
pub mod stream;
mod wire;
