//! The Wireshark dissector.

/// Its text.
pub fn dissector() -> String {
    String::new()
}
