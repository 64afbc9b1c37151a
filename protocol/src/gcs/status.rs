//! What a member is to the group: the node statuses and what they mean.

use core::cmp::Ordering;
use core::fmt;

/// A node's status. Ordered by its number on the wire, for the rules say "at least DONOR".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Status {
    /// 0: no primary component.
    NonPrimary,
    /// 1: in the primary component without usable state.
    Primary,
    /// 2: receives a state transfer.
    Joiner,
    /// 3: sends a state transfer, or is desynced on request.
    Donor,
    /// 4: has the state, catches up.
    Joined,
    /// 5: has the state and keeps up.
    Synced,
    /// A number that this implementation does not know.
    Unknown(u8),
}

impl Status {
    /// The status with this number on the wire.
    pub const fn from_number(number: u8) -> Self {
        match number {
            0 => Self::NonPrimary,
            1 => Self::Primary,
            2 => Self::Joiner,
            3 => Self::Donor,
            4 => Self::Joined,
            5 => Self::Synced,
            other => Self::Unknown(other),
        }
    }

    /// Its number on the wire.
    pub const fn number(self) -> u8 {
        match self {
            Self::NonPrimary => 0,
            Self::Primary => 1,
            Self::Joiner => 2,
            Self::Donor => 3,
            Self::Joined => 4,
            Self::Synced => 5,
            Self::Unknown(number) => number,
        }
    }

    /// True from DONOR on: the node has the group's state and applies write-sets.
    pub fn has_state(self) -> bool {
        self >= Self::Donor
    }
}

impl PartialOrd for Status {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Status {
    fn cmp(&self, other: &Self) -> Ordering {
        self.number().cmp(&other.number())
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NonPrimary => f.write_str("NON_PRIM"),
            Self::Primary => f.write_str("PRIM"),
            Self::Joiner => f.write_str("JOINER"),
            Self::Donor => f.write_str("DONOR"),
            Self::Joined => f.write_str("JOINED"),
            Self::Synced => f.write_str("SYNCED"),
            Self::Unknown(number) => write!(f, "unknown status {number}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_survives_and_keeps_its_order() {
        for number in 0..=u8::MAX {
            assert_eq!(Status::from_number(number).number(), number);
        }
        assert!(Status::Joiner < Status::Donor && Status::Donor < Status::Synced);
        assert!(!Status::Joiner.has_state() && Status::Donor.has_state());
    }
}
