//! Random lives: whatever can happen to a group happens, then everything is well again.

use galera_protocol::gcs::{Conditions, Request};
use galera_protocol::id::Segment;
use galera_protocol::member::{Command, EndReason};
use galera_protocol::planted::{Bug, Planted};
use galera_protocol::testing::Random;
use galera_protocol::time::Duration;

use crate::operator::Cause;
use crate::process::{Kind, Process};
use crate::tcp::Host;
use crate::world::World;

/// After three rounds without a group, or six without all of it, the operator is asked.
const FRUITLESS_ROUNDS_MAX: u32 = 6;

/// Most hosts that a life has.
const NAMES: [&str; 5] = ["h1", "h2", "h3", "h4", "h5"];

pub(crate) struct Life {
    pub(crate) world: World,
    servers: Vec<Host>,
    guests: Vec<Host>,
}

/// What is special about a life besides its seed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms {
    /// Everybody has this bug, or only the guests do.
    pub(crate) bug: Option<Bug>,
    /// Servers follow only the rules that real ones have; ours follows all of its own.
    pub(crate) stock_servers: bool,
}

impl Life {
    /// A running group of one to four servers, and guests up to five members.
    fn begin(seed: u64, terms: Terms) -> Self {
        let mut world = World::new(seed);
        let server_count = [1, 2, 2, 3, 3, 3, 4][below(&mut world.random, 7)];
        let servers = world.add_all(&NAMES[..server_count], Kind::Data);
        let guests = world.add_all(&NAMES[server_count..], Kind::Ours);
        for server in &servers {
            let weight = if world.random.percent(20) { 2 } else { 1 };
            world.machines[*server].settings.config.pc.weight = weight;
        }
        for guest in &guests {
            if world.random.percent(15) {
                let pc = &mut world.machines[*guest].settings.config.pc;
                (pc.weight, pc.leave_if_not_primary) = (1, false);
            }
        }
        choose_sites(&mut world);
        choose_patience(&mut world);
        plant(&mut world, terms.bug);
        for server in servers.iter().filter(|_| terms.stock_servers) {
            world.machines[*server].settings.config.evs.imitates_servers = true;
        }
        world.tcp.drop_percent = [0, 0, 5, 15][below(&mut world.random, 4)];
        world.found(servers[0]);
        world.run_seconds(1);
        world.start_all(&servers[1..]);
        world.start_all(&guests);
        Self { world, servers, guests }
    }

    fn hosts(&self) -> usize {
        self.world.machines.len()
    }

    fn some_host(&mut self) -> Host {
        let hosts = self.hosts();
        below(&mut self.world.random, hosts)
    }

    fn seconds(&mut self, most: u64) -> Duration {
        Duration::from_millis(self.world.random.between(20, most * 1000))
    }

    /// One thing that goes wrong now, and perhaps right again later.
    fn misfortune(&mut self) {
        let (one, other) = (self.some_host(), self.some_host());
        let for_long = self.seconds(20);
        match self.world.random.below(20) {
            0 => self.cut_both(one, other, for_long),
            1 => self.cut_one_way(one, other, for_long),
            2 | 3 => self.split(for_long),
            4 => {
                self.world.freeze(one);
                self.world.after(for_long, move |world| world.thaw(one));
            }
            5 | 6 => self.crash(one, for_long / 2),
            7 => self.world.break_between(one, other),
            8 => {
                self.crash(one, for_long / 4);
                self.crash(other, for_long / 4);
            }
            9 => self.server_leaves(one, for_long / 4),
            10 => self.guest_leaves(for_long / 4),
            11 => self.lose_one_way(one, other, for_long),
            12 => self.clock_jumps(one, for_long),
            13 => self.forget_and_crash(one, for_long / 2),
            14 => self.vote_changes(),
            15 => self.guest_is_banned(),
            16 | 17 => self.guest_wants_state(),
            _ => self.weather(),
        }
    }

    fn cut_both(&mut self, one: Host, other: Host, duration: Duration) {
        self.world.cut(one, other);
        self.world.after(duration, move |world| {
            let now = world.now;
            world.tcp.mend(now, one, other);
            world.tcp.mend(now, other, one);
        });
    }

    fn cut_one_way(&mut self, one: Host, other: Host, duration: Duration) {
        self.world.note(one, || format!("cannot reach host {other}"));
        self.world.tcp.cut(one, other);
        self.world.after(duration, move |world| world.tcp.mend(world.now, one, other));
    }

    fn split(&mut self, duration: Duration) {
        let hosts = self.hosts();
        let side: Vec<Host> = (0..hosts).filter(|_| self.world.random.percent(50)).collect();
        self.world.split(&side);
        self.world.after(duration, World::mend_all);
    }

    /// Dies in one of two ways, and comes back by what it has saved.
    fn crash(&mut self, host: Host, pause: Duration) {
        if !self.world.is_running(host) {
            return;
        }
        if self.world.random.percent(50) {
            self.world.kill(host);
        } else {
            self.world.switch_off(host);
        }
        self.world.after(pause, move |world| world.start_again(host));
    }

    fn lose_one_way(&mut self, one: Host, other: Host, duration: Duration) {
        let percent = self.world.random.between(10, 90);
        self.world.note(one, || format!("loses {percent} % on the way to host {other}"));
        self.world.tcp.set_loss(one, other, percent);
        self.world.after(duration, move |world| world.tcp.set_loss(one, other, 0));
    }

    fn clock_jumps(&mut self, host: Host, by: Duration) {
        let forward = self.world.random.percent(70);
        self.world.jump_clock(host, forward, by);
    }

    /// Dies and comes back as somebody else. A server that was the whole group is its memory, so
    /// that is spared.
    fn forget_and_crash(&mut self, host: Host, pause: Duration) {
        if self.servers == [host] {
            return self.crash(host, pause);
        }
        self.world.kill(host);
        self.world.machines[host].saved = None;
        self.world.after(pause, move |world| world.start_again(host));
    }

    /// An operator changes a vote while all is well; spec 03 has what happens otherwise.
    fn vote_changes(&mut self) {
        let voters = self.voters();
        let Some(voter) = self.world.random.choose(&voters).copied() else { return };
        if self.is_calm() {
            let weight = u8::try_from(self.world.random.between(1, 3)).expect("small");
            self.world.command(voter, Command::ChangeWeight(weight));
            self.world.machines[voter].settings.config.pc.weight = weight;
            self.world.run(Duration::from_secs(5));
            self.world.note_votes(voter);
        }
    }

    fn voters(&self) -> Vec<Host> {
        let votes = |host: &Host| self.world.machines[*host].settings.config.pc.weight > 0;
        (0..self.hosts()).filter(votes).collect()
    }

    /// Nothing is wrong now, nor will be within the next seconds.
    fn is_calm(&self) -> bool {
        self.world.is_whole()
            && self.world.tcp.is_flawless()
            && self.world.running().all(|process| !process.is_frozen)
            && self.world.running().count() == self.hosts()
            && !self.world.has_plans_within(Duration::from_secs(10))
    }

    fn guest_is_banned(&mut self) {
        let (guests, servers) = (self.guests.clone(), self.servers.clone());
        let guest = self.world.random.choose(&guests).copied();
        let server = self.world.random.choose(&servers).copied();
        if let (Some(guest), Some(server)) = (guest, server) {
            self.world.evict(server, guest);
            self.world.after(Duration::from_secs(8), move |world| world.start_again(guest));
        }
    }

    fn guest_wants_state(&mut self) {
        let guests = self.guests.clone();
        let Some(guest) = self.world.random.choose(&guests).copied() else { return };
        let command = match self.world.random.below(6) {
            0 => Command::CancelRequest,
            1 => Command::DataEnded,
            _ => Command::RequestStateTransfer(Request {
                donors: String::new(),
                method: "mariabackup".into(),
                address: "10.0.0.9:4444/xtrabackup_sst//1".into(),
                conditions: Conditions::default(),
            }),
        };
        self.world.command(guest, command);
    }

    /// Only while others have the data: the last server is not stopped in a life.
    fn server_leaves(&mut self, host: Host, pause: Duration) {
        let is_server = self.servers.contains(&host);
        let others = self.servers.iter().filter(|other| **other != host);
        let is_spare = others.filter(|other| self.world.is_primary(**other)).count() >= 2;
        if is_server && is_spare && self.world.is_primary(host) {
            self.world.leave(host);
            self.world.after(Duration::from_secs(5) + pause, move |world| {
                world.start_again(host);
            });
        }
    }

    fn guest_leaves(&mut self, pause: Duration) {
        let guests = self.guests.clone();
        if let Some(guest) = self.world.random.choose(&guests).copied() {
            self.world.leave(guest);
            self.world.after(pause, move |world| world.start_again(guest));
        }
    }

    fn weather(&mut self) {
        let random = &mut self.world.random;
        let delay = Duration::from_millis([1, 3, 20, 200][below(random, 4)]);
        self.world.tcp.drop_percent = [0, 2, 5, 15][below(&mut self.world.random, 4)];
        self.world.tcp.set_delay_max(delay);
    }

    /// Everything works again and everybody is started: then there is one group.
    fn end_well(&mut self) {
        self.world.tcp.drop_percent = 0;
        self.world.tcp.set_delay_max(Duration::from_millis(3));
        self.world.mend_all();
        for host in 0..self.hosts() {
            self.world.thaw(host);
            // Those that are leaving finish that first.
            self.world.run(Duration::from_millis(10));
        }
        self.come_together();
        self.guests_leave_in_peace();
    }

    /// Whoever has ended is started again after a pause, as init systems and jobs do. Where stock
    /// servers would wait for ever, the operator founds the group anew; but links and order must
    /// have healed by themselves even then.
    fn come_together(&mut self) {
        let mut fruitless = 0;
        while fruitless < FRUITLESS_ROUNDS_MAX {
            self.start_everybody();
            // What went wrong last may not have been noticed yet.
            if self.is_whole_within(40) {
                self.world.run_seconds(20);
                if self.world.is_whole() && self.is_whole_within(0) {
                    return;
                }
            }
            // Some may only wait to be started again, now that the others are well.
            fruitless += if self.world.is_whole() { 1 } else { 2 };
        }
        self.world.expect(60, "one view of everybody", World::is_connected);
        let cause = Cause::find(&self.world);
        if cause == Cause::Unexplained {
            self.world.fail("no rule explains why the group does not come together");
        }
        self.world.begin_anew(cause);
        self.world.run_seconds(6);
        self.world.expect(120, "one primary component", |world| {
            world.is_whole() && world.running().any(Process::is_primary)
        });
        self.start_everybody();
        self.world.expect_whole(60);
    }

    fn start_everybody(&mut self) {
        for host in 0..self.hosts() {
            self.world.start_again(host);
        }
    }

    fn is_whole_within(&mut self, seconds: u64) -> bool {
        let is_complete = |world: &World| {
            world.is_whole() && world.machines.iter().all(|machine| machine.running().is_some())
        };
        self.world.run_until(Duration::from_secs(seconds), is_complete)
    }

    /// At the end every guest takes its leave, and nobody minds. What is left of earlier misfortunes
    /// may have to time out meanwhile: a stale message of a former life, or a node that was given up.
    fn guests_leave_in_peace(&mut self) {
        for guest in self.guests.clone() {
            self.world.leave(guest);
            self.world.expect(30, "a leave from a healthy group", move |world| {
                world.machines[guest].endings.last() == Some(&EndReason::Left)
                    && !world.is_running(guest)
            });
        }
        self.world.expect_whole(40);
    }
}

/// In three of ten lives the hosts are at two or three sites.
fn choose_sites(world: &mut World) {
    if !world.random.percent(30) {
        return;
    }
    for host in 0..world.machines.len() {
        let segment = Segment(u8::try_from(world.random.below(3)).expect("small"));
        let config = &mut world.machines[host].settings.config;
        (config.gmcast.segment, config.pc.segment) = (segment, segment);
    }
}

/// In some lives whoever is slow too often is banned.
fn choose_patience(world: &mut World) {
    world.bans_slow = world.random.percent(5);
    if world.bans_slow {
        for machine in &mut world.machines {
            machine.settings.config.evs.auto_evict = 5;
        }
    }
}

/// Gives the hosts a bug. What all members must compute alike is only wrong if some differ.
fn plant(world: &mut World, bug: Option<Bug>) {
    let Some(bug) = bug else { return };
    let is_relative = matches!(bug, Bug::LosesLastMessages | Bug::OtherDonor | Bug::IgnoresSync);
    for machine in &mut world.machines {
        if is_relative && machine.is_data() {
            continue;
        }
        let config = &mut machine.settings.config;
        config.evs.planted = Planted::with(bug);
        config.pc.planted = Planted::with(bug);
        config.gcs.planted = Planted::with(bug);
        config.gmcast.planted = Planted::with(bug);
    }
}

fn below(random: &mut Random, limit: usize) -> usize {
    usize::try_from(random.below(limit as u64)).expect("below a usize")
}

/// One whole life. Panics, with the seed, if it does not go as it must.
pub(crate) fn live(seed: u64, terms: Terms) -> Life {
    let mut life = Life::begin(seed, terms);
    let misfortunes = life.world.random.between(3, 12);
    for _ in 0..misfortunes {
        let pause = life.seconds(6);
        life.world.run(pause);
        life.misfortune();
    }
    let pause = life.seconds(20);
    life.world.run(pause);
    life.end_well();
    life
}
