//! Exit codes (one table, shown by `--help`).
