//! Whole groups on a virtual network: real links, order, quorum and group layers of every member,
//! in virtual time, from a seed.
//!
//! | variable | effect |
//! |---|---|
//! | `SIM_SEED=n` | runs only the life with this seed, and prints what happened |
//! | `SIM_FRAMES=1` | with it, prints every frame that is sent |
//! | `SIM_FIRST=n` | begins with this seed |
//! | `SIM_SEEDS=n` | runs so many random lives instead of the usual ones, and tells how far it is |
//! | `SIM_JOBS=n` | on so many threads |
//! | `SIM_STOCK=1` | servers follow only the rules that real ones have |
//!
//! `scripts/simulate` sets them.

mod coverage;
mod data_stack;
mod lives;
mod operator;
mod oracle;
mod process;
mod scenarios;
mod seeds;
mod summary;
mod tcp;
mod world;
