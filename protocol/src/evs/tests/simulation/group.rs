//! A group of members on a virtual network, with something like PC above each of them.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::trace::{Event, Stamp, Trace, check_traces};
use crate::evs::message::{Body, Message, NodeEntry, Proposal};
use crate::evs::{Config, Evs, Input, Output, Start, StateKind};
use crate::id::{NodeId, ViewId};
use crate::message::Order;
use crate::testing::{Faults, Network, Random};
use crate::time::{Duration, Instant};
use crate::view::View;

/// What a member is told to do later.
type Command = Box<dyn FnOnce(&mut Group)>;

/// One member and everything around it.
pub(super) struct Member {
    pub(super) evs: Evs,
    pub(super) trace: Trace,
    pub(super) is_stopped: bool,
    /// Arrived while it was stopped.
    inbox: VecDeque<(NodeId, Bytes)>,
    /// The regular view as the layer above knows it.
    view: Option<ViewId>,
    sent: u64,
    refuses: Vec<NodeId>,
}

/// The whole simulation.
pub(super) struct Group {
    pub(super) seed: u64,
    pub(super) now: Instant,
    pub(super) random: Random,
    pub(super) network: Network<Bytes>,
    pub(super) faults: Faults,
    pub(super) members: BTreeMap<NodeId, Member>,
    /// Members that crashed or closed; their traces still count.
    gone: Vec<(NodeId, Trace)>,
    commands: BTreeMap<(Instant, u64), Command>,
    commands_given: u64,
    pub(super) config: Config,
    /// Mean time between two messages of one member; none is silence.
    load: Option<Duration>,
    load_serial: u64,
    is_logging: bool,
    pub(super) expects_failure: bool,
    pub(super) failures: Vec<crate::evs::Failure>,
}

impl Group {
    pub(super) fn new(seed: u64, faults: Faults) -> Self {
        Self {
            seed,
            now: Instant::ZERO,
            random: Random::new(seed ^ 0x5eed),
            network: Network::new(seed.wrapping_mul(31).wrapping_add(faults.loss_percent), faults),
            faults,
            members: BTreeMap::new(),
            gone: Vec::new(),
            commands: BTreeMap::new(),
            commands_given: 0,
            config: Config::default(),
            load: None,
            load_serial: 0,
            is_logging: std::env::var_os("SIM_LOG").is_some(),
            expects_failure: false,
            failures: Vec::new(),
        }
    }

    /// The context that a failing assertion names.
    pub(super) fn context(&self) -> String {
        format!("SIM_SEED={} loss {}% at {}", self.seed, self.faults.loss_percent, self.now)
    }

    /// A node id whose place in the order is random but fixed by the seed.
    pub(super) fn new_id(&mut self) -> NodeId {
        let low = self.random.next_u64() & 0xffff_ffff;
        let name = u8::try_from(self.members.len() + self.gone.len()).unwrap_or(u8::MAX);
        NodeId::version1(low, 1, [name; 6])
    }

    pub(super) fn start(&mut self, start: Start) -> NodeId {
        let id = self.new_id();
        self.start_as(id, start, None);
        id
    }

    /// A member that follows the servers' rules where ours differ.
    pub(super) fn start_server(&mut self, start: Start) -> NodeId {
        let id = self.new_id();
        let config = Config { start, imitates_servers: true, ..self.config.clone() };
        self.start_with(id, config, None);
        id
    }

    /// A group of servers.
    pub(super) fn form_servers(&mut self, size: usize) -> Vec<NodeId> {
        self.network.set_faults(Faults { loss_percent: 0, ..self.faults });
        let mut ids = vec![self.start_server(Start::Bootstrap)];
        ids.extend((1..size).map(|_| self.start_server(Start::AloneIfUnanswered)));
        self.run_until_stable(Duration::from_secs(120));
        self.network.set_faults(self.faults);
        ids.sort_unstable();
        ids
    }

    pub(super) fn start_as(&mut self, id: NodeId, start: Start, restored: Option<ViewId>) {
        let config = Config { start, ..self.config.clone() };
        config.check().expect("usable config");
        self.start_with(id, config, restored);
    }

    pub(super) fn start_with(&mut self, id: NodeId, config: Config, restored: Option<ViewId>) {
        let member = Member {
            evs: Evs::new(config, id, restored),
            trace: Trace::default(),
            is_stopped: false,
            inbox: VecDeque::new(),
            view: None,
            sent: 0,
            refuses: Vec::new(),
        };
        self.members.insert(id, member);
        self.input(id, Input::Open);
    }

    /// A group of `size` members that have found each other.
    pub(super) fn form(&mut self, size: usize) -> Vec<NodeId> {
        self.network.set_faults(Faults { loss_percent: 0, ..self.faults });
        let mut ids = vec![self.start(Start::Bootstrap)];
        ids.extend((1..size).map(|_| self.start(Start::JoinGroup)));
        self.run_until_stable(Duration::from_secs(60));
        self.network.set_faults(self.faults);
        ids.sort_unstable();
        ids
    }

    pub(super) fn ids(&self) -> Vec<NodeId> {
        self.members.keys().copied().collect()
    }

    pub(super) fn evs(&self, id: NodeId) -> &Evs {
        &self.members.get(&id).expect("a running member").evs
    }

    // Faults.

    pub(super) fn crash(&mut self, id: NodeId) {
        if let Some(member) = self.members.remove(&id) {
            self.gone.push((id, Trace { is_crashed: true, ..member.trace }));
            self.network.lose_all_of(id);
        }
    }

    /// The process is gone, but what it has sent still arrives.
    pub(super) fn crash_after_sending(&mut self, id: NodeId) {
        if let Some(member) = self.members.remove(&id) {
            self.gone.push((id, Trace { is_crashed: true, ..member.trace }));
        }
    }

    pub(super) fn stop(&mut self, id: NodeId) {
        if let Some(member) = self.members.get_mut(&id) {
            member.is_stopped = true;
        }
    }

    pub(super) fn resume(&mut self, id: NodeId) {
        let Some(member) = self.members.get_mut(&id) else { return };
        member.is_stopped = false;
        for (source, payload) in core::mem::take(&mut member.inbox) {
            self.input(id, Input::Message { source, payload });
        }
    }

    pub(super) fn leave(&mut self, id: NodeId) {
        self.input(id, Input::Close);
    }

    pub(super) fn heal(&mut self) {
        self.network.heal();
    }

    pub(super) fn set_load(&mut self, mean: Option<Duration>) {
        let was_silent = self.load.is_none();
        self.load = mean;
        if was_silent && mean.is_some() {
            self.load_serial += 1;
            self.schedule_load(self.load_serial);
        }
    }

    fn schedule_load(&mut self, serial: u64) {
        let Some(mean) = self.load else { return };
        let micros = u64::try_from(mean.as_micros()).expect("short");
        let members = self.members.len().max(1) as u64;
        let pause = Duration::from_micros(self.random.between(0, 2 * micros / members));
        self.after(pause, move |group| {
            if group.load.is_some() && group.load_serial == serial {
                let ids = group.ids();
                if let Some(id) = group.random.choose(&ids).copied() {
                    group.send(id);
                }
                group.schedule_load(serial);
            }
        });
    }

    /// One message of the layer above; refusals are its own affair.
    pub(super) fn send(&mut self, id: NodeId) {
        self.send_up_to(id, 1);
    }

    pub(super) fn send_up_to(&mut self, id: NodeId, count: usize) {
        for _ in 0..count {
            if self.members.get(&id).is_some_and(|member| !member.is_stopped) {
                let now = self.now;
                self.with(id, |member| member.send(now));
                self.drain(id);
            }
        }
    }

    fn with<T>(&mut self, id: NodeId, act: impl FnOnce(&mut Member) -> T) -> T {
        act(self.members.get_mut(&id).expect("a running member"))
    }

    // Time.

    /// Does something later.
    pub(super) fn after(&mut self, delay: Duration, command: impl FnOnce(&mut Self) + 'static) {
        self.commands_given += 1;
        self.commands.insert((self.now + delay, self.commands_given), Box::new(command));
    }

    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Runs until everybody is in one view with everybody, and nothing waits; fails after `limit`.
    pub(super) fn run_until_stable(&mut self, limit: Duration) {
        let end = self.now + limit;
        while !self.is_stable() {
            if !self.step(end) {
                if self.expects_failure {
                    return;
                }
                panic!("{}: no common view: {}", self.context(), self.describe());
            }
        }
    }

    /// Everybody is operational in the view of exactly those who run.
    pub(super) fn is_stable(&self) -> bool {
        let Some(first) = self.members.values().next() else { return true };
        let view = first.evs.view_id();
        self.members.values().all(|member| {
            let evs = &member.evs;
            evs.state() == StateKind::Operational
                && evs.view_id() == view
                && evs.view.iter().eq(self.members.keys())
        })
    }

    pub(super) fn describe(&self) -> String {
        self.members.values().map(|member| describe_one(&member.evs)).collect()
    }

    fn step(&mut self, end: Instant) -> bool {
        let deadline = self.next_deadline();
        let command = self.commands.keys().next().map(|(at, _)| *at);
        let arrival = self.network.next_arrival();
        let times = [arrival, deadline.map(|(at, _)| at), command];
        let Some(at) = times.into_iter().flatten().min().filter(|at| *at <= end) else {
            return false;
        };
        self.now = self.now.max(at);
        if command == Some(at) {
            if let Some((_, command)) = self.commands.pop_first() {
                command(self);
            }
        } else if let Some(arrival) = self.network.receive(self.now) {
            self.arrive(arrival.from, arrival.to, arrival.message);
        } else if let Some((_, id)) = deadline {
            self.input(id, Input::Timeout);
        }
        true
    }

    fn next_deadline(&self) -> Option<(Instant, NodeId)> {
        let running = self.members.iter().filter(|(_, member)| !member.is_stopped);
        running.filter_map(|(id, member)| Some((member.evs.next_deadline()?, *id))).min()
    }

    fn arrive(&mut self, source: NodeId, to: NodeId, payload: Bytes) {
        let Some(member) = self.members.get_mut(&to) else { return };
        if member.refuses.contains(&source) {
            return;
        }
        if member.is_stopped {
            member.inbox.push_back((source, payload));
        } else {
            self.input(to, Input::Message { source, payload });
        }
    }

    pub(super) fn input(&mut self, id: NodeId, input: Input) {
        let now = self.now;
        let Some(member) = self.members.get_mut(&id) else { return };
        member.evs.handle_input(now, input);
        self.drain(id);
        if let Some(member) = self.members.get_mut(&id) {
            member.trace.was_interrupted = member.evs.counters.interrupted_installs > 0;
        }
    }

    fn drain(&mut self, id: NodeId) {
        while let Some(member) = self.members.get_mut(&id) {
            let Some(output) = member.evs.poll_output() else { break };
            self.output(id, output);
        }
        let Some(member) = self.members.get(&id) else { return };
        if let Err(rule) = member.evs.check_invariants() {
            panic!("{}: {id}: {rule}: {:#?}", self.context(), member.evs.status());
        }
    }

    fn output(&mut self, id: NodeId, output: Output) {
        let now = self.now;
        match output {
            Output::Send { target, payload } => self.transmit(id, target, &payload),
            Output::View(view) => {
                self.log(id, || format!("view {view:?}"));
                self.with(id, |member| member.handle_view(now, view));
            }
            Output::Deliver(delivery) => {
                let stamp = Stamp::decode(delivery.payload);
                self.with(id, |member| member.trace.events.push(Event::Delivered(stamp)));
            }
            Output::Evict(node) => self.with(id, |member| member.refuses.push(node)),
            Output::Welcome(_) | Output::RegularView { .. } => {}
            Output::Closed => {
                let member = self.members.remove(&id).expect("a running member");
                self.gone.push((id, member.trace));
            }
            Output::Failed(failure) => {
                assert!(self.expects_failure, "{}: {id} failed: {failure}", self.context());
                self.failures.push(failure);
                self.crash(id);
            }
        }
    }

    /// With `SIM_LOG` set: every message and view, one line each.
    #[expect(clippy::print_stderr, reason = "for people who look for the cause of a failed seed")]
    fn log(&self, from: NodeId, what: impl FnOnce() -> String) {
        if self.is_logging {
            eprintln!("{} {:2} {}", self.now, short(&from), what());
        }
    }

    /// Like gmcast: to the target if it has a link, otherwise to everybody.
    fn transmit(&mut self, from: NodeId, target: Option<NodeId>, payload: &Bytes) {
        self.log(from, || describe_message(target, payload));
        let linked =
            |to: &NodeId| self.network.reaches(from, *to) && self.network.reaches(*to, from);
        let target = target.filter(|to| self.members.contains_key(to) && linked(to));
        let readers = target.map_or_else(|| self.ids(), |to| vec![to]);
        for to in readers.into_iter().filter(|to| *to != from) {
            self.network.send(self.now, from, to, payload.clone());
        }
    }

    /// Checks what must hold between all members, for the whole run.
    pub(super) fn check(&self) {
        let running = self.members.iter().map(|(id, member)| (*id, &member.trace));
        let gone = self.gone.iter().map(|(id, trace)| (*id, trace));
        let traces: Vec<(NodeId, &Trace)> = running.chain(gone).collect();
        if let Err(problem) = check_traces(&traces) {
            panic!("{}: {problem}", self.context());
        }
    }

    /// Quiet, healed, and everybody together again; then all invariants.
    pub(super) fn finish(&mut self) {
        self.set_load(None);
        self.heal();
        self.network.set_faults(Faults { loss_percent: 0, ..self.faults });
        for id in self.ids() {
            self.resume(id);
        }
        self.run_until_stable(Duration::from_secs(180));
        self.run(Duration::from_secs(5));
        self.check();
        self.check_everything_delivered();
    }

    fn check_everything_delivered(&self) {
        for (id, member) in &self.members {
            let missing = member.trace.undelivered();
            assert!(missing.is_empty(), "{}: {id} misses {missing:?}", self.context());
        }
    }
}

fn short(id: &NodeId) -> u8 {
    id.as_bytes()[15]
}

fn short_view(view: ViewId) -> String {
    format!("({},{},{})", view.kind, short(&view.node), view.seq)
}

fn describe_message(target: Option<NodeId>, payload: &Bytes) -> String {
    let Message { header, body } = Message::decode(payload).expect("we send what we can read");
    let head =
        format!("{:?} {:?} {}", target.as_ref().map(short), header.flags, short_view(header.view));
    let entry = |(id, e): (&NodeId, &NodeEntry)| {
        let flag = |set: bool, text: &'static str| if set { text } else { "" };
        let (o, s) = (flag(e.is_operational, "o"), flag(e.is_suspected, "s"));
        let (safe, range, view) = (e.safe, e.range, short_view(e.view));
        let (low, high) = (range.lowest_unseen, range.highest_seen);
        format!(" {}{o}{s}{}[{view} {safe} {low},{high}]", short(id), e.leave_seqno)
    };
    let list = |p: &Proposal| {
        let entries: String = p.nodes.iter().map(entry).collect();
        format!("safe {} aru {}{entries}", p.safe, p.aru)
    };
    let fifo = header.fifo_seqno.0;
    match body {
        Body::User(u) => format!("USER {head} {}+{} aru {}", u.seqno, u.seq_range, u.aru),
        Body::Delegate(_) => format!("DELEGATE {head}"),
        Body::Gap(g) => format!("GAP {head} {g:?}"),
        Body::Join(p) => format!("JOIN {head} {}", list(&p)),
        Body::Install(i) => {
            format!("INSTALL {fifo} {head} {} {}", short_view(i.view), list(&i.proposal))
        }
        Body::Leave(l) => format!("LEAVE {head} {l:?}"),
        Body::DelayedList(l) => format!("DELAYED {l:?}"),
    }
}

/// One line per member: enough to see who does not agree with whom.
fn describe_one(evs: &Evs) -> String {
    let status = evs.status();
    let nodes: Vec<String> = status
        .nodes
        .iter()
        .map(|node| {
            let flag = |set: bool, text: &'static str| if set { text } else { "" };
            let member = flag(node.is_member, "m");
            let operational = flag(node.is_operational, "o");
            let suspected = flag(node.is_suspected, "s");
            format!("{}{member}{operational}{suspected}", short(&node.node))
        })
        .collect();
    let (view, state) = (status.view, status.state);
    let number = short_view(view);
    format!(
        "\n  {} {} {state:?} {number} safe {} aru {} [{}] {:?}",
        short(&evs.me()),
        evs.me(),
        status.safe,
        status.aru,
        nodes.join(" "),
        status.counters,
    )
}

impl Member {
    /// As PC does: says something as soon as a regular view stands.
    fn handle_view(&mut self, now: Instant, view: View) {
        let is_new = view.id.kind == crate::id::ViewKind::Regular && !view.is_end();
        if is_new {
            self.view = Some(view.id);
        }
        self.trace.events.push(Event::View(view));
        if is_new {
            self.send(now);
        }
    }

    fn send(&mut self, now: Instant) {
        let Some(view) = self.view else { return };
        let stamp = Stamp { source: self.evs.me(), number: self.sent, view };
        if self.evs.send(now, Order::Safe, 1, stamp.encode()).is_ok() {
            self.sent += 1;
            self.trace.accepted.push(stamp);
        }
    }
}

impl Stamp {
    fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_slice(self.source.as_bytes());
        out.put_u64(self.number);
        out.put_slice(self.view.node.as_bytes());
        out.put_u32(self.view.seq);
        out.freeze()
    }

    fn decode(mut payload: Bytes) -> Self {
        let mut node = || {
            let mut bytes = [0; 16];
            payload.copy_to_slice(&mut bytes);
            NodeId::from_bytes(bytes)
        };
        let source = node();
        let number = payload.get_u64();
        let mut bytes = [0; 16];
        payload.copy_to_slice(&mut bytes);
        let node = NodeId::from_bytes(bytes);
        let view = ViewId::new(crate::id::ViewKind::Regular, node, payload.get_u32());
        Self { source, number, view }
    }
}
