//! TCP on a virtual network: connections that keep their order and break as real ones do.
//!
//! A direction between two hosts that is cut carries nothing, but what was sent is not lost: it
//! arrives when the direction works again, unless an end has given up by then. Only a broken
//! connection loses messages.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use galera_protocol::gmcast::{LinkEnd, LinkId};
use galera_protocol::testing::Random;
use galera_protocol::time::{Duration, Instant};

/// A machine, by its number.
pub(crate) type Host = usize;

/// How long a dial is tried.
const DIAL_LIMIT: Duration = Duration::from_secs(3);

/// One process on one host: a connection of an earlier one is none of its business.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process {
    pub(crate) host: Host,
    pub(crate) run: u32,
}

/// What a process hears of its connections.
#[derive(Clone, Debug)]
pub(crate) enum Heard {
    Connected { to: Host, port: u16 },
    Accepted { from: Host, port: u16 },
    Frame(Bytes),
    Closed(LinkEnd),
}

/// Something that reaches a process.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) to: Process,
    pub(crate) link: LinkId,
    pub(crate) heard: Heard,
}

#[derive(Clone, Debug)]
enum Packet {
    Syn,
    SynAck,
    Frame(Bytes),
    Fin,
    Reset,
}

#[derive(Clone, Debug)]
struct End {
    process: Process,
    /// None at the far end until the call has arrived.
    link: Option<LinkId>,
    is_open: bool,
}

#[derive(Clone, Debug)]
struct Connection {
    /// The dialler, and whoever was dialled.
    ends: [End; 2],
    /// What is on its way from each end, with the time of arrival.
    pipes: [VecDeque<(Instant, Packet)>; 2],
    dial_deadline: Option<Instant>,
}

/// All connections, and how good the lines are.
#[derive(Debug)]
pub(crate) struct Tcp {
    random: Random,
    delay_max: Duration,
    /// Share of droppable messages (a full send queue's) that get lost, in percent.
    pub(crate) drop_percent: u64,
    /// The same for single directions, on top.
    lossy: BTreeMap<(Host, Host), u64>,
    cut: BTreeSet<(Host, Host)>,
    /// After a repair nothing arrives before the sender repeats it.
    quiet_until: BTreeMap<(Host, Host), Instant>,
    connections: BTreeMap<u64, Connection>,
    made: u64,
    accepted: u32,
    running: BTreeMap<Host, u32>,
    /// Switched off: nobody says that a connection is gone.
    dark: BTreeSet<Host>,
}

impl Tcp {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            random: Random::new(seed),
            delay_max: Duration::from_millis(3),
            drop_percent: 0,
            lossy: BTreeMap::new(),
            cut: BTreeSet::new(),
            quiet_until: BTreeMap::new(),
            connections: BTreeMap::new(),
            made: 0,
            accepted: 0,
            running: BTreeMap::new(),
            dark: BTreeSet::new(),
        }
    }

    pub(crate) fn set_delay_max(&mut self, delay_max: Duration) {
        self.delay_max = delay_max;
    }

    // Lines.

    /// One direction between two hosts loses so much.
    pub(crate) fn set_loss(&mut self, from: Host, to: Host, percent: u64) {
        self.lossy.insert((from, to), percent);
    }

    pub(crate) fn cut(&mut self, from: Host, to: Host) {
        self.cut.insert((from, to));
    }

    pub(crate) fn mend(&mut self, now: Instant, from: Host, to: Host) {
        if self.cut.remove(&(from, to)) {
            let pause = Duration::from_millis(self.random.between(0, 800));
            self.quiet_until.insert((from, to), now + pause);
        }
    }

    pub(crate) fn mend_all(&mut self, now: Instant) {
        self.lossy.clear();
        for (from, to) in self.cut.clone() {
            self.mend(now, from, to);
        }
    }

    /// Every line works and loses nothing.
    pub(crate) fn is_flawless(&self) -> bool {
        self.cut.is_empty() && self.lossy.values().all(|percent| *percent == 0)
    }

    // Processes.

    /// A process listens on this host from now on.
    pub(crate) fn start(&mut self, process: Process) {
        self.running.insert(process.host, process.run);
        self.dark.remove(&process.host);
    }

    /// The process is gone; the host tells the peers, after everything that was sent.
    pub(crate) fn kill(&mut self, now: Instant, process: Process) {
        self.running.remove(&process.host);
        self.each_end_of(process, |tcp, id, side| tcp.push(now, id, side, Packet::Reset));
    }

    /// The host is gone: what it has sent may be lost, and nobody tells the peers.
    pub(crate) fn switch_off(&mut self, process: Process) {
        self.running.remove(&process.host);
        self.dark.insert(process.host);
        self.each_end_of(process, |tcp, id, side| {
            if let Some(connection) = tcp.connections.get_mut(&id) {
                connection.pipes[side].clear();
            }
        });
    }

    fn each_end_of(&mut self, process: Process, act: impl Fn(&mut Self, u64, usize)) {
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            for side in 0..2 {
                let Some(connection) = self.connections.get_mut(&id) else { continue };
                let end = &mut connection.ends[side];
                if end.process == process && end.link.is_some() && end.is_open {
                    end.is_open = false;
                    connection.dial_deadline = None;
                    act(self, id, side);
                }
            }
        }
    }

    /// Breaks every connection between two hosts: both ends hear of it at once.
    pub(crate) fn break_between(&mut self, one: Host, other: Host) -> Vec<Arrival> {
        let is_between = |connection: &Connection| {
            let hosts = connection.ends.each_ref().map(|end| end.process.host);
            hosts == [one, other] || hosts == [other, one]
        };
        let broken: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| is_between(connection))
            .map(|(id, _)| *id)
            .collect();
        let mut arrivals = Vec::new();
        for connection in broken.into_iter().filter_map(|id| self.connections.remove(&id)) {
            for end in connection.ends.into_iter().filter(|end| end.is_open) {
                let heard = Heard::Closed(LinkEnd::Reset);
                arrivals.extend(end.link.map(|link| Arrival { to: end.process, link, heard }));
            }
        }
        arrivals
    }

    // What processes do.

    pub(crate) fn dial(&mut self, now: Instant, from: Process, link: LinkId, to: Host) {
        self.made += 1;
        let (id, nobody) = (self.made, Process { host: to, run: 0 });
        let near = End { process: from, link: Some(link), is_open: true };
        let far = End { process: nobody, link: None, is_open: false };
        let dial_deadline = Some(now + DIAL_LIMIT);
        let pipes = [VecDeque::new(), VecDeque::new()];
        self.connections.insert(id, Connection { ends: [near, far], pipes, dial_deadline });
        self.push(now, id, 0, Packet::Syn);
    }

    pub(crate) fn send(
        &mut self,
        now: Instant,
        from: Process,
        link: LinkId,
        body: Bytes,
        droppable: bool,
    ) {
        let Some((id, side)) = self.find(from, link) else { return };
        let to = self.connections.get(&id).map(|connection| connection.ends[1 - side].process.host);
        let line = to.and_then(|to| self.lossy.get(&(from.host, to))).copied().unwrap_or(0);
        if !droppable || !self.random.percent(self.drop_percent.max(line)) {
            self.push(now, id, side, Packet::Frame(body));
        }
    }

    pub(crate) fn close(&mut self, now: Instant, from: Process, link: LinkId) {
        let Some((id, side)) = self.find(from, link) else { return };
        let Some(connection) = self.connections.get_mut(&id) else { return };
        connection.ends[side].is_open = false;
        connection.dial_deadline = None;
        self.push(now, id, side, Packet::Fin);
    }

    fn find(&self, process: Process, link: LinkId) -> Option<(u64, usize)> {
        let is_end = |end: &End| end.is_open && end.process == process && end.link == Some(link);
        self.connections.iter().find_map(|(id, c)| Some((*id, c.ends.iter().position(is_end)?)))
    }

    fn push(&mut self, now: Instant, id: u64, side: usize, packet: Packet) {
        let micros = u64::try_from(self.delay_max.as_micros()).unwrap_or(u64::MAX);
        let due = now + Duration::from_micros(self.random.between(50, micros.max(50)));
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let pipe = &mut connection.pipes[side];
        let due = pipe.back().map_or(due, |(last, _)| due.max(*last));
        pipe.push_back((due, packet));
    }

    // Time.

    /// The next packet that arrives: when, on which connection, from which side.
    fn next_packet(&self) -> Option<(Instant, u64, usize)> {
        let mut next: Option<(Instant, u64, usize)> = None;
        for (id, connection) in &self.connections {
            let hosts = connection.ends.each_ref().map(|end| end.process.host);
            for side in 0..2 {
                let Some((due, _)) = connection.pipes[side].front() else { continue };
                let line = (hosts[side], hosts[1 - side]);
                if self.cut.contains(&line) {
                    continue;
                }
                let quiet = self.quiet_until.get(&line).copied().unwrap_or_default();
                let candidate = ((*due).max(quiet), *id, side);
                if next.is_none_or(|next| candidate < next) {
                    next = Some(candidate);
                }
            }
        }
        next
    }

    fn next_dial_deadline(&self) -> Option<(Instant, u64)> {
        self.connections.iter().filter_map(|(id, c)| Some((c.dial_deadline?, *id))).min()
    }

    pub(crate) fn next_event(&self) -> Option<Instant> {
        let packet = self.next_packet().map(|(at, ..)| at);
        packet.into_iter().chain(self.next_dial_deadline().map(|(at, _)| at)).min()
    }

    /// Carries out the next event, which is due by `now`. Not every event reaches a process.
    pub(crate) fn advance(&mut self, now: Instant) -> Option<Arrival> {
        if let Some((at, id)) = self.next_dial_deadline() {
            if at <= now {
                return self.give_up(id);
            }
        }
        let (at, id, side) = self.next_packet()?;
        if at > now {
            return None;
        }
        let connection = self.connections.get_mut(&id)?;
        let (_, packet) = connection.pipes[side].pop_front()?;
        self.arrive(now, id, 1 - side, packet)
    }

    fn give_up(&mut self, id: u64) -> Option<Arrival> {
        let connection = self.connections.remove(&id)?;
        let [End { process: to, link, .. }, _] = connection.ends;
        Some(Arrival { to, link: link?, heard: Heard::Closed(LinkEnd::TimedOut) })
    }

    fn arrive(&mut self, now: Instant, id: u64, side: usize, packet: Packet) -> Option<Arrival> {
        if matches!(packet, Packet::Syn) {
            return self.answer(now, id);
        }
        let connection = self.connections.get_mut(&id)?;
        let from = connection.ends[1 - side].process.host;
        let End { process: to, link, is_open } = connection.ends[side].clone();
        if !is_open {
            self.arrive_at_closed(now, id, side, &packet);
            return None;
        }
        let heard = match packet {
            Packet::Syn => return None,
            Packet::SynAck => {
                connection.dial_deadline = None;
                Heard::Connected { to: from, port: ephemeral(id) }
            }
            Packet::Frame(body) => Heard::Frame(body),
            Packet::Fin => Heard::Closed(LinkEnd::EndOfStream),
            Packet::Reset if connection.dial_deadline.is_some() => {
                Heard::Closed(LinkEnd::ConnectionRefused)
            }
            Packet::Reset => Heard::Closed(LinkEnd::Reset),
        };
        if matches!(heard, Heard::Closed(_)) {
            self.connections.remove(&id);
        }
        Some(Arrival { to, link: link?, heard })
    }

    fn answer(&mut self, now: Instant, id: u64) -> Option<Arrival> {
        let connection = self.connections.get_mut(&id)?;
        let (from, host) = (connection.ends[0].process.host, connection.ends[1].process.host);
        if self.dark.contains(&host) {
            return None;
        }
        let Some(run) = self.running.get(&host).copied() else {
            self.push(now, id, 1, Packet::Reset);
            return None;
        };
        let link = LinkId::Accepted(self.accepted);
        self.accepted += 1;
        let to = Process { host, run };
        connection.ends[1] = End { process: to, link: Some(link), is_open: true };
        self.push(now, id, 1, Packet::SynAck);
        Some(Arrival { to, link, heard: Heard::Accepted { from, port: ephemeral(id) } })
    }

    /// A live host answers what comes for a dead process; a dark one says nothing.
    fn arrive_at_closed(&mut self, now: Instant, id: u64, side: usize, packet: &Packet) {
        let Some(connection) = self.connections.get(&id) else { return };
        let host = connection.ends[side].process.host;
        if matches!(packet, Packet::Fin | Packet::Reset) {
            self.connections.remove(&id);
        } else if !self.dark.contains(&host) && connection.pipes[side].is_empty() {
            self.push(now, id, side, Packet::Reset);
        }
    }
}

fn ephemeral(connection: u64) -> u16 {
    32_768 + u16::try_from(connection % 16_384).unwrap_or(0)
}
