//! Everything that touches the world: sockets, disks, object stores, child processes, people.
//!
//! What to send, whom to trust as donor and whether a backup is complete is decided in
//! [`galera_protocol`]; the modules here feed it and carry out what it says.
//!
//! | module | does |
//! |---|---|
//! | [`member`] | the task that owns `galera_protocol::member::Member`, and its links |
//! | [`net`] | sockets, TLS, framing |
//! | [`sst`] | the listener for the donor's stream |
//! | [`pipeline`] | stream → files → sink, verification, manifest |
//! | [`sink`] | where a backup goes |
//! | [`unpack`] | members that were compressed or encrypted |
//! | [`xbstream`] | streams in files and pipes, without a group |
//! | [`repository`] | where many backups stay: packs, index, manifest |
//! | [`restore`] | from a repository into a data directory |
//! | [`capture`], [`decode`] | captured traffic into what it says |
//! | [`proxy`] | between two members: passes on, tells, and breaks on purpose |
//! | [`backup`] | the main job: all of the above in order |
//! | [`pages`] | InnoDB's pages and their checksums |
//! | [`dump`] | a stand-alone server: a logical dump into a sink and back |
//! | [`outcome`] | who is told how a job ended |
//! | [`donate`] | the other side: a donor without a database, and a group for it |
//! | [`throttle`] | limits for bytes a second |
//! | [`doctor`] | whether it would work, and why not |
//! | [`arbitrator`] | a member that votes: garbd's job |
//! | [`status`] | the group as a member sees it |
//! | [`ops`] | metrics, health, systemd |
//! | [`cli`], [`config`] | flags, files and environment into checked configuration |

pub mod arbitrator;
pub mod backup;
pub mod capture;
mod causes;
pub mod cli;
pub mod config;
pub mod decode;
pub mod doctor;
pub mod donate;
pub mod dump;
pub mod exit;
pub mod member;
pub mod net;
pub mod ops;
pub mod outcome;
pub mod pages;
pub mod pipeline;
pub mod proxy;
pub mod repository;
pub mod restore;
pub mod sink;
pub mod sst;
pub mod status;
pub mod throttle;
pub mod unpack;
pub mod xbstream;
