//! One process of a simulation: our member, or a database server.

use std::collections::VecDeque;

use galera_protocol::evs::{self, Evs};
use galera_protocol::gcs::{Gcs, event::NonPrimaryCause};
use galera_protocol::id::NodeId;
use galera_protocol::member::{Action, Config, EndReason, Identity, Input, Member, Passed};
use galera_protocol::pc::{self, Decision, Pc, SavedView};
use galera_protocol::testing::{History, Random};
use galera_protocol::time::{Duration, Instant};

use crate::data_stack::DataStack;
use crate::tcp::{Heard, Host};
use galera_protocol::gmcast::LinkId;

/// Where clocks start, so that they can be set back.
const CLOCK_START_MICROS: u64 = 1_000_000_000;

/// What runs on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A database server.
    Data,
    /// Our member.
    Ours,
}

/// How a process on a host is started.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) config: Config,
}

#[derive(Debug)]
enum Stack {
    Ours(Box<Member>),
    Data(Box<DataStack>),
}

/// A run of a member or server, with what waits for it while it is frozen.
#[derive(Debug)]
pub(crate) struct Process {
    stack: Stack,
    pub(crate) run: u32,
    /// Who it is in its current life.
    pub(crate) me: NodeId,
    pub(crate) is_frozen: bool,
    /// How far its clock is ahead of the world's, in microseconds.
    pub(crate) ahead_micros: u64,
    /// How late its next wake-up is, as on any machine.
    pub(crate) lateness: Duration,
    pub(crate) inbox: VecDeque<(LinkId, Heard)>,
    pub(crate) is_leaving: bool,
    pub(crate) ended: Option<EndReason>,
    /// What its last exchange of the quorum layer came to.
    pub(crate) decision: Option<Decision>,
    /// Why the group cannot act, as its group layer sees it.
    pub(crate) group_state: Option<NonPrimaryCause>,
}

impl Process {
    pub(crate) fn new(
        settings: &Settings,
        run: u32,
        identity: Identity,
        seed: u64,
        has: History,
    ) -> Self {
        let me = match &identity {
            Identity::Fresh(me) => *me,
            Identity::Saved(saved) => saved.me.next_incarnation(),
        };
        let stack = match settings.kind {
            Kind::Ours => {
                let mut member = Member::new(settings.config.clone(), identity, seed);
                member.take_passed();
                Stack::Ours(Box::new(member))
            }
            Kind::Data => Stack::Data(Box::new(DataStack::new(settings, identity, seed, has))),
        };
        let (inbox, ended) = (VecDeque::new(), None);
        let (lateness, is_frozen) = (Duration::ZERO, false);
        let (is_leaving, ahead_micros) = (false, CLOCK_START_MICROS);
        Self {
            stack,
            run,
            me,
            is_frozen,
            ahead_micros,
            lateness,
            inbox,
            is_leaving,
            ended,
            decision: None,
            group_state: None,
        }
    }

    /// What its clock shows.
    fn local(&self, now: Instant) -> Instant {
        now + Duration::from_micros(self.ahead_micros)
    }

    pub(crate) fn handle_input(&mut self, now: Instant, input: Input) {
        let now = self.local(now);
        match &mut self.stack {
            Stack::Ours(member) => member.handle_input(now, input),
            Stack::Data(data) => data.handle_input(now, input),
        }
    }

    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        match &mut self.stack {
            Stack::Ours(member) => member.poll_action(),
            Stack::Data(data) => data.poll_action(),
        }
    }

    pub(crate) fn take_passed(&mut self) -> Vec<Passed> {
        match &mut self.stack {
            Stack::Ours(member) => member.take_passed(),
            Stack::Data(data) => data.take_passed(),
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let local = match &self.stack {
            Stack::Ours(member) => member.next_deadline(),
            Stack::Data(data) => data.next_deadline(),
        }?;
        Some(Instant::from_micros(local.as_micros().saturating_sub(self.ahead_micros)))
    }

    pub(crate) fn work(&mut self, now: Instant, random: &mut Random) {
        let now = self.local(now);
        match &mut self.stack {
            Stack::Ours(_) => {}
            Stack::Data(data) => data.work(now, random),
        }
    }

    pub(crate) fn evs(&self) -> &Evs {
        match &self.stack {
            Stack::Ours(member) => member.evs(),
            Stack::Data(data) => &data.evs,
        }
    }

    pub(crate) fn pc(&self) -> &Pc {
        match &self.stack {
            Stack::Ours(member) => member.pc(),
            Stack::Data(data) => &data.pc,
        }
    }

    pub(crate) fn gcs(&self) -> &Gcs {
        match &self.stack {
            Stack::Ours(member) => member.gcs(),
            Stack::Data(data) => data.node.gcs(),
        }
    }

    /// What a server's disk holds.
    pub(crate) fn history(&self) -> History {
        match &self.stack {
            Stack::Ours(_) => History::none(),
            Stack::Data(data) => data.node.history(),
        }
    }

    /// Would a server that stopped now have the group's data?
    pub(crate) fn has_data(&self) -> bool {
        !self.history().after_stop().group.is_nil()
    }

    /// A server that gives up waiting for a primary component leaves without being told.
    pub(crate) fn leaves_by_itself(&self) -> bool {
        match &self.stack {
            Stack::Ours(_) => false,
            Stack::Data(data) => data.is_leaving,
        }
    }

    pub(crate) fn is_running(&self) -> bool {
        self.ended.is_none()
    }

    /// It has not lost the primary component, though it may be agreeing on the next view.
    pub(crate) fn has_quorum(&self) -> bool {
        self.is_running() && self.pc().status().is_primary
    }

    /// In a running primary view, as far as it knows.
    pub(crate) fn is_primary(&self) -> bool {
        self.is_running() && self.pc().state() == pc::State::Primary
    }
}

/// A machine: its process, if one runs, and its disk.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) number: Host,
    pub(crate) settings: Settings,
    pub(crate) process: Option<Process>,
    pub(crate) runs: u32,
    pub(crate) saved: Option<SavedView>,
    /// Who its last process was when it was stopped.
    pub(crate) last_life: Option<NodeId>,
    pub(crate) history: History,
    /// How the runs so far ended.
    pub(crate) endings: Vec<EndReason>,
    /// When its process wants to be woken.
    pub(crate) alarm: Option<Instant>,
}

impl Machine {
    pub(crate) fn is_data(&self) -> bool {
        self.settings.kind == Kind::Data
    }

    pub(crate) fn set_start(&mut self, start: evs::Start) {
        self.settings.config.evs.start = start;
        self.settings.config.pc.start_primary = start == evs::Start::Bootstrap;
    }

    /// Asks the process when it wants to be woken, after anything that may have changed that.
    pub(crate) fn set_alarm(&mut self) {
        let process = self.running().filter(|process| !process.is_frozen);
        self.alarm = process.and_then(|it| Some(it.next_deadline()? + it.lateness));
    }

    pub(crate) fn running(&self) -> Option<&Process> {
        self.process.as_ref().filter(|process| process.is_running())
    }
}
