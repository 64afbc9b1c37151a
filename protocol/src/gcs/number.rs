//! Numbers that GCS puts on the wire: global seqno, configuration number, protocol triple.

use core::fmt;

/// A position in the history of a group (act_id): write-sets and configuration changes count.
///
/// Not the sequence number of EVS, which counts one sender's messages in one view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seqno(pub i64);

impl Seqno {
    /// No position known.
    pub const UNDEFINED: Self = Self(-1);

    /// False for [`Seqno::UNDEFINED`].
    pub fn is_defined(self) -> bool {
        self != Self::UNDEFINED
    }

    /// The position `count` further on; stops at the largest number.
    pub(super) fn advanced_by(self, count: i64) -> Self {
        Self(self.0.saturating_add(count))
    }
}

impl fmt::Display for Seqno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Counts the primary configurations of a group's history (conf_id, prim_seqno).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigurationId(pub i64);

impl ConfigurationId {
    /// Never been in a primary configuration.
    pub const UNDEFINED: Self = Self(-1);

    /// The number of the configuration after this one.
    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    /// The low half, by which flow control messages name a configuration.
    pub fn low_half(self) -> u32 {
        let b = self.0.to_le_bytes();
        u32::from_le_bytes([b[0], b[1], b[2], b[3]])
    }
}

impl fmt::Display for ConfigurationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The three protocol versions that an exchange negotiates.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Protocols {
    /// Of the group communication itself.
    pub gcs: u8,
    /// Of the replicator.
    pub repl: u8,
    /// Of the application (the server).
    pub appl: u8,
}

impl Protocols {
    /// Applies `choose` level by level.
    pub(super) fn zip(self, other: Self, choose: impl Fn(u8, u8) -> u8) -> Self {
        Self {
            gcs: choose(self.gcs, other.gcs),
            repl: choose(self.repl, other.repl),
            appl: choose(self.appl, other.appl),
        }
    }

    /// True if every level is at most the one of `limit`.
    pub fn is_within(self, limit: Self) -> bool {
        self.gcs <= limit.gcs && self.repl <= limit.repl && self.appl <= limit.appl
    }
}

impl fmt::Display for Protocols {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.gcs, self.repl, self.appl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flow_control_names_a_configuration_by_its_low_half() {
        assert_eq!(ConfigurationId(0x1_0000_0015).low_half(), 21);
        assert_eq!(ConfigurationId::UNDEFINED.low_half(), u32::MAX);
    }

    #[test]
    fn one_level_above_the_limit_is_outside() {
        let limit = Protocols { gcs: 6, repl: 127, appl: 127 };
        assert!(Protocols { gcs: 6, repl: 11, appl: 4 }.is_within(limit));
        assert!(!Protocols { gcs: 6, repl: 128, appl: 4 }.is_within(limit));
    }
}
