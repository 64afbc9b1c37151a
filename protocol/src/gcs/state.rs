//! Where a node stands between two configurations.

use super::exchange::Exchange;
use super::group::Group;

/// The state of the layer; each variant owns what exists only in it.
#[derive(Debug)]
pub(super) enum State {
    /// Not a member yet, or no longer.
    Closed,
    /// No primary component, or one without a quorum.
    NonPrimary,
    /// A primary view began: index 0 has to name the exchange.
    WaitStateUuid,
    /// The exchange has a name: everybody sends its state message.
    WaitStateMessages(Exchange),
    /// The exchange ended with a quorum.
    Primary(Group),
}

/// A state without its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateKind {
    /// Not a member yet, or no longer.
    Closed,
    /// No primary component, or one without a quorum.
    NonPrimary,
    /// A primary view began.
    WaitStateUuid,
    /// State messages are being exchanged.
    WaitStateMessages,
    /// The group can act.
    Primary,
}

impl State {
    pub(super) fn kind(&self) -> StateKind {
        match self {
            Self::Closed => StateKind::Closed,
            Self::NonPrimary => StateKind::NonPrimary,
            Self::WaitStateUuid => StateKind::WaitStateUuid,
            Self::WaitStateMessages(_) => StateKind::WaitStateMessages,
            Self::Primary(_) => StateKind::Primary,
        }
    }

    /// The group, if it can act.
    pub(super) fn group(&self) -> Option<&Group> {
        match self {
            Self::Primary(group) => Some(group),
            Self::Closed | Self::NonPrimary | Self::WaitStateUuid | Self::WaitStateMessages(_) => {
                None
            }
        }
    }

    /// The group, if it can act.
    pub(super) fn group_mut(&mut self) -> Option<&mut Group> {
        match self {
            Self::Primary(group) => Some(group),
            Self::Closed | Self::NonPrimary | Self::WaitStateUuid | Self::WaitStateMessages(_) => {
                None
            }
        }
    }
}

impl StateKind {
    /// A view may come in every state; only an exchange leads to a configuration.
    pub(super) fn may_become(self, next: Self) -> bool {
        match next {
            Self::Closed | Self::NonPrimary | Self::WaitStateUuid => true,
            Self::WaitStateMessages => self == Self::WaitStateUuid,
            Self::Primary => self == Self::WaitStateMessages,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::StateKind::{Closed, NonPrimary, Primary, WaitStateMessages, WaitStateUuid};

    #[test]
    fn only_an_exchange_leads_to_a_configuration() {
        let all = [Closed, NonPrimary, WaitStateUuid, WaitStateMessages, Primary];
        for from in all {
            for view in [Closed, NonPrimary, WaitStateUuid] {
                assert!(from.may_become(view), "{from:?} -> {view:?}");
            }
            assert_eq!(from.may_become(WaitStateMessages), from == WaitStateUuid);
            assert_eq!(from.may_become(Primary), from == WaitStateMessages);
        }
    }
}
