//! What is known about one backup when it is complete.

use serde::{Deserialize, Serialize};

/// Everything that a backup says about itself. Written last, create-only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format; readers refuse a greater one.
    pub format_version: u32,
}
