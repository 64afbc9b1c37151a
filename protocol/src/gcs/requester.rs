//! Our own state transfer: from the wish for one to the donor's verdict.
//!
//! ```text
//! Idle -> Waiting -> InFlight -> Following -> (outcome)
//!            ^----------'  EAGAIN, or a view change before it came back
//! ```
//!
//! There is no answer message: the request comes back to us in the total order, and we compute
//! the donor as everybody does. What happens from then on is in `transfer`.

use bytes::Bytes;

use super::Config;
use super::action::{ActionType, Fragment, FragmentHeader};
use super::conditions::Conditions;
use super::donor::names::check_donor_names;
use super::donor::{Refusal, Rules, choose_donor};
use super::event::{Acceptance, Event, JoinReport, RequestError, UnknownCause, WaitReason};
use super::group::Group;
use super::message::MessageType;
use super::outputs::Outputs;
use super::roster::Member;
use super::state_request::{RequestProblem, encode_request};
use super::status::Status;
use super::transfer::{Follower, Transfer};
use crate::id::NodeId;
use crate::message::SendError;
use crate::time::Instant;

/// What we want from a donor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Full names of acceptable donors, divided by commas, best first; an empty entry means any.
    pub donors: String,
    /// The SST method: the donor's server runs the program of that name.
    pub method: String,
    /// The method's argument: where to send to.
    pub address: String,
    /// What must hold before it is sent.
    pub conditions: Conditions,
}

impl Request {
    /// Checks it and builds the payload of the action.
    pub fn encode(&self) -> Result<Bytes, RequestProblem> {
        encode_request(&self.donors, &self.method, &self.address)
    }
}

/// Where things stand when something happens: borrowed from the layer.
pub(super) struct Situation<'a> {
    pub(super) config: &'a Config,
    pub(super) me: &'a NodeId,
    /// `None` outside a primary configuration.
    pub(super) group: Option<&'a Group>,
    pub(super) members: &'a [Member],
}

#[derive(Debug)]
pub(super) struct Requester {
    phase: Phase,
    next_action_id: u64,
}

#[derive(Debug)]
enum Phase {
    Idle,
    Waiting(Pending, Waiting),
    InFlight(Pending, InFlight),
    Following(Follower),
    /// A request of unknown fate: another one could occupy a second donor.
    Abandoned,
}

#[derive(Clone, Debug)]
struct Pending {
    request: Request,
    payload: Bytes,
    give_up_at: Instant,
}

#[derive(Clone, Copy, Debug, Default)]
struct Waiting {
    reason: Option<WaitReason>,
    retry_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    action_id: u64,
    is_cancelled: bool,
}

impl Requester {
    pub(super) fn new() -> Self {
        Self { phase: Phase::Idle, next_action_id: 1 }
    }

    /// The accepted transfer, if there is one.
    pub(super) fn transfer(&self) -> Option<&Transfer> {
        match &self.phase {
            Phase::Following(follower) => Some(follower.transfer()),
            Phase::Idle | Phase::Waiting(..) | Phase::InFlight(..) | Phase::Abandoned => None,
        }
    }

    /// Earliest of retry, limit and verdict.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        match &self.phase {
            Phase::Idle | Phase::Abandoned => None,
            Phase::Waiting(pending, waiting) => {
                Some(waiting.retry_at.map_or(pending.give_up_at, |at| at.min(pending.give_up_at)))
            }
            Phase::InFlight(pending, _) => Some(pending.give_up_at),
            Phase::Following(follower) => follower.verdict_at(),
        }
    }

    /// We want a transfer.
    pub(super) fn request(
        &mut self,
        now: Instant,
        request: Request,
        at: &Situation<'_>,
        out: &mut Outputs,
    ) {
        if !matches!(self.phase, Phase::Idle) {
            return refuse(RequestError::AlreadyRequested, out);
        }
        match request.encode() {
            Err(problem) => refuse(RequestError::Invalid(problem), out),
            Ok(payload) => {
                let give_up_at = now + at.config.donor_wait_limit;
                let pending = Pending { request, payload, give_up_at };
                self.phase = Phase::Waiting(pending, Waiting::default());
                self.try_send(at, out);
            }
        }
    }

    /// We do not want it any more. What is on its way cannot be called back: if the group accepts
    /// it, that is reported; the donor then fails because nobody listens.
    pub(super) fn cancel(&mut self) {
        match &mut self.phase {
            Phase::Waiting(..) => self.phase = Phase::Idle,
            Phase::InFlight(_, in_flight) => in_flight.is_cancelled = true,
            Phase::Idle | Phase::Following(..) | Phase::Abandoned => {}
        }
    }

    /// Goes on with a transfer that an earlier life of this member began.
    pub(super) fn follow(&mut self, transfer: Transfer) {
        self.phase = Phase::Following(Follower::new(transfer));
    }

    /// Something changed that we may have waited for.
    pub(super) fn try_send(&mut self, at: &Situation<'_>, out: &mut Outputs) {
        let Phase::Waiting(pending, waiting) = &mut self.phase else {
            return;
        };
        match ready_to_send(&pending.request, at) {
            Ok(group) => {
                let action_id = self.next_action_id;
                self.next_action_id += 1;
                send(pending, action_id, group, out);
                let in_flight = InFlight { action_id, is_cancelled: false };
                self.phase = Phase::InFlight(pending.clone(), in_flight);
            }
            Err(Obstacle::Wait(reason)) => waiting.wait_for(reason, None, out),
            Err(Obstacle::Fail(error)) => self.fail(error, out),
        }
    }

    /// The layer below did not take our action.
    pub(super) fn on_send_refused(
        &mut self,
        now: Instant,
        error: SendError,
        at: &Situation<'_>,
        out: &mut Outputs,
    ) {
        self.wait_again(now, WaitReason::Sending(error), at, out);
    }

    /// Our action came back with the protocol of another configuration: nobody else took it.
    pub(super) fn on_not_executed(
        &mut self,
        now: Instant,
        action_id: u64,
        at: &Situation<'_>,
        out: &mut Outputs,
    ) {
        if self.is_in_flight(action_id) {
            self.wait_again(now, WaitReason::Sending(SendError::TryAgain), at, out);
        }
    }

    /// Our action came back: the group's answer is `result`.
    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        action_id: u64,
        result: Result<Acceptance, Refusal>,
        at: &Situation<'_>,
        out: &mut Outputs,
    ) {
        if !self.is_in_flight(action_id) {
            return;
        }
        match result {
            Ok(acceptance) => {
                self.follow(acceptance.transfer.clone());
                out.event(Event::RequestAccepted(acceptance));
            }
            Err(Refusal::Busy) => self.wait_again(now, WaitReason::DonorBusy, at, out),
            Err(
                refusal @ (Refusal::Unreachable | Refusal::NamesRequester | Refusal::NotPrimary),
            ) => self.fail(RequestError::Refused(refusal), out),
        }
    }

    /// A primary view: a request that did not come back was not executed by anyone who came
    /// along, and will be sent again after the exchange.
    pub(super) fn on_primary_view(&mut self, at: &Situation<'_>, out: &mut Outputs) {
        if let Phase::InFlight(pending, in_flight) = &self.phase {
            self.phase = if in_flight.is_cancelled {
                Phase::Idle
            } else {
                Phase::Waiting(pending.clone(), Waiting::default())
            };
        }
        if let Phase::Following(follower) = &mut self.phase {
            follower.on_primary_view(at.members, out);
        }
    }

    /// We lost the primary component. The others may have executed a request that never came
    /// back to us; a running transfer goes on out of sight.
    pub(super) fn on_non_primary(&mut self, out: &mut Outputs) {
        if matches!(self.phase, Phase::InFlight(..)) {
            self.abandon(out);
        }
    }

    /// An exchange ended.
    pub(super) fn on_configuration(&mut self, at: &Situation<'_>, out: &mut Outputs) {
        if let Phase::Following(follower) = &mut self.phase {
            follower.on_configuration(at.members, out);
        }
        self.try_send(at, out);
    }

    /// A JOIN, after it took effect on the sender's row; `was` is the sender's status before.
    pub(super) fn on_join(
        &mut self,
        join: JoinReport,
        sender: &NodeId,
        was: Status,
        at: &Situation<'_>,
        out: &mut Outputs,
    ) {
        let row = at.members.iter().find(|member| member.node == *sender);
        if let (Phase::Following(follower), Some(row)) = (&mut self.phase, row) {
            follower.on_join(join, was, row, at.me, out);
        }
        self.try_send(at, out);
    }

    /// The donor closed its last data connection.
    pub(super) fn on_data_ended(&mut self, now: Instant, at: &Situation<'_>) {
        if let Phase::Following(follower) = &mut self.phase {
            follower.expect_verdict(now + at.config.verdict_limit);
        }
    }

    /// A deadline may have passed.
    pub(super) fn on_timeout(&mut self, now: Instant, at: &Situation<'_>, out: &mut Outputs) {
        if self.next_deadline().is_none_or(|deadline| now < deadline) {
            return;
        }
        match &mut self.phase {
            Phase::Waiting(pending, waiting) if now >= pending.give_up_at => {
                let reason = waiting.reason.unwrap_or(WaitReason::NoConfiguration);
                self.fail(RequestError::NoDonorInTime(reason), out);
            }
            Phase::Waiting(_, waiting) => {
                waiting.retry_at = None;
                self.try_send(at, out);
            }
            Phase::InFlight(..) => self.abandon(out),
            Phase::Following(follower) => follower.on_verdict_timeout(out),
            Phase::Idle | Phase::Abandoned => {}
        }
    }

    fn is_in_flight(&self, action_id: u64) -> bool {
        matches!(&self.phase, Phase::InFlight(_, in_flight) if in_flight.action_id == action_id)
    }

    fn wait_again(
        &mut self,
        now: Instant,
        reason: WaitReason,
        at: &Situation<'_>,
        out: &mut Outputs,
    ) {
        let Phase::InFlight(pending, in_flight) = &self.phase else {
            return;
        };
        if in_flight.is_cancelled {
            self.phase = Phase::Idle;
            return;
        }
        let mut waiting = Waiting::default();
        waiting.wait_for(reason, Some(now + at.config.request_retry), out);
        self.phase = Phase::Waiting(pending.clone(), waiting);
    }

    fn fail(&mut self, error: RequestError, out: &mut Outputs) {
        self.phase = Phase::Idle;
        refuse(error, out);
    }

    fn abandon(&mut self, out: &mut Outputs) {
        self.phase = Phase::Abandoned;
        out.event(Event::TransferUnknown { donor: None, cause: UnknownCause::RequestInFlight });
    }
}

impl Waiting {
    fn wait_for(&mut self, reason: WaitReason, retry_at: Option<Instant>, out: &mut Outputs) {
        if self.reason != Some(reason) {
            out.event(Event::RequestWaiting(reason));
        }
        *self = Self { reason: Some(reason), retry_at: retry_at.or(self.retry_at) };
    }
}

enum Obstacle {
    Wait(WaitReason),
    Fail(RequestError),
}

/// A request that our own table says will be refused is not sent: the answer is computed from the
/// same table.
fn ready_to_send<'a>(request: &Request, at: &Situation<'a>) -> Result<&'a Group, Obstacle> {
    let group = at.group.ok_or(Obstacle::Wait(WaitReason::NoConfiguration))?;
    if !group.is_usable {
        return Err(Obstacle::Wait(WaitReason::Unusable));
    }
    let (members, donors) = (at.members, request.donors.as_bytes());
    check_donor_names(members, at.me, &at.config.name, donors)
        .map_err(|problem| Obstacle::Fail(RequestError::Names(problem)))?;
    if let Some(reason) = request.conditions.obstacle(members, at.me) {
        return Err(Obstacle::Wait(reason));
    }
    match choose_donor(members, at.me, donors, Rules::of(members)) {
        Ok(_) => Ok(group),
        Err(Refusal::Busy) => Err(Obstacle::Wait(WaitReason::DonorBusy)),
        Err(refusal @ (Refusal::Unreachable | Refusal::NamesRequester | Refusal::NotPrimary)) => {
            Err(Obstacle::Fail(RequestError::Refused(refusal)))
        }
    }
}

fn send(pending: &Pending, action_id: u64, group: &Group, out: &mut Outputs) {
    let header = FragmentHeader {
        protocol: group.protocols.gcs,
        action_id,
        action_size: u32::try_from(pending.payload.len()).unwrap_or(u32::MAX),
        fragment: 0,
        action_type: ActionType::StateRequest,
        reserved: 0,
    };
    let fragment = Fragment { header, data: pending.payload.clone() };
    out.send(MessageType::Action, fragment.encode());
    out.event(Event::RequestSent { action_id, protocol: group.protocols.gcs });
}

fn refuse(error: RequestError, out: &mut Outputs) {
    out.event(Event::RequestRefused(error));
}
