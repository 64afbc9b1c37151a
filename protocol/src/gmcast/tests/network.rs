//! Members wired in virtual time: connections are FIFO with a fixed latency, nothing is ever random
//! but what the members draw from their seeds.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use crate::gmcast::message::{Body, Message};
use crate::gmcast::{
    Config, Event, Gmcast, Input, LinkEnd, LinkId, Output, Phase, Reason, address::HostPort,
};
use crate::id::{NodeId, Segment};
use crate::time::Instant;

const LATENCY: Duration = Duration::from_millis(1);

/// A member by its number in the network; number `n` listens on `10.0.0.n:4567`.
pub(crate) type Number = u8;

pub(crate) fn node(number: Number) -> NodeId {
    NodeId::version1(u64::from(number) << 32, 0, [2; 6])
}

pub(crate) fn address(number: Number) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, number)), 4567)
}

pub(crate) fn initial(numbers: &[Number]) -> Vec<HostPort> {
    let host_port = |number: &Number| HostPort {
        host: address(*number).ip().to_string(),
        port: address(*number).port(),
    };
    numbers.iter().map(host_port).collect()
}

pub(crate) fn config(number: Number, peers: &[Number]) -> Config {
    Config {
        group: "group".parse_group(),
        listen: address(number),
        initial: initial(peers),
        ..Config::default()
    }
}

trait ParseGroup {
    fn parse_group(&self) -> crate::gmcast::GroupName;
}

impl ParseGroup for str {
    fn parse_group(&self) -> crate::gmcast::GroupName {
        crate::gmcast::GroupName::new(self).expect("fits")
    }
}

pub(crate) struct Member {
    pub(crate) id: NodeId,
    pub(crate) gmcast: Gmcast,
    pub(crate) events: Vec<Event>,
    pub(crate) delivered: Vec<(NodeId, Bytes)>,
    connections: BTreeMap<LinkId, (Number, LinkId)>,
    next_accepted: u32,
}

#[derive(Default)]
pub(crate) struct Network {
    pub(crate) now: Instant,
    pub(crate) members: BTreeMap<Number, Member>,
    /// Pairs (lower number first) between which no connection can be made.
    blocked: BTreeSet<(Number, Number)>,
    /// What each name resolves to.
    pub(crate) names: BTreeMap<String, Vec<IpAddr>>,
    /// What arrives when, in sending order.
    under_way: BTreeMap<(Instant, u64), (Number, Input)>,
    sent: u64,
    /// Every message that was sent: from, to, what.
    pub(crate) messages: Vec<(Number, Number, Message)>,
}

impl Network {
    /// Members that all know the first one, not started.
    pub(crate) fn of(count: Number) -> Self {
        let mut network = Self::default();
        for number in 1..=count {
            network.add(number, config(number, &[1]));
        }
        network
    }

    pub(crate) fn add(&mut self, number: Number, config: Config) {
        self.add_as(number, node(number), config);
    }

    pub(crate) fn add_as(&mut self, number: Number, me: NodeId, config: Config) {
        let member = Member {
            id: me,
            gmcast: Gmcast::new(config, me, u64::from(number)),
            events: Vec::new(),
            delivered: Vec::new(),
            connections: BTreeMap::new(),
            next_accepted: 0,
        };
        self.members.insert(number, member);
    }

    pub(crate) fn start_all(&mut self) {
        for number in self.members.keys().copied().collect::<Vec<_>>() {
            self.input(number, Input::Start);
        }
    }

    pub(crate) fn member(&self, number: Number) -> &Member {
        &self.members[&number]
    }

    pub(crate) fn input(&mut self, number: Number, input: Input) {
        let Some(member) = self.members.get_mut(&number) else {
            return;
        };
        if let Input::Closed { link, .. } = &input {
            member.connections.remove(link);
        }
        member.gmcast.handle_input(self.now, input);
        while let Some(output) =
            self.members.get_mut(&number).and_then(|member| member.gmcast.poll_output())
        {
            self.perform(number, output);
        }
    }

    pub(crate) fn input_all(&mut self, input: &Input) {
        for number in self.members.keys().copied().collect::<Vec<_>>() {
            self.input(number, input.clone());
        }
    }

    fn perform(&mut self, number: Number, output: Output) {
        match output {
            Output::Resolve { host, port } => {
                let addresses = self.names.get(&host).cloned().unwrap_or_default();
                self.post(number, Input::Resolved { host, port, addresses });
            }
            Output::Dial { link, remote, .. } => self.connect(number, link, remote),
            Output::SendFrame { link, body, .. } => self.transmit(number, link, body),
            Output::CloseLink { link } => self.close(number, link),
            Output::Deliver { source, payload } => {
                self.member_mut(number).delivered.push((source, payload));
            }
            Output::Event(event) => {
                assert_sound(number, &event);
                self.member_mut(number).events.push(event);
            }
        }
    }

    fn member_mut(&mut self, number: Number) -> &mut Member {
        self.members.get_mut(&number).expect("member exists")
    }

    fn connect(&mut self, from: Number, link: LinkId, remote: SocketAddr) {
        let to = self.members.keys().copied().find(|number| address(*number) == remote);
        let is_open = |to: &Number| !self.blocked.contains(&pair(from, *to));
        let Some(to) = to.filter(is_open) else {
            return self.post(from, Input::Closed { link, end: LinkEnd::ConnectionRefused });
        };
        let local = SocketAddr::new(address(from).ip(), 40_000);
        let callee = self.member_mut(to);
        let theirs = LinkId::Accepted(callee.next_accepted);
        callee.next_accepted += 1;
        callee.connections.insert(theirs, (from, link));
        self.member_mut(from).connections.insert(link, (to, theirs));
        self.post(to, Input::Accepted { link: theirs, local: remote, remote: local });
        self.post(from, Input::Connected { link, local, remote });
    }

    fn transmit(&mut self, from: Number, link: LinkId, body: Bytes) {
        if let Some((to, theirs)) = self.member(from).connections.get(&link).copied() {
            let message = Message::decode(&body).expect("members send valid messages");
            self.messages.push((from, to, message));
            self.post(to, Input::Frame { link: theirs, body });
        }
    }

    fn close(&mut self, from: Number, link: LinkId) {
        if let Some((to, theirs)) = self.member_mut(from).connections.remove(&link) {
            if let Some(peer) = self.members.get_mut(&to) {
                peer.connections.remove(&theirs);
            }
            self.post(to, Input::Closed { link: theirs, end: LinkEnd::EndOfStream });
        }
    }

    fn post(&mut self, to: Number, input: Input) {
        self.sent += 1;
        self.under_way.insert((self.now + LATENCY, self.sent), (to, input));
    }

    /// Cuts the connections between two members, and keeps them apart.
    pub(crate) fn cut(&mut self, a: Number, b: Number) {
        self.blocked.insert(pair(a, b));
        for (from, to) in [(a, b), (b, a)] {
            let connections = &self.member(from).connections;
            let cut: Vec<_> = connections.iter().filter(|(_, (n, _))| *n == to).collect();
            for link in cut.into_iter().map(|(link, _)| *link).collect::<Vec<_>>() {
                self.post(from, Input::Closed { link, end: LinkEnd::Reset });
            }
        }
    }

    pub(crate) fn heal(&mut self, a: Number, b: Number) {
        self.blocked.remove(&pair(a, b));
    }

    /// Keeps two members from connecting without touching what is connected.
    pub(crate) fn block(&mut self, a: Number, b: Number) {
        self.blocked.insert(pair(a, b));
    }

    /// A process dies: its connections end, its address refuses.
    pub(crate) fn kill(&mut self, number: Number) {
        let dead = self.members.remove(&number).expect("member exists");
        self.under_way.retain(|_, (to, _)| *to != number);
        for (to, theirs) in dead.connections.into_values() {
            self.member_mut(to).connections.remove(&theirs);
            self.post(to, Input::Closed { link: theirs, end: LinkEnd::EndOfStream });
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        while let Some(next) = self.next_moment().filter(|next| *next <= end) {
            self.now = self.now.max(next);
            self.deliver_due();
            self.time_out_due();
        }
        self.now = end;
    }

    fn next_moment(&self) -> Option<Instant> {
        let arrival = self.under_way.keys().map(|(at, _)| *at).next();
        let deadlines = self.members.values().filter_map(|m| m.gmcast.next_deadline());
        deadlines.chain(arrival).min()
    }

    fn deliver_due(&mut self) {
        while let Some(entry) = self.under_way.first_entry().filter(|e| e.key().0 <= self.now) {
            let (number, input) = entry.remove();
            self.input(number, input);
        }
    }

    fn time_out_due(&mut self) {
        for number in self.members.keys().copied().collect::<Vec<_>>() {
            let deadline = self.member(number).gmcast.next_deadline();
            if deadline.is_some_and(|deadline| deadline <= self.now) {
                self.input(number, Input::Timeout);
                let next = self.member(number).gmcast.next_deadline();
                assert!(next.is_none_or(|next| next > self.now), "deadlines move on");
            }
        }
    }

    /// Who has an established link to whom, as one member sees it.
    pub(crate) fn peers(&self, number: Number) -> Vec<NodeId> {
        let links = self.member(number).gmcast.links();
        let established = links.filter(|link| link.phase == Phase::Established);
        let mut peers: Vec<_> = established.filter_map(|link| link.node).collect();
        peers.sort();
        peers
    }

    /// Asserts that everybody is linked to everybody, once.
    pub(crate) fn assert_full_mesh(&self) {
        let all: Vec<_> = self.members.keys().copied().collect();
        for number in &all {
            let others: Vec<_> = all.iter().filter(|n| *n != number).map(|n| node(*n)).collect();
            assert_eq!(self.peers(*number), others, "links of member {number}");
        }
    }

    /// Why links of one member have ended.
    pub(crate) fn reasons(&self, number: Number) -> Vec<Reason> {
        let reason = |event: &Event| match event {
            Event::LinkClosed(closed) => Some(closed.reason.clone()),
            Event::Resolved { .. }
            | Event::ResolveFailed { .. }
            | Event::LinkEstablished { .. }
            | Event::IdentityRefused { .. }
            | Event::IdentityChanged { .. }
            | Event::OwnAddressFound { .. }
            | Event::RelayingChanged { .. } => None,
        };
        self.member(number).events.iter().filter_map(reason).collect()
    }

    pub(crate) fn send(&mut self, number: Number, payload: &'static str) {
        let payload = Bytes::from_static(payload.as_bytes());
        self.input(number, Input::Send { target: None, payload });
    }

    /// How often each member has got a payload, the members that got none included.
    pub(crate) fn copies(&self, payload: &str) -> BTreeMap<Number, usize> {
        let count = |member: &Member| {
            member.delivered.iter().filter(|(_, found)| found == payload.as_bytes()).count()
        };
        self.members.iter().map(|(number, member)| (*number, count(member))).collect()
    }

    /// Members tell a primary view of all of them.
    pub(crate) fn install_primary_view(&mut self) {
        let members: BTreeSet<_> = self.members.keys().map(|number| node(*number)).collect();
        let left = BTreeSet::new();
        self.input_all(&Input::RegularView { members: members.clone(), left });
        self.input_all(&Input::PrimaryView { members });
    }

    /// Which kinds of message one member has sent to another.
    pub(crate) fn sent(&self, from: Number, to: Number) -> Vec<&Body> {
        let is_it = |(f, t, _): &&(Number, Number, Message)| (*f, *t) == (from, to);
        self.messages.iter().filter(is_it).map(|(_, _, message)| &message.body).collect()
    }
}

pub(crate) fn in_segment(segment: u8, config: Config) -> Config {
    Config { segment: Segment(segment), ..config }
}

fn pair(a: Number, b: Number) -> (Number, Number) {
    (a.min(b), a.max(b))
}

/// Members never break the protocol, nor come near it.
fn assert_sound(number: Number, event: &Event) {
    if let Event::LinkClosed(closed) = event {
        let is_broken = matches!(closed.reason, Reason::Violation(_) | Reason::Forbidden(_));
        assert!(!is_broken, "member {number}: {event}");
    }
}
