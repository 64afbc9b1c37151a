//! The SST conversation: what the donor sends, and whether it is complete (spec 05).
//!
//! ```text
//! receiver                      group                    donor's script
//! listens before it asks  --->  request accepted  -----> starts
//! conn 1: metadata archive <---------------------------- connects, sends, closes
//!                                                        sleeps 10 s
//! conn 2: the backup       <---------------------------- connects, sends, closes
//!                               donor's JOIN <---------- exits with a status
//! ```
//!
//! The receiver never sends a byte, and nothing in the two connections says that they are complete:
//! [`conversation`] holds them against the donor's word in the group.
//!
//! | module | does |
//! |---|---|
//! | [`request`] | the request string, by method and address |
//! | [`donor_code`] | what the status of the donor's script means |
//! | [`sniff`] | tells connections apart by their first bytes |
//! | [`metadata`] | reads the archive of conn 1 |
//! | [`peers`] | says which addresses may connect |
//! | [`conversation`] | the state machine from the accepted request to the verdict |

pub mod conversation;
pub mod donor_code;
pub mod metadata;
pub mod peers;
pub mod request;
pub mod sniff;
