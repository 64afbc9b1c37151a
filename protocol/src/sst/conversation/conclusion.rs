//! While the backup runs, and after it: its end, the donor's word, the pipeline's judgement.

use super::deadlines::Timer;
use super::{
    ConnectionId, Conversation, End, Evidence, Failure, GroupWitness, Judgement, Progress, State,
    Waiting,
};
use crate::sst::donor_code::{Blame, DonorCode};
use crate::time::Instant;

impl Conversation {
    pub(super) fn on_progress(&mut self, sample: Progress) {
        let State::Receiving { progress, .. } = &mut self.state else { return };
        *progress = sample;
        let (runs, rests, limit) = match sample.waiting {
            Waiting::ForDonor => (Timer::Idle, Timer::DrainGap, self.config.idle),
            Waiting::ForUs => (Timer::DrainGap, Timer::Idle, self.config.drain_gap),
        };
        self.deadlines.cancel(rests);
        self.deadlines.set(runs, sample.since + limit);
    }

    pub(super) fn on_idle(&mut self) {
        let (limit, bytes) = (self.config.idle, self.archive_bytes());
        self.fail(Failure::Idle { limit, bytes });
    }

    pub(super) fn on_drain_gap(&mut self) {
        let (limit, bytes) = (self.config.drain_gap, self.archive_bytes());
        self.fail(Failure::TooSlow { limit, bytes });
    }

    const fn archive_bytes(&self) -> u64 {
        match self.state {
            State::Receiving { progress, .. } => progress.bytes,
            State::Concluding { bytes, .. } => bytes,
            State::Listening | State::AwaitingMetadata | State::AwaitingArchive | State::Ended => 0,
        }
    }

    pub(super) fn on_archive_ended(&mut self, now: Instant, id: ConnectionId, end: End) {
        let State::Receiving { connection, progress } = self.state else { return };
        if connection != id {
            return;
        }
        self.connections.remove(id);
        self.deadlines.cancel(Timer::Idle);
        self.deadlines.cancel(Timer::DrainGap);
        let bytes = progress.bytes;
        let fault = (end != End::Clean).then_some(Failure::Interrupted { end, bytes });
        self.transition(State::Concluding { bytes, fault });
        self.deadlines.set(Timer::Verdict, now + self.config.verdict);
        self.conclude(now);
    }

    /// Below zero is final, whatever the stream looks like. Otherwise it is one of two halves.
    pub(super) fn on_donor_joined(&mut self, now: Instant, code: i64) {
        match self.state {
            State::Listening | State::Ended => {}
            _ if !DonorCode(code).is_success() => {
                self.fail(self.donor_failure(code));
            }
            State::AwaitingMetadata | State::AwaitingArchive => {
                self.join_code = Some(code);
                // What the donor sent may still be on its way into our hands.
                self.deadlines.set(Timer::LastWord, now + self.config.last_word);
            }
            State::Receiving { .. } | State::Concluding { .. } => {
                self.join_code = Some(code);
                self.conclude(now);
            }
        }
    }

    /// A donor that fails in its first connection, of which we have seen nothing, did not find us.
    fn donor_failure(&self, code: i64) -> Failure {
        let is_unseen = matches!(self.state, State::AwaitingMetadata)
            && self.last_refusal.is_none()
            && self.connections.is_empty();
        if is_unseen && DonorCode(code).blame() == Blame::Connection {
            Failure::NotReached { code }
        } else {
            Failure::DonorFailed { code, refusal: self.last_refusal }
        }
    }

    /// A donor that has given its word may leave.
    pub(super) fn on_donor_lost(&mut self, failure: Failure) {
        if self.join_code.is_none() && !matches!(self.state, State::Listening) {
            self.fail(failure);
        }
    }

    pub(super) fn on_judged(&mut self, now: Instant, judgement: Judgement) {
        match judgement {
            Judgement::Damaged => self.fail(Failure::Damaged),
            Judgement::NotStored => self.fail(Failure::NotStored),
            Judgement::Whole | Judgement::Incomplete => {
                self.judgement = Some(judgement);
                self.conclude(now);
            }
        }
    }

    /// Ends the conversation once nothing that is missing can change the result.
    fn conclude(&mut self, now: Instant) {
        let State::Concluding { bytes, fault } = &mut self.state else { return };
        if fault.is_none() && self.judgement == Some(Judgement::Incomplete) {
            *fault = Some(Failure::Incomplete);
        }
        let has_spoken = self.join_code.is_some() || self.config.group == GroupWitness::Unavailable;
        match (fault.clone(), has_spoken, self.judgement) {
            (Some(fault), true, _) => self.fail(fault),
            // The donor knows the reason, and says it within moments.
            (Some(_), false, _) => {
                self.deadlines.cancel(Timer::Verdict);
                self.deadlines.set_once(Timer::LastWord, now + self.config.last_word);
            }
            (None, true, Some(_)) => {
                let evidence = Evidence { archive_bytes: *bytes, join_code: self.join_code };
                self.finish(Ok(evidence));
            }
            (None, true, None) => self.deadlines.cancel(Timer::Verdict),
            (None, false, _) => {}
        }
    }

    pub(super) fn on_verdict_missing(&mut self) {
        self.fail(Failure::NoVerdict { limit: self.config.verdict });
    }

    pub(super) fn on_last_word_missing(&mut self) {
        match &self.state {
            State::Concluding { fault: Some(fault), .. } => self.fail(fault.clone()),
            State::AwaitingMetadata | State::AwaitingArchive => {
                self.fail(Failure::SentElsewhere { refusal: self.last_refusal });
            }
            State::Listening
            | State::Receiving { .. }
            | State::Concluding { fault: None, .. }
            | State::Ended => {}
        }
    }
}
