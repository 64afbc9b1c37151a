//! The end of a member that can no longer trust itself.

use tracing::error;

use super::violation::Violation;
use super::{Evs, Output, State};

/// Why a member cannot go on in its group. Being out is always safe; going on would not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// A message that could have harmed other members was about to be sent.
    #[error("refuse to send a harmful message: {0}")]
    HarmfulMessage(Violation),
    /// The group could not agree on a view, again and again.
    #[error("no agreement on a view after repeated time-outs")]
    NoAgreement,
    /// The agreed view is not the one that we proposed.
    #[error("agreed view differs from our own proposal")]
    InstallDiffers,
    /// A message that must be delivered before the view cannot be.
    #[error("messages of the old view left over")]
    MessagesLeftOver,
}

impl Evs {
    /// CLOSED at once, without LEAVE: our numbers may be wrong.
    pub(super) fn fail(&mut self, failure: Failure) {
        if matches!(self.state, State::Closed) {
            return;
        }
        error!(%failure, view = %self.view.id, "evs gives up");
        self.transition(State::Closed);
        self.timers.cancel_all();
        self.steps.clear();
        self.outputs.push_back(Output::Failed(failure));
    }
}
