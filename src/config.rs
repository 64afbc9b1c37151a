//! Checked configuration: Galera's option strings and addresses parsed once into types.

mod duration;
mod options;

pub use options::{OptionError, Options};
