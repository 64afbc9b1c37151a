//! Checked configuration: Galera's option strings and addresses parsed once into types.

mod duration;
mod group;
mod options;
mod size;
mod target;

pub use group::{Group, GroupError};
pub use options::{OptionError, Options};
pub use size::{ByteSize, ParseSizeError};
pub use target::{ParseTargetError, Target};
