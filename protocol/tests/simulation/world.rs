//! Machines, lines between them, and a clock that jumps from one event to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use core::net::{IpAddr, Ipv4Addr, SocketAddr};

use galera_protocol::evs;
use galera_protocol::gcs::{self, LeaveReason, Name, Seqno, Status, state::StateKind};
use galera_protocol::gmcast::address::HostPort;
use galera_protocol::gmcast::{self, LinkEnd, LinkId};
use galera_protocol::id::{NodeId, StateId};
use galera_protocol::member::{Action, Command, Config, EndReason, Event, Identity, Input};
use galera_protocol::testing::{History, Random};
use galera_protocol::time::{Duration, Instant};

use crate::oracle::{Checked, Oracle};
use crate::process::{Kind, Machine, Process, Settings};
use crate::tcp::{self, Arrival, Heard, Host, Tcp};

const PORT: u16 = 4567;

/// Data nodes look for work this often.
const WORK_PERIOD: Duration = Duration::from_millis(250);

/// More events than this in one second is a storm: a healthy group has some hundred.
const EVENTS_PER_SECOND_MAX: u32 = 50_000;

/// Processes wake up so much late at most, in microseconds. With exact timers everybody would do
/// everything at the same moment for ever.
const LATENESS_MAX_MICROS: u64 = 10_000;

/// Members that read in batches look at their links so late at most, in microseconds: their machine
/// has other things to do.
const READING_LATE_MAX_MICROS: u64 = 5_000;

/// What the scenario has planned.
type Plan = Box<dyn FnOnce(&mut World)>;

/// The whole simulation.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) now: Instant,
    pub(crate) random: Random,
    /// Our members read late, and then everything that has come in: in every other life.
    reads_in_batches: bool,
    reading: Random,
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
            reads_in_batches: seed % 2 == 1,
            reading: Random::new(seed ^ 0xba7c),
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
            log: std::env::var_os("SIM_SEED").map(|_| String::new()),
            shows_frames: std::env::var_os("SIM_FRAMES").is_some(),
        };
        world.after(WORK_PERIOD, Self::work);
        world
    }

    // Machines.

    /// A machine that is not started yet. A member's weight is 0, a server's 1.
    pub(crate) fn add(&mut self, name: &str, kind: Kind) -> Host {
        let number = self.machines.len();
        let mut config = Config::default();
        config.gmcast.group = gmcast::GroupName::new("sim").expect("short");
        config.gmcast.listen = address(number);
        config.gcs.name = Name::new(name).expect("short");
        if kind == Kind::Data {
            config.pc.weight = 1;
            config.pc.leave_if_not_primary = false;
            config.evs.start = evs::Start::AloneIfUnanswered;
        }
        let settings = Settings { name: name.into(), kind, config };
        self.machines.push(Machine {
            number,
            settings,
            process: None,
            runs: 0,
            saved: None,
            last_life: None,
            history: History::none(),
            endings: Vec::new(),
        });
        number
    }

    pub(crate) fn add_all(&mut self, names: &[&str], kind: Kind) -> Vec<Host> {
        names.iter().map(|name| self.add(name, kind)).collect()
    }

    fn fresh_id(&mut self, host: Host) -> NodeId {
        let name = u8::try_from(host).expect("few hosts");
        let run = u8::try_from(self.machines[host].runs).unwrap_or(u8::MAX);
        NodeId::version1(self.random.next_u64() & 0xffff_ffff, 1, [name, run, 0, 0, 0, name])
    }

    /// Founds the group with the history that the server has.
    pub(crate) fn found(&mut self, host: Host) {
        self.machines[host].saved = None;
        self.machines[host].set_start(evs::Start::Bootstrap);
        if self.machines[host].history.group.is_nil() {
            let group = StateId::from_bytes([0xaa; 16]);
            self.machines[host].history = History::saved(group, Seqno(10));
        }
        self.oracle.forget_chain();
        self.start(host);
        self.machines[host].set_start(evs::Start::AloneIfUnanswered);
    }

    /// Starts the process of a machine, with whatever its last run has saved.
    pub(crate) fn start(&mut self, host: Host) {
        let identity = match self.machines[host].saved.clone() {
            Some(saved) => Identity::Saved(saved),
            None => {
                self.oracle.forgotten.extend(self.machines[host].last_life.take());
                Identity::Fresh(self.fresh_id(host))
            }
        };
        let others = (0..self.machines.len()).filter(|other| *other != host);
        let initial =
            others.map(|other| HostPort { host: address(other).ip().to_string(), port: PORT });
        let initial = initial.collect();
        let seed = self.random.next_u64();
        let machine = &mut self.machines[host];
        machine.runs += 1;
        let run = machine.runs;
        // UUIDs of links must differ between runs.
        machine.settings.config.gmcast.uuid_epoch = u64::from(run) << 40;
        machine.settings.config.gmcast.initial = initial;
        let history = machine.history.clone();
        let process = Process::new(&machine.settings, run, identity, seed, history);
        let me = process.me;
        machine.process = Some(process);
        self.tcp.start(tcp::Process { host, run });
        self.note(host, || format!("starts as {me}"));
        self.input(host, Input::Start);
    }

    pub(crate) fn start_all(&mut self, hosts: &[Host]) {
        hosts.iter().for_each(|host| self.start(*host));
    }

    /// The machine starts all over without its saved view.
    pub(crate) fn start_fresh(&mut self, host: Host) {
        self.machines[host].saved = None;
        self.start(host);
    }

    /// The process dies, and its host says so.
    pub(crate) fn kill(&mut self, host: Host) {
        if let Some(process) = self.stop(host) {
            self.note(host, || "is killed".into());
            self.tcp.kill(self.now, process);
        }
    }

    /// The power goes: nobody says anything.
    pub(crate) fn switch_off(&mut self, host: Host) {
        if let Some(process) = self.stop(host) {
            self.note(host, || "is switched off".into());
            self.tcp.switch_off(process);
        }
    }

    fn stop(&mut self, host: Host) -> Option<tcp::Process> {
        let machine = &mut self.machines[host];
        let process = machine.process.take()?;
        machine.last_life = Some(process.me);
        if machine.is_data() {
            machine.history = process.history().after_stop();
        }
        process.is_running().then_some(tcp::Process { host, run: process.run })
    }

    pub(crate) fn leave(&mut self, host: Host) {
        let Some(process) = self.machines[host].process.as_mut() else { return };
        if process.is_frozen || !process.is_running() {
            return;
        }
        process.is_leaving = true;
        self.oracle.leavers.insert(process.me);
        self.note(host, || "is told to leave".into());
        self.input(host, Input::Command(Command::Leave));
    }

    /// Somebody tells a running process something.
    pub(crate) fn command(&mut self, host: Host, command: Command) {
        let is_awake = self.machines[host].running().is_some_and(|process| !process.is_frozen);
        if is_awake {
            self.note(host, || format!("is told {command:?}"));
            self.input(host, Input::Command(command));
        }
    }

    /// Tells the oracle which votes there are now.
    pub(crate) fn note_votes(&mut self, host: Host) {
        if let Some(process) = self.machines[host].running() {
            self.oracle.note_votes(process);
        }
    }

    /// A server bans whoever runs on a host now.
    pub(crate) fn evict(&mut self, by: Host, whom: Host) {
        let Some(node) = self.machines[whom].running().map(|process| process.me) else { return };
        self.evicted.insert(node);
        self.command(by, Command::Evict(node));
    }

    /// A host's clock jumps. A clock set back stands still for the process until it has caught up.
    pub(crate) fn jump_clock(&mut self, host: Host, forward: bool, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(0);
        let Some(process) = self.machines[host].process.as_mut() else { return };
        process.ahead_micros = if forward {
            process.ahead_micros + micros
        } else {
            process.ahead_micros.saturating_sub(micros)
        };
        let way = if forward { "ahead" } else { "back" };
        self.note(host, || format!("has its clock set {way} by {by:?}"));
    }

    pub(crate) fn freeze(&mut self, host: Host) {
        if let Some(process) = self.machines[host].process.as_mut() {
            process.is_frozen = true;
            self.note(host, || "freezes".into());
        }
    }

    pub(crate) fn thaw(&mut self, host: Host) {
        let Some(process) = self.machines[host].process.as_mut() else { return };
        if !core::mem::take(&mut process.is_frozen) {
            return;
        }
        self.note(host, || "thaws".into());
        if self.reads_in_batches(host) {
            return self.read_batch(host);
        }
        let process = self.machines[host].process.as_mut();
        let inbox = process.map(|process| core::mem::take(&mut process.inbox));
        for (link, heard) in inbox.unwrap_or_default() {
            self.hear(host, link, heard);
        }
    }

    fn reads_in_batches(&self, host: Host) -> bool {
        self.reads_in_batches && !self.machines[host].is_data()
    }

    /// Looks at the links of this process soon.
    fn read_later(&mut self, to: tcp::Process) {
        let late = Duration::from_micros(self.reading.between(0, READING_LATE_MAX_MICROS));
        self.after(late, move |world| {
            let process = world.machines[to.host].process.as_ref();
            if process.is_some_and(|process| process.run == to.run && !process.is_frozen) {
                world.read_batch(to.host);
            }
        });
    }

    /// Reads everything that has come in, then lets the process act on all of it.
    fn read_batch(&mut self, host: Host) {
        let now = self.now;
        let Some(process) = self.machines[host].process.as_mut() else { return };
        for (link, heard) in core::mem::take(&mut process.inbox) {
            process.handle_input(now, Input::Link(input_of(host, link, heard)));
        }
        self.settle(host);
    }

    // Lines.

    pub(crate) fn cut(&mut self, one: Host, other: Host) {
        self.note(one, || format!("is cut off from host {other}"));
        self.tcp.cut(one, other);
        self.tcp.cut(other, one);
    }

    pub(crate) fn split(&mut self, side: &[Host]) {
        for one in 0..self.machines.len() {
            for other in 0..one {
                if side.contains(&one) != side.contains(&other) {
                    self.cut(one, other);
                }
            }
        }
    }

    pub(crate) fn mend_all(&mut self) {
        self.note(0, || "all lines work".into());
        self.tcp.mend_all(self.now);
    }

    /// The connections between two hosts break.
    pub(crate) fn break_between(&mut self, one: Host, other: Host) {
        self.note(one, || format!("loses its connections to host {other}"));
        for arrival in self.tcp.break_between(one, other) {
            self.arrive(arrival);
        }
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
        let deadline = |machine: &Machine| {
            let process = machine.running().filter(|process| !process.is_frozen)?;
            Some((process.next_deadline()? + process.lateness, machine.number))
        };
        self.machines.iter().filter_map(deadline).min()
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
        self.demand(host, checked);
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
                    self.note(host, || format!("{link:?} {}", describe_frame(&body)));
                }
                self.tcp.send(now, run, link, body, is_user);
            }
            Action::CloseLink { link } => self.tcp.close(now, run, link),
            Action::Persist(saved) => self.machines[host].saved = Some(saved),
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
        self.note(host, || describe(&event));
        if let Event::Gcs(gcs::Event::LeaveAdvised(_)) = event {
            self.oracle.leavers.insert(process.me);
        }
        if let Event::Ended(reason) = event {
            let is_planned = match &reason {
                EndReason::Left | EndReason::Abandoned | EndReason::ConnectTimeout => true,
                EndReason::NotPrimary(_)
                | EndReason::SeveralGroups
                | EndReason::Advised(LeaveReason::OnlyStateless) => true,
                EndReason::Refused(_) => {
                    // Banned for good: it comes back as somebody else.
                    self.machines[host].saved = None;
                    self.bans_slow || self.evicted.contains(&process.me) || self.expects_failures
                }
                EndReason::Advised(_) | EndReason::Evs(_) | EndReason::Pc(_) => {
                    self.expects_failures
                }
            };
            self.machines[host].endings.push(reason.clone());
            if !is_planned {
                self.fail(&format!("host {host} ended: {reason:?}"));
            }
            let run = tcp::Process { host, run: process.run };
            process.ended = Some(reason);
            if self.machines[host].is_data() {
                self.machines[host].history = process.history().after_stop();
            }
            self.tcp.kill(self.now, run);
        }
    }

    // What people look at.

    pub(crate) fn running(&self) -> impl Iterator<Item = &Process> {
        self.machines.iter().filter_map(Machine::running)
    }

    pub(crate) fn is_running(&self, host: Host) -> bool {
        self.machines[host].running().is_some()
    }

    pub(crate) fn is_primary(&self, host: Host) -> bool {
        self.machines[host].running().is_some_and(Process::is_primary)
    }

    /// Everybody who runs is in one primary view of exactly them, and every server has the data.
    pub(crate) fn is_whole(&self) -> bool {
        let everybody: BTreeSet<_> = self.running().map(|process| process.me).collect();
        let is_in = |process: &Process| {
            let members: BTreeSet<_> = process.gcs().members().iter().map(|m| m.node).collect();
            let is_synced =
                |m: &galera_protocol::gcs::Member| m.is_stateless || m.status == Status::Synced;
            process.is_primary()
                && process.gcs().state() == StateKind::Primary
                && members == everybody
                && process.gcs().members().iter().all(is_synced)
        };
        self.running().all(is_in)
    }

    /// Everybody who runs is in one view of the order layer.
    pub(crate) fn is_connected(&self) -> bool {
        let everybody: BTreeSet<_> = self.running().map(|process| process.me).collect();
        self.running().all(|process| {
            let evs = process.evs().status();
            evs.state == evs::StateKind::Operational && evs.members == everybody
        })
    }

    /// Whatever happened is over: within the limit there is one primary view of everybody.
    pub(crate) fn expect_whole(&mut self, seconds: u64) {
        self.expect(seconds, "one primary component of everybody", Self::is_whole);
    }

    pub(crate) fn note(&mut self, host: Host, text: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            let name = self.machines.get(host).map_or("", |machine| &machine.settings.name);
            let _infallible = writeln!(log, "{} {name}: {}", self.now, text());
        }
    }

    /// Ends the test with everything that is needed to see why.
    pub(crate) fn fail(&mut self, problem: &str) -> ! {
        let (seed, now) = (self.seed, self.now);
        let log = self.log.take().unwrap_or_default();
        let state = self.describe();
        panic!("{log}\nseed {seed} at {now}: {problem}\n{state}");
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = String::new();
        for machine in &self.machines {
            let name = &machine.settings.name;
            let _infallible = match machine.running() {
                Some(process) => {
                    let (evs, pc) = (process.evs().status(), process.pc().status());
                    let rows = process.gcs().members();
                    let rows: Vec<_> =
                        rows.iter().map(|m| (m.name.to_string(), m.status)).collect();
                    writeln!(
                        text,
                        "{name} {} frozen {}: evs {:?} {} of {}; pc {} {} weight {}; gcs {:?} {rows:?}",
                        process.me,
                        process.is_frozen,
                        evs.state,
                        evs.view,
                        evs.members.len(),
                        pc.state,
                        pc.view,
                        pc.cluster_weight,
                        process.gcs().state(),
                    )
                }
                None => writeln!(text, "{name} is down, saved {:?}", machine.saved),
            };
        }
        text
    }

    /// The trace so far, if one is written.
    pub(crate) fn log(&self) -> &str {
        self.log.as_deref().unwrap_or_default()
    }
}

fn describe(event: &Event) -> String {
    match event {
        Event::Link(event) => format!("link: {event}"),
        Event::Pc(event) => format!("pc: {event:?}"),
        Event::Gcs(event) => format!("gcs: {event:?}"),
        Event::Restarted { me } => format!("begins its next life as {me}"),
        Event::Ended(reason) => format!("ended: {reason:?}"),
    }
}

fn describe_frame(body: &bytes::Bytes) -> String {
    let Ok(message) = gmcast::message::Message::decode(body) else { return "?".into() };
    let gmcast::message::Body::User { relay, payload } = &message.body else {
        return format!("{:?}", message.body);
    };
    match evs::message::Message::decode(payload) {
        Ok(evs) => format!("{} {relay:?} {:?} {:?}", message.source, evs.header, evs.body),
        Err(error) => error.to_string(),
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
