//! Bugs on purpose, to show that the simulation finds them.
//!
//! Outside of tests there is no way to plant one: the released binary is built without the feature
//! `testing`, and then [`Planted`] holds nothing and says no to everything. What each bug does, and
//! by which symptom it is found, stands in `docs/planted-bugs.md`.

/// A bug that can be planted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// EVS does not use up the numbers that others have used.
    NoCompletion,
    /// EVS acknowledges what others have sent, whether or not it has arrived.
    AcknowledgesHoles,
    /// EVS does not pass on messages of the dead to those who miss them.
    NoRecovery,
    /// EVS delivers nothing between two views.
    LosesLastMessages,
    /// EVS does not decide a view when it is the representative.
    NeverDecides,
    /// PC goes on with exactly half of the votes.
    HalfIsQuorum,
    /// PC founds the group anew although members of its last primary view are missing.
    FoundsWithoutMissing,
    /// GCS takes the last suitable donor instead of the first.
    OtherDonor,
    /// GCS does not notice that a member has caught up.
    IgnoresSync,
    /// Gmcast does not dial an address again after it has failed once.
    NeverRedials,
}

impl Bug {
    /// Every bug.
    pub const ALL: [Self; 10] = [
        Self::NoCompletion,
        Self::AcknowledgesHoles,
        Self::NoRecovery,
        Self::LosesLastMessages,
        Self::NeverDecides,
        Self::HalfIsQuorum,
        Self::FoundsWithoutMissing,
        Self::OtherDonor,
        Self::IgnoresSync,
        Self::NeverRedials,
    ];
}

/// The bug that a layer has, if a test has planted one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Planted {
    #[cfg(any(test, feature = "testing"))]
    bug: Option<Bug>,
}

impl Planted {
    /// Plants a bug.
    #[cfg(any(test, feature = "testing"))]
    pub const fn with(bug: Bug) -> Self {
        Self { bug: Some(bug) }
    }

    /// Is it this bug?
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn is(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// There is none.
    #[cfg(not(any(test, feature = "testing")))]
    pub(crate) const fn is(self, _bug: Bug) -> bool {
        false
    }
}
