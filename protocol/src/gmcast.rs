//! Links between members: handshake, mesh, relaying, liveness (spec 01).
//!
//! Every member keeps a link to every other one. This layer finds the others (from the addresses it
//! was given, and from the lists that members send each other), agrees with each on one link,
//! notices when one dies, and carries the messages of EVS over them, around holes in the mesh if
//! need be. It does not know who is a member of what: that is EVS's and PC's business, which tell
//! it through [`Input`].
//!
//! ```text
//!         EVS                 payload, originator
//!  ────────┼───────────────────────────▲────────
//!   Input::Send                 Output::Deliver        gmcast
//!  ────────┼───────────────────────────┼────────
//!   Output::SendFrame            Input::Frame
//!          ▼                           │
//!        frames over TCP or TLS (the driver)
//! ```
//!
//! The driver owns sockets and TLS. It has to bound the time and number of callers that are still
//! in their TLS handshake ([`Config::peer_timeout`] and [`config::CALLERS_MAX`] are good limits),
//! and each link's send queue: USER frames may be dropped from a full queue, any other one closes
//! the link.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use tracing::{debug, error, info};

pub mod address;
mod book;
pub mod config;
mod ending;
mod event;
mod handshake;
mod link;
mod liveness;
pub mod message;
mod outgoing;
mod random;
mod relay;
mod standing;
mod status;
mod text;
mod topology;

use self::address::HostPort;
use self::book::AddressBook;
use self::link::{Links, State};
use self::message::{Body, Message};
use self::outgoing::Receiver;
use self::random::{HandshakeIds, Random};
use self::relay::UserMessage;
use self::standing::Primary;
use crate::id::{NodeId, Segment};
use crate::time::Instant;

pub use self::config::Config;
pub use self::event::{
    Event, IdentityProblem, LinkClosed, LinkEnd, Phase, Reason, Refusal, Violation,
};
pub use self::link::StateKind;
pub use self::outgoing::Forbidden;
pub use self::status::{Counters, LinkStatus};
pub use self::text::{FixedText, GroupName, Text, TextError};

/// One connection to a peer, for as long as it lives. Numbers are never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LinkId {
    /// We dialled; the core chose the number.
    Dialled(u32),
    /// The peer dialled; the driver chose the number.
    Accepted(u32),
}

/// What happens to the link layer.
#[expect(missing_docs, reason = "each variant's sentence names its fields")]
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin: resolve and dial the initial addresses.
    Start,
    /// Names were looked up, in answer to [`Output::Resolve`]. Empty: the look-up failed.
    Resolved { host: String, port: u16, addresses: Vec<IpAddr> },
    /// A dialled link is up, TLS included.
    Connected { link: LinkId, local: SocketAddr, remote: SocketAddr },
    /// A peer dialled us; TLS, if any, is up.
    Accepted { link: LinkId, local: SocketAddr, remote: SocketAddr },
    /// A whole frame body arrived, checksum already verified.
    Frame { link: LinkId, body: Bytes },
    /// The link is gone, or could not be made.
    Closed { link: LinkId, end: LinkEnd },
    /// EVS sends: to one member if it has a direct link, otherwise to everybody.
    Send { target: Option<NodeId>, payload: Bytes },
    /// EVS installed a regular view (told before the view goes to PC).
    RegularView { members: BTreeSet<NodeId>, left: BTreeSet<NodeId> },
    /// PC installed a primary view (told after the view went to GCS).
    PrimaryView { members: BTreeSet<NodeId> },
    /// PC is in no primary view any more: look for members at the initial addresses again.
    PrimaryLost,
    /// EVS is about to talk to this node: lift its time wait ("allow connect").
    Welcome(NodeId),
    /// Refuse this node from now on.
    Evict(NodeId),
    /// The node's eviction has expired or was lifted.
    Unevict(NodeId),
    /// All peers are of one group: they may hear of each other from us.
    Introduce,
    /// Close every link. Nothing follows but [`Output::CloseLink`].
    Close,
    /// A deadline has passed.
    Timeout,
}

/// What the link layer wants done, in this order.
#[expect(missing_docs, reason = "each variant's sentence names its fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Look a name up; answer with [`Input::Resolved`], in any case.
    Resolve { host: String, port: u16 },
    /// Connect (with TLS where configured) from the local address `bind`, if given; answer with
    /// `Connected` or `Closed`.
    Dial { link: LinkId, remote: SocketAddr, bind: Option<IpAddr>, tls: bool },
    /// Send one frame body on a link.
    SendFrame { link: LinkId, body: Bytes, is_user: bool },
    /// Close a link after flushing what was sent on it (for 5 s at most); give up a dial. No answer
    /// is needed, a late one is ignored.
    CloseLink { link: LinkId },
    /// A message for EVS, with the originator's UUID (not the link's peer).
    Deliver { source: NodeId, payload: Bytes },
    /// To be told to people: link up, link down and why, refused, evicted.
    Event(Event),
}

/// The link layer of one member.
#[derive(Debug)]
pub struct Gmcast {
    config: Config,
    me: NodeId,
    links: Links,
    book: AddressBook,
    primary: Primary,
    evicted: BTreeSet<NodeId>,
    relay_set: BTreeSet<LinkId>,
    /// The last [`Event::RelayingChanged`].
    relaying: (BTreeSet<NodeId>, BTreeSet<NodeId>),
    random: Random,
    handshake_ids: HandshakeIds,
    next_link: u32,
    /// `None` before the start and after the close.
    next_check: Option<Instant>,
    is_closed: bool,
    /// The last round came so late that silent links got a second chance.
    has_overslept: bool,
    now: Instant,
    /// Something that others are told, or dials depend on, has changed since the last refresh.
    is_topology_stale: bool,
    /// A list was sent without a link whose address may be an alias.
    has_held_back: bool,
    /// The next deadline has to be worked out again.
    is_wake_stale: bool,
    wake: Option<Instant>,
    counters: Counters,
    /// Drained after every input, so it holds what one input causes.
    outputs: VecDeque<Output>,
}

impl Gmcast {
    /// A link layer that has not started. `seed` spreads dials and makes connection names; two
    /// members should have different ones.
    pub fn new(config: Config, me: NodeId, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let handshake_ids = HandshakeIds::new(config.uuid_epoch, &mut random);
        Self {
            me,
            links: Links::default(),
            book: AddressBook::new(&config.initial, config.listen),
            primary: Primary::default(),
            evicted: BTreeSet::new(),
            relay_set: BTreeSet::new(),
            relaying: (BTreeSet::new(), BTreeSet::new()),
            random,
            handshake_ids,
            next_link: config.first_link,
            next_check: None,
            is_closed: false,
            has_overslept: false,
            now: Instant::ZERO,
            is_topology_stale: false,
            has_held_back: false,
            is_wake_stale: false,
            wake: None,
            counters: Counters::default(),
            outputs: VecDeque::new(),
            config,
        }
    }

    /// Takes one input. Drain [`Gmcast::poll_output`] afterwards.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        if self.is_closed {
            return self.handle_closed(&input);
        }
        self.now = now;
        // Only these two come by the thousand, and neither changes what is due.
        self.is_wake_stale |= !matches!(input, Input::Frame { .. } | Input::Send { .. });
        self.route(now, input);
        self.refresh(now);
        if self.is_wake_stale || self.wake.is_some_and(|wake| wake <= now) {
            self.run_timers(now);
            self.refresh(now);
            self.is_wake_stale = false;
            self.wake = self.next_timer();
        }
    }

    /// The next thing to be done, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.wake
    }

    fn route(&mut self, now: Instant, input: Input) {
        match input {
            Input::Start => self.start(now),
            Input::Resolved { host, port, addresses } => {
                self.on_resolved(now, HostPort { host, port }, &addresses);
            }
            Input::Connected { link, local, .. } => self.on_connected(now, link, local),
            Input::Accepted { link, local, remote } => self.on_accepted(now, link, local, remote),
            Input::Frame { link, body } => self.on_frame(now, link, &body),
            Input::Closed { link, end } => self.on_closed(now, link, end),
            Input::Send { target, payload } => self.on_send(now, target, payload),
            Input::RegularView { members, left } => self.on_regular_view(now, &members, &left),
            Input::PrimaryView { members } => self.on_primary_view(now, members),
            Input::PrimaryLost => self.on_primary_lost(now),
            Input::Welcome(node) => self.book.welcome(node),
            Input::Evict(node) => self.on_evict(now, node),
            Input::Unevict(node) => self.on_unevict(node),
            Input::Introduce => {
                self.config.holds_strangers = false;
                self.is_topology_stale = true;
            }
            Input::Close => self.close(now),
            Input::Timeout => {}
        }
    }

    fn start(&mut self, now: Instant) {
        if self.next_check.is_none() {
            info!(me = %self.me, group = %self.config.group, "gmcast starts");
            self.next_check = Some(now);
        }
    }

    fn on_frame(&mut self, now: Instant, id: LinkId, body: &Bytes) {
        let Some(link) = self.links.link_mut(id) else {
            return; // closed by us; the driver had not heard of it yet
        };
        link.last_received = now;
        match Message::decode(body) {
            Ok(message) => self.on_message(now, id, message),
            Err(error) => self.fail_link(now, id, Reason::Violation(Violation::Malformed(error))),
        }
    }

    fn on_message(&mut self, now: Instant, id: LinkId, message: Message) {
        let Message { segment, source, body } = message;
        match body {
            Body::Handshake { handshake } => {
                self.on_handshake(now, id, (source, segment), handshake);
            }
            Body::HandshakeResponse { handshake, address, group } => {
                self.on_response(now, id, (source, segment), (handshake, address, group));
            }
            Body::Ok => self.on_ok(now, id),
            Body::Fail { reason } => self.on_fail(now, id, &reason),
            Body::TopologyChange { links, .. } => self.on_topology(now, id, links),
            Body::Keepalive => self.on_keepalive(now, id),
            Body::User { relay, payload } => {
                self.on_user(now, id, UserMessage { source, segment, relay, payload });
            }
        }
    }

    fn transition(&mut self, now: Instant, id: LinkId, next: State) {
        if let Some(link) = self.links.link_mut(id) {
            link.transition(now, next);
        }
    }

    /// Sends a message of this layer, if it is one that may be sent.
    fn send(&mut self, now: Instant, id: LinkId, body: Body) {
        let Some(receiver) = self.receiver(id) else {
            return;
        };
        let is_list = matches!(body, Body::TopologyChange { .. });
        let segment = if is_list { Segment(0) } else { self.config.segment };
        let message = Message { segment, source: self.me, body };
        match outgoing::check(&message, &receiver) {
            Ok(()) => {
                let body = message.encode();
                self.outputs.push_back(Output::SendFrame { link: id, body, is_user: false });
            }
            Err(forbidden) => {
                error!(?id, %forbidden, "message not sent, closing the link");
                self.fail_link(now, id, Reason::Forbidden(forbidden));
            }
        }
    }

    fn receiver(&self, id: LinkId) -> Option<Receiver> {
        let link = self.links.link(id)?;
        let node = link.peer().map(|peer| peer.node).or(link.claims);
        Some(Receiver {
            state: link.kind(),
            node,
            addresses: self.addresses_of(link),
            is_evicted: node.is_some_and(|node| self.is_evicted(node)),
            is_impostor: node.is_some_and(|node| self.is_impostor(node)),
        })
    }

    fn event(&mut self, event: Event) {
        debug!(%event);
        self.outputs.push_back(Output::Event(event));
    }
}

#[cfg(test)]
mod tests;
