//! One task around the core: inputs in, actions out, nothing decided.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use galera_protocol::NodeId;
use galera_protocol::gmcast::config::CALLERS_MAX;
use galera_protocol::gmcast::{self, LinkEnd, LinkId};
use galera_protocol::member::{Action, Command, Event, Identity, Input, Member};
use galera_protocol::pc::SavedView;
use galera_protocol::time::Instant as CoreInstant;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::alarm::Alarm;
use super::identity::{StateDirectory, fresh_node_id, uuid_timestamp};
use super::link::{self, Link, LinkEvent};
use super::links::Links;
use super::outbox::Full;
use super::picture::{Picture, Traffic};
use super::watchdog::{HEARTBEAT_PERIOD, Heartbeat};
use super::{Config, StartError};
use crate::net::socket::{self, Options};
use crate::net::stream::{self, ConnectError, Security, Stream};

/// After an accept that failed, most likely for want of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// The part of `gmcast.peer_timeout` that TCP and TLS may take together, in either role.
const DIAL_SHARE: f64 = 0.8;

/// What a finished dial or look-up brings back.
enum Outcome {
    Dialled {
        link: LinkId,
        result: Result<Stream, ConnectError>,
    },
    /// A caller has finished its TLS handshake, or was given up.
    Accepted {
        caller: Option<(Stream, SocketAddr)>,
    },
    Resolved {
        host: String,
        port: u16,
        addresses: Vec<IpAddr>,
    },
}

/// Owns the core and everything that the core acts through.
pub(super) struct Driver {
    core: Member,
    origin: Instant,
    listener: TcpListener,
    directory: Option<StateDirectory>,
    links: Links,
    /// What has come in on the links and is not handled yet; empty between two steps.
    inbox: Vec<(LinkId, LinkEvent)>,
    accepted: u32,
    dial_limit: Duration,
    security: Security,
    /// Callers in their TLS handshake, oldest first.
    callers: VecDeque<AbortHandle>,
    linger: Duration,
    leave_deadline: Option<Instant>,
    /// Callers have to wait until then.
    accepts_again: Option<Instant>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<Event>,
    picture: watch::Sender<Picture>,
    traffic: Traffic,
    saved: Option<SavedView>,
    alarm: Alarm,
    outcomes: JoinSet<Outcome>,
    heartbeat: Heartbeat,
    has_ended: bool,
    has_news: bool,
}

impl Driver {
    /// Binds the listener, takes or makes the identity, and builds the core.
    pub(super) fn new(
        config: Config,
        commands: mpsc::Receiver<Command>,
        events: mpsc::Sender<Event>,
    ) -> Result<(Self, watch::Receiver<Picture>), StartError> {
        let directory = config.state_directory.as_deref().map(StateDirectory::open).transpose()?;
        let on_disk = directory.as_ref().and_then(StateDirectory::load);
        let saved = on_disk.or(config.saved);
        let listener = listen(config.core.gmcast.listen)?;
        let mut core_config = config.core;
        core_config.gmcast.uuid_epoch = uuid_timestamp();
        if let Ok(bound) = listener.local_addr() {
            core_config.gmcast.listen.set_port(bound.port());
        }
        core_config.gmcast.tls = config.security.advertises_tls();
        let links = Links::new(core_config.checksum);
        // The core gives a dial up after the whole time-out; our own reason has to come before.
        let dial_limit = core_config.gmcast.peer_timeout.mul_f64(DIAL_SHARE);
        let (fresh, seed) = random_identity();
        let identity = saved.clone().map_or(Identity::Fresh(fresh), Identity::Saved);
        let core = Member::new(core_config, identity, seed);
        let traffic = Traffic::default();
        let (status, taken) = (core.status(), Instant::now());
        let first = Picture { status, traffic, taken, saved: saved.clone() };
        let (picture, pictures) = watch::channel(first);
        let driver = Self {
            core,
            origin: Instant::now(),
            listener,
            directory,
            links,
            inbox: Vec::new(),
            accepted: 0,
            dial_limit,
            security: config.security,
            callers: VecDeque::new(),
            linger: config.linger,
            leave_deadline: None,
            accepts_again: None,
            commands,
            events,
            picture,
            traffic,
            saved,
            alarm: Alarm::new(),
            outcomes: JoinSet::new(),
            heartbeat: Heartbeat::start(),
            has_ended: false,
            has_news: false,
        };
        Ok((driver, pictures))
    }

    /// Runs until the core has ended, then lets the links flush.
    pub(super) async fn run(mut self) {
        self.input(Input::Start);
        while !self.has_ended {
            self.heartbeat.beat();
            self.step().await;
        }
        self.links.close_all().await;
    }

    /// What is due comes first: peers that never pause must not stop the clock. Of the rest each
    /// has its turn, whatever one of them floods us with.
    async fn step(&mut self) {
        let wake_up = self.wake_up();
        if wake_up <= Instant::now() {
            self.on_wake_up();
        } else {
            self.alarm.set(wake_up);
            self.wait().await;
        }
        self.links.write().await;
    }

    async fn wait(&mut self) {
        tokio::select! {
            () = self.links.read(&mut self.inbox) => self.on_link_events(),
            Some(outcome) = self.outcomes.join_next() => self.on_outcome(outcome),
            command = self.commands.recv() => self.on_command(command),
            accepted = self.listener.accept(), if self.accepts_again.is_none() => {
                self.on_accepted(accepted);
            }
            // Whatever is due is seen to in the next step.
            () = self.alarm.ring() => {}
        }
    }

    /// Everything that has come in on all links is handled before anything is answered: so the core
    /// can acknowledge all of it at once.
    fn on_link_events(&mut self) {
        let now = self.now();
        let mut inbox = std::mem::take(&mut self.inbox);
        for (link, event) in inbox.drain(..) {
            self.on_link_event(now, link, event);
        }
        self.inbox = inbox;
        self.act();
    }

    /// The core's deadline, the leave's, or the next heartbeat: whichever is first.
    fn wake_up(&self) -> Instant {
        let core = self
            .core
            .next_deadline()
            .map(|deadline| self.origin + Duration::from_micros(deadline.as_micros()));
        [core, self.leave_deadline, self.accepts_again]
            .into_iter()
            .flatten()
            .fold(Instant::now() + HEARTBEAT_PERIOD, Instant::min)
    }

    fn now(&self) -> CoreInstant {
        let micros = self.origin.elapsed().as_micros();
        CoreInstant::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
    }

    fn input(&mut self, input: Input) {
        let now = self.now();
        self.core.handle_input(now, input);
        self.act();
    }

    /// Does what the core wants done.
    fn act(&mut self) {
        while let Some(action) = self.core.poll_action() {
            self.perform(action);
        }
        if std::mem::take(&mut self.has_news) {
            self.show();
        }
    }

    fn show(&self) {
        let (status, traffic, saved) = (self.core.status(), self.traffic, self.saved.clone());
        let taken = Instant::now();
        self.picture.send_replace(Picture { status, traffic, taken, saved });
    }

    fn link_input(&mut self, input: gmcast::Input) {
        self.input(Input::Link(input));
    }

    fn on_link_event(&mut self, now: CoreInstant, link: LinkId, event: LinkEvent) {
        let input = match event {
            LinkEvent::Frame(body) => {
                self.traffic.frames_received += 1;
                self.traffic.bytes_received += body.len() as u64;
                gmcast::Input::Frame { link, body }
            }
            LinkEvent::Closed(end) => {
                self.links.close(link);
                gmcast::Input::Closed { link, end }
            }
        };
        self.core.handle_input(now, Input::Link(input));
    }

    fn on_outcome(&mut self, outcome: Result<Outcome, tokio::task::JoinError>) {
        match outcome {
            Ok(Outcome::Resolved { host, port, addresses }) => {
                self.link_input(gmcast::Input::Resolved { host, port, addresses });
            }
            Ok(Outcome::Dialled { link, result: Ok(stream) }) => self.on_dialled(link, stream),
            Ok(Outcome::Dialled { link, result: Err(error) }) => {
                self.link_input(gmcast::Input::Closed { link, end: link::end_of_dial(&error) });
            }
            Ok(Outcome::Accepted { caller }) => self.on_caller(caller),
            Err(error) if error.is_cancelled() => debug!("a caller made room for another one"),
            Err(error) => warn!(%error, "a dial or look-up task failed"),
        }
    }

    fn on_dialled(&mut self, link: LinkId, stream: Stream) {
        match (stream.tcp().local_addr(), stream.tcp().peer_addr()) {
            (Ok(local), Ok(remote)) => {
                self.start_link(link, stream, remote);
                self.link_input(gmcast::Input::Connected { link, local, remote });
            }
            (Err(error), _) | (_, Err(error)) => {
                self.link_input(gmcast::Input::Closed { link, end: link::end_of(&error) });
            }
        }
    }

    fn on_accepted(&mut self, accepted: io::Result<(TcpStream, SocketAddr)>) {
        let (stream, remote) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(%error, "accept a group connection");
                self.accepts_again = Some(Instant::now() + ACCEPT_PAUSE);
                return;
            }
        };
        if let Err(error) = Options::LINK.apply(&stream) {
            return debug!(%remote, %error, "set options of a group connection");
        }
        match &self.security {
            Security::Plain | Security::Dynamic(None) => {
                self.on_caller(Some((Stream::Plain(stream), remote)));
            }
            Security::Tls(_) | Security::Dynamic(Some(_)) => self.greet(stream, remote),
        }
    }

    /// Lets a caller do its TLS handshake. Of too many the one that has dawdled longest gives way.
    fn greet(&mut self, stream: TcpStream, remote: SocketAddr) {
        self.callers.retain(|caller| !caller.is_finished());
        if self.callers.len() >= CALLERS_MAX {
            self.callers.pop_front().inspect(AbortHandle::abort);
        }
        let (security, limit) = (self.security.clone(), self.dial_limit);
        let caller = self.outcomes.spawn(async move {
            let greeted = stream::accept(&security, stream, limit).await;
            let greeted = greeted.inspect_err(|failure| {
                info!(%remote, %failure, "caller turned away");
            });
            Outcome::Accepted { caller: greeted.ok().map(|stream| (stream, remote)) }
        });
        self.callers.push_back(caller);
    }

    fn on_caller(&mut self, caller: Option<(Stream, SocketAddr)>) {
        let Some((stream, remote)) = caller else { return };
        let Ok(local) = stream.tcp().local_addr() else { return };
        let link = LinkId::Accepted(self.accepted);
        self.accepted = self.accepted.wrapping_add(1);
        self.traffic.links_accepted += 1;
        self.start_link(link, stream, remote);
        self.link_input(gmcast::Input::Accepted { link, local, remote });
    }

    fn start_link(&mut self, link: LinkId, stream: Stream, remote: SocketAddr) {
        self.links.insert(link, Link::new(stream, remote));
    }

    fn on_command(&mut self, command: Option<Command>) {
        let command = command.unwrap_or(Command::Leave);
        if matches!(command, Command::Leave) && self.leave_deadline.is_none() {
            self.leave_deadline = Some(Instant::now() + self.linger);
        } else if matches!(command, Command::Leave) {
            // The handle is gone and a leave is under way: only its deadline is left to wait for.
            self.commands.close();
        }
        self.input(Input::Command(command));
    }

    fn on_wake_up(&mut self) {
        if self.leave_deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            warn!(linger = ?self.linger, "the group did not confirm our leave: dropping the links");
            self.leave_deadline = None;
            self.input(Input::Command(Command::Abandon));
        }
        self.accepts_again.take_if(|again| *again <= Instant::now());
        // Positions and counts move without events; whoever watches shall see that.
        self.has_news |= self.picture.borrow().taken.elapsed() >= HEARTBEAT_PERIOD;
        self.input(Input::Timeout);
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::Resolve { host, port } => self.resolve(host, port),
            // A group uses TLS on every link or on none, unless it is dynamic.
            Action::Dial { link, remote, bind, tls: _ } => self.dial(link, remote, bind),
            Action::SendFrame { link, body, is_user } => self.send(link, &body, is_user),
            Action::CloseLink { link } => self.links.close(link),
            Action::Persist(view) => self.persist(&view),
            Action::Forget => self.forget(),
            Action::Event(event) => self.tell(event),
        }
    }

    fn resolve(&mut self, host: String, port: u16) {
        self.outcomes.spawn(async move {
            let found = tokio::net::lookup_host((host.as_str(), port)).await;
            let addresses = found.map(|all| all.map(|a| a.ip()).collect()).unwrap_or_default();
            Outcome::Resolved { host, port, addresses }
        });
    }

    fn dial(&mut self, link: LinkId, remote: SocketAddr, bind: Option<IpAddr>) {
        let (security, limit) = (self.security.clone(), self.dial_limit);
        self.outcomes.spawn(async move {
            let result = stream::dial(&security, remote, bind, limit).await;
            Outcome::Dialled { link, result }
        });
    }

    /// A full outbox costs user messages, which EVS repeats; anything else that does not fit costs
    /// the link (spec 01 §7.3).
    fn send(&mut self, link: LinkId, body: &[u8], is_user: bool) {
        match self.links.send(link, body) {
            Ok(true) => {
                self.traffic.frames_sent += 1;
                self.traffic.bytes_sent += body.len() as u64;
            }
            Ok(false) => {}
            Err(Full) => {
                self.traffic.frames_dropped += 1;
                if !is_user {
                    self.links.close(link);
                    self.link_input(gmcast::Input::Closed { link, end: LinkEnd::QueueFull });
                }
            }
        }
    }

    fn persist(&mut self, view: &SavedView) {
        self.saved = Some(view.clone());
        let Some(directory) = &self.directory else { return };
        if let Err(error) = directory.save(view) {
            warn!(%error, "save the primary view: a restart would take a new identity");
        }
    }

    fn forget(&mut self) {
        self.saved = None;
        if let Some(Err(error)) = self.directory.as_ref().map(StateDirectory::forget) {
            warn!(%error, "remove the saved view");
        }
    }

    fn tell(&mut self, event: Event) {
        self.has_ended |= matches!(event, Event::Ended(_));
        self.has_news = true;
        self.traffic.restarts += u64::from(matches!(event, Event::Restarted { .. }));
        debug!(?event, "member event");
        if let Err(mpsc::error::TrySendError::Full(_)) = self.events.try_send(event) {
            info!("nobody reads the member's events: leaving the group");
            self.commands.close();
        }
    }
}

fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    socket::listen(address, Options::LINK).map_err(|source| StartError::Listen { address, source })
}

/// A fresh UUID, and a seed that no other process has.
fn random_identity() -> (NodeId, u64) {
    let [a, b, c, d, e, f, g, h, seed @ ..] = uuid::Uuid::new_v4().into_bytes();
    (fresh_node_id([a, b, c, d, e, f, g, h]), u64::from_le_bytes(seed))
}
