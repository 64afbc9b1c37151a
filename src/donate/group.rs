//! A group of our own: members of the real core that know each other, share one state, and serve
//! whoever asks for it.
//!
//! They begin one after the other, each at the position that the group has then, as servers would
//! that were stopped there: so no transfer is needed among them. Not here: arguments and printing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use galera_protocol::evs;
use galera_protocol::gcs::{self, Donation, OwnState, Protocols, Seqno, Status};
use galera_protocol::gmcast::address::HostPort;
use galera_protocol::id::StateId;
use galera_protocol::member::{Command, EndReason, Event};
use galera_protocol::sst::metadata::Position;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::fault::Verdict;
use super::script::{Script, Served, read_request};
use crate::config::{Group, GroupError};
use crate::member::{self, Handle, Picture, StartError};

/// Protocols of the servers that are around: a guest that knows more does not mind.
const PROTOCOLS: Protocols = Protocols { gcs: 5, repl: 11, appl: 4 };

/// How long a member may take until it is in the group with its state.
const START_LIMIT: Duration = Duration::from_secs(30);

/// Others may join between two members, so that the second one begins behind: it tries again.
const ATTEMPTS_MAX: u32 = 5;

/// Reports that may wait for whoever reads them.
const REPORTS_QUEUED: usize = 64;

/// What the group is like.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// How to join it: name, options, keys. Address and node name are filled in.
    pub group: Group,
    /// Where the members listen.
    pub addresses: Vec<SocketAddr>,
    /// Where its history begins.
    pub position: Position,
    /// How each of them serves.
    pub script: Script,
    /// So many donations have the script's faults, the ones after them have none.
    pub faulty: u32,
}

/// Why there is no group.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be as described.
    #[error(transparent)]
    Group(#[from] GroupError),
    /// A port is taken.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A member did not come up.
    #[error("member {name} is not in the group after {} s", START_LIMIT.as_secs())]
    NotJoined {
        /// Its name.
        name: String,
    },
    /// Others came and went all the time.
    #[error("member {name} found the group somewhere else {ATTEMPTS_MAX} times")]
    Behind {
        /// Its name.
        name: String,
    },
}

/// What happened in the group.
#[derive(Debug)]
pub enum Report {
    /// A member was chosen as donor.
    Begun {
        /// Its name.
        donor: String,
        /// What was asked for.
        donation: Box<Donation>,
    },
    /// A donation ended.
    Ended {
        /// The donor's name.
        donor: String,
        /// How.
        served: Served,
    },
    /// A member is not in the group any more.
    Gone {
        /// Its name.
        member: String,
        /// Why.
        reason: EndReason,
    },
}

/// A running group.
#[derive(Debug)]
pub struct Embedded {
    /// Where it stands, and in which history.
    pub position: Position,
    /// Names of the members.
    pub names: Vec<String>,
    reports: mpsc::Receiver<Report>,
    members: JoinSet<()>,
    stop: CancellationToken,
}

impl Embedded {
    /// Starts the members; returns when all of them can be donors.
    pub async fn start(config: GroupConfig) -> Result<Self, Error> {
        let (sender, reports) = mpsc::channel(REPORTS_QUEUED);
        let donors = Arc::new(Donors {
            script: config.script.clone(),
            faulty: AtomicU32::new(config.faulty),
            reports: sender,
        });
        let stop = CancellationToken::new();
        let (mut members, mut names) = (JoinSet::new(), Vec::new());
        let mut position = config.position;
        for index in 0..config.addresses.len() {
            let name = format!("donor-{}", index + 1);
            let handle = join(&config, index, &name, &mut position).await?;
            let member = MemberTask { name: name.clone(), handle, donors: Arc::clone(&donors) };
            members.spawn(member.run(stop.clone()));
            names.push(name);
        }
        Ok(Self { position, names, reports, members, stop })
    }

    /// What happens next; none once all members are gone.
    pub async fn next_report(&mut self) -> Option<Report> {
        self.reports.recv().await
    }

    /// Lets all members leave.
    pub async fn stop(mut self) {
        self.stop.cancel();
        self.reports.close();
        while self.members.join_next().await.is_some() {}
    }
}

/// Brings a member into the group, with the group's position.
async fn join(
    config: &GroupConfig,
    index: usize,
    name: &str,
    position: &mut Position,
) -> Result<Handle, Error> {
    for _ in 0..ATTEMPTS_MAX {
        let handle = member::start(member_config(config, index, name, *position)?)?;
        let settled = timeout(START_LIMIT, settle(&handle)).await;
        let Ok(Some(status)) = settled else {
            return Err(Error::NotJoined { name: name.to_owned() });
        };
        let seqno = handle.status().seqno.map_or(position.seqno, |Seqno(seqno)| seqno);
        *position = Position { seqno, ..*position };
        if status == Status::Synced {
            return Ok(handle);
        }
        handle.leave(|_| {}).await;
        // The leave was a configuration too.
        *position = Position { seqno: seqno + 1, ..*position };
    }
    Err(Error::Behind { name: name.to_owned() })
}

/// Waits until the group has decided what the member is: SYNCED, or without state. None: it ended.
/// Its events stay for whoever minds it later.
async fn settle(handle: &Handle) -> Option<Status> {
    let mut pictures = handle.pictures();
    let decided = |picture: &Picture| {
        own_status(&picture.status).filter(|status| is_decided(*status)).is_some()
    };
    let picture = pictures.wait_for(decided).await.ok()?;
    own_status(&picture.status)
}

fn is_decided(status: Status) -> bool {
    match status {
        Status::Synced | Status::Primary => true,
        Status::NonPrimary
        | Status::Joiner
        | Status::Donor
        | Status::Joined
        | Status::Unknown(_) => false,
    }
}

fn own_status(status: &galera_protocol::member::Status) -> Option<Status> {
    let is_primary = status.gcs == gcs::state::StateKind::Primary;
    let row = status.members.iter().find(|member| member.node == status.me && is_primary);
    row.map(|row| row.status)
}

fn member_config(
    config: &GroupConfig,
    index: usize,
    name: &str,
    position: Position,
) -> Result<member::Config, Error> {
    let all: Vec<_> = config.addresses.iter().map(ToString::to_string).collect();
    let group = Group {
        address: format!("gcomm://{}", all.join(",")),
        node_name: name.to_owned(),
        weight: 1,
        ..config.group.clone()
    };
    let mut member = group.check()?;
    let (core, is_founder) = (&mut member.core, index == 0);
    core.gmcast.listen = config.addresses[index];
    core.gmcast.initial = config.addresses[..index].iter().map(host_and_port).collect();
    core.pc.leave_if_not_primary = false;
    core.pc.start_primary = is_founder;
    if is_founder {
        core.evs.start = evs::Start::Bootstrap;
    }
    core.freeze_limit = None;
    core.gcs.protocols = PROTOCOLS;
    let Position { state, seqno } = position;
    core.gcs.own_state = Some(OwnState { state, seqno: Seqno(seqno), is_founder });
    Ok(member)
}

fn host_and_port(address: &SocketAddr) -> HostPort {
    HostPort { host: address.ip().to_string(), port: address.port() }
}

/// What all members share.
#[derive(Debug)]
struct Donors {
    script: Script,
    faulty: AtomicU32,
    reports: mpsc::Sender<Report>,
}

impl Donors {
    /// The script of the next donation.
    fn next_script(&self) -> Script {
        let take_one = |left: u32| left.checked_sub(1);
        let taken = self.faulty.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one);
        let mut script = self.script.clone();
        if taken.is_err() {
            script.faults.clear();
        }
        script
    }
}

/// A member and its donations.
struct MemberTask {
    name: String,
    handle: Handle,
    donors: Arc<Donors>,
}

impl MemberTask {
    async fn run(mut self, stop: CancellationToken) {
        let mut serving = JoinSet::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                event = self.handle.next_event() => match event {
                    None => return,
                    Some(Event::Ended(reason)) => return self.say_gone(reason).await,
                    Some(Event::Gcs(gcs::Event::DonationBegun(donation))) => {
                        self.begin(donation, &mut serving).await;
                    }
                    Some(Event::Gcs(_) | Event::Link(_) | Event::Pc(_) | Event::Restarted { .. }) => {}
                },
                Some(served) = serving.join_next() => {
                    let Ok(served) = served else { continue };
                    let verdict = served.verdict;
                    self.say_ended(served).await;
                    if !self.follow(verdict).await {
                        break;
                    }
                }
            }
        }
        // What is being sent ends with the donor, as with a server.
        drop(serving);
        self.handle.leave(|_| {}).await;
    }

    async fn begin(&self, donation: Box<Donation>, serving: &mut JoinSet<Served>) {
        let script = self.donors.next_script();
        let request = read_request(&donation.request);
        let position = Position { state: donation.state, seqno: donation.seqno.0 };
        serving.spawn(async move { script.run(request, position).await });
        self.report(Report::Begun { donor: self.name.clone(), donation }).await;
    }

    /// Does what the donation's end demands; false if the member is to leave.
    async fn follow(&self, verdict: Verdict) -> bool {
        match verdict {
            Verdict::Report(code) => self.handle.command(Command::EndDonation(code)).await,
            Verdict::Silence => {}
            Verdict::Crash => self.handle.command(Command::Abandon).await,
            Verdict::Leave => return false,
        }
        true
    }

    async fn say_ended(&self, served: Served) {
        self.report(Report::Ended { donor: self.name.clone(), served }).await;
    }

    async fn say_gone(&self, reason: EndReason) {
        self.report(Report::Gone { member: self.name.clone(), reason }).await;
    }

    /// Nobody needs to listen.
    async fn report(&self, report: Report) {
        let _ = self.donors.reports.send(report).await;
    }
}

/// A new history, for a group that has none.
pub fn new_history() -> Position {
    let state = StateId::from_bytes(uuid::Uuid::new_v4().into_bytes());
    Position { state, seqno: 1 }
}
