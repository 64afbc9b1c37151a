//! A state transfer that the group agreed to, followed from outside until the donor's verdict.
//!
//! Only the donor's own JOIN tells success from failure: its status is the same after both. What
//! flows over the data connections is not seen here.

use super::event::{Event, JoinReport, UnknownCause};
use super::name::Name;
use super::number::{ConfigurationId, Seqno};
use super::outputs::Outputs;
use super::roster::Member;
use super::status::Status;
use crate::id::{NodeId, StateId};
use crate::time::Instant;

/// A transfer that the group agreed to. The donor is followed by UUID: indexes and our own status
/// change with every view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    /// Who sends.
    pub donor: NodeId,
    /// Its name.
    pub donor_name: Name,
    /// The configuration in which it was chosen.
    pub configuration: ConfigurationId,
    /// The history of the group.
    pub state: StateId,
    /// The last global seqno before the request: what the donor announces.
    pub seqno: Seqno,
    /// What is known of its end.
    pub outcome: Outcome,
}

/// What is known of a transfer's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The donor has not reported yet.
    Running,
    /// The donor reported this code; negative is a failure.
    Ended(i64),
    /// The donor left the group.
    DonorLost,
    /// It ended, or may have, and nobody will tell how.
    Unknown,
}

/// Follows one transfer.
#[derive(Debug)]
pub(super) struct Follower {
    transfer: Transfer,
    verdict_at: Option<Instant>,
}

impl Follower {
    pub(super) fn new(transfer: Transfer) -> Self {
        Self { transfer, verdict_at: None }
    }

    pub(super) fn transfer(&self) -> &Transfer {
        &self.transfer
    }

    /// When the donor's JOIN must have come.
    pub(super) fn verdict_at(&self) -> Option<Instant> {
        self.verdict_at
    }

    /// The donor closed its last data connection: from now on its JOIN is due.
    pub(super) fn expect_verdict(&mut self, at: Instant) {
        if self.transfer.outcome == Outcome::Running {
            self.verdict_at = Some(at);
        }
    }

    /// A primary view without the donor ends the transfer. In a non-primary one it is only out of
    /// sight.
    pub(super) fn on_primary_view(&mut self, members: &[Member], out: &mut Outputs) {
        let donor = self.transfer.donor;
        let is_gone = members.iter().all(|member| member.node != donor);
        if self.transfer.outcome == Outcome::Running && is_gone {
            self.end(Outcome::DonorLost);
            out.event(Event::DonorLost { donor });
        }
    }

    /// After an exchange: the donor says of itself whether it still is one.
    pub(super) fn on_configuration(&mut self, members: &[Member], out: &mut Outputs) {
        let donor = members.iter().find(|member| member.node == self.transfer.donor);
        let Some(status) = donor.map(|donor| donor.status) else {
            return;
        };
        if self.transfer.outcome == Outcome::Running && status != Status::Donor {
            self.become_unknown(UnknownCause::DonorStatus(status), out);
        }
    }

    /// A JOIN of `sender`, after it took effect on its row; `was` is its status before.
    pub(super) fn on_join(
        &mut self,
        join: JoinReport,
        was: Status,
        sender: &Member,
        me: &NodeId,
        out: &mut Outputs,
    ) {
        if sender.node != self.transfer.donor {
            return;
        }
        let is_verdict = match self.transfer.outcome {
            // A self-desync of the donor adds a JOIN of its own: only the last one counts, but a
            // failure is final.
            Outcome::Running => join.code < 0 || (was == Status::Donor && sender.desync_count == 0),
            // The JOIN taken for ours was another one. A later transfer has another joiner.
            Outcome::Ended(0..) | Outcome::Unknown => {
                join.code < 0 && sender.joiner.is_none_or(|joiner| joiner == *me)
            }
            Outcome::Ended(_) | Outcome::DonorLost => false,
        };
        if is_verdict {
            self.end(Outcome::Ended(join.code));
            let JoinReport { code, seqno } = join;
            out.event(Event::TransferEnded { donor: sender.node, code, seqno });
        }
    }

    /// The limit for the verdict has passed.
    pub(super) fn on_verdict_timeout(&mut self, out: &mut Outputs) {
        self.become_unknown(UnknownCause::NoVerdict, out);
    }

    fn become_unknown(&mut self, cause: UnknownCause, out: &mut Outputs) {
        self.end(Outcome::Unknown);
        out.event(Event::TransferUnknown { donor: Some(self.transfer.donor), cause });
    }

    fn end(&mut self, outcome: Outcome) {
        self.transfer.outcome = outcome;
        self.verdict_at = None;
    }
}
