//! The `galera-sst` command.

fn main() {}
