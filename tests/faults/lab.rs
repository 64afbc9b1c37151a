//! Three servers, garbd and our arbitrator, one per namespace, and what can be seen of them.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    support::{
        id_clock::{self, Rank},
        ledger,
        local::LocalServer,
        ports::Network,
        process::Process,
        seed,
        server::{Server, Start},
        server_log,
        writer::{Report, Writer},
    },
    wire::{self, Place, Weather, Wire},
};

/// The servers' places.
pub(crate) const SERVERS: [Place; 3] = [1, 2, 3];
/// garbd's place.
pub(crate) const GARBD: Place = 4;
/// Ours.
pub(crate) const OURS: Place = 5;
/// Everybody.
pub(crate) const ALL: [Place; 5] = [1, 2, 3, GARBD, OURS];

/// How often is looked.
const POLL: Duration = Duration::from_millis(100);

const GROUP: &str = "faults";

/// The whole.
pub(crate) struct Lab {
    pub(crate) servers: Vec<LocalServer>,
    arbitrators: [Arbitrator; 2],
    /// How many members make it whole.
    size: usize,
    wire: Wire,
    // Last: it removes the files of those above.
    _directory: TempDir,
}

/// garbd or ours.
struct Arbitrator {
    program: PathBuf,
    name: &'static str,
    network: Network,
    place: PathBuf,
    /// A script that runs it with another clock.
    clock: Option<String>,
    process: Option<Process>,
}

impl Lab {
    /// Builds it and waits until all five are in the group; says why if that is not possible here.
    pub(crate) fn build() -> Result<Self, String> {
        let wire = Wire::new(OURS)?;
        let directory = TempDir::with_prefix("galera-sst-faults-").expect("make a directory");
        let servers = SERVERS.map(|place| server(&wire, place, directory.path())).into();
        let arbitrators = [
            Arbitrator::new(&wire, GARBD, "garbd", "/usr/bin/garbd".into(), directory.path()),
            Arbitrator::new(
                &wire,
                OURS,
                "ours",
                crate::support::garbd::our_garbd(directory.path()),
                directory.path(),
            ),
        ];
        let size = ALL.len();
        let mut lab = Self { servers, arbitrators, size, wire, _directory: directory };
        lab.start();
        Ok(lab)
    }

    fn start(&mut self) {
        self.servers[0].start(&Start::Bootstrap);
        self.servers[0].wait_synced();
        ledger::create(&self.servers[0]);
        for index in 1..self.servers.len() {
            self.start_server(index);
            self.servers[index].wait_synced();
        }
        self.start_arbitrator(GARBD);
        self.start_arbitrator(OURS);
        self.wait_whole(Duration::from_secs(60)).expect("the group comes together");
    }

    /// Starts a server that is to find the others.
    pub(crate) fn start_server(&mut self, index: usize) {
        let peers = Start::Join(self.peers());
        self.servers[index].start(&peers);
    }

    fn peers(&self) -> String {
        self.servers.iter().map(Server::group_address).collect::<Vec<_>>().join(",")
    }

    /// Starts garbd or ours.
    pub(crate) fn start_arbitrator(&mut self, place: Place) {
        let peers = self.peers();
        self.arbitrator(place).start(&peers);
    }

    fn arbitrator(&mut self, place: Place) -> &mut Arbitrator {
        &mut self.arbitrators[usize::from(place == OURS)]
    }

    /// Sends a signal to whoever is there.
    pub(crate) fn signal(&mut self, place: Place, signal: Signal) {
        match SERVERS.iter().position(|server| *server == place) {
            Some(index) => self.servers[index].signal(signal),
            None => {
                if let Some(process) = &mut self.arbitrator(place).process {
                    process.signal(signal);
                }
            }
        }
    }

    /// Kills whoever is there.
    pub(crate) fn kill(&mut self, place: Place) {
        match SERVERS.iter().position(|server| *server == place) {
            Some(index) => self.servers[index].kill(),
            None => drop(self.arbitrator(place).process.take()),
        }
    }

    /// Brings back whoever was killed.
    pub(crate) fn bring_back(&mut self, place: Place) {
        match SERVERS.iter().position(|server| *server == place) {
            Some(index) => self.start_server(index),
            None => self.start_arbitrator(place),
        }
    }

    /// Has garbd or ours leave in order; the group is whole without it.
    pub(crate) fn dismiss(&mut self, place: Place) {
        if let Some(mut process) = self.arbitrator(place).process.take() {
            process.terminate(Duration::from_secs(40));
        }
        self.size -= 1;
    }

    /// Has ours leave in order and come back as the first of the group, its representative: with a
    /// clock that gives it the lowest id. It keeps that id in its directory.
    pub(crate) fn promote(&mut self) -> Result<(), String> {
        self.dismiss(OURS);
        self.wait_whole(Duration::from_secs(60))?;
        let ids = server_log::member_ids(&self.servers[0].log());
        self.arbitrator(OURS).clock = Some(id_clock::shifted_to(Rank::Lowest, &ids));
        self.employ(OURS);
        self.wait_whole(Duration::from_secs(60))?;
        self.arbitrator(OURS).clock = None;
        match self.representative() {
            (first, _) if first == Self::name(OURS) => Ok(()),
            (first, _) => Err(format!("{first} is the representative")),
        }
    }

    /// Takes it back.
    pub(crate) fn employ(&mut self, place: Place) {
        self.start_arbitrator(place);
        self.size += 1;
    }

    /// Changes what happens to packets.
    pub(crate) fn weather(&self, change: impl FnOnce(&mut Weather)) {
        self.wire.set(change);
    }

    /// Cuts the ways between two sides, both ways.
    pub(crate) fn part(&self, side: &[Place]) {
        let others: Vec<_> = ALL.into_iter().filter(|place| !side.contains(place)).collect();
        self.weather(|weather| {
            for (a, b) in side.iter().flat_map(|a| others.iter().map(move |b| (*a, *b))) {
                weather.cut.extend([(a, b), (b, a)]);
            }
        });
    }

    /// Fair weather again.
    pub(crate) fn heal(&self) {
        self.weather(|weather| *weather = Weather::default());
    }

    /// Has these running servers primary and those not, within the limit, and for a second longer.
    pub(crate) fn wait_primary(
        &mut self,
        expected: &[(Place, bool)],
        limit: Duration,
    ) -> Result<Duration, String> {
        wait(limit, |lab: &mut Self| lab.is_primary(expected), self)
    }

    fn is_primary(&self, expected: &[(Place, bool)]) -> Result<(), String> {
        for (place, wanted) in expected {
            let server = &self.servers[usize::from(*place) - 1];
            let status = server.try_status("wsrep_cluster_status").unwrap_or_default();
            if (status == "Primary") != *wanted {
                return Err(format!("{} is {status}", server.name()));
            }
        }
        Ok(())
    }

    /// All servers Synced in one primary component with all who are employed.
    pub(crate) fn wait_whole(&mut self, limit: Duration) -> Result<Duration, String> {
        wait(limit, |lab: &mut Self| lab.is_whole(), self)
    }

    fn is_whole(&mut self) -> Result<(), String> {
        for server in &mut self.servers {
            if !server.is_running() {
                return Err(format!("{} has stopped", server.name()));
            }
            let size = server.try_status("wsrep_cluster_size").unwrap_or_default();
            if !server.is_synced() || size != self.size.to_string() {
                let state = server.try_status("wsrep_local_state_comment").unwrap_or_default();
                return Err(format!("{} is {state} in a group of {size}", server.name()));
            }
        }
        Ok(())
    }

    /// The names in the last view that the first server has logged.
    pub(crate) fn members(&self, seen_by: usize) -> BTreeSet<String> {
        let views = server_log::views(&self.servers[seen_by].log());
        views.last().into_iter().flatten().cloned().collect()
    }

    /// Waits until a member is in the view of a server, or is not.
    pub(crate) fn wait_member(
        &mut self,
        name: &str,
        is_in: bool,
        limit: Duration,
    ) -> Result<Duration, String> {
        let check = |lab: &mut Self| {
            let members = lab.members(0);
            let is_there = members.contains(name) == is_in;
            if is_there { Ok(()) } else { Err(format!("n1 sees {members:?}")) }
        };
        wait(limit, check, self)
    }

    /// The name of whoever is there, as the group knows it.
    pub(crate) fn name(place: Place) -> String {
        match place {
            GARBD => "garbd".into(),
            OURS => "ours".into(),
            server => format!("n{server}"),
        }
    }

    /// The place of the group's representative, and of another server.
    pub(crate) fn representative(&self) -> (String, Place) {
        let views = server_log::views(&self.servers[0].log());
        let first = views.last().and_then(|members| members.first()).cloned().unwrap_or_default();
        let server = SERVERS.into_iter().find(|place| Self::name(*place) == first);
        (first, server.unwrap_or(SERVERS[0]))
    }

    /// Runs a fault under a write load at the first server.
    pub(crate) fn under_load<T>(&mut self, run: impl FnOnce(&mut Self) -> T) -> (T, Report) {
        let writer = Writer::start(1, &self.servers[0]);
        let result = run(self);
        (result, writer.stop())
    }

    /// What servers have to complain of that no fault explains.
    pub(crate) fn harm(&mut self) -> Option<String> {
        for server in &mut self.servers {
            let log = server.log();
            if !server.is_running() || server_log::starts(&log) != server.starts() {
                return Some(format!("{} stopped or restarted", server.name()));
            }
            let fatal = ["got signal", "Assertion", "Need to abort", "Inconsistency detected"];
            if let Some(line) = log.lines().find(|line| fatal.iter().any(|f| line.contains(f))) {
                return Some(format!("{}: {line}", server.name()));
            }
        }
        let arbitrators = self.arbitrators.iter_mut();
        arbitrators.into_iter().find_map(Arbitrator::harm)
    }

    /// The end of our arbitrator's log, for a row that went wrong.
    pub(crate) fn our_log(&mut self) -> String {
        let log = fs::read_to_string(self.arbitrator(OURS).place.join("log")).unwrap_or_default();
        crate::support::server::tail(&log)
    }
}

impl Arbitrator {
    fn new(
        wire: &Wire,
        place: Place,
        name: &'static str,
        program: PathBuf,
        directory: &Path,
    ) -> Self {
        let (namespace, host) = (wire.namespace(place).to_owned(), wire::address(place));
        let network = Network::Namespace { name: namespace, host };
        let place = directory.join(name);
        fs::create_dir_all(&place).expect("make a directory");
        Self { program, name, network, place, clock: None, process: None }
    }

    fn start(&mut self, peers: &str) {
        let mut command = match &self.clock {
            Some(script) => {
                let mut command = self.network.command("sh");
                command.args(["-c", script, "sh"]).arg(&self.program);
                command
            }
            None => self.network.command(&self.program),
        };
        command
            .args(["--name", self.name, "--group", GROUP, "--address", &format!("gcomm://{peers}")])
            .args(["--options", &format!("gmcast.listen_addr=tcp://{}", self.network.address(2))])
            .arg("--workdir")
            .arg(&self.place);
        let process = Process::spawn(self.name, &mut command, &self.place.join("log"));
        self.process = Some(process);
    }

    fn harm(&mut self) -> Option<String> {
        let is_running = self.process.as_mut().is_some_and(Process::is_running);
        (!is_running).then(|| format!("{} has ended by itself", self.name))
    }
}

fn server(wire: &Wire, place: Place, directory: &Path) -> LocalServer {
    let (namespace, host) = (wire.namespace(place).to_owned(), wire::address(place));
    let network = Network::Namespace { name: namespace, host };
    let name = Lab::name(place);
    let at = directory.join(&name);
    fs::create_dir_all(&at).expect("make a node's directory");
    let data = at.join("data");
    seed::copy_to(&data);
    if place != SERVERS[0] {
        let file = data.join("grastate.dat");
        let text = fs::read_to_string(&file).expect("read grastate.dat");
        let text = text.replace("safe_to_bootstrap: 1", "safe_to_bootstrap: 0");
        fs::write(&file, text).expect("write grastate.dat");
    }
    LocalServer::within(network, &name, GROUP, &at, data)
}

/// Asks until the answer is yes; the last objection if it never is.
fn wait<T>(
    limit: Duration,
    mut check: impl FnMut(&mut T) -> Result<(), String>,
    of: &mut T,
) -> Result<Duration, String> {
    let started = Instant::now();
    loop {
        match check(of) {
            Ok(()) => return Ok(started.elapsed()),
            Err(problem) if started.elapsed() > limit => {
                return Err(format!("{problem} after {} s", limit.as_secs()));
            }
            Err(_) => thread::sleep(POLL),
        }
    }
}
