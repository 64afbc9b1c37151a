//! What happened in lives: a run that never saw a merge has not tried one.

use galera_protocol::gcs;
use galera_protocol::member::{EndReason, Event};
use galera_protocol::pc::{self, Decision};

use crate::process::Process;

/// Something that a run is there to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Seen {
    PrimaryView,
    Merge,
    QuorumLost,
    Rebootstrap,
    Recovery,
    Split,
    MarkedUnknown,
    WeightChange,
    InstallTimeout,
    InterruptedInstall,
    Overlap,
    Retransmission,
    Ban,
    TransferAccepted,
    TransferEnded,
    DonorLost,
    TransferUnknown,
    GuestRestarted,
    GuestSentAway,
    ConnectTimeout,
    IncompleteRebootstrap,
}

impl Seen {
    pub(crate) const ALL: [Self; 21] = [
        Self::PrimaryView,
        Self::Merge,
        Self::QuorumLost,
        Self::Rebootstrap,
        Self::Recovery,
        Self::Split,
        Self::MarkedUnknown,
        Self::WeightChange,
        Self::InstallTimeout,
        Self::InterruptedInstall,
        Self::Overlap,
        Self::Retransmission,
        Self::Ban,
        Self::TransferAccepted,
        Self::TransferEnded,
        Self::DonorLost,
        Self::TransferUnknown,
        Self::GuestRestarted,
        Self::GuestSentAway,
        Self::ConnectTimeout,
        Self::IncompleteRebootstrap,
    ];

    /// As the summary has it.
    pub(crate) const fn sentence(self) -> &'static str {
        match self {
            Self::PrimaryView => "primary views",
            Self::Merge => "views in which groups merged",
            Self::QuorumLost => "members that lost the quorum",
            Self::Rebootstrap => "members that found all of the last primary view again",
            Self::Recovery => "primary views founded from saved views or by operators",
            Self::Split => "second primary components by Galera's rules",
            Self::MarkedUnknown => "INSTALLs that came too late for a member",
            Self::WeightChange => "weight changes delivered",
            Self::InstallTimeout => "membership changes that timed out",
            Self::InterruptedInstall => "views entered without knowing who else did",
            Self::Overlap => "transitional views that overlap",
            Self::Retransmission => "messages sent again for others",
            Self::Ban => "bans heard of",
            Self::TransferAccepted => "state transfers accepted for guests",
            Self::TransferEnded => "verdicts of donors",
            Self::DonorLost => "donors lost",
            Self::TransferUnknown => "transfers without a verdict",
            Self::GuestRestarted => "guests that came back under their saved identity",
            Self::GuestSentAway => "guests that left a group without primary component",
            Self::ConnectTimeout => "members that gave up joining",
            Self::IncompleteRebootstrap => "members that refused a re-bootstrap, rightly",
        }
    }
}

/// How often each was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Coverage {
    counts: [u64; Seen::ALL.len()],
}

impl Coverage {
    pub(crate) fn add(&mut self, what: Seen, times: u64) {
        self.counts[what as usize] += times;
    }

    pub(crate) fn count(&self, what: Seen) -> u64 {
        self.counts[what as usize]
    }

    pub(crate) fn add_all(&mut self, other: &Self) {
        Seen::ALL.iter().for_each(|what| self.add(*what, other.count(*what)));
    }

    /// One for everything that was seen at all.
    pub(crate) fn once_each(&self) -> Self {
        Self { counts: self.counts.map(|count| count.min(1)) }
    }

    /// What a member reports.
    pub(crate) fn note(&mut self, event: &Event) {
        let seen = match event {
            Event::Pc(event) => of_quorum(event),
            Event::Gcs(event) => of_group(event),
            Event::Restarted { .. } => Some(Seen::GuestRestarted),
            Event::Ended(reason) => of_end(reason),
            Event::Link(_) => None,
        };
        if let Some(seen) = seen {
            self.add(seen, 1);
        }
    }

    /// What the order layer of a life has counted. To be called once, at its end.
    pub(crate) fn add_counters(&mut self, process: &Process) {
        let counters = process.evs().status().counters;
        self.add(Seen::InstallTimeout, counters.install_timeouts);
        self.add(Seen::InterruptedInstall, counters.interrupted_installs);
        self.add(Seen::Retransmission, counters.retransmissions);
    }
}

fn of_quorum(event: &pc::Event) -> Option<Seen> {
    match event {
        pc::Event::QuorumLost(_) => Some(Seen::QuorumLost),
        pc::Event::Decided(Decision::Rebootstrap) => Some(Seen::Rebootstrap),
        pc::Event::WeightChanged { .. } => Some(Seen::WeightChange),
        pc::Event::MarkedUnknown(_) => Some(Seen::MarkedUnknown),
        pc::Event::StateChanged(_)
        | pc::Event::Published { .. }
        | pc::Event::QuorumIgnored(_)
        | pc::Event::Decided(Decision::Continue | Decision::NonPrimary(_))
        | pc::Event::ConflictIgnored(_)
        | pc::Event::MembersForgotten(_)
        | pc::Event::BootstrapIgnored(_)
        | pc::Event::RecoveryRefused(_)
        | pc::Event::MessageDropped(_)
        | pc::Event::SendOvertaken => None,
    }
}

fn of_group(event: &gcs::Event) -> Option<Seen> {
    match event {
        gcs::Event::RequestAccepted(_) => Some(Seen::TransferAccepted),
        gcs::Event::TransferEnded { .. } => Some(Seen::TransferEnded),
        gcs::Event::DonorLost { .. } => Some(Seen::DonorLost),
        gcs::Event::TransferUnknown { .. } => Some(Seen::TransferUnknown),
        gcs::Event::ConfigurationChanged(_)
        | gcs::Event::NonPrimary(_)
        | gcs::Event::MemberStatusChanged { .. }
        | gcs::Event::RequestSent { .. }
        | gcs::Event::RequestWaiting(_)
        | gcs::Event::RequestRefused(_)
        | gcs::Event::DonationBegun(_)
        | gcs::Event::LeaveAdvised(_)
        | gcs::Event::Dropped { .. }
        | gcs::Event::Left => None,
    }
}

fn of_end(reason: &EndReason) -> Option<Seen> {
    match reason {
        EndReason::NotPrimary(_) => Some(Seen::GuestSentAway),
        EndReason::ConnectTimeout => Some(Seen::ConnectTimeout),
        EndReason::Pc(pc::Fatal::IncompleteRebootstrap { .. }) => Some(Seen::IncompleteRebootstrap),
        EndReason::Left
        | EndReason::Abandoned
        | EndReason::SeveralGroups
        | EndReason::Advised(_)
        | EndReason::Refused(_)
        | EndReason::Evs(_)
        | EndReason::Pc(_) => None,
    }
}
