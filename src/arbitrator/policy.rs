//! What follows the end of a membership: another one after a pause, or the end of the process.
//!
//! An arbitrator that was once a member never gives up by itself: the group counts on its vote. What
//! can only be set right by a person ends it at once, and what no pause heals must not be retried.

use std::time::Duration;

use galera_protocol::gcs::LeaveReason;
use galera_protocol::gmcast::IdentityProblem;
use galera_protocol::member::EndReason;

/// After a failure of our own, or of our links: the group has seen a crash and settles in 5 to 6 s.
const AFTER_FAILURE: Duration = Duration::from_secs(5);

/// Where the group is not primary, or has no data: one member too many blocks its automatic
/// recovery while it is there, so it stays away most of the time.
const AFTER_NON_PRIMARY: Duration = Duration::from_secs(10);

/// After a group that nobody answered for; names are resolved anew.
const AFTER_SILENCE: Duration = Duration::from_secs(1);

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The end, as we were told.
    Finished,
    /// Nothing that we do ourselves will help.
    GiveUp,
    /// Try again.
    Again {
        /// After this long.
        pause: Duration,
        /// As the node that we were, or as a new one.
        identity: Identity,
    },
}

/// As whom to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// The saved one, if there is any.
    Same,
    /// Another one: the group does not take the old one.
    Fresh,
}

/// Decides.
pub(super) fn after(reason: &EndReason, is_stopping: bool) -> Next {
    if is_stopping {
        return Next::Finished;
    }
    let again = |pause| Next::Again { pause, identity: Identity::Same };
    match reason {
        // Nobody told it to leave: its handle was lost.
        EndReason::Left | EndReason::Abandoned | EndReason::Evs(_) | EndReason::Pc(_) => {
            again(AFTER_FAILURE)
        }
        EndReason::ConnectTimeout => again(AFTER_SILENCE),
        EndReason::NotPrimary(_)
        | EndReason::SeveralGroups
        | EndReason::Advised(
            LeaveReason::OnlyStateless | LeaveReason::StateMessageUnreadable { .. },
        ) => again(AFTER_NON_PRIMARY),
        EndReason::Refused(IdentityProblem::Duplicate) => {
            Next::Again { pause: AFTER_FAILURE, identity: Identity::Fresh }
        }
        EndReason::Refused(IdentityProblem::Evicted)
        | EndReason::Advised(LeaveReason::ProtocolTooHigh { .. }) => Next::GiveUp,
    }
}

#[cfg(test)]
mod tests {
    use galera_protocol::gcs::Protocols;
    use galera_protocol::pc;

    use super::*;

    #[test]
    fn what_only_a_person_can_set_right_is_not_repeated() {
        let evicted = EndReason::Refused(IdentityProblem::Evicted);
        let low = Protocols::default();
        let incompatible = LeaveReason::ProtocolTooHigh { ours: low, negotiated: low };
        assert_eq!(after(&evicted, false), Next::GiveUp);
        assert_eq!(after(&EndReason::Advised(incompatible), false), Next::GiveUp);
    }

    #[test]
    fn everything_else_is_repeated_and_a_duplicate_comes_back_as_somebody_else() {
        let fresh = pc::LeaveReason::Fresh;
        for reason in [
            EndReason::ConnectTimeout,
            EndReason::NotPrimary(fresh),
            EndReason::Advised(LeaveReason::OnlyStateless),
            EndReason::Abandoned,
        ] {
            let next = after(&reason, false);
            assert!(matches!(next, Next::Again { identity: Identity::Same, .. }), "{reason:?}");
        }
        let duplicate = after(&EndReason::Refused(IdentityProblem::Duplicate), false);
        assert!(matches!(duplicate, Next::Again { identity: Identity::Fresh, .. }));
    }

    #[test]
    fn an_end_that_was_asked_for_is_one() {
        assert_eq!(after(&EndReason::Left, true), Next::Finished);
        assert_eq!(after(&EndReason::Abandoned, true), Next::Finished);
    }
}
