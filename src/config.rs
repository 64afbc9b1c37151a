//! Checked configuration: Galera's option strings and addresses parsed once into types.

mod duration;
mod garbd;
mod group;
mod options;
mod size;
mod target;
mod tls;
mod without_effect;

pub use garbd::{Settings, SettingsError};
pub use group::{Group, GroupError};
pub use options::{OptionError, Options};
pub use size::{ByteSize, ParseSizeError};
pub use target::{ParseTargetError, Target};
pub use tls::{SecurityError, pair};
