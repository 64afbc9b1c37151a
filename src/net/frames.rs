//! Frames on a byte stream: the tokio-util adapter around `galera_protocol::frame`.
