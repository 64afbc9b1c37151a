//! What a member without data does for its caller besides voting: ask for a state transfer, and
//! watch over the script that receives it. Decides only; [`super::life`] carries out.
//!
//! ```text
//! Joining ──configuration──► Asking ──accepted──► Receiving ──script ended──► Hearing ──► done
//!                              │                      │            (status 0)  │ donor's word
//!                           refused ──► done          └─ donor gone, failed, too slow ─► Ending
//! ```
//!
//! The donor is followed by its UUID and by its own JOIN message: in total order, and with the code
//! that says how the transfer ended. Nothing is polled.

use std::time::Duration;

use galera_protocol::NodeId;
use galera_protocol::gcs;
use galera_protocol::member::{EndReason, Event};
use tokio::time::Instant;

use super::outcome::Outcome;
use super::script::ScriptEnd;

/// How long a script may run on after its donor has finished, unless it is waited for.
pub(super) const SCRIPT_GRACE: Duration = Duration::from_secs(5);

/// How long to wait for the donor's word after a script has ended well. The donor says it within
/// a fraction of a second of its last byte; a busy one may need longer to end its own tools.
pub(super) const WORD_LIMIT: Duration = Duration::from_secs(10);

/// What a caller wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Errand {
    /// Nothing but the vote.
    Vote,
    /// One state transfer.
    Transfer(Transfer),
}

/// A state transfer that somebody receives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// What is asked for.
    pub request: gcs::Request,
    /// Who receives it; `None` if that is none of our business.
    pub receiver: Option<Receiver>,
}

/// A script that receives a state transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receiver {
    /// A shell command, run once the group has chosen a donor.
    pub command: String,
    /// A shell command to run after it has succeeded, when we have left the group.
    pub afterwards: Option<String>,
    /// Wait for the script without a limit once the donor has finished.
    pub waits_for_exit: bool,
}

/// What happens.
#[derive(Debug)]
pub(super) enum Input<'a> {
    /// In the group.
    Event(&'a Event),
    /// The script has closed its standard error and ended.
    ScriptEnded(ScriptEnd),
    /// Somebody wants us to stop.
    Stop,
    /// The deadline has passed.
    Timeout,
}

/// What to do.
#[derive(Debug)]
pub(super) enum Step {
    /// Ask the group for a donor.
    Request,
    /// Start the script.
    StartScript,
    /// Tell the script to end.
    EndScript,
    /// Leave the group; this is the result.
    Finish(Outcome),
}

/// Where it stands.
#[derive(Debug)]
enum State {
    /// No primary configuration yet, or the request got lost with one.
    Joining,
    /// The request is on its way, or waits for a free donor.
    Asking,
    /// The script runs; `deadline` once the donor has finished.
    Receiving { donor: NodeId, word: Option<Word>, deadline: Option<Instant> },
    /// The script has ended well; the donor has not spoken.
    Hearing { donor: NodeId, deadline: Instant },
    /// The script was told to end, for this reason.
    Ending(Option<Outcome>),
    /// Nothing follows.
    Done,
}

/// What the group says of the donor's part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    /// It succeeded.
    Success,
    /// It has ended; how was not heard.
    Unheard,
}

/// One errand from beginning to end.
#[derive(Debug)]
pub(super) struct Progress {
    state: State,
    has_receiver: bool,
    waits_for_exit: bool,
}

impl Progress {
    pub(super) fn new(transfer: &Transfer) -> Self {
        let receiver = transfer.receiver.as_ref();
        Self {
            state: State::Joining,
            has_receiver: receiver.is_some(),
            waits_for_exit: receiver.is_some_and(|receiver| receiver.waits_for_exit),
        }
    }

    /// When [`Input::Timeout`] is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Receiving { deadline, .. } => *deadline,
            State::Hearing { deadline, .. } => Some(*deadline),
            State::Joining | State::Asking | State::Ending(_) | State::Done => None,
        }
    }

    /// Takes one input; each leads to one step at most.
    pub(super) fn handle(&mut self, now: Instant, input: Input<'_>) -> Option<Step> {
        match input {
            Input::Event(event) => self.on_event(now, event),
            Input::ScriptEnded(end) => self.on_script_end(now, end),
            Input::Stop => self.on_stop(),
            Input::Timeout => self.on_timeout(now),
        }
    }

    fn on_event(&mut self, now: Instant, event: &Event) -> Option<Step> {
        match event {
            Event::Gcs(event) => self.on_group_event(now, event),
            Event::Restarted { .. } if matches!(self.state, State::Asking) => {
                // Nothing was accepted, or the core would follow it.
                self.state = State::Joining;
                None
            }
            Event::Ended(reason) => self.on_membership_end(reason),
            Event::Restarted { .. } | Event::Link(_) | Event::Pc(_) => None,
        }
    }

    fn on_group_event(&mut self, now: Instant, event: &gcs::Event) -> Option<Step> {
        use gcs::Event::{
            ConfigurationChanged, DonorLost, RequestAccepted, RequestRefused, TransferEnded,
            TransferUnknown,
        };
        match event {
            ConfigurationChanged(_) if matches!(self.state, State::Joining) => {
                self.state = State::Asking;
                Some(Step::Request)
            }
            RequestAccepted(acceptance) => self.on_accepted(acceptance.transfer.donor),
            RequestRefused(error) if matches!(self.state, State::Joining | State::Asking) => {
                self.finish(Outcome::Refused(error.clone()))
            }
            TransferEnded { donor, code, .. } if self.is_donor(donor) => self.on_word(now, *code),
            DonorLost { donor } if self.is_donor(donor) => self.fail(Outcome::DonorGone),
            TransferUnknown { donor, .. } if donor.is_none_or(|donor| self.is_donor(&donor)) => {
                self.on_donor_done(now, Word::Unheard)
            }
            ConfigurationChanged(_)
            | RequestRefused(_)
            | TransferEnded { .. }
            | DonorLost { .. }
            | TransferUnknown { .. }
            | gcs::Event::NonPrimary(_)
            | gcs::Event::MemberStatusChanged { .. }
            | gcs::Event::RequestSent { .. }
            | gcs::Event::RequestWaiting(_)
            | gcs::Event::LeaveAdvised(_)
            | gcs::Event::Dropped { .. }
            | gcs::Event::DonationBegun(_)
            | gcs::Event::Left => None,
        }
    }

    fn is_donor(&self, node: &NodeId) -> bool {
        match &self.state {
            State::Receiving { donor, .. } | State::Hearing { donor, .. } => donor == node,
            State::Joining | State::Asking | State::Ending(_) | State::Done => false,
        }
    }

    fn on_accepted(&mut self, donor: NodeId) -> Option<Step> {
        if !matches!(self.state, State::Joining | State::Asking) {
            return None;
        }
        if !self.has_receiver {
            return self.finish(Outcome::Accepted);
        }
        self.state = State::Receiving { donor, word: None, deadline: None };
        Some(Step::StartScript)
    }

    fn on_word(&mut self, now: Instant, code: i64) -> Option<Step> {
        if code < 0 {
            return self.fail(Outcome::TransferFailed { code });
        }
        self.on_donor_done(now, Word::Success)
    }

    fn on_donor_done(&mut self, now: Instant, heard: Word) -> Option<Step> {
        match &mut self.state {
            State::Receiving { word, deadline, .. } => {
                *word = Some(heard);
                *deadline = (!self.waits_for_exit).then(|| now + SCRIPT_GRACE);
                None
            }
            State::Hearing { .. } => self.finish(Outcome::ScriptEnded(ScriptEnd::Exited(0))),
            State::Joining | State::Asking | State::Ending(_) | State::Done => None,
        }
    }

    /// The transfer has failed: a script that runs is ended first.
    fn fail(&mut self, outcome: Outcome) -> Option<Step> {
        match &self.state {
            State::Receiving { .. } => {
                self.state = State::Ending(Some(outcome));
                Some(Step::EndScript)
            }
            State::Hearing { .. } => self.finish(outcome),
            State::Joining | State::Asking | State::Ending(_) | State::Done => None,
        }
    }

    fn on_script_end(&mut self, now: Instant, end: ScriptEnd) -> Option<Step> {
        match &mut self.state {
            State::Receiving { donor, word: None, .. } if end.is_success() => {
                self.state = State::Hearing { donor: *donor, deadline: now + WORD_LIMIT };
                None
            }
            State::Receiving { .. } => self.finish(Outcome::ScriptEnded(end)),
            State::Ending(outcome) => {
                let outcome = outcome.take().unwrap_or(Outcome::ScriptEnded(end));
                self.finish(outcome)
            }
            State::Joining | State::Asking | State::Hearing { .. } | State::Done => None,
        }
    }

    fn on_stop(&mut self) -> Option<Step> {
        match &self.state {
            State::Joining | State::Asking => self.finish(Outcome::Stopped),
            State::Receiving { .. } | State::Hearing { .. } => self.fail(Outcome::StoppedEarly),
            State::Ending(_) | State::Done => None,
        }
    }

    fn on_timeout(&mut self, now: Instant) -> Option<Step> {
        if self.deadline().is_none_or(|deadline| now < deadline) {
            return None;
        }
        match &self.state {
            State::Receiving { .. } => self.fail(Outcome::ScriptTerminated),
            State::Hearing { .. } => {
                tracing::warn!("The donor did not report the end of the transfer in time");
                self.finish(Outcome::ScriptEnded(ScriptEnd::Exited(0)))
            }
            State::Joining | State::Asking | State::Ending(_) | State::Done => None,
        }
    }

    fn on_membership_end(&mut self, reason: &EndReason) -> Option<Step> {
        match &self.state {
            // Whether there is another membership is not for the errand to say.
            State::Joining | State::Asking => {
                self.state = State::Joining;
                None
            }
            State::Receiving { .. } | State::Hearing { .. } => {
                self.fail(Outcome::GroupLost(reason.clone()))
            }
            State::Ending(_) | State::Done => None,
        }
    }

    fn finish(&mut self, outcome: Outcome) -> Option<Step> {
        self.state = State::Done;
        Some(Step::Finish(outcome))
    }
}

#[cfg(test)]
mod tests;
