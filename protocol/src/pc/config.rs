//! Options of this layer, and which of them contradict each other.

use crate::id::Segment;
use crate::planted::Planted;

/// Options of this layer. The default is a guest that takes a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// `pc.weight`: our vote. 0 (default): no event of ours can cost or save a quorum.
    pub weight: u8,
    /// `gmcast.segment`: our site, as told to the others.
    pub segment: Segment,
    /// `pc.npvo`: when two primary components meet, false (default) keeps the greater view, true
    /// the other. Must be the same everywhere.
    pub npvo: bool,
    /// `pc.ignore_sb`: go on when exactly half is lost. Without effect for weight 0.
    pub ignore_sb: bool,
    /// `pc.ignore_quorum`: go on whatever is lost. Without effect for weight 0.
    pub ignore_quorum: bool,
    /// Found a new group, alone. Only for a group of our own; without effect for weight 0.
    pub start_primary: bool,
    /// Advise to leave a non-primary group that does not wait for us (default). An arbitrator
    /// stays instead.
    pub leave_if_not_primary: bool,
    /// A bug on purpose.
    pub planted: Planted,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            weight: 0,
            segment: Segment(0),
            npvo: false,
            ignore_sb: false,
            ignore_quorum: false,
            start_primary: false,
            leave_if_not_primary: true,
            planted: Planted::default(),
        }
    }
}

/// Options that contradict each other or the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// 255 is accepted at run time only.
    #[error("pc.weight must be from 0 to 254 at start")]
    Weight,
    /// With weight 0 every loss looks like exactly half, or worse.
    #[error("pc.ignore_sb and pc.ignore_quorum need a weight above 0")]
    IgnoredQuorum,
    /// Its first view change would be its end.
    #[error("a group cannot be founded with weight 0")]
    StartPrimary,
}

impl Config {
    /// Checks the options before anything is started with them.
    pub const fn check(&self) -> Result<(), ConfigError> {
        if self.weight == u8::MAX {
            return Err(ConfigError::Weight);
        }
        if self.weight == 0 && (self.ignore_sb || self.ignore_quorum) {
            return Err(ConfigError::IgnoredQuorum);
        }
        if self.weight == 0 && self.start_primary {
            return Err(ConfigError::StartPrimary);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_would_let_a_guest_act_alone_are_refused() {
        let guest = Config::default();
        assert_eq!(guest.check(), Ok(()));
        let cases = [
            (Config { weight: 255, ..guest }, ConfigError::Weight),
            (Config { ignore_sb: true, ..guest }, ConfigError::IgnoredQuorum),
            (Config { ignore_quorum: true, ..guest }, ConfigError::IgnoredQuorum),
            (Config { start_primary: true, ..guest }, ConfigError::StartPrimary),
        ];
        for (config, error) in cases {
            assert_eq!(config.check(), Err(error));
        }
        let arbitrator = Config { weight: 1, ignore_sb: true, ..guest };
        assert_eq!(arbitrator.check(), Ok(()));
    }
}
