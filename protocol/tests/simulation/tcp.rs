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
    id: u64,
    /// The dialler, and whoever was dialled.
    ends: [End; 2],
    /// What is on its way from each end, with the time of arrival.
    pipes: [VecDeque<(Instant, Packet)>; 2],
    /// When the first packet of each pipe arrives; never, where nothing is on its way or the line
    /// is cut.
    arrivals: [Option<Instant>; 2],
    dial_deadline: Option<Instant>,
}

impl Connection {
    /// The direction that a side sends in.
    fn line(&self, side: usize) -> (Host, Host) {
        (self.ends[side].process.host, self.ends[1 - side].process.host)
    }
}

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Next {
    at: Instant,
    /// A dial is given up before anything arrives at the same moment.
    is_packet: bool,
    id: u64,
    side: usize,
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
    /// In the order in which they were made.
    connections: Vec<Connection>,
    /// None when it has to be looked for again.
    next: Option<Next>,
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
            connections: Vec::new(),
            next: None,
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
        if self.cut.insert((from, to)) {
            self.time_line((from, to));
        }
    }

    pub(crate) fn mend(&mut self, now: Instant, from: Host, to: Host) {
        if self.cut.remove(&(from, to)) {
            let pause = Duration::from_millis(self.random.between(0, 800));
            self.quiet_until.insert((from, to), now + pause);
            self.time_line((from, to));
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
            if let Some(place) = tcp.place(id) {
                tcp.connections[place].pipes[side].clear();
                tcp.time(place, side);
            }
        });
    }

    fn each_end_of(&mut self, process: Process, act: impl Fn(&mut Self, u64, usize)) {
        let ids: Vec<_> = self.connections.iter().map(|connection| connection.id).collect();
        self.next = None;
        for id in ids {
            for side in 0..2 {
                let Some(connection) = self.get_mut(id) else { continue };
                let end = &mut connection.ends[side];
                if end.process == process && end.link.is_some() && end.is_open {
                    end.is_open = false;
                    connection.dial_deadline = None;
                    act(self, id, side);
                }
            }
        }
    }

    fn place(&self, id: u64) -> Option<usize> {
        self.connections.binary_search_by_key(&id, |connection| connection.id).ok()
    }

    fn get_mut(&mut self, id: u64) -> Option<&mut Connection> {
        let place = self.place(id)?;
        self.connections.get_mut(place)
    }

    fn remove(&mut self, id: u64) -> Option<Connection> {
        self.next = None;
        let place = self.place(id)?;
        Some(self.connections.remove(place))
    }

    /// Breaks every connection between two hosts: both ends hear of it at once.
    pub(crate) fn break_between(&mut self, one: Host, other: Host) -> Vec<Arrival> {
        let is_between = |connection: &Connection| {
            let hosts = connection.ends.each_ref().map(|end| end.process.host);
            hosts == [one, other] || hosts == [other, one]
        };
        self.next = None;
        let mut arrivals = Vec::new();
        let (broken, kept) =
            core::mem::take(&mut self.connections).into_iter().partition(is_between);
        self.connections = kept;
        let broken: Vec<Connection> = broken;
        for connection in broken {
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
        let (ends, arrivals) = ([near, far], [None, None]);
        self.connections.push(Connection { id, ends, pipes, arrivals, dial_deadline });
        self.next = None;
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
        let Some((place, side)) = self.find(from, link) else { return };
        let Connection { id, .. } = self.connections[place];
        let line = self.connections[place].line(side);
        let line = self.lossy.get(&line).copied().unwrap_or(0);
        if !droppable || !self.random.percent(self.drop_percent.max(line)) {
            self.push(now, id, side, Packet::Frame(body));
        }
    }

    pub(crate) fn close(&mut self, now: Instant, from: Process, link: LinkId) {
        let Some((place, side)) = self.find(from, link) else { return };
        let connection = &mut self.connections[place];
        let id = connection.id;
        self.next = None;
        connection.ends[side].is_open = false;
        connection.dial_deadline = None;
        self.push(now, id, side, Packet::Fin);
    }

    /// The place of the connection that a process calls so, and its side.
    fn find(&self, process: Process, link: LinkId) -> Option<(usize, usize)> {
        let is_end = |end: &End| end.is_open && end.process == process && end.link == Some(link);
        let mut sides = self.connections.iter().map(|c| c.ends.iter().position(is_end));
        let place = sides.position(|side| side.is_some())?;
        Some((place, self.connections[place].ends.iter().position(is_end)?))
    }

    fn push(&mut self, now: Instant, id: u64, side: usize, packet: Packet) {
        let micros = u64::try_from(self.delay_max.as_micros()).unwrap_or(u64::MAX);
        let due = now + Duration::from_micros(self.random.between(50, micros.max(50)));
        let Some(place) = self.place(id) else { return };
        let pipe = &mut self.connections[place].pipes[side];
        let due = pipe.back().map_or(due, |(last, _)| due.max(*last));
        pipe.push_back((due, packet));
        if pipe.len() == 1 {
            self.time(place, side);
        }
    }

    // Time.

    /// Works out when the first packet of a pipe arrives. Times change only here.
    fn time(&mut self, place: usize, side: usize) {
        let connection = &self.connections[place];
        let line = connection.line(side);
        let front = connection.pipes[side].front().filter(|_| !self.cut.contains(&line));
        let quiet = || self.quiet_until.get(&line).copied().unwrap_or_default();
        let at = front.map(|(due, _)| (*due).max(quiet()));
        let id = connection.id;
        self.connections[place].arrivals[side] = at;
        let candidate = at.map(|at| Next { at, is_packet: true, id, side });
        let is_next = |next: &Next| next.is_packet && (next.id, next.side) == (id, side);
        self.next = match self.next {
            Some(next) if is_next(&next) => None,
            Some(next) => Some(candidate.map_or(next, |candidate| candidate.min(next))),
            None => None,
        };
    }

    fn time_line(&mut self, line: (Host, Host)) {
        for place in 0..self.connections.len() {
            for side in 0..2 {
                if self.connections[place].line(side) == line {
                    self.time(place, side);
                }
            }
        }
    }

    fn find_next(&self) -> Option<Next> {
        let mut next: Option<Next> = None;
        for connection in &self.connections {
            let id = connection.id;
            let dial =
                connection.dial_deadline.map(|at| Next { at, is_packet: false, id, side: 0 });
            let packet = |side: usize| {
                connection.arrivals[side].map(|at| Next { at, is_packet: true, id, side })
            };
            for candidate in [dial, packet(0), packet(1)].into_iter().flatten() {
                next = Some(next.map_or(candidate, |next| next.min(candidate)));
            }
        }
        next
    }

    pub(crate) fn next_event(&mut self) -> Option<Instant> {
        if self.next.is_none() {
            self.next = self.find_next();
        }
        self.next.map(|next| next.at)
    }

    /// Carries out the next event, which is due by `now`. Not every event reaches a process.
    pub(crate) fn advance(&mut self, now: Instant) -> Option<Arrival> {
        if self.next_event()? > now {
            return None;
        }
        let Next { id, side, is_packet, .. } = self.next.take()?;
        if !is_packet {
            return self.give_up(id);
        }
        let place = self.place(id)?;
        let (_, packet) = self.connections[place].pipes[side].pop_front()?;
        self.time(place, side);
        self.arrive(now, id, 1 - side, packet)
    }

    fn give_up(&mut self, id: u64) -> Option<Arrival> {
        let connection = self.remove(id)?;
        let [End { process: to, link, .. }, _] = connection.ends;
        Some(Arrival { to, link: link?, heard: Heard::Closed(LinkEnd::TimedOut) })
    }

    fn arrive(&mut self, now: Instant, id: u64, side: usize, packet: Packet) -> Option<Arrival> {
        if matches!(packet, Packet::Syn) {
            return self.answer(now, id);
        }
        let connection = self.get_mut(id)?;
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
            self.remove(id);
        }
        Some(Arrival { to, link: link?, heard })
    }

    fn answer(&mut self, now: Instant, id: u64) -> Option<Arrival> {
        let connection = self.get_mut(id)?;
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
        if let Some(connection) = self.get_mut(id) {
            connection.ends[1] = End { process: to, link: Some(link), is_open: true };
        }
        self.push(now, id, 1, Packet::SynAck);
        Some(Arrival { to, link, heard: Heard::Accepted { from, port: ephemeral(id) } })
    }

    /// A live host answers what comes for a dead process; a dark one says nothing.
    fn arrive_at_closed(&mut self, now: Instant, id: u64, side: usize, packet: &Packet) {
        let Some(place) = self.place(id) else { return };
        let connection = &self.connections[place];
        let host = connection.ends[side].process.host;
        if matches!(packet, Packet::Fin | Packet::Reset) {
            self.remove(id);
        } else if !self.dark.contains(&host) && connection.pipes[side].is_empty() {
            self.push(now, id, side, Packet::Reset);
        }
    }
}

fn ephemeral(connection: u64) -> u16 {
    32_768 + u16::try_from(connection % 16_384).unwrap_or(0)
}
