//! TLS and networks as they are: certificates of every kind that people have, links between peers
//! that do and do not fit together, and what the program says about it. No servers are needed.

#[path = "../support/howto.rs"]
mod howto;

mod broken;
mod certificates;
mod dynamic;
mod hangup;
mod links;
mod peer;
mod row;
mod store;
