//! One member, everything around it scripted.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::evs::message::{
    Body, Flags, Gap, Header, Install, Leave, Message, NodeEntry, NodeList, Proposal, User,
};
use crate::evs::{Config, Evs, FifoSeqno, Input, Output, Range, Seqno, Start, StateKind};
use crate::id::{NodeId, ViewId, ViewKind};
use crate::message::{Delivery, Order};
use crate::time::{Duration, Instant};

/// The n-th node in the order of nodes.
pub(super) fn node(n: u64) -> NodeId {
    NodeId::version1(n, 1, [7; 6])
}

pub(super) fn regular(node: NodeId, seq: u32) -> ViewId {
    ViewId::new(ViewKind::Regular, node, seq)
}

pub(super) fn pseudo(node: NodeId) -> ViewId {
    ViewId::new(ViewKind::Transitional, node, 0)
}

/// An output, with what is sent in readable form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    Sent(Option<NodeId>, Message),
    Other(Output),
}

pub(super) struct Bench {
    pub(super) evs: Evs,
    pub(super) now: Instant,
    fifo: BTreeMap<NodeId, i64>,
}

impl Bench {
    /// A member that has just been started and has sent its first JOIN.
    pub(super) fn joining(me: NodeId) -> Self {
        let mut bench = Self::closed(Config::default(), me);
        bench.input(Input::Open);
        bench
    }

    pub(super) fn closed(config: Config, me: NodeId) -> Self {
        let evs = Evs::new(config, me, None);
        Self { evs, now: Instant::from_micros(1_000_000), fifo: BTreeMap::new() }
    }

    /// A member in a regular view with these others, all of them silent from now on.
    pub(super) fn in_group(me: NodeId, others: &[NodeId]) -> Self {
        Self::in_group_with(Config::default(), me, others)
    }

    pub(super) fn in_group_with(config: Config, me: NodeId, others: &[NodeId]) -> Self {
        let now = Instant::from_micros(1_000_000);
        let mut all: BTreeMap<NodeId, Evs> = others
            .iter()
            .chain([&me])
            .map(|id| (*id, Evs::new(config.clone(), *id, None)))
            .collect();
        let mut mail: Vec<(NodeId, Option<NodeId>, Bytes)> = Vec::new();
        let first = others.first().copied().unwrap_or(me);
        let start = Config { start: Start::Bootstrap, ..config };
        all.insert(first, Evs::new(start, first, None));
        let mut time = now;
        let mut started = 0;
        let order = core::iter::once(first).chain(all.keys().copied().filter(|id| *id != first));
        for id in order.collect::<Vec<_>>() {
            let member = all.get_mut(&id).expect("a member");
            member.handle_input(time, Input::Open);
            drain(member, &mut mail);
            exchange(&mut all, &mut mail, time);
            started += 1;
            // Ends with nothing sent in the last view yet.
            while all.values().filter(|m| m.known().len() == started && is_up(m)).count() < started
            {
                time = time + Duration::from_millis(200);
                for member in all.values_mut() {
                    if member.next_deadline().is_some_and(|at| at <= time) {
                        member.handle_input(time, Input::Timeout);
                    }
                    drain(member, &mut mail);
                }
                exchange(&mut all, &mut mail, time);
            }
        }
        let evs = all.remove(&me).expect("me");
        assert_eq!(evs.state(), StateKind::Operational);
        assert_eq!(evs.known().len(), others.len() + 1);
        Self { evs, now: time, fifo: BTreeMap::new() }
    }

    pub(super) fn view(&self) -> ViewId {
        self.evs.view_id()
    }

    pub(super) fn input(&mut self, input: Input) -> Vec<Seen> {
        self.evs.handle_input(self.now, input);
        self.drain()
    }

    pub(super) fn drain(&mut self) -> Vec<Seen> {
        let outputs: Vec<Output> = core::iter::from_fn(|| self.evs.poll_output()).collect();
        assert_eq!(self.evs.check_invariants(), Ok(()));
        outputs.into_iter().map(seen).collect()
    }

    /// Lets time pass and handles every deadline on the way.
    pub(super) fn pass(&mut self, time: Duration) -> Vec<Seen> {
        let end = self.now + time;
        let mut all = Vec::new();
        while let Some(at) = self.evs.next_deadline().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            all.extend(self.input(Input::Timeout));
        }
        self.now = end;
        all
    }

    pub(super) fn receive(&mut self, from: NodeId, message: &Message) -> Vec<Seen> {
        self.input(Input::Message { source: from, payload: message.encode() })
    }

    /// A header of the current view with the sender's next number.
    pub(super) fn header(&mut self, from: NodeId, order: Order, flags: Flags) -> Header {
        let fifo = self.fifo.entry(from).or_insert(10_000);
        *fifo += 1;
        let (fifo_seqno, view) = (FifoSeqno(*fifo), self.evs.view_id());
        Header { order, flags, version: 1, fifo_seqno, source: None, view }
    }

    /// A SAFE message with a payload.
    pub(super) fn user(&mut self, from: NodeId, seqno: i64, aru: i64) -> Message {
        let header = self.header(from, Order::Safe, Flags::NONE);
        Message { header, body: Body::User(user_body(seqno, aru, b"payload")) }
    }

    /// An empty message.
    pub(super) fn empty(&mut self, from: NodeId, seqno: i64, aru: i64) -> Message {
        let header = self.header(from, Order::Drop, Flags::NONE);
        let user = User { user_type: 0xff, ..user_body(seqno, aru, b"") };
        Message { header, body: Body::User(user) }
    }

    pub(super) fn gap(&mut self, from: NodeId, seqno: i64, aru: i64) -> Message {
        let header = self.header(from, Order::Unreliable, Flags::NONE);
        Message { header, body: Body::Gap(Gap::acknowledgement(Seqno(seqno), Seqno(aru))) }
    }

    pub(super) fn request(&mut self, from: NodeId, origin: NodeId, low: i64, high: i64) -> Message {
        let header = self.header(from, Order::Unreliable, Flags::RETRANSMISSION);
        let gap = Gap {
            range_node: origin,
            range: Range::new(Seqno(low), Seqno(high)),
            ..Gap::acknowledgement(Seqno(-1), Seqno(-1))
        };
        Message { header, body: Body::Gap(gap) }
    }

    pub(super) fn join(
        &mut self,
        from: NodeId,
        view: ViewId,
        state: i64,
        nodes: NodeList,
    ) -> Message {
        let header = Header { view, ..self.header(from, Order::Unreliable, Flags::NONE) };
        let (safe, aru) = (Seqno(state), Seqno(state));
        Message { header, body: Body::Join(Proposal { safe, aru, nodes }) }
    }

    pub(super) fn install(
        &mut self,
        from: NodeId,
        view: ViewId,
        proposal: Proposal,
        install: ViewId,
    ) -> Message {
        let header = self.header(from, Order::Unreliable, Flags::SOURCE);
        let header = Header { view, source: Some(from), ..header };
        Message { header, body: Body::Install(Install { view: install, proposal }) }
    }

    pub(super) fn commit(&mut self, from: NodeId, view: ViewId, install: &Message) -> Message {
        let header = Header { view, ..self.header(from, Order::Unreliable, Flags::COMMIT) };
        let gap = Gap { seqno: Seqno(install.header.fifo_seqno.0), ..Gap::install() };
        Message { header, body: Body::Gap(gap) }
    }

    pub(super) fn installed(&mut self, from: NodeId, view: ViewId) -> Message {
        let header = Header { view, ..self.header(from, Order::Unreliable, Flags::NONE) };
        Message { header, body: Body::Gap(Gap::install()) }
    }

    pub(super) fn leave(&mut self, from: NodeId, last_sent: i64, aru: i64) -> Message {
        let header = self.header(from, Order::Unreliable, Flags::NONE);
        let leave = Leave { last_sent: Seqno(last_sent), aru: Seqno(aru) };
        Message { header, body: Body::Leave(leave) }
    }
}

fn seen(output: Output) -> Seen {
    match output {
        Output::Send { target, payload } => {
            Seen::Sent(target, Message::decode(&payload).expect("we send what we can read"))
        }
        Output::Welcome(_)
        | Output::Evict(_)
        | Output::RegularView { .. }
        | Output::View(_)
        | Output::Deliver(_)
        | Output::Closed
        | Output::Failed(_) => Seen::Other(output),
    }
}

fn is_up(member: &Evs) -> bool {
    member.state() == StateKind::Operational
}

fn drain(member: &mut Evs, mail: &mut Vec<(NodeId, Option<NodeId>, Bytes)>) {
    while let Some(output) = member.poll_output() {
        if let Output::Send { target, payload } = output {
            mail.push((member.me(), target, payload));
        }
    }
}

fn exchange(
    all: &mut BTreeMap<NodeId, Evs>,
    mail: &mut Vec<(NodeId, Option<NodeId>, Bytes)>,
    now: Instant,
) {
    while !mail.is_empty() {
        for (source, target, payload) in core::mem::take(mail) {
            for (id, member) in all.iter_mut() {
                if *id != source && target.is_none_or(|target| target == *id) {
                    member.handle_input(now, Input::Message { source, payload: payload.clone() });
                    drain(member, mail);
                }
            }
        }
    }
}

pub(super) fn user_body(seqno: i64, aru: i64, payload: &'static [u8]) -> User {
    User {
        user_type: 1,
        seq_range: 0,
        seqno: Seqno(seqno),
        aru: Seqno(aru),
        payload: Bytes::from_static(payload),
    }
}

/// An operational entry of a node that has everything up to `state` in its view.
pub(super) fn entry(view: ViewId, state: i64) -> NodeEntry {
    let range = Range::new(Seqno(state + 1), Seqno(state));
    NodeEntry { view, safe: Seqno(state), range, ..NodeEntry::HEARD_OF }
}

pub(super) fn nodes<const N: usize>(entries: [(NodeId, NodeEntry); N]) -> NodeList {
    entries.into_iter().collect()
}

/// What was sent, without targets and headers.
pub(super) fn bodies(seen: &[Seen]) -> Vec<&Body> {
    seen.iter().filter_map(body).collect()
}

fn body(seen: &Seen) -> Option<&Body> {
    match seen {
        Seen::Sent(_, message) => Some(&message.body),
        Seen::Other(_) => None,
    }
}

/// One short word per output, for tests about what happens and in which order.
pub(super) fn words(seen: &[Seen]) -> Vec<&'static str> {
    seen.iter().map(word).collect()
}

fn word(seen: &Seen) -> &'static str {
    let message = match seen {
        Seen::Sent(_, message) => message,
        Seen::Other(output) => return output_word(output),
    };
    match &message.body {
        Body::User(user) if user.payload.is_empty() => "empty",
        Body::User(_) => "user",
        Body::Delegate(_) => "delegate",
        Body::Gap(_) if message.header.flags.contains(Flags::COMMIT) => "commit",
        Body::Gap(_) if message.header.flags.contains(Flags::RETRANSMISSION) => "request",
        Body::Gap(gap) if *gap == Gap::install() => "install gap",
        Body::Gap(_) => "gap",
        Body::Join(_) => "join",
        Body::Install(_) => "install",
        Body::Leave(_) => "leave",
        Body::DelayedList(_) => "delayed",
    }
}

fn output_word(output: &Output) -> &'static str {
    match output {
        Output::Send { .. } => "send",
        Output::Welcome(_) => "welcome",
        Output::Evict(_) => "evict",
        Output::RegularView { .. } => "stable",
        Output::View(view) if view.is_end() => "end",
        Output::View(view) if view.id.kind == ViewKind::Transitional => "trans",
        Output::View(_) => "reg",
        Output::Deliver(_) => "deliver",
        Output::Closed => "closed",
        Output::Failed(_) => "failed",
    }
}

pub(super) fn deliveries(seen: &[Seen]) -> Vec<Delivery> {
    let delivered = |one: &Seen| match one {
        Seen::Other(Output::Deliver(delivery)) => Some(delivery.clone()),
        Seen::Sent(..) | Seen::Other(_) => None,
    };
    seen.iter().filter_map(delivered).collect()
}

/// The header of a message that is sent again.
pub(super) fn header_with(original: &Message, flags: Flags) -> Header {
    Header { flags, ..original.header }
}
