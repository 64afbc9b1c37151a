//! Sockets, TLS and the adapter around `galera_protocol::frame`.
