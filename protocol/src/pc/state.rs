//! The six states of PC and the steps between them.

use core::fmt;

/// Where a member stands (spec 03 §1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Before connect, after the empty view, after a fatal error.
    Closed,
    /// An agreed view that may not act, or just connected.
    NonPrimary,
    /// Between a transitional view and the next regular one.
    Transitional,
    /// Own STATE is sent, those of the others are being collected.
    StatesExchange,
    /// Every STATE is in, a primary view is possible: waiting for INSTALL.
    Install,
    /// In an installed primary view. The only state in which the layer above may send.
    Primary,
}

impl State {
    /// All of them, for tables and tests.
    pub const ALL: [Self; 6] = [
        Self::Closed,
        Self::NonPrimary,
        Self::Transitional,
        Self::StatesExchange,
        Self::Install,
        Self::Primary,
    ];

    /// The legal steps. Leaving for `Closed` is always possible: a fatal error may come anywhere.
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Closed => matches!(next, Self::NonPrimary),
            Self::NonPrimary => {
                matches!(next, Self::Closed | Self::NonPrimary | Self::Transitional | Self::Primary)
            }
            Self::Transitional => {
                matches!(next, Self::Closed | Self::NonPrimary | Self::StatesExchange)
            }
            Self::StatesExchange => {
                matches!(next, Self::Closed | Self::NonPrimary | Self::Transitional | Self::Install)
            }
            Self::Install => {
                matches!(next, Self::Closed | Self::NonPrimary | Self::Transitional | Self::Primary)
            }
            Self::Primary => matches!(next, Self::Closed | Self::NonPrimary | Self::Transitional),
        }
    }

    /// A state exchange is running, so an INSTALL may be on its way somewhere.
    pub const fn is_exchanging(self) -> bool {
        matches!(self, Self::StatesExchange | Self::Install)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "CLOSED",
            Self::NonPrimary => "NON_PRIM",
            Self::Transitional => "TRANS",
            Self::StatesExchange => "STATES_EXCH",
            Self::Install => "INSTALL",
            Self::Primary => "PRIM",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pair_of_states_is_as_the_table_of_the_protocol_says() {
        // Rows and columns in the order of `State::ALL`.
        let table = [
            [0, 1, 0, 0, 0, 0], // CLOSED
            [1, 1, 1, 0, 0, 1], // NON_PRIM
            [1, 1, 0, 1, 0, 0], // TRANS
            [1, 1, 1, 0, 1, 0], // STATES_EXCH
            [1, 1, 1, 0, 0, 1], // INSTALL
            [1, 1, 1, 0, 0, 0], // PRIM
        ];
        for (row, from) in table.iter().zip(State::ALL) {
            for (allowed, to) in row.iter().zip(State::ALL) {
                assert_eq!(from.may_become(to), *allowed == 1, "{from} -> {to}");
            }
        }
    }
}
