//! A virtual EVS: groups with one totally ordered log each, and the guarantees that PC relies on.
//!
//! * A message delivered in a regular view has been received by everybody in it, so whoever leaves
//!   that view in whatever company delivers it too, in the regular view or in the transitional one.
//! * Members that continue together deliver the same messages, and the same ones still in the
//!   regular view (they agree on what is safe before they go on). Own messages always come back.
//! * After the first message that was lost, only those of members that come along (or left
//!   politely) are delivered.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::super::super::testing::{end_view, feed};
use super::super::super::*;
use super::oracle::Oracle;
use crate::id::ViewKind;
use crate::message::Order;

/// A small deterministic generator (splitmix64).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// From 0 to `limit`, that excluded.
    pub(super) fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(limit).unwrap()).unwrap()
    }

    pub(super) fn between(&mut self, low: usize, high: usize) -> usize {
        low + self.below(high - low + 1)
    }

    pub(super) fn percent(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

/// One running stack.
#[derive(Clone, Debug)]
pub(super) struct Life {
    pub(super) pc: Pc,
    pub(super) me: NodeId,
    pub(super) group: Option<u32>,
    delivered: usize,
    view_seq: u32,
    pub(super) is_closing: bool,
    /// It has dropped its links; the others have not noticed yet.
    pub(super) is_dead: bool,
    pub(super) advice: Vec<Advice>,
}

/// A machine and what is on its disk, whether or not the process runs.
#[derive(Clone, Debug)]
pub(super) struct Machine {
    pub(super) weight: u8,
    pub(super) disk: Option<SavedView>,
    pub(super) life: Option<Life>,
}

#[derive(Clone, Debug)]
pub(super) struct Logged {
    pub(super) number: u64,
    /// How much of the log its sender had delivered by then.
    seen: usize,
    pub(super) delivery: Delivery,
}

#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) view: View,
    /// Nothing from here on becomes safe: somebody does not acknowledge any more.
    limit: usize,
    machines: Vec<usize>,
    pub(super) log: Vec<Logged>,
}

/// Lines of history that a failure shows.
const TRAIL_MAX: usize = 130;

fn describe(input: &Input) -> String {
    let Input::Message(delivery) = input else { return format!("{input:?}") };
    format!("{}: {:?}", delivery.source, Message::decode(&delivery.payload))
}

/// What happens to a machine in a change of views.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Continues in this cell of the network.
    Cell(usize),
    /// Leaves politely.
    Leave,
    /// Dies.
    Crash,
}

#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) random: Random,
    pub(super) machines: Vec<Machine>,
    pub(super) groups: BTreeMap<u32, Group>,
    pub(super) oracle: Oracle,
    next_group: u32,
    next_number: u64,
    /// Members that refused to take part in a re-bootstrap.
    pub(super) deaths: usize,
    /// Nothing more can be learnt from this schedule, see [`World::is_stale_weight`].
    pub(super) is_over: bool,
    /// What happened last, for a failure's report.
    trail: VecDeque<String>,
}

impl World {
    /// Machines with these weights, none running.
    pub(super) fn new(seed: u64, weights: &[u8]) -> Self {
        let machine = |&weight| Machine { weight, disk: None, life: None };
        Self {
            random: Random::new(seed),
            machines: weights.iter().map(machine).collect(),
            groups: BTreeMap::new(),
            oracle: Oracle::default(),
            next_group: 0,
            next_number: 0,
            deaths: 0,
            is_over: false,
            trail: VecDeque::new(),
        }
    }

    pub(super) fn running(&self) -> Vec<usize> {
        (0..self.machines.len()).filter(|&at| self.machines[at].life.is_some()).collect()
    }

    pub(super) fn life(&self, at: usize) -> &Life {
        self.machines[at].life.as_ref().unwrap()
    }

    fn life_mut(&mut self, at: usize) -> &mut Life {
        self.machines[at].life.as_mut().unwrap()
    }

    pub(super) fn state(&self, at: usize) -> State {
        self.life(at).pc.status().state
    }

    /// Starts a machine, from its saved view if there is one.
    pub(super) fn start(&mut self, at: usize, start_primary: bool) {
        let restarted = self.machines[at].disk.as_ref().map(SavedView::restarted);
        let fresh = NodeId::version1(self.random.next() >> 4, 0, [u8::try_from(at).unwrap(); 6]);
        let me = restarted.as_ref().map_or(fresh, |saved| saved.me);
        let view_seq = restarted.as_ref().map_or(0, SavedView::first_view_seq);
        let weight = self.machines[at].weight;
        let config = Config { weight, start_primary, ..Config::default() };
        self.machines[at].disk.clone_from(&restarted);
        let pc = Pc::new(config, me, restarted);
        let life = Life {
            pc,
            me,
            group: None,
            delivered: 0,
            view_seq,
            is_closing: false,
            is_dead: false,
            advice: Vec::new(),
        };
        self.machines[at].life = Some(life);
        self.oracle.start(me);
        self.feed(at, Input::Connect, false);
    }

    pub(super) fn close(&mut self, at: usize) {
        self.life_mut(at).is_closing = true;
        self.feed(at, Input::Close, false);
    }

    /// The next message of the group, if there is one.
    pub(super) fn deliver(&mut self, at: usize, can_send: bool) -> bool {
        let life = self.life(at);
        let Some(group) = life.group.and_then(|group| self.groups.get(&group)) else {
            return false;
        };
        let can_be_safe = life.delivered < group.limit && !life.is_dead;
        let Some(logged) = group.log.get(life.delivered).filter(|_| can_be_safe).cloned() else {
            return false;
        };
        self.life_mut(at).delivered += 1;
        self.hand_over(at, &logged, can_send);
        true
    }

    fn hand_over(&mut self, at: usize, logged: &Logged, can_send: bool) {
        let before = self.life(at).pc.status();
        self.feed(at, Input::Message(logged.delivery.clone()), can_send);
        let life = self.machines[at].life.as_ref().unwrap();
        self.oracle.after_message(life, &before, logged);
    }

    pub(super) fn send_user(&mut self, at: usize) -> Result<(), crate::message::SendError> {
        let life = self.life_mut(at);
        let mut framed = None;
        life.pc.send_user(Bytes::from_static(b"payload"), |bytes| {
            framed = Some(bytes);
            Ok(())
        })?;
        assert_eq!(life.pc.status().state, State::Primary, "S6");
        self.append(at, 1, framed.unwrap());
        Ok(())
    }

    pub(super) fn change_weight(&mut self, at: usize, weight: u8) {
        let mut framed = None;
        let accept = |bytes| {
            framed = Some(bytes);
            Ok(())
        };
        if self.life_mut(at).pc.change_weight(weight, accept).is_ok() {
            self.append(at, CONTROL_USER_TYPE, framed.unwrap());
        }
    }

    /// An operator's bootstrap on an existing member.
    pub(super) fn bootstrap(&mut self, at: usize) {
        let pc = &self.life(at).pc;
        let message = Message::install(1, Flags::BOOTSTRAP, pc.exchange.install_map());
        self.append(at, CONTROL_USER_TYPE, message.encode());
    }

    /// Takes from a machine what only ours remember.
    pub(super) fn forget(&mut self, at: usize) {
        self.life_mut(at).pc.memory = decision::Memory::default();
    }

    fn append(&mut self, at: usize, user_type: u8, payload: Bytes) {
        let life = self.machines[at].life.as_ref().unwrap();
        let Some(group) = life.group.and_then(|group| self.groups.get_mut(&group)) else {
            panic!("{} sends without a view", life.me);
        };
        let delivery = Delivery { source: life.me, order: Order::Safe, user_type, payload };
        self.next_number += 1;
        group.log.push(Logged { number: self.next_number, seen: life.delivered, delivery });
        self.oracle.after_send(life, group);
    }

    fn feed(&mut self, at: usize, input: Input, can_send: bool) {
        let text = format!("{at}: {}", describe(&input));
        let outputs = feed(&mut self.life_mut(at).pc, input);
        self.note(format!("{text} -> {outputs:?}"));
        let mut is_refused = false;
        for output in outputs {
            self.oracle.check(self.machines[at].life.as_ref().unwrap(), &output);
            match output {
                Output::Send { user_type, payload } if can_send => {
                    self.append(at, user_type, payload);
                }
                Output::Send { .. } => is_refused = true,
                Output::Persist(saved) => self.machines[at].disk = Some(saved),
                Output::Forget => self.machines[at].disk = None,
                Output::Advice(advice) => self.life_mut(at).advice.push(advice),
                Output::Fatal(Fatal::IncompleteRebootstrap { .. }) => self.die(at),
                Output::Fatal(fatal) if self.is_stale_weight(at, fatal) => self.is_over = true,
                Output::Fatal(fatal) => panic!("{}: {fatal}", self.life(at).me),
                Output::Component(_)
                | Output::Deliver(_)
                | Output::PrimaryView { .. }
                | Output::Event(_) => {}
            }
        }
        if is_refused {
            self.feed(at, Input::SendRefused(crate::message::SendError::TryAgain), false);
        }
    }

    /// Drops the links. What is in the log by now can still become safe at most as far as this
    /// member has delivered it: it handles one message at a time, and this was the last.
    fn die(&mut self, at: usize) {
        let life = self.life_mut(at);
        life.is_dead = true;
        let (number, delivered) = (life.group.unwrap(), life.delivered);
        let group = self.groups.get_mut(&number).unwrap();
        group.limit = group.limit.min(delivered);
        self.deaths += 1;
    }

    /// A weakness of the protocol: a member that delivers its own weight change just as it is cut
    /// off, and is back before the others have installed a view without it, is reported by them
    /// with the old weight and as primary, by itself with the new one. Existing members stop then,
    /// and so do we: going on with those that do not notice would mean going on without the newest
    /// data.
    fn is_stale_weight(&self, at: usize, fatal: Fatal) -> bool {
        let Fatal::StateMismatch { node, .. } = fatal else { return false };
        let pc = &self.life(at).pc;
        let reported = pc.exchange.self_entry(&node).unwrap();
        let mut reports = pc.exchange.reports().filter_map(|(_, report)| report.get(&node));
        !reported.is_primary && reports.any(|entry| entry.weight != reported.weight)
    }

    fn note(&mut self, line: String) {
        if self.trail.len() == TRAIL_MAX {
            self.trail.pop_front();
        }
        self.trail.push_back(line);
    }

    pub(super) fn trail(&self) -> String {
        self.trail.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Everybody gets everything, until nothing is under way any more.
    pub(super) fn settle(&mut self) {
        let mut is_moving = true;
        while is_moving && !self.is_over {
            is_moving = false;
            for at in self.running() {
                while self.deliver(at, true) {
                    is_moving = true;
                }
            }
        }
        let is_stable = |at: &usize| {
            let group = self.life(*at).group.and_then(|group| self.groups.get(&group));
            !self.is_over && group.is_some_and(|group| group.limit == usize::MAX)
        };
        for at in self.running().into_iter().filter(is_stable) {
            let state = self.state(at);
            assert!(matches!(state, State::Primary | State::NonPrimary), "L1: {state}");
        }
    }

    /// A change of views: every group that somebody of `fates` is in falls apart, its members go
    /// where they are sent (by default together with the rest of their group), and each cell forms
    /// one new view.
    pub(super) fn reconfigure(&mut self, fates: &BTreeMap<usize, Fate>) {
        let touched: BTreeSet<u32> =
            fates.keys().filter_map(|&at| self.machines[at].life.as_ref()?.group).collect();
        for group in &touched {
            self.dissolve(*group, fates);
        }
        let mut cells: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (&at, fate) in fates {
            match fate {
                Fate::Cell(cell) if !self.life(at).is_dead => {
                    cells.entry(*cell).or_default().push(at)
                }
                Fate::Cell(_) | Fate::Leave | Fate::Crash => self.machines[at].life = None,
            }
        }
        for machines in cells.into_values() {
            self.form(machines);
        }
    }

    fn dissolve(&mut self, number: u32, fates: &BTreeMap<usize, Fate>) {
        let group = self.groups[&number].clone();
        let positions = group.machines.iter().map(|&at| self.life(at).delivered);
        let furthest = positions.max().unwrap_or(0);
        let safe = self.random.between(furthest, group.limit.clamp(furthest, group.log.len()));
        let going = |wanted: Fate| -> Vec<usize> {
            group.machines.iter().copied().filter(|at| fates[at] == wanted).collect()
        };
        let leavers = going(Fate::Leave);
        for at in going(Fate::Crash).into_iter().chain(leavers.iter().copied()) {
            let until = self.random.between(self.life(at).delivered, safe);
            self.deliver_until(at, until);
        }
        let cells: BTreeSet<usize> = group
            .machines
            .iter()
            .filter_map(|at| if let Fate::Cell(cell) = fates[at] { Some(cell) } else { None })
            .collect();
        for cell in cells {
            self.pass(&going(Fate::Cell(cell)), &leavers, &group, safe);
        }
        self.groups.remove(&number);
        for &at in &leavers {
            self.finish(at, &group, safe);
        }
    }

    fn deliver_until(&mut self, at: usize, until: usize) {
        while self.life(at).delivered < until && self.deliver(at, false) {}
    }

    /// Members that continue together: the last safe messages, the transitional view, then the
    /// rest.
    fn pass(&mut self, stay: &[usize], leavers: &[usize], group: &Group, safe: usize) {
        let at_least = stay.iter().map(|&at| self.life(at).delivered).max().unwrap_or(0);
        // Who has received a message knows what its sender knew to be safe.
        let known = group.log[..safe].iter().map(|logged| logged.seen).max().unwrap_or(0);
        let safe_here = self.random.between(at_least.max(known), safe);
        let mut heard = BTreeSet::new();
        for &at in leavers {
            let me = self.life(at).me;
            let mut own = group.log.iter().filter(|logged| logged.delivery.source == me);
            if own.all(|logged| logged.seen <= safe_here) && self.random.percent(75) {
                heard.insert(me);
            }
        }
        let view = self.transitional(stay, heard, group);
        let is_with_us = |logged: &Logged| {
            let source = &logged.delivery.source;
            view.members.contains(source) || view.left.contains(source)
        };
        let lost = |logged: &Logged| !is_with_us(logged) && logged.seen > safe_here;
        let limit = group.log.iter().position(lost).unwrap_or(group.log.len());
        let received = self.random.between(safe, limit.max(safe));
        for &at in stay {
            self.deliver_until(at, safe_here);
            self.oracle.before_transitional(self.machines[at].life.as_ref().unwrap(), &view);
            self.feed(at, Input::View(view.clone()), false);
            for (index, logged) in group.log.iter().enumerate().skip(safe_here) {
                if index < received || is_with_us(logged) {
                    self.hand_over(at, logged, false);
                }
            }
            self.life_mut(at).group = None;
        }
    }

    fn transitional(&self, stay: &[usize], left: BTreeSet<NodeId>, group: &Group) -> View {
        let members = stay.iter().map(|&at| self.life(at).me).collect();
        let id = group.view.id.with_kind(ViewKind::Transitional);
        let mut view = View::new(id, 1, members);
        view.left = left;
        let is_with_us = |node: &NodeId| view.members.contains(node) || view.left.contains(node);
        view.partitioned =
            group.view.members.iter().filter(|node| !is_with_us(node)).copied().collect();
        view
    }

    /// A polite leave, as the one who leaves sees it.
    fn finish(&mut self, at: usize, group: &Group, safe: usize) {
        let me = self.life(at).me;
        let id = group.view.id.with_kind(ViewKind::Transitional);
        let mut view = View::new(id, 1, BTreeSet::from([me]));
        view.partitioned = group.view.members.iter().filter(|node| **node != me).copied().collect();
        self.feed(at, Input::View(view), false);
        for (index, logged) in group.log.iter().enumerate().skip(self.life(at).delivered) {
            if index < safe || logged.delivery.source == me {
                self.hand_over(at, logged, false);
            }
        }
        self.feed(at, Input::View(end_view()), false);
        assert_eq!(self.state(at), State::Closed);
        self.oracle.assert_ended(&me);
        let is_stock = self.machines[at].weight > 0;
        if is_stock {
            // Existing members delete the file whenever they close.
            self.machines[at].disk = None;
        }
    }

    /// A new regular view.
    fn form(&mut self, mut machines: Vec<usize>) {
        let members: BTreeSet<NodeId> = machines.iter().map(|&at| self.life(at).me).collect();
        let seq = machines.iter().map(|&at| self.life(at).view_seq).max().unwrap_or(0) + 1;
        let id = ViewId::new(ViewKind::Regular, *members.first().unwrap(), seq);
        let view = View::new(id, 1, members);
        let number = self.next_group;
        self.next_group += 1;
        let group = Group {
            view: view.clone(),
            machines: machines.clone(),
            limit: usize::MAX,
            log: Vec::new(),
        };
        self.groups.insert(number, group);
        self.random.shuffle(&mut machines);
        for at in machines {
            let life = self.life_mut(at);
            (life.group, life.delivered) = (Some(number), 0);
            let first = ViewId::new(ViewKind::Transitional, life.me, life.view_seq);
            let is_first = !life.pc.has_evs_view();
            life.view_seq = seq;
            if is_first {
                let alone = View::new(first, 1, BTreeSet::from([life.me]));
                self.feed(at, Input::View(alone), false);
            }
            self.feed(at, Input::View(view.clone()), true);
        }
    }
}
