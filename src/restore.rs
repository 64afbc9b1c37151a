//! From a repository into a data directory that a server starts from.
