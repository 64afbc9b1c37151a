//! A member of the group: joins the layers. Inputs in, one ordered queue of actions out.
//!
//! ```text
//!            commands                              events, persist
//!               │                                        ▲
//!               ▼                                        │
//!            ┌─────┐  component, message   ┌────┐        │
//!            │ gcs │ ◄──────────────────── │ pc │ ───────┤
//!            └──┬──┘                       └─┬──┘        │
//!               │ send ──► pc.frame ──► evs  │ ▲ view,   │
//!               ▼                            ▼ │ message │
//!            ┌────────────────────────────────────┐      │
//!            │                evs                 │ ─────┤
//!            └──────────────┬─────────────────────┘      │
//!                    send   ▼  ▲ deliver                 │
//!            ┌────────────────────────────────────┐      │
//!            │               gmcast               │ ─────┘
//!            └────────────────────────────────────┘
//! ```
//!
//! Outputs are moved from the top down: what GCS wants is done before PC's next output is looked at,
//! and so on. So a STATE that PC sends in reaction to a view leaves before anything that EVS does
//! after that view, as if it had been sent from inside the delivery.

mod config;
mod event;
mod routing;
mod status;
#[cfg(any(test, feature = "testing"))]
mod tap;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use core::net::{IpAddr, SocketAddr};

use crate::evs::{self, Evs};
use crate::gcs::{self, Gcs};
use crate::gmcast::{self, Gmcast, LinkId};
use crate::id::NodeId;
use crate::message::Order;
use crate::pc::{self, Pc, SavedView};
use crate::time::{Duration, Instant};

pub use config::{Config, Identity};
pub use event::{EndReason, Event};
pub use status::Status;
#[cfg(any(test, feature = "testing"))]
pub use tap::Passed;

/// What a member is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ask a donor for a state snapshot.
    RequestStateTransfer(gcs::Request),
    /// Do not ask any more.
    CancelRequest,
    /// The donor's data connection has ended: its word to the group is due.
    DataEnded,
    /// We were the donor, and our part has ended with this code: 0, or minus an exit status.
    EndDonation(i64),
    /// Take another vote (`pc.weight` at run time).
    ChangeWeight(u8),
    /// Ban a node from the group (`evs.evict`). There is no way back for it under this UUID.
    Evict(NodeId),
    /// Leave gracefully; [`Event::Ended`] says when that is done.
    Leave,
    /// Drop all links now. The others see a crash.
    Abandon,
}

/// What happens to a member.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin to join.
    Start,
    /// Something happened to a link, a dial or a look-up.
    Link(gmcast::Input),
    /// Somebody wants something.
    Command(Command),
    /// A deadline has passed.
    Timeout,
}

/// What a member wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Look a name up; answer with [`gmcast::Input::Resolved`].
    Resolve {
        /// Name or numeric address.
        host: String,
        /// Port, for the answer.
        port: u16,
    },
    /// Connect; answer with [`gmcast::Input::Connected`] or [`gmcast::Input::Closed`].
    Dial {
        /// The number of the link to be.
        link: LinkId,
        /// Where.
        remote: SocketAddr,
        /// The local address to dial from, if it matters.
        bind: Option<IpAddr>,
        /// Speak TLS.
        tls: bool,
    },
    /// Send one frame body.
    SendFrame {
        /// On this link.
        link: LinkId,
        /// The gmcast message.
        body: Bytes,
        /// May be dropped if the link's queue is full: EVS repeats it.
        is_user: bool,
    },
    /// Close a link after flushing what was sent on it.
    CloseLink {
        /// This link.
        link: LinkId,
    },
    /// Save this identity durably before the actions that follow are carried out.
    Persist(SavedView),
    /// Remove the saved identity.
    Forget,
    /// A fact for people and for whoever commands the member.
    Event(Event),
}

/// One member of one group: four layers and the queue between them and the world.
#[derive(Debug)]
pub struct Member {
    config: Config,
    seed: u64,
    layers: Layers,
    /// Links that the driver knows of; a restart closes them all.
    links: BTreeSet<LinkId>,
    /// Drained after every input; one input causes at most what one message can cause.
    actions: VecDeque<Action>,
    phase: Phase,
    connect_deadline: Option<Instant>,
    opening: Opening,
    /// The moment of the last input.
    now: Instant,
    #[cfg(any(test, feature = "testing"))]
    tap: tap::Tap,
}

/// The first JOIN is wasted on a mesh that is not there yet: EVS is opened when every known address
/// is linked, but not before the first peer has had [`SETTLE_DELAY`] to name the others, and
/// [`OPEN_DELAY`] after the first link at the latest (spec 02 §7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Opening {
    /// No link yet.
    NoLink,
    /// There has been a link since this moment.
    Linked(Instant),
    /// EVS is open.
    Open,
}

/// How long the first peer may take to tell its other links; its list follows the handshake at once.
const SETTLE_DELAY: Duration = Duration::from_millis(50);

/// How long the first link may wait for the rest of the mesh.
const OPEN_DELAY: Duration = Duration::from_millis(500);

/// How long a guest waits for peers that do not list each other to meet. Servers that start find
/// each other within one or two dials.
const GROUPS_LIMIT: Duration = Duration::from_secs(5);

/// The protocol stack of one life.
#[derive(Debug)]
struct Layers {
    me: NodeId,
    gmcast: Gmcast,
    evs: Evs,
    pc: Pc,
    gcs: Gcs,
}

impl Layers {
    fn new(config: &Config, identity: &Identity, seed: u64) -> Self {
        let (me, saved) = match identity {
            Identity::Fresh(me) => (*me, None),
            Identity::Saved(view) => (view.me, Some(view.clone())),
        };
        let gmcast = gmcast::Config {
            holds_strangers: config.is_guest(),
            payload_check: |payload| evs::message::Message::decode(payload).is_ok(),
            ..config.gmcast.clone()
        };
        Self {
            me,
            gmcast: Gmcast::new(gmcast, me, seed),
            evs: Evs::new(config.evs.clone(), me, saved.as_ref().map(|saved| saved.view)),
            pc: Pc::new(config.pc, me, saved),
            gcs: Gcs::new(config.gcs.clone(), me, seed),
        }
    }
}

/// Where the member is in its life.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Leaving(EndReason),
    Ended,
}

impl Member {
    /// A member that has not started. A saved identity must be given as it was read: its next
    /// incarnation is taken, and saved before anything is said.
    ///
    /// `seed` must differ between processes; equal seeds and inputs give equal actions.
    pub fn new(config: Config, identity: Identity, seed: u64) -> Self {
        let mut actions = VecDeque::new();
        let identity = match identity {
            Identity::Fresh(me) => Identity::Fresh(me),
            Identity::Saved(view) => {
                let restarted = view.restarted();
                actions.push_back(Action::Persist(restarted.clone()));
                Identity::Saved(restarted)
            }
        };
        let layers = Layers::new(&config, &identity, seed);
        let (links, phase) = (BTreeSet::new(), Phase::Running);
        let opening = Opening::NoLink;
        Self {
            config,
            seed,
            layers,
            links,
            actions,
            phase,
            connect_deadline: None,
            opening,
            now: Instant::ZERO,
            #[cfg(any(test, feature = "testing"))]
            tap: tap::Tap::default(),
        }
    }

    /// Takes one input. Never fails, never waits; drain [`Member::poll_action`] afterwards.
    ///
    /// Frames that were read together should be handed in together, of all links, before the
    /// actions are drained: they are answered together then.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        if self.phase == Phase::Ended {
            return;
        }
        let slept = now.saturating_since(self.now);
        self.now = now;
        self.return_from_freeze(now, slept);
        match input {
            Input::Start => self.start(now),
            Input::Link(input) => self.on_link(now, input),
            Input::Command(command) => self.on_command(now, command),
            Input::Timeout => self.on_timeout(now),
        }
        self.settle(now);
        self.open_if_meshed(now);
        self.leave_if_calm(now);
    }

    /// Nobody has heard of us for so long that we are no member any more, only do not know it: what
    /// we would say under this identity would keep the others from taking the next one.
    fn return_from_freeze(&mut self, now: Instant, slept: Duration) {
        let is_freeze = self.config.freeze_limit.is_some_and(|limit| slept >= limit);
        if !is_freeze || self.phase != Phase::Running {
            return;
        }
        let Layers { pc, gcs, .. } = &self.layers;
        if pc.state() != pc::State::Primary || !gcs.is_exchange_complete() {
            return;
        }
        if let Some(saved) = pc.saved().cloned() {
            tracing::warn!(?slept, "not run for long: coming back under the saved identity");
            self.restart(now, &saved);
        }
    }

    /// The next thing to be done, until `None`.
    pub fn poll_action(&mut self) -> Option<Action> {
        if self.actions.is_empty() {
            self.end_batch();
        }
        self.actions.pop_front()
    }

    /// When [`Input::Timeout`] is due.
    pub fn next_deadline(&self) -> Option<Instant> {
        let Layers { gmcast, evs, gcs, .. } = &self.layers;
        let deadlines = [gmcast.next_deadline(), evs.next_deadline(), gcs.next_deadline()];
        deadlines
            .into_iter()
            .flatten()
            .chain(self.connect_deadline)
            .chain(self.opening_deadline())
            .min()
    }

    fn start(&mut self, now: Instant) {
        self.connect_deadline = self.config.connect_limit.map(|limit| now + limit);
        self.start_layers(now);
    }

    fn start_layers(&mut self, now: Instant) {
        self.opening = Opening::NoLink;
        self.layers.pc.handle_input(now, pc::Input::Connect);
        self.layers.gmcast.handle_input(now, gmcast::Input::Start);
        if self.config.evs.start != evs::Start::JoinGroup {
            self.open(now);
        }
    }

    fn on_first_link(&mut self, now: Instant) {
        if self.opening == Opening::NoLink {
            self.opening = Opening::Linked(now);
        }
    }

    fn open_if_meshed(&mut self, now: Instant) {
        let Opening::Linked(since) = self.opening else { return };
        if self.config.is_guest() && self.layers.gmcast.groups_of_peers() > 1 {
            // Whoever has just started may not have found the others yet.
            if since + GROUPS_LIMIT <= now {
                self.leave(now, EndReason::SeveralGroups);
                self.settle(now);
            }
            return;
        }
        let is_settled = since + SETTLE_DELAY <= now;
        if since + OPEN_DELAY <= now || (is_settled && self.is_meshed()) {
            self.open(now);
            self.settle(now);
        }
    }

    /// Links report their progress by themselves; only the two delays need a wake-up.
    fn opening_deadline(&self) -> Option<Instant> {
        let Opening::Linked(since) = self.opening else { return None };
        let waits = [SETTLE_DELAY, OPEN_DELAY, GROUPS_LIMIT].map(|delay| since + delay);
        waits.into_iter().find(|at| self.now < *at)
    }

    /// Is there a link to every address that anybody has named?
    fn is_meshed(&self) -> bool {
        let gmcast = &self.layers.gmcast;
        let is_established = |link: &gmcast::LinkStatus| link.phase == gmcast::Phase::Established;
        let linked: BTreeSet<_> =
            gmcast.links().filter(is_established).filter_map(|link| link.address).collect();
        gmcast.known_addresses().all(|address| linked.contains(&address))
    }

    fn open(&mut self, now: Instant) {
        self.opening = Opening::Open;
        self.layers.gmcast.handle_input(now, gmcast::Input::Introduce);
        self.layers.evs.handle_input(now, evs::Input::Open);
    }

    fn on_link(&mut self, now: Instant, input: gmcast::Input) {
        if let gmcast::Input::Accepted { link, .. } = &input {
            self.links.insert(*link);
        } else if let gmcast::Input::Closed { link, .. } = &input {
            self.links.remove(link);
        }
        self.layers.gmcast.handle_input(now, input);
    }

    fn on_command(&mut self, now: Instant, command: Command) {
        match command {
            Command::RequestStateTransfer(request) => {
                self.gcs_input(now, gcs::Input::RequestStateTransfer(request));
            }
            Command::CancelRequest => self.gcs_input(now, gcs::Input::CancelRequest),
            Command::DataEnded => self.gcs_input(now, gcs::Input::DataEnded),
            Command::EndDonation(code) => {
                self.gcs_input(now, gcs::Input::EndDonation { code });
            }
            Command::ChangeWeight(weight) => self.change_weight(now, weight),
            Command::Evict(node) => self.layers.evs.handle_input(now, evs::Input::Evict(node)),
            Command::Leave => self.leave(now, EndReason::Left),
            Command::Abandon => self.end(now, EndReason::Abandoned),
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        if self.connect_deadline.is_some_and(|deadline| deadline <= now) {
            self.connect_deadline = None;
            self.leave(now, EndReason::ConnectTimeout);
        }
        self.layers.evs.handle_input(now, evs::Input::Timeout);
        self.layers.gmcast.handle_input(now, gmcast::Input::Timeout);
        self.gcs_input(now, gcs::Input::Timeout);
    }

    fn gcs_input(&mut self, now: Instant, input: gcs::Input) {
        self.layers.gcs.handle_input(now, input);
    }

    fn change_weight(&mut self, now: Instant, weight: u8) {
        let Layers { pc, evs, .. } = &mut self.layers;
        let accept = |framed| evs.send(now, Order::Safe, pc::CONTROL_USER_TYPE, framed);
        if let Err(error) = pc.change_weight(weight, accept) {
            tracing::warn!(%error, weight, "weight not changed");
        }
    }

    /// Begins a graceful leave; the first reason stays.
    fn leave(&mut self, now: Instant, reason: EndReason) {
        if self.phase != Phase::Running {
            return;
        }
        self.phase = Phase::Leaving(reason);
        self.connect_deadline = None;
        // Nobody has heard of us.
        if self.opening != Opening::Open {
            self.on_evs_closed(now);
        }
    }

    /// Goes when no view is being agreed on. A change before the next primary view is installed is
    /// judged against the last one, in which whoever has just left counts as lost: our leave could
    /// cost the group a quorum that it has otherwise (spec 03 §3.4, 7.2 c).
    fn leave_if_calm(&mut self, now: Instant) {
        let is_due = matches!(self.phase, Phase::Leaving(_)) && self.opening == Opening::Open;
        if !is_due || self.is_view_changing() {
            return;
        }
        self.layers.pc.handle_input(now, pc::Input::Close);
        self.layers.evs.handle_input(now, evs::Input::Close);
        self.settle(now);
    }

    fn is_view_changing(&self) -> bool {
        let evs = self.layers.evs.state();
        let pc = self.layers.pc.state();
        matches!(evs, evs::StateKind::Gather | evs::StateKind::Install)
            || matches!(pc, pc::State::Transitional)
            || pc.is_exchanging()
    }

    /// Drops the links and ends.
    fn end(&mut self, now: Instant, reason: EndReason) {
        self.close_links(now);
        self.phase = Phase::Ended;
        self.connect_deadline = None;
        self.event(Event::Ended(reason));
    }

    fn close_links(&mut self, now: Instant) {
        self.layers.gmcast.handle_input(now, gmcast::Input::Close);
        while let Some(output) = self.layers.gmcast.poll_output() {
            self.perform_gmcast(now, output);
        }
        for link in std::mem::take(&mut self.links) {
            self.actions.push_back(Action::CloseLink { link });
        }
    }

    /// Begins the next life under the saved identity, exactly as a killed and restarted member would:
    /// only so can the others recover by themselves, whoever survived (spec 03 §7.3 rule 5).
    fn restart(&mut self, now: Instant, saved: &SavedView) {
        let transfer = self.layers.gcs.transfer().cloned();
        let known: Vec<_> = self.layers.gmcast.known_addresses().collect();
        self.close_links(now);
        let config = self.config.again(self.layers.gmcast.next_link(), known.into_iter());
        let restarted = saved.restarted();
        self.actions.push_back(Action::Persist(restarted.clone()));
        self.event(Event::Restarted { me: restarted.me });
        self.seed = self.seed.wrapping_add(1);
        self.layers = Layers::new(&config, &Identity::Saved(restarted), self.seed);
        #[cfg(any(test, feature = "testing"))]
        self.tap.note(|| Passed::Began(self.layers.me));
        self.start_layers(now);
        if let Some(transfer) = transfer {
            self.gcs_input(now, gcs::Input::FollowTransfer(transfer));
        }
    }

    fn event(&mut self, event: Event) {
        self.actions.push_back(Action::Event(event));
    }
}
