//! What is learned on the way: names of nodes, who sits at which address, views, statuses, and why a
//! view change took as long as it did.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use galera_protocol::NodeId;
use galera_protocol::describe::{FieldValue, Layer, Section, Value, tables};

use super::{Record, What};
use crate::capture::Timestamp;

/// Nodes that are remembered: every start of a server is another one.
const NODES_MAX: usize = 65_536;

/// Addresses that are remembered.
const ADDRESSES_MAX: usize = 65_536;

/// Something that follows from the messages so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A node told its name.
    Named {
        /// The node.
        node: NodeId,
        /// Its name.
        name: String,
    },
    /// A primary component begins.
    View {
        /// The group's number of it.
        number: u64,
        /// Who is in it, ascending.
        members: Vec<NodeId>,
        /// Who was not in the one before.
        joined: Vec<NodeId>,
        /// Who was in the one before, and is not in this.
        gone: Vec<NodeId>,
        /// How long the change took and whom it waited for.
        verdict: Verdict,
    },
    /// A node's status is another one.
    Status {
        /// The node.
        node: NodeId,
        /// Its status, or what it does.
        status: &'static str,
        /// What is known beside.
        detail: String,
    },
}

/// How long a view change took, and why.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// From the first proposal to the primary component, in microseconds.
    pub micros: i64,
    /// Who was given up, with the silence before the first proposal in microseconds.
    pub given_up: Vec<(NodeId, i64)>,
    /// Who left of its own will.
    pub left: Vec<NodeId>,
    /// Who asked again for messages of whom.
    pub missed: Vec<(NodeId, NodeId)>,
    /// The last one to make its first proposal, and how long after the first.
    pub last: Option<(NodeId, i64)>,
}

/// Follows records.
#[derive(Debug, Default)]
pub struct Follow {
    names: BTreeMap<NodeId, String>,
    addresses: BTreeMap<SocketAddr, NodeId>,
    /// The latest message of each node that was looked at: the same one goes over several links.
    latest: BTreeMap<NodeId, i64>,
    heard: BTreeMap<NodeId, Timestamp>,
    statuses: BTreeMap<NodeId, &'static str>,
    view: Option<(u64, BTreeSet<NodeId>)>,
    change: Option<Change>,
}

/// A view change under way.
#[derive(Debug)]
struct Change {
    began: Timestamp,
    proposals: BTreeMap<NodeId, Timestamp>,
    suspected: BTreeMap<NodeId, i64>,
    left: BTreeSet<NodeId>,
    missed: BTreeSet<(NodeId, NodeId)>,
}

impl Follow {
    /// A node's name, or the beginning of its UUID.
    pub fn name(&self, node: &NodeId) -> String {
        if node.is_nil() {
            return "-".to_owned();
        }
        self.names.get(node).cloned().unwrap_or_else(|| node.to_string().chars().take(8).collect())
    }

    /// The node at an address, as far as it is known.
    pub fn node_at(&self, address: &SocketAddr) -> Option<NodeId> {
        self.addresses.get(address).copied()
    }

    /// What to call the owner of an address.
    pub fn place(&self, address: &SocketAddr) -> String {
        self.node_at(address).map_or_else(|| address.to_string(), |node| self.name(&node))
    }

    /// The name at an IP address, if all nodes that were seen there have the same.
    pub fn only_name_at(&self, ip: IpAddr) -> Option<String> {
        let there = self.addresses.iter().filter(|(address, _)| address.ip() == ip);
        let names: BTreeSet<String> = there.map(|(_, node)| self.name(node)).collect();
        names.first().filter(|_| names.len() == 1).cloned()
    }

    /// Every node that told its name.
    pub fn names(&self) -> impl Iterator<Item = (NodeId, String)> {
        self.names.iter().map(|(node, name)| (*node, name.clone()))
    }

    /// Learns from a record; what follows from it.
    pub fn take(&mut self, record: &Record) -> Vec<Note> {
        let What::Frame { description, .. } = &record.what else { return Vec::new() };
        let Some(gmcast) = description.section(Layer::Gmcast) else { return Vec::new() };
        let Some(sender) = gmcast.uuid("source") else { return Vec::new() };
        self.learn_address(record, gmcast, sender);
        let mut notes = Vec::new();
        let Some(evs) =
            description.sections.iter().rfind(|s| s.layer == Layer::Evs && s.kind != "sub-message")
        else {
            return notes;
        };
        let origin = evs.uuid("source").unwrap_or(sender);
        self.take_evs(record.time, origin, evs);
        // The rest is taken once, whichever link it came over first.
        let fifo = evs.signed("fifo seqno").unwrap_or_default();
        if description.fault.is_some() || !self.is_new(origin, fifo) {
            return notes;
        }
        for section in &description.sections {
            match section.layer {
                Layer::Pc => notes.extend(self.take_pc(record.time, section)),
                Layer::Gcs => notes.extend(self.take_gcs(origin, section)),
                Layer::Frame | Layer::Gmcast | Layer::Evs => {}
            }
        }
        notes
    }

    fn learn_address(&mut self, record: &Record, gmcast: &Section, sender: NodeId) {
        if self.addresses.len() >= ADDRESSES_MAX {
            self.addresses.clear();
        }
        // Only user messages are passed on for others.
        if gmcast.kind == "USER" {
            self.addresses.entry(record.from).or_insert(sender);
        } else {
            self.addresses.insert(record.from, sender);
        }
    }

    fn is_new(&mut self, origin: NodeId, fifo: i64) -> bool {
        if self.latest.len() >= NODES_MAX {
            self.latest.clear();
        }
        let latest = self.latest.entry(origin).or_insert(i64::MIN);
        let is_new = fifo > *latest;
        *latest = fifo.max(*latest);
        is_new
    }

    fn take_evs(&mut self, now: Timestamp, origin: NodeId, evs: &Section) {
        match evs.kind {
            "JOIN" => self.propose(now, origin, evs),
            "LEAVE" => {
                self.change_from(now).left.insert(origin);
            }
            "GAP" => self.note_request(origin, evs),
            _ => {}
        }
        if self.heard.len() >= NODES_MAX {
            self.heard.clear();
        }
        self.heard.insert(origin, now);
    }

    /// Somebody misses messages; during a view change everybody waits for them.
    fn note_request(&mut self, origin: NodeId, gap: &Section) {
        let (Some(change), Some(of)) = (&mut self.change, gap.uuid("range node")) else { return };
        if !of.is_nil() && of != origin {
            change.missed.insert((origin, of));
        }
    }

    fn change_from(&mut self, now: Timestamp) -> &mut Change {
        self.change.get_or_insert_with(|| Change {
            began: now,
            proposals: BTreeMap::new(),
            suspected: BTreeMap::new(),
            left: BTreeSet::new(),
            missed: BTreeSet::new(),
        })
    }

    fn propose(&mut self, now: Timestamp, origin: NodeId, join: &Section) {
        const OPERATIONAL: u64 = 1;
        const SUSPECTED: u64 = 2;
        let members = self.view.as_ref().map(|(_, members)| members.clone()).unwrap_or_default();
        let heard = self.heard.clone();
        let change = self.change_from(now);
        change.proposals.entry(origin).or_insert(now);
        for entry in join.entries() {
            let (Some(node), Some(flags)) = (uuid(entry, "node"), number(entry, "node flags"))
            else {
                continue;
            };
            let is_doubted = flags & SUSPECTED != 0 || flags & OPERATIONAL == 0;
            if is_doubted && members.contains(&node) && !change.left.contains(&node) {
                let silence = heard.get(&node).map_or(0, |last| now.0 - last.0);
                change.suspected.entry(node).or_insert(silence);
            }
        }
    }

    fn take_pc(&mut self, now: Timestamp, pc: &Section) -> Option<Note> {
        if pc.kind != "INSTALL" {
            return None;
        }
        let members: BTreeSet<NodeId> =
            pc.entries().filter_map(|entry| uuid(entry, "node")).collect();
        let before = self.view.take().unwrap_or_default();
        // A member that is in the map of INSTALL may be gone already: only those of the last exchange count.
        let present = members
            .iter()
            .filter(|node| self.proposed(node) || !before.1.contains(node))
            .copied()
            .collect::<BTreeSet<_>>();
        let present = if present.is_empty() { members } else { present };
        let joined = present.difference(&before.1).copied().collect();
        let gone = before.1.difference(&present).copied().collect();
        let number = before.0 + 1;
        let verdict = self.verdict(now);
        self.view = Some((number, present.clone()));
        Some(Note::View { number, members: present.into_iter().collect(), joined, gone, verdict })
    }

    fn proposed(&self, node: &NodeId) -> bool {
        self.change.as_ref().is_none_or(|change| {
            !change.suspected.contains_key(node) && !change.left.contains(node)
        })
    }

    fn verdict(&mut self, now: Timestamp) -> Verdict {
        let Some(change) = self.change.take() else { return Verdict::default() };
        let last = change.proposals.iter().max_by_key(|(_, time)| **time);
        Verdict {
            micros: now.0 - change.began.0,
            given_up: change.suspected.into_iter().collect(),
            left: change.left.into_iter().collect(),
            missed: change.missed.into_iter().collect(),
            last: last.map(|(node, time)| (*node, time.0 - change.began.0)),
        }
    }

    fn take_gcs(&mut self, origin: NodeId, gcs: &Section) -> Vec<Note> {
        match gcs.kind {
            "STATE_MSG" => self.take_state(origin, gcs),
            "STATE_REQ" => match gcs.text("donors") {
                Some("self-desync") => {
                    self.status(origin, "DONOR", "it asks to be desynced".to_owned())
                }
                Some("") => {
                    self.status(origin, "JOINER", "asks anybody for a state transfer".to_owned())
                }
                Some(donors) => {
                    self.status(origin, "JOINER", format!("asks {donors} for a state transfer"))
                }
                None => Vec::new(),
            },
            "JOIN" => self.take_join(origin, gcs),
            "SYNC" => self.status(origin, "SYNCED", String::new()),
            _ => Vec::new(),
        }
    }

    fn take_state(&mut self, origin: NodeId, gcs: &Section) -> Vec<Note> {
        let mut notes = Vec::new();
        let name = gcs.text("name").unwrap_or_default().to_owned();
        if self.names.len() < NODES_MAX && self.names.get(&origin) != Some(&name) {
            self.names.insert(origin, name.clone());
            notes.push(Note::Named { node: origin, name });
        }
        let status = gcs.number("current status");
        let status = status.and_then(|status| tables::name(tables::STATUSES, status));
        if let Some(status) = status {
            notes.extend(self.status(origin, status, "as it says of itself".to_owned()));
        }
        notes
    }

    fn take_join(&mut self, origin: NodeId, gcs: &Section) -> Vec<Note> {
        let code = gcs.signed("code").or_else(|| gcs.signed("seqno or error")).unwrap_or_default();
        let seqno = gcs.signed("seqno").unwrap_or(code);
        if code < 0 {
            return self.status(origin, "JOINED", format!("its state transfer failed: {code}"));
        }
        self.status(origin, "JOINED", format!("its state transfer ended at {seqno}"))
    }

    fn status(&mut self, node: NodeId, status: &'static str, detail: String) -> Vec<Note> {
        if self.statuses.len() >= NODES_MAX {
            self.statuses.clear();
        }
        if self.statuses.insert(node, status) == Some(status) && status != "JOINED" {
            return Vec::new();
        }
        vec![Note::Status { node, status, detail }]
    }

    /// A note in words.
    pub fn sentence(&self, note: &Note) -> String {
        let names = |nodes: &[NodeId]| {
            nodes.iter().map(|node| self.name(node)).collect::<Vec<_>>().join(", ")
        };
        match note {
            Note::Named { node, name } => format!("{node} is {name}"),
            Note::Status { node, status, detail } if detail.is_empty() => {
                format!("{} is {status}", self.name(node))
            }
            Note::Status { node, status, detail } => {
                format!("{} is {status}: {detail}", self.name(node))
            }
            Note::View { number, members, joined, gone, verdict } => {
                let mut text = format!("primary component {number}: {}", names(members));
                if !joined.is_empty() {
                    text += &format!("; new: {}", names(joined));
                }
                if !gone.is_empty() {
                    text += &format!("; gone: {}", names(gone));
                }
                text + &self.verdict_text(verdict)
            }
        }
    }

    fn verdict_text(&self, verdict: &Verdict) -> String {
        let mut text = format!("; the change took {}", Seconds(verdict.micros));
        for (node, silence) in &verdict.given_up {
            let (name, silence) = (self.name(node), Seconds(*silence));
            text += &format!(", after {name} had been silent for {silence} and was given up");
        }
        for node in &verdict.left {
            text += &format!(", for {} left", self.name(node));
        }
        for (node, of) in &verdict.missed {
            text += &format!(", {} missed messages of {}", self.name(node), self.name(of));
        }
        match verdict.last {
            Some((node, late)) if late * 2 > verdict.micros => {
                text + &format!(", mostly waiting for {} to propose", self.name(&node))
            }
            Some(_) | None => text,
        }
    }
}

/// Microseconds as seconds.
struct Seconds(i64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} s", self.0 / 1_000_000, self.0.rem_euclid(1_000_000) / 1000)
    }
}

/// The UUID of a field of an entry.
pub(super) fn uuid(entry: &[FieldValue], name: &str) -> Option<NodeId> {
    match entry.iter().find(|field| field.name == name)?.value {
        Value::Uuid(uuid) => Some(uuid),
        Value::Unsigned(_) | Value::Signed(_) | Value::Text(_) | Value::Bytes => None,
    }
}

/// The number in a field of an entry.
pub(super) fn number(entry: &[FieldValue], name: &str) -> Option<u64> {
    entry.iter().find(|field| field.name == name)?.value.number()
}
