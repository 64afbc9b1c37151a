//! Machines and the lines between them: what happens to them, and who starts them again.

use galera_protocol::evs;
use galera_protocol::gcs::{Name, Seqno};
use galera_protocol::gmcast;
use galera_protocol::gmcast::address::HostPort;
use galera_protocol::id::{NodeId, StateId};
use galera_protocol::member::{Command, Config, Identity, Input};
use galera_protocol::pc::SavedView;
use galera_protocol::testing::History;
use galera_protocol::time::Duration;

use super::{PORT, World, address};
use crate::operator::Cause;
use crate::process::{Kind, Machine, Process, Settings};
use crate::tcp::{self, Host};

impl World {
    // Machines.

    /// A machine that is not started yet. A member's weight is 0, a server's 1.
    pub(crate) fn add(&mut self, name: &str, kind: Kind) -> Host {
        let number = self.machines.len();
        let mut config = Config::default();
        config.gmcast.group = gmcast::GroupName::new("sim").expect("short");
        config.gmcast.listen = address(number);
        config.gcs.name = Name::new(name).expect("short");
        if kind == Kind::Data {
            config.pc.weight = 1;
            config.pc.leave_if_not_primary = false;
            config.evs.start = evs::Start::AloneIfUnanswered;
        }
        let settings = Settings { name: name.into(), kind, config };
        self.machines.push(Machine {
            number,
            settings,
            process: None,
            runs: 0,
            saved: None,
            last_life: None,
            history: History::none(),
            endings: Vec::new(),
            alarm: None,
        });
        number
    }

    pub(crate) fn add_all(&mut self, names: &[&str], kind: Kind) -> Vec<Host> {
        names.iter().map(|name| self.add(name, kind)).collect()
    }

    fn fresh_id(&mut self, host: Host) -> NodeId {
        let name = u8::try_from(host).expect("few hosts");
        let run = u8::try_from(self.machines[host].runs).unwrap_or(u8::MAX);
        NodeId::version1(self.random.next_u64() & 0xffff_ffff, 1, [name, run, 0, 0, 0, name])
    }

    /// Founds the group with the history that the server has.
    pub(crate) fn found(&mut self, host: Host) {
        self.machines[host].saved = None;
        self.machines[host].set_start(evs::Start::Bootstrap);
        if self.machines[host].history.group.is_nil() {
            let group = StateId::from_bytes([0xaa; 16]);
            self.machines[host].history = History::saved(group, Seqno(10));
        }
        self.oracle.forget_chain();
        self.start(host);
        self.machines[host].set_start(evs::Start::AloneIfUnanswered);
    }

    /// Starts the process of a machine, with whatever its last run has saved.
    pub(crate) fn start(&mut self, host: Host) {
        let identity = match self.machines[host].saved.clone() {
            Some(saved) => Identity::Saved(saved),
            None => {
                let machine = &mut self.machines[host];
                let ended = machine.process.as_ref().map(|process| process.me);
                self.oracle.forgotten.extend(machine.last_life.take().into_iter().chain(ended));
                Identity::Fresh(self.fresh_id(host))
            }
        };
        let others = (0..self.machines.len()).filter(|other| *other != host);
        let initial =
            others.map(|other| HostPort { host: address(other).ip().to_string(), port: PORT });
        let initial = initial.collect();
        let seed = self.random.next_u64();
        let machine = &mut self.machines[host];
        machine.runs += 1;
        let run = machine.runs;
        // UUIDs of links must differ between runs.
        machine.settings.config.gmcast.uuid_epoch = u64::from(run) << 40;
        machine.settings.config.gmcast.initial = initial;
        let history = machine.history.clone();
        let process = Process::new(&machine.settings, run, identity, seed, history);
        let me = process.me;
        machine.process = Some(process);
        self.tcp.start(tcp::Process { host, run });
        self.note(host, || format!("starts as {me}"));
        self.input(host, Input::Start);
    }

    pub(crate) fn start_all(&mut self, hosts: &[Host]) {
        hosts.iter().for_each(|host| self.start(*host));
    }

    /// The machine starts all over without its saved view.
    pub(crate) fn start_fresh(&mut self, host: Host) {
        self.machines[host].saved = None;
        self.start(host);
    }

    /// A server that was alone in its saved view would found the group again although others may
    /// have gone on without it: that is Galera's rule, and operators have to know it. Here they do.
    pub(crate) fn start_again(&mut self, host: Host) {
        if self.is_running(host) {
            return;
        }
        let was_alone = |saved: &SavedView| saved.members.len() == 1;
        let is_unsafe = self.machines[host].saved.as_ref().is_some_and(was_alone);
        if is_unsafe && self.running().next().is_some() {
            self.machines[host].saved = None;
        }
        self.start(host);
    }

    /// The operator's last resort: stops all who vote, for they may hold a primary component without
    /// data, begins with the server that has most, and starts the others again.
    pub(crate) fn begin_anew(&mut self, cause: Cause) {
        self.operator_calls.push(cause);
        for host in 0..self.machines.len() {
            if self.machines[host].settings.config.pc.weight > 0 {
                self.kill(host);
                self.machines[host].saved = None;
            }
        }
        let position =
            |machine: &&Machine| (!machine.history.group.is_nil(), machine.history.received);
        let servers = self.machines.iter().filter(|machine| machine.is_data());
        let Some(first) = servers.max_by_key(position).map(|machine| machine.number) else {
            return;
        };
        self.note(first, || format!("is told to begin anew: {cause:?}"));
        self.found(first);
        self.after(Duration::from_secs(5), |world| {
            (0..world.machines.len()).for_each(|host| world.start_again(host));
        });
    }

    /// The process dies, and its host says so.
    pub(crate) fn kill(&mut self, host: Host) {
        if let Some(process) = self.stop(host) {
            self.note(host, || "is killed".into());
            self.tcp.kill(self.now, process);
        }
    }

    /// The power goes: nobody says anything.
    pub(crate) fn switch_off(&mut self, host: Host) {
        if let Some(process) = self.stop(host) {
            self.note(host, || "is switched off".into());
            self.tcp.switch_off(process);
        }
    }

    fn stop(&mut self, host: Host) -> Option<tcp::Process> {
        let machine = &mut self.machines[host];
        let process = machine.process.take()?;
        machine.alarm = None;
        machine.last_life = Some(process.me);
        if machine.is_data() {
            machine.history = process.history().after_stop();
        }
        if !process.is_running() {
            return None;
        }
        self.coverage.add_counters(&process);
        Some(tcp::Process { host, run: process.run })
    }

    pub(crate) fn leave(&mut self, host: Host) {
        let Some(process) = self.machines[host].process.as_mut() else { return };
        if process.is_frozen || !process.is_running() {
            return;
        }
        process.is_leaving = true;
        self.oracle.leavers.insert(process.me);
        self.note(host, || "is told to leave".into());
        self.input(host, Input::Command(Command::Leave));
    }

    /// Somebody tells a running process something.
    pub(crate) fn command(&mut self, host: Host, command: Command) {
        let is_awake = self.machines[host].running().is_some_and(|process| !process.is_frozen);
        if is_awake {
            self.note(host, || format!("is told {command:?}"));
            self.input(host, Input::Command(command));
        }
    }

    /// Tells the oracle which votes there are now.
    pub(crate) fn note_votes(&mut self, host: Host) {
        if let Some(process) = self.machines[host].running() {
            self.oracle.note_votes(process);
        }
    }

    /// A server bans whoever runs on a host now.
    pub(crate) fn evict(&mut self, by: Host, whom: Host) {
        let Some(node) = self.machines[whom].running().map(|process| process.me) else { return };
        self.evicted.insert(node);
        self.command(by, Command::Evict(node));
    }

    /// A host's clock jumps. A clock set back stands still for the process until it has caught up.
    pub(crate) fn jump_clock(&mut self, host: Host, forward: bool, by: Duration) {
        let micros = u64::try_from(by.as_micros()).unwrap_or(0);
        let Some(process) = self.machines[host].process.as_mut() else { return };
        process.ahead_micros = if forward {
            process.ahead_micros + micros
        } else {
            process.ahead_micros.saturating_sub(micros)
        };
        self.machines[host].set_alarm();
        let way = if forward { "ahead" } else { "back" };
        self.note(host, || format!("has its clock set {way} by {by:?}"));
    }

    pub(crate) fn freeze(&mut self, host: Host) {
        if let Some(process) = self.machines[host].process.as_mut() {
            process.is_frozen = true;
            self.machines[host].set_alarm();
            self.note(host, || "freezes".into());
        }
    }

    pub(crate) fn thaw(&mut self, host: Host) {
        let Some(process) = self.machines[host].process.as_mut() else { return };
        if !core::mem::take(&mut process.is_frozen) {
            return;
        }
        self.machines[host].set_alarm();
        self.note(host, || "thaws".into());
        if self.reads_in_batches(host) {
            return self.read_batch(host);
        }
        let process = self.machines[host].process.as_mut();
        let inbox = process.map(|process| core::mem::take(&mut process.inbox)).unwrap_or_default();
        for (link, heard) in inbox {
            self.hear(host, link, heard);
        }
    }

    // Lines.

    pub(crate) fn cut(&mut self, one: Host, other: Host) {
        self.note(one, || format!("is cut off from host {other}"));
        self.tcp.cut(one, other);
        self.tcp.cut(other, one);
    }

    pub(crate) fn split(&mut self, side: &[Host]) {
        for one in 0..self.machines.len() {
            for other in 0..one {
                if side.contains(&one) != side.contains(&other) {
                    self.cut(one, other);
                }
            }
        }
    }

    pub(crate) fn mend_all(&mut self) {
        self.note(0, || "all lines work".into());
        self.tcp.mend_all(self.now);
    }

    /// The connections between two hosts break.
    pub(crate) fn break_between(&mut self, one: Host, other: Host) {
        self.note(one, || format!("loses its connections to host {other}"));
        for arrival in self.tcp.break_between(one, other) {
            self.arrive(arrival);
        }
    }
}
