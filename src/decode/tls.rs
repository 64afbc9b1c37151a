//! TLS connections of a capture, opened with the keys that one of their ends wrote down.
//!
//! Stands between the streams and what is looked for in them. A connection that does not begin with
//! TLS, or whose keys are not known, passes as it is.
//!
//! ```text
//!  ClientHello ─┐ held back   keys known? ── no ──► as it is
//!  ServerHello ─┘             └── yes ──► records ──► what they carry
//! ```
//!
//! Only what is sent under a session's keys is opened; nothing is verified beyond each record's own
//! tag, for a reader trusts no one and harms no one.

mod hello;
mod key_log;
mod record;
mod secrets;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::capture::{Flow, StreamEvent};
use hello::{ClientHello, ServerHello};
pub use key_log::{KeyLog, KeyLogError};
use record::{ContentType, Records};
use secrets::Opener;

/// Connections that are followed at a time; of more, those of the lowest addresses pass unopened.
const SESSIONS_MAX: usize = 4096;

/// Bytes of both directions that are held back until it is known whether there are keys.
const HELD_BYTES_MAX: usize = 64 << 10;

/// Opens what the key log has keys for.
#[derive(Debug, Default)]
pub(super) struct TlsStage {
    keys: KeyLog,
    sessions: BTreeMap<Connection, Session>,
}

/// Both directions of a connection: the lower address first.
type Connection = (SocketAddr, SocketAddr, u32);

#[derive(Debug)]
enum Session {
    /// What it is has not been seen.
    Undecided(Held),
    /// As it is.
    Plain,
    Opened(Box<Directions>),
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Held {
    events: Vec<(Flow, StreamEvent)>,
    bytes: usize,
    client: Option<(Flow, ClientHello)>,
    streams: BTreeMap<Flow, Records>,
}

/// A session with keys.
#[derive(Debug)]
struct Directions {
    client: SocketAddr,
    to_server: Direction,
    to_client: Direction,
}

#[derive(Debug)]
struct Direction {
    records: Records,
    opener: Opener,
    /// It could not be followed any further.
    is_lost: bool,
}

impl TlsStage {
    pub(super) fn new(keys: KeyLog) -> Self {
        Self { keys, sessions: BTreeMap::new() }
    }

    /// What becomes of an event.
    pub(super) fn take(&mut self, flow: Flow, event: StreamEvent) -> Vec<(Flow, StreamEvent)> {
        if self.keys.is_empty() {
            return vec![(flow, event)];
        }
        let connection = connection(&flow);
        if self.sessions.len() >= SESSIONS_MAX && !self.sessions.contains_key(&connection) {
            self.sessions.pop_first();
        }
        let session = self.sessions.entry(connection).or_insert_with(Session::undecided);
        session.take(&self.keys, flow, event)
    }

    /// What is held back and will never be decided.
    pub(super) fn finish(&mut self) -> Vec<(Flow, StreamEvent)> {
        let sessions = core::mem::take(&mut self.sessions).into_values();
        let held = sessions.filter_map(|session| match session {
            Session::Undecided(held) => Some(held.events),
            Session::Plain | Session::Opened(_) => None,
        });
        held.flatten().collect()
    }
}

fn connection(flow: &Flow) -> Connection {
    (flow.from.min(flow.to), flow.from.max(flow.to), flow.generation)
}

impl Session {
    fn undecided() -> Self {
        Self::Undecided(Held::default())
    }

    fn take(&mut self, keys: &KeyLog, flow: Flow, event: StreamEvent) -> Vec<(Flow, StreamEvent)> {
        match self {
            Self::Plain => vec![(flow, event)],
            Self::Opened(directions) => {
                directions.take(flow, event).into_iter().map(|event| (flow, event)).collect()
            }
            Self::Undecided(held) => {
                let decision = held.take(keys, flow, event);
                match decision {
                    Decision::Wait => Vec::new(),
                    Decision::Plain => {
                        let events = core::mem::take(&mut held.events);
                        *self = Self::Plain;
                        events
                    }
                    Decision::Open(directions) => {
                        let events = core::mem::take(&mut held.events);
                        *self = Self::Opened(directions);
                        events.into_iter().flat_map(|(f, e)| self.take(keys, f, e)).collect()
                    }
                }
            }
        }
    }
}

enum Decision {
    Wait,
    Plain,
    Open(Box<Directions>),
}

impl Held {
    fn take(&mut self, keys: &KeyLog, flow: Flow, event: StreamEvent) -> Decision {
        self.events.push((flow, event.clone()));
        match event {
            StreamEvent::Opened => Decision::Wait,
            StreamEvent::Data(bytes) => self.look(keys, flow, &bytes),
            StreamEvent::Gap(_) | StreamEvent::Ended | StreamEvent::Reset => Decision::Plain,
        }
    }

    fn look(&mut self, keys: &KeyLog, flow: Flow, bytes: &Bytes) -> Decision {
        self.bytes += bytes.len();
        let records = self.streams.entry(flow).or_default();
        records.push(bytes);
        if !records.may_be_tls() || self.bytes > HELD_BYTES_MAX {
            return Decision::Plain;
        }
        while let Some(record) = records.next_record() {
            match &self.client {
                None => match ClientHello::parse(&record.body) {
                    Some(hello) => self.client = Some((flow, hello)),
                    None => return Decision::Plain,
                },
                Some((client, hello)) if *client != flow => {
                    if record.content_type != ContentType::HANDSHAKE {
                        return Decision::Plain;
                    }
                    let Some(server) = ServerHello::parse(&record.body) else { continue };
                    let (client, keys) = (client.from, keys.of(&hello.random));
                    let openers = keys.and_then(|keys| secrets::openers(keys, hello, &server));
                    let Some((to_server, to_client)) = openers else { return Decision::Plain };
                    let [to_server, to_client] = [to_server, to_client].map(Direction::new);
                    return Decision::Open(Box::new(Directions { client, to_server, to_client }));
                }
                Some(_) => {}
            }
        }
        Decision::Wait
    }
}

impl Directions {
    fn take(&mut self, flow: Flow, event: StreamEvent) -> Vec<StreamEvent> {
        let is_clients = flow.from == self.client;
        let direction = if is_clients { &mut self.to_server } else { &mut self.to_client };
        match event {
            StreamEvent::Data(bytes) => direction.take(&bytes),
            StreamEvent::Gap(length) => {
                direction.is_lost = true;
                vec![StreamEvent::Gap(length)]
            }
            StreamEvent::Opened | StreamEvent::Ended | StreamEvent::Reset => vec![event],
        }
    }
}

impl Direction {
    fn new(opener: Opener) -> Self {
        Self { records: Records::default(), opener, is_lost: false }
    }

    fn take(&mut self, bytes: &Bytes) -> Vec<StreamEvent> {
        let mut found = Vec::new();
        if self.is_lost {
            return found;
        }
        self.records.push(bytes);
        while let Some(record) = self.records.next_record() {
            match self.opener.open(&record) {
                Ok(Some(plain)) => found.push(StreamEvent::Data(plain)),
                Ok(None) => {}
                Err(length) => {
                    self.is_lost = true;
                    found.push(StreamEvent::Gap(length));
                    break;
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests;
