//! Knows what every member must know, from the deliveries alone, and compares (spec 03 §8.3).

use std::collections::{BTreeMap, BTreeSet};

use super::super::super::*;
use super::world::{Group, Life, Logged};
use crate::id::Segment;

/// What all members that install one primary view must agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Installed {
    is_bootstrap: bool,
    members: BTreeMap<NodeId, Segment>,
    to_seq: i64,
    known: NodeMap,
}

/// Counters of one member, computed a second time.
#[derive(Clone, Debug, Default)]
struct Account {
    last_seqs: BTreeMap<NodeId, u32>,
    to_seq: i64,
    has_ended: bool,
    losses_told: usize,
    primary_views: usize,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Oracle {
    accounts: BTreeMap<NodeId, Account>,
    installed: Vec<(ViewId, Installed)>,
    /// Position that primary members gave to a message.
    positions: BTreeMap<u64, i64>,
}

impl Oracle {
    /// Was the last primary view formed by a bootstrap?
    pub(super) fn was_bootstrapped(&self) -> bool {
        self.installed.last().is_some_and(|(_, installed)| installed.is_bootstrap)
    }

    pub(super) fn start(&mut self, me: NodeId) {
        let fresh = Account { to_seq: NO_TO_SEQ, ..Account::default() };
        assert!(self.accounts.insert(me, fresh).is_none(), "a UUID is used only once");
    }

    pub(super) fn assert_ended(&self, me: &NodeId) {
        assert!(self.accounts[me].has_ended, "S10");
    }

    pub(super) fn check(&mut self, life: &Life, output: &Output) {
        let account = self.accounts.get_mut(&life.me).unwrap();
        match output {
            Output::Component(component) => {
                assert!(!account.has_ended, "S10");
                account.has_ended = component.members.is_empty();
            }
            Output::Send { payload, .. } => {
                let message = Message::decode(payload).unwrap();
                if let Body::State(report) = message.body {
                    account.check_report(life, &report);
                }
            }
            Output::Advice(Advice::PrimaryLost(lost)) => {
                account.losses_told += 1;
                assert_eq!(account.losses_told, account.primary_views.min(account.losses_told));
                assert_eq!(lost.saved.me, life.me);
            }
            Output::Deliver(delivery) => {
                assert!(life.pc.component.contains(&delivery.source), "senders have an index");
            }
            Output::Persist(_)
            | Output::Forget
            | Output::PrimaryView { .. }
            | Output::Advice(Advice::Leave(_))
            | Output::Event(_)
            | Output::Fatal(_) => {}
        }
        let mine = life.pc.known().get(&life.me).unwrap();
        assert!(!mine.is_unknown, "S12");
    }

    /// Weight 0 changes no decision of a full member (S11).
    pub(super) fn before_transitional(&self, life: &Life, view: &View) {
        let known = life.pc.known();
        let has_vote = |node: &NodeId| known.get(node).is_some_and(|entry| entry.weight != Some(0));
        let only = |nodes: &BTreeSet<NodeId>| nodes.iter().copied().filter(has_vote).collect();
        let reference = &life.pc.pc_view.members;
        let mut without = view.clone();
        without.members = only(&view.members);
        without.left = only(&view.left);
        let with = Tally::count(view, reference, known);
        assert_eq!(with, Tally::count(&without, &only(reference), known), "S11");
    }

    /// Every message in the log of a group, as it is put there.
    pub(super) fn after_send(&self, life: &Life, group: &Group) {
        let (logged, earlier) = group.log.split_last().unwrap();
        let kinds = |logged: &Logged| Message::decode(&logged.delivery.payload).unwrap();
        let of_source = earlier.iter().filter(|earlier| earlier.delivery.source == life.me);
        let message = kinds(logged);
        match message.body {
            Body::State(_) => assert_eq!(of_source.count(), 0, "S5: STATE is the first message"),
            Body::Install(_) if message.flags == Flags::default() => {
                assert_eq!(group.view.members.first(), Some(&life.me), "S5: lowest UUID");
                let reported =
                    earlier.iter().filter(|earlier| matches!(kinds(earlier).body, Body::State(_)));
                assert_eq!(reported.count(), group.view.members.len(), "S5: after all STATEs");
                let installs = earlier.iter().map(kinds).filter(|earlier| {
                    matches!(earlier.body, Body::Install(_)) && earlier.flags == Flags::default()
                });
                assert_eq!(installs.count(), 0, "S5: one INSTALL");
            }
            Body::Install(_) => {}
            Body::User(_) => {
                let users = of_source.map(kinds);
                let users = users.filter(|earlier| matches!(earlier.body, Body::User(_)));
                let numbers: Vec<_> = users.map(|user| user.seq).chain([message.seq]).collect();
                assert!(numbers.iter().copied().eq(1..=message.seq), "S4: {numbers:?}");
            }
        }
    }

    pub(super) fn after_message(&mut self, life: &Life, before: &Status, logged: &Logged) {
        let message = Message::decode(&logged.delivery.payload).unwrap();
        let account = self.accounts.get_mut(&life.me).unwrap();
        let after = life.pc.status();
        match message.body {
            Body::State(_) => {}
            Body::User(_) => {
                let was_heard = account.count(life, before, &logged.delivery.source);
                // Who leaves hears out what it has, gaps included; nothing of that is ever
                // reported.
                let is_on_its_way_out = life.is_closing && after.state == State::Transitional;
                if was_heard && before.is_primary && !is_on_its_way_out {
                    let position = *self.positions.entry(logged.number).or_insert(after.to_seq);
                    assert_eq!(position, after.to_seq, "S3");
                    assert_eq!(after.to_seq, before.to_seq + 1, "S3");
                }
            }
            Body::Install(nodes)
                if before.state != State::Primary && after.state == State::Primary =>
            {
                account.restart(&nodes);
                self.after_install(life, message.flags.contains(Flags::BOOTSTRAP));
            }
            Body::Install(_) => {}
        }
    }

    fn after_install(&mut self, life: &Life, is_bootstrap: bool) {
        let status = life.pc.status();
        let known = without_evictions(life.pc.known());
        assert!(known.keys().eq(life.pc.component.iter()), "S9");
        for entry in known.values() {
            assert!(entry.is_primary && !entry.is_unknown && entry.last_seq == 0, "S9");
            assert_eq!(entry.last_primary, status.view, "S9");
        }
        let members = known.iter().map(|(node, entry)| (*node, entry.segment)).collect();
        let to_seq = status.to_seq;
        assert_eq!(to_seq, self.accounts[&life.me].to_seq, "position of a new primary view");
        let installed = Installed { is_bootstrap, members, to_seq, known };
        match self.installed.iter().find(|(view, _)| *view == status.view) {
            Some((_, first)) => assert_eq!(&installed, first, "S1, S9"),
            None => self.installed.push((status.view, installed)),
        }
    }
}

fn without_evictions(known: &NodeMap) -> NodeMap {
    known.iter().map(|(node, entry)| (*node, Entry { is_evicted: false, ..*entry })).collect()
}

impl Account {
    /// Everything starts again with the view that this INSTALL made.
    fn restart(&mut self, nodes: &NodeMap) {
        let primaries: Vec<_> = nodes.values().filter(|entry| entry.is_primary).collect();
        let positions = nodes.values().map(|entry| entry.to_seq);
        self.to_seq = primaries.first().map_or(positions.max().unwrap(), |first| first.to_seq);
        self.last_seqs.clear();
        self.primary_views += 1;
    }

    /// Counts a USER message; false if it counts for nobody.
    fn count(&mut self, life: &Life, before: &Status, source: &NodeId) -> bool {
        let is_here = life.pc.evs_view.members.contains(source);
        if !before.is_primary && !is_here {
            return false;
        }
        *self.last_seqs.entry(*source).or_default() += 1;
        self.to_seq += i64::from(before.is_primary);
        true
    }

    /// A STATE of ours against what was delivered to us (S8).
    fn check_report(&self, life: &Life, report: &NodeMap) {
        let mine = &report[&life.me];
        assert_eq!(mine.to_seq, self.to_seq, "S8: {}", life.me);
        if !mine.is_primary || self.primary_views == 0 {
            return;
        }
        let here = life.pc.evs_view.members.intersection(&life.pc.pc_view.members);
        let current = here.filter_map(|node| report.get_key_value(node));
        for (node, entry) in current.filter(|(_, entry)| entry.is_primary) {
            let counted = self.last_seqs.get(node).copied().unwrap_or(0);
            assert_eq!((entry.last_seq, entry.to_seq), (counted, self.to_seq), "S8: {node}");
        }
    }
}
