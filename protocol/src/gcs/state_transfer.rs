//! State transfer requests as they are delivered: everybody's, in the same order everywhere.
//!
//! A request changes statuses on all members or on none, and it is answered by computation alone.
//! A member that ignored foreign requests would soon compute other donors than the rest.

use bytes::Bytes;

use super::Gcs;
use super::donor::{GroupPosition, Refusal, Rules, Selection};
use super::event::{Acceptance, Event};
use super::number::{ConfigurationId, Seqno};
use super::state_request::StateRequest;
use super::status::Status;
use super::transfer::{Outcome, Transfer};
use crate::id::NodeId;
use crate::planted::Bug;
use crate::time::Instant;

impl Gcs {
    pub(super) fn handle_state_request(
        &mut self,
        now: Instant,
        source: NodeId,
        action_id: u64,
        payload: &Bytes,
    ) {
        match StateRequest::decode(payload) {
            Ok(request) if request.is_self_desync() => self.handle_self_desync(&source),
            Ok(request) => self.handle_transfer_request(now, source, action_id, &request),
            Err(error) => self.outputs.event(Event::Dropped { source, error }),
        }
    }

    /// SYNCED nodes may ask for it; with state messages of version 4, donors too.
    fn handle_self_desync(&mut self, source: &NodeId) {
        let (Some(group), Some(member)) = (self.state.group(), self.roster.member(source)) else {
            return;
        };
        let lowest = if group.version >= 4 { Status::Donor } else { Status::Synced };
        if member.status >= lowest {
            let change = self.roster.begin_desync(source);
            self.report(change);
        }
    }

    fn handle_transfer_request(
        &mut self,
        now: Instant,
        source: NodeId,
        action_id: u64,
        request: &StateRequest,
    ) {
        let rules = Rules::of(self.roster.members());
        let result = self.select_donor(&source, request, rules);
        let is_certain = result == self.select_donor(&source, request, rules.other());
        let transfer = result.map(|donor| self.describe_transfer(donor));
        if let Ok(donor) = result {
            for change in self.roster.begin_transfer(&source, &donor) {
                self.report(Some(change));
            }
            if donor == self.me {
                self.begin_donation(source, request);
            }
        }
        if source == self.me {
            let answer = transfer.map(|transfer| Acceptance { transfer, is_certain });
            self.ask(|requester, at, out| requester.on_answer(now, action_id, answer, at, out));
        }
    }

    fn select_donor(
        &self,
        requester: &NodeId,
        request: &StateRequest,
        rules: Rules,
    ) -> Result<NodeId, Refusal> {
        let status = self.roster.member(requester).map(|member| member.status);
        let (Some(group), Some(Status::Primary)) = (self.state.group(), status) else {
            return Err(Refusal::NotPrimary);
        };
        let position = GroupPosition { state: group.state, act_id: group.agreed_act_id };
        let donor = Selection::new(self.roster.members(), requester, rules).for_request(
            &request.donors,
            request.position,
            position,
        );
        let is_synced =
            |row: &&super::roster::Member| row.status == Status::Synced && !row.is_stateless;
        match self.roster.members().iter().rfind(is_synced) {
            Some(last) if self.config.planted.is(Bug::OtherDonor) => donor.map(|_| last.node),
            Some(_) | None => donor,
        }
    }

    fn describe_transfer(&self, donor: NodeId) -> Transfer {
        let name = self.roster.member(&donor).map(|member| member.name.clone());
        let group = self.state.group();
        Transfer {
            donor,
            donor_name: name.unwrap_or_default(),
            configuration: group.map_or(ConfigurationId::UNDEFINED, |group| group.configuration),
            state: group.map(|group| group.state).unwrap_or_default(),
            seqno: group.map_or(Seqno::UNDEFINED, |group| group.act_id),
            outcome: Outcome::Running,
        }
    }
}
