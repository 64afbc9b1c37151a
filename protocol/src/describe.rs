//! What every byte of a group message is, for people: names, offsets, values (spec 01–04).
//!
//! ```text
//!  frame ── tables ──▶ net | gmcast | EVS | PC | GCS, each a row of fields, and what is wrong with it
//! ```
//!
//! The layouts are data ([`tables`]), so the Wireshark dissector is generated from the very tables that
//! [`message`] walks. That the walk and the codecs of the layers agree is a test on every captured
//! message.
//!
//! Not here: what the group does with a message, and any use of this for sending or deciding.

pub mod layout;
pub mod message;
pub mod tables;
mod walk;

pub use layout::{Field, Item, Kind, Layout, Meaning, When};
pub use message::{Description, Fault, Layer, Section, describe_frame, describe_message};
pub use walk::{FieldValue, Value};

#[cfg(test)]
mod tests;
