//! The xbstream container: chunk codec and push reader (spec 06).

mod path;

pub use path::{EntryPath, PathError};
