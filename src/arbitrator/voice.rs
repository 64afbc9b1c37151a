//! What an arbitrator says, in the words that garbd's callers search logs for.
//!
//! Scripts decide by some of these lines (`State transfer request failed`, `Sending state transfer
//! request`, `Shifting CLOSED -> DESTROYED`, `Will never receive state`, `Donor is no longer in the
//! cluster`, `State transfer to … failed: Invalid argument`): they are not to be reworded.

use std::io;

use galera_protocol::NodeId;
use galera_protocol::gcs::{self, Configuration, Member, Request, Seqno, Status};
use galera_protocol::gmcast;
use galera_protocol::member::Event;
use galera_protocol::pc;
use tracing::{error, info, warn};

use super::outcome::Outcome;
use super::{Config, Errand};
use crate::net::trouble::Trouble;

/// Our own state in the group, by garbd's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Closed,
    Open,
    Status(Status),
}

impl Shown {
    const fn name(self) -> &'static str {
        match self {
            Self::Closed => "CLOSED",
            Self::Open | Self::Status(Status::NonPrimary | Status::Unknown(_)) => "OPEN",
            Self::Status(Status::Primary) => "PRIMARY",
            Self::Status(Status::Joiner) => "JOINER",
            Self::Status(Status::Donor) => "DONOR/DESYNCED",
            Self::Status(Status::Joined) => "JOINED",
            Self::Status(Status::Synced) => "SYNCED",
        }
    }
}

/// Says what happens.
pub(super) struct Voice {
    group: String,
    peers: String,
    request: Option<Request>,
    me: Option<NodeId>,
    members: Vec<Member>,
    seqno: Seqno,
    state: Shown,
    is_leaving: bool,
}

impl Voice {
    pub(super) fn new(config: &Config) -> Self {
        let gmcast = &config.member.core.gmcast;
        let peers = gmcast.initial.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        let request = match &config.errand {
            Errand::Vote => None,
            Errand::Transfer(transfer) => Some(transfer.request.clone()),
        };
        Self {
            group: gmcast.group.to_string(),
            peers,
            request,
            me: None,
            members: Vec::new(),
            seqno: Seqno(0),
            state: Shown::Closed,
            is_leaving: false,
        }
    }

    /// A membership begins.
    pub(super) fn begin(&mut self) {
        info!("gcomm: connecting to group '{}', peer '{}'", self.group, self.peers);
    }

    /// We leave: that the primary component ends for us is no loss.
    pub(super) fn leave(&mut self) {
        self.is_leaving = true;
        info!("Leaving the group");
    }

    /// Something happened in it.
    pub(super) fn tell(&mut self, event: &Event) {
        match event {
            Event::Link(event) => tell_link(event),
            Event::Pc(pc::Event::QuorumLost(_)) if self.is_leaving => {}
            Event::Pc(event) => tell_pc(event),
            Event::Gcs(event) => self.tell_group(event),
            Event::Restarted { me } => {
                info!("Primary component lost: waiting for it under our saved identity as {me}");
            }
            Event::Ended(reason) => {
                self.shift(Shown::Closed);
                info!("gcomm: closed ({reason})");
            }
        }
    }

    /// Everything is over.
    pub(super) fn end(&mut self, outcome: &Outcome) {
        if matches!(outcome, Outcome::NotJoined(_)) {
            error!("failed to open gcomm backend connection: 110: failed to reach primary view");
            info!("Shifting CLOSED -> DESTROYED (TO: -1)");
        }
        info!("Exiting main loop");
    }

    fn tell_group(&mut self, event: &gcs::Event) {
        use gcs::Event::{
            ConfigurationChanged, DonationBegun, DonorLost, Dropped, LeaveAdvised, Left,
            MemberStatusChanged, NonPrimary, RequestAccepted, RequestRefused, RequestSent,
            RequestWaiting, TransferEnded, TransferUnknown,
        };
        match event {
            ConfigurationChanged(configuration) => self.tell_configuration(configuration),
            NonPrimary(cause) => {
                info!("Received NON-PRIMARY: {cause}");
                self.shift(Shown::Open);
            }
            MemberStatusChanged { node, from, to, .. } => self.tell_status(node, *from, *to),
            RequestSent { .. } => self.tell_request(),
            RequestWaiting(reason) => info!("State transfer request waits: {reason}"),
            RequestAccepted(acceptance) => {
                let donor = &acceptance.transfer.donor;
                info!(
                    "Member {} requested state transfer from '{}'. Selected {}(SYNCED) as donor.",
                    self.ours(),
                    self.donors(),
                    self.name(donor),
                );
            }
            RequestRefused(problem) => self.tell_refusal(problem),
            TransferEnded { donor, code, .. } => self.tell_transfer_end(donor, *code),
            DonorLost { .. } => warn!("Donor is no longer in the cluster, interrupting script"),
            TransferUnknown { cause, .. } => warn!("The transfer's end was not heard: {cause}"),
            LeaveAdvised(reason) => warn!("Leaving the group: {reason}"),
            Dropped { source, error } => warn!("Dropped a message of {source}: {error}"),
            // A member without a state is never chosen.
            DonationBegun(_) => {}
            Left => info!("Received SELF-LEAVE. Closing connection."),
        }
    }

    fn tell_configuration(&mut self, configuration: &Configuration) {
        self.members.clone_from(&configuration.members);
        self.seqno = configuration.seqno;
        if self.state == Shown::Closed {
            self.shift(Shown::Open);
        }
        self.me = configuration.members.get(configuration.my_index).map(|member| member.node);
        let total = self.members.len();
        let joined = self.members.iter().filter(|member| member.status.has_state()).count();
        info!(
            "New COMPONENT: primary = yes, bootstrap = no, my_idx = {}, memb_num = {total}",
            configuration.my_index,
        );
        info!(
            "Quorum results: component = PRIMARY, conf_id = {}, members = {joined}/{total} \
             (joined/total), act_id = {}, protocols = {} (gcs/repl/appl), group UUID = {}",
            configuration.id, configuration.seqno, configuration.protocols, configuration.state,
        );
        let mine = configuration.members.get(configuration.my_index);
        self.shift(mine.map_or(Shown::Open, |member| Shown::Status(member.status)));
    }

    fn tell_status(&mut self, node: &NodeId, from: Status, to: Status) {
        if let Some(member) = self.members.iter_mut().find(|member| member.node == *node) {
            member.status = to;
        }
        if self.me == Some(*node) {
            self.shift(Shown::Status(to));
        } else if to == Status::Synced {
            info!("Member {} synced with group.", self.name(node));
        } else {
            info!("Member {}: {from} -> {to}", self.name(node));
        }
    }

    fn tell_request(&self) {
        if let Some(Request { method, address, .. }) = &self.request {
            let text =
                if address.is_empty() { method.clone() } else { format!("{method}:{address}") };
            info!("Sending state transfer request: '{text}', size: {}", text.len());
        }
    }

    fn tell_refusal(&self, problem: &gcs::RequestError) {
        let errno = problem.errno().0;
        warn!(
            "Member {} requested state transfer from '{}': {problem}",
            self.ours(),
            self.donors()
        );
        error!("State transfer request failed: -{errno} ({})", system_text(errno));
    }

    fn tell_transfer_end(&self, donor: &NodeId, code: i64) {
        let (donor, ours) = (self.name(donor), self.ours());
        if code >= 0 {
            return info!("{donor}: State transfer to {ours} complete.");
        }
        let cause = system_text(code.saturating_neg());
        warn!("{donor}: State transfer to {ours} failed: {cause}");
        error!("Will never receive state. Need to abort.");
    }

    fn shift(&mut self, next: Shown) {
        if self.state.name() != next.name() {
            info!("Shifting {} -> {} (TO: {})", self.state.name(), next.name(), self.seqno);
        }
        self.state = next;
    }

    fn ours(&self) -> String {
        self.me.map_or_else(|| "-1.-1 (us)".to_owned(), |me| self.name(&me))
    }

    /// `INDEX.SEGMENT (NAME)`, as all members log each other.
    fn name(&self, node: &NodeId) -> String {
        let rows = self.members.iter().enumerate();
        match rows.into_iter().find(|(_, member)| member.node == *node) {
            Some((index, member)) => format!("{index}.{} ({})", member.segment, member.name),
            None => "-1.-1 (left the group)".to_owned(),
        }
    }

    fn donors(&self) -> &str {
        let donors = self.request.as_ref().map_or("", |request| request.donors.as_str());
        if donors.is_empty() { "*any*" } else { donors }
    }
}

fn tell_link(event: &gmcast::Event) {
    match event {
        gmcast::Event::LinkEstablished { node, remote, .. } => {
            info!("connection established to {node} tcp://{remote}");
        }
        // The first failure of an address is news, its repetitions are not.
        gmcast::Event::LinkClosed(closed)
            if closed.phase == gmcast::Phase::Established || closed.failures == 1 =>
        {
            match Trouble::of_event(event) {
                Some(trouble) => info!("{trouble}; {}", trouble.remedy()),
                None => info!("{closed}"),
            }
        }
        gmcast::Event::LinkClosed(_) => {}
        gmcast::Event::Resolved { .. }
        | gmcast::Event::ResolveFailed { .. }
        | gmcast::Event::IdentityChanged { .. }
        | gmcast::Event::OwnAddressFound { .. }
        | gmcast::Event::RelayingChanged { .. } => info!("{event}"),
        gmcast::Event::IdentityRefused { .. } => warn!("{event}"),
    }
}

fn tell_pc(event: &pc::Event) {
    match event {
        pc::Event::Published { view, departed } => {
            let gone = departed.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            info!("view({view}) partitioned or left {{{gone}}}");
        }
        pc::Event::QuorumLost(tally) => warn!(
            "quorum lost: {} votes of {} remain, {} left in order",
            tally.members, tally.total, tally.left
        ),
        pc::Event::QuorumIgnored(_)
        | pc::Event::ConflictIgnored(_)
        | pc::Event::RecoveryRefused(_)
        | pc::Event::MarkedUnknown(_)
        | pc::Event::MembersForgotten(_) => warn!("primary component: {event:?}"),
        pc::Event::WeightChanged { node, weight } => {
            info!("weight of {node} is {} now", weight.unwrap_or(0));
        }
        pc::Event::StateChanged(_)
        | pc::Event::Decided(_)
        | pc::Event::BootstrapIgnored(_)
        | pc::Event::MessageDropped(_)
        | pc::Event::SendOvertaken => {}
    }
}

/// The system's words for an error number, without the number.
fn system_text(errno: i64) -> String {
    let text = match i32::try_from(errno) {
        Ok(number) => io::Error::from_raw_os_error(number).to_string(),
        Err(_) => format!("Unknown error {errno}"),
    };
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_numbers_are_told_in_the_words_that_scripts_search_for() {
        assert_eq!(system_text(22), "Invalid argument");
        assert_eq!(system_text(113), "No route to host");
        assert_eq!(system_text(32), "Broken pipe");
    }
}
