//! A member that votes and stores nothing: garbd's job, and what garbd's callers expect besides.
//!
//! It runs for months: through lost quorums, restarts of every server, its own errors. It may ask
//! for one state transfer on somebody else's behalf and watch the script that receives it; what
//! arrives there it never sees (that is [`crate::backup`]).
//!
//! ```text
//!   membership ──ended──► policy ──► pause ──► next membership, as the same node
//!       │  ▲                 └─────► the end
//!       ▼  │
//!     errand: request, receiver script, donor's word
//! ```

mod errand;
mod life;
mod outcome;
mod policy;
mod script;
mod voice;

use crate::member;

pub use errand::{Errand, Receiver, Transfer};
pub use life::run;
pub use outcome::Outcome;
pub use script::{ScriptEnd, ScriptError};

/// Everything about one arbitrator.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to join; its limit for reaching the primary component holds for the first time only.
    pub member: member::Config,
    /// What to do besides voting.
    pub errand: Errand,
}
