//! Machines, lines between them, and a clock that jumps from one event to the next.

mod machines;
mod reading;
mod sight;

use std::collections::{BTreeMap, BTreeSet};

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use galera_protocol::gcs::{self, LeaveReason};
use galera_protocol::gmcast::{self, LinkEnd, LinkId};
use galera_protocol::id::NodeId;
use galera_protocol::member::{Action, EndReason, Event, Input};
use galera_protocol::pc;
use galera_protocol::testing::Random;
use galera_protocol::time::{Duration, Instant};

use self::reading::Reading;
use crate::coverage::Coverage;

use crate::operator::Cause;
use crate::oracle::{Checked, Oracle};
use crate::process::{Machine, Process};
use crate::tcp::{self, Arrival, Heard, Host, Tcp};

const PORT: u16 = 4567;

/// Data nodes look for work this often.
const WORK_PERIOD: Duration = Duration::from_millis(250);

/// More events than this in one second is a storm: a healthy group has some hundred.
const EVENTS_PER_SECOND_MAX: u32 = 50_000;

/// Processes wake up so much late at most, in microseconds. With exact timers everybody would do
/// everything at the same moment for ever.
const LATENESS_MAX_MICROS: u64 = 10_000;

/// What the scenario has planned.
type Plan = Box<dyn FnOnce(&mut World)>;

/// The whole simulation.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: Instant,
    pub(crate) random: Random,
    reading: Reading,
    pub(crate) tcp: Tcp,
    pub(crate) machines: Vec<Machine>,
    pub(crate) oracle: Oracle,
    /// Endings that are a failure of the group, not of the simulation.
    pub(crate) expects_failures: bool,
    pub(crate) is_working: bool,
    /// Who was banned: it is told so, and ends.
    pub(crate) evicted: BTreeSet<NodeId>,
    /// Everybody bans who is slow too often; such a ban hits anybody.
    pub(crate) bans_slow: bool,
    plans: BTreeMap<(Instant, u64), Plan>,
    planned: u64,
    /// Events in the current second.
    events: u32,
    /// What happened in this life.
    pub(crate) coverage: Coverage,
    /// Why the operator had to begin anew, each time.
    pub(crate) operator_calls: Vec<Cause>,
    /// Written only when somebody wants to read it.
    log: Option<String>,
    shows_frames: bool,
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        let mut world = Self {
            seed,
            now: Instant::ZERO,
            random: Random::new(seed),
            reading: Reading::new(seed),
            tcp: Tcp::new(seed ^ 0x7c9),
            machines: Vec::new(),
            oracle: Oracle::default(),
            expects_failures: false,
            is_working: true,
            evicted: BTreeSet::new(),
            bans_slow: false,
            plans: BTreeMap::new(),
            planned: 0,
            events: 0,
            coverage: Coverage::default(),
            operator_calls: Vec::new(),
            log: std::env::var_os("SIM_SEED").map(|_| String::new()),
            shows_frames: std::env::var_os("SIM_FRAMES").is_some(),
        };
        world.after(WORK_PERIOD, Self::work);
        world
    }

    // Time.

    pub(crate) fn after(&mut self, delay: Duration, plan: impl FnOnce(&mut Self) + 'static) {
        self.planned += 1;
        self.plans.insert((self.now + delay, self.planned), Box::new(plan));
    }

    /// Will anything but work happen within this time? Work and answers to look-ups come soon.
    pub(crate) fn has_plans_within(&self, time: Duration) -> bool {
        let soon = self.now + WORK_PERIOD * 2;
        let end = self.now + time;
        self.plans.keys().any(|(at, _)| *at > soon && *at <= end)
    }

    fn work(&mut self) {
        for host in 0..self.machines.len() {
            let now = self.now;
            let is_due = self.is_working && self.random.percent(40);
            let Some(process) = self.machines[host].process.as_mut() else { continue };
            if is_due && !process.is_frozen {
                process.work(now, &mut self.random);
                self.settle(host);
            }
        }
        self.after(WORK_PERIOD, Self::work);
    }

    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    pub(crate) fn run_seconds(&mut self, seconds: u64) {
        self.run(Duration::from_secs(seconds));
    }

    /// Runs until something holds. False if it does not within the limit.
    pub(crate) fn run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> bool {
        let end = self.now + limit;
        while !holds(self) {
            if !self.step(end) {
                return holds(self);
            }
        }
        true
    }

    pub(crate) fn expect(&mut self, seconds: u64, what: &str, holds: impl Fn(&Self) -> bool) {
        if !self.run_until(Duration::from_secs(seconds), holds) {
            self.fail(&format!("not within {seconds} s: {what}"));
        }
    }

    fn step(&mut self, end: Instant) -> bool {
        let plan = self.plans.keys().next().map(|(at, _)| *at);
        let (event, deadline) = (self.tcp.next_event(), self.next_deadline());
        let times = [plan, event, deadline.map(|(at, _)| at)];
        let Some(at) = times.into_iter().flatten().min().filter(|at| *at <= end) else {
            return false;
        };
        self.move_clock(at);
        if plan == Some(at) {
            if let Some((_, plan)) = self.plans.pop_first() {
                plan(self);
            }
        } else if event == Some(at) {
            if let Some(arrival) = self.tcp.advance(self.now) {
                self.arrive(arrival);
            }
        } else if let Some((_, host)) = deadline {
            self.wake(host);
        }
        true
    }

    fn wake(&mut self, host: Host) {
        self.input(host, Input::Timeout);
        let lateness = Duration::from_micros(self.random.between(0, LATENESS_MAX_MICROS));
        if let Some(process) = self.machines[host].process.as_mut() {
            process.lateness = lateness;
        }
        self.machines[host].set_alarm();
    }

    fn move_clock(&mut self, at: Instant) {
        let is_same_second = at.as_micros() / 1_000_000 == self.now.as_micros() / 1_000_000;
        self.events = if is_same_second { self.events + 1 } else { 0 };
        if self.events > EVENTS_PER_SECOND_MAX {
            self.fail("a storm of messages");
        }
        self.now = self.now.max(at);
    }

    fn next_deadline(&self) -> Option<(Instant, Host)> {
        self.machines.iter().filter_map(|machine| Some((machine.alarm?, machine.number))).min()
    }

    // Inputs and actions.

    fn arrive(&mut self, Arrival { to, link, heard }: Arrival) {
        let Some(process) = self.machines[to.host].process.as_mut() else { return };
        if process.run != to.run || !process.is_running() {
            return;
        }
        let is_frozen = process.is_frozen;
        if !is_frozen && !self.reads_in_batches(to.host) {
            return self.hear(to.host, link, heard);
        }
        let Some(process) = self.machines[to.host].process.as_mut() else { return };
        let is_first = process.inbox.is_empty();
        process.inbox.push_back((link, heard));
        if is_first && !is_frozen {
            self.read_later(to);
        }
    }

    fn hear(&mut self, host: Host, link: LinkId, heard: Heard) {
        self.input(host, Input::Link(input_of(host, link, heard)));
    }

    fn input(&mut self, host: Host, input: Input) {
        let now = self.now;
        let Some(process) = self.machines[host].process.as_mut() else { return };
        process.handle_input(now, input);
        self.settle(host);
    }

    /// Carries out what a process wants done, then compares it with the others.
    fn settle(&mut self, host: Host) {
        let Some(mut process) = self.machines[host].process.take() else { return };
        let run = tcp::Process { host, run: process.run };
        if process.leaves_by_itself() {
            self.oracle.leavers.insert(process.me);
        }
        while let Some(action) = process.poll_action() {
            if !process.is_running() {
                self.fail(&format!("{action:?} after the end"));
            }
            self.perform(run, action, &mut process);
        }
        let checked = self.oracle.observe(&mut process);
        self.machines[host].process = Some(process);
        self.machines[host].set_alarm();
        self.demand(host, checked);
        if self.oracle.take_split().is_some() {
            self.note(host, || {
                "is in a second primary component, as Galera's rules have it".into()
            });
            self.after(Duration::ZERO, |world| world.begin_anew(Cause::Split));
        }
    }

    fn demand(&mut self, host: Host, checked: Checked) {
        if let Err(problem) = checked {
            let name = self.machines[host].settings.name.clone();
            self.fail(&format!("{name}: {problem}"));
        }
    }

    fn perform(&mut self, run: tcp::Process, action: Action, process: &mut Process) {
        let (now, host) = (self.now, run.host);
        match action {
            Action::Resolve { host: name, port } => {
                let addresses = name.parse().into_iter().collect();
                let resolved = gmcast::Input::Resolved { host: name, port, addresses };
                self.after(Duration::from_millis(1), move |world| {
                    world.input_to(run, Input::Link(resolved));
                });
            }
            Action::Dial { link, remote, .. } => self.dial(run, link, remote),
            Action::SendFrame { link, body, is_user } => {
                if self.shows_frames {
                    self.note(host, || format!("{link:?} {}", sight::describe_frame(&body)));
                }
                self.tcp.send(now, run, link, body, is_user);
            }
            Action::CloseLink { link } => self.tcp.close(now, run, link),
            Action::Persist(saved) => {
                self.oracle.note_saved(&saved);
                self.machines[host].saved = Some(saved);
            }
            Action::Forget => self.machines[host].saved = None,
            Action::Event(event) => self.on_event(host, event, process),
        }
    }

    /// An input for the process that asked, unless it is gone.
    fn input_to(&mut self, run: tcp::Process, input: Input) {
        let process = self.machines[run.host].process.as_ref();
        if process.is_some_and(|process| process.run == run.run && process.is_running()) {
            self.input(run.host, input);
        }
    }

    fn dial(&mut self, run: tcp::Process, link: LinkId, remote: SocketAddr) {
        match host_at(remote).filter(|host| *host < self.machines.len()) {
            Some(to) => self.tcp.dial(self.now, run, link, to),
            None => self.after(Duration::from_millis(1), move |world| {
                let end = LinkEnd::Unreachable;
                world.input_to(run, Input::Link(gmcast::Input::Closed { link, end }));
            }),
        }
    }

    fn on_event(&mut self, host: Host, event: Event, process: &mut Process) {
        self.note(host, || sight::describe(&event));
        self.coverage.note(&event);
        match event {
            Event::Gcs(gcs::Event::LeaveAdvised(_)) => {
                self.oracle.leavers.insert(process.me);
            }
            Event::Gcs(gcs::Event::NonPrimary(cause)) => process.group_state = Some(cause),
            Event::Gcs(gcs::Event::ConfigurationChanged(_)) => process.group_state = None,
            Event::Pc(pc::Event::Decided(decision)) => process.decision = Some(decision),
            Event::Ended(reason) => self.on_ended(host, reason, process),
            Event::Gcs(_) | Event::Pc(_) | Event::Link(_) | Event::Restarted { .. } => {}
        }
    }

    fn on_ended(&mut self, host: Host, reason: EndReason, process: &mut Process) {
        if matches!(reason, EndReason::Refused(_)) {
            // Banned for good: it comes back as somebody else.
            self.machines[host].saved = None;
        }
        if matches!(reason, EndReason::NotPrimary(_)) {
            self.oracle.departed.insert(process.me);
        }
        self.machines[host].endings.push(reason.clone());
        if !self.is_proper_end(&reason, process) {
            self.fail(&format!("host {host} ended: {reason:?}"));
        }
        let run = tcp::Process { host, run: process.run };
        self.coverage.add_counters(process);
        process.ended = Some(reason);
        if self.machines[host].is_data() {
            self.machines[host].history = process.history().after_stop();
        }
        self.tcp.kill(self.now, run);
    }

    fn is_proper_end(&self, reason: &EndReason, process: &Process) -> bool {
        match reason {
            EndReason::Left | EndReason::Abandoned | EndReason::ConnectTimeout => true,
            EndReason::NotPrimary(_)
            | EndReason::SeveralGroups
            | EndReason::Advised(LeaveReason::OnlyStateless) => true,
            EndReason::Refused(_) => {
                self.bans_slow || self.evicted.contains(&process.me) || self.expects_failures
            }
            // It knew better than the reports, and was right: nobody may found that view.
            EndReason::Pc(pc::Fatal::IncompleteRebootstrap { .. }) => {
                self.expects_failures || !self.oracle.may_go_on(&process.evs().status().members)
            }
            EndReason::Advised(_) | EndReason::Evs(_) | EndReason::Pc(_) => self.expects_failures,
        }
    }
}

/// Where a host is reached.
fn address(host: Host) -> SocketAddr {
    let last = u8::try_from(host + 1).expect("few hosts");
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last)), PORT)
}

fn host_at(address: SocketAddr) -> Option<Host> {
    match address.ip() {
        IpAddr::V4(ip) if ip.octets()[..3] == [10, 0, 0] => {
            usize::from(ip.octets()[3]).checked_sub(1)
        }
        IpAddr::V4(_) | IpAddr::V6(_) => None,
    }
}

fn input_of(host: Host, link: LinkId, heard: Heard) -> gmcast::Input {
    match heard {
        Heard::Connected { to, port } => gmcast::Input::Connected {
            link,
            local: SocketAddr::new(address(host).ip(), port),
            remote: address(to),
        },
        Heard::Accepted { from, port } => gmcast::Input::Accepted {
            link,
            local: address(host),
            remote: SocketAddr::new(address(from).ip(), port),
        },
        Heard::Frame(body) => gmcast::Input::Frame { link, body },
        Heard::Closed(end) => gmcast::Input::Closed { link, end },
    }
}
