//! What must hold between all members of all groups, from what passed between their layers
//! (spec 02 §11.2 and 03 §8.3).
//!
//! The rules of one layer alone are checked by that layer's own simulation; here it is the whole
//! stack, so a rule that is broken below shows up as a disagreement above.

mod succession;

use std::collections::{BTreeMap, BTreeSet};

use galera_protocol::evs;
use galera_protocol::gcs::{self, state::StateKind};
use galera_protocol::id::{NodeId, ViewId, ViewKind};
use galera_protocol::member::Passed;
use galera_protocol::message::Delivery;
use galera_protocol::pc::{self, SavedView};
use galera_protocol::view::View;

use crate::coverage::{Coverage, Seen};
use crate::process::Process;
use succession::Installed;

pub(crate) type Checked = Result<(), String>;

pub(crate) fn ensure(holds: bool, problem: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(problem()) }
}

/// A view without its kind, for the transitional view after a regular one has the same number.
type ViewNumber = (NodeId, u32);

/// The members of a regular view that go on together; none before the transitional view.
type Company = Option<BTreeSet<NodeId>>;

/// A message, as far as members have to agree on it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Delivered {
    source: NodeId,
    user_type: u8,
    payload: bytes::Bytes,
}

/// What one life has seen of its order layer.
#[derive(Clone, Debug, Default)]
struct Order {
    last: Option<View>,
    regular: Option<ViewNumber>,
    company: Company,
    /// Where the messages of this view and company are.
    sequence: usize,
    /// Deliveries in the regular view, and in the transitional one.
    counts: [usize; 2],
    has_ended: bool,
}

/// How far a member has come in the group's history.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    /// The primary view it stands in; configurations may have the same number on two sides.
    view: ViewNumber,
    state: galera_protocol::id::StateId,
    seqno: gcs::Seqno,
    has_data: bool,
}

impl Position {
    /// Only those who have the data count for the position (spec 04 §12, 4 and 5): what members
    /// without it have received alone is lost in the next configuration.
    fn forbids(&self, next: &Self) -> bool {
        let is_kept = self.has_data || self.view == next.view;
        is_kept && self.state == next.state && next.seqno < self.seqno
    }
}

/// The messages of each view and company, which all who share both deliver alike.
#[derive(Debug, Default)]
struct Sequences {
    places: BTreeMap<(ViewNumber, Company), usize>,
    messages: Vec<Vec<Delivered>>,
}

impl Sequences {
    fn place(&mut self, view: ViewNumber, company: &Company) -> usize {
        let place = *self.places.entry((view, company.clone())).or_insert(self.messages.len());
        self.messages.resize_with(self.messages.len().max(place + 1), Vec::new);
        place
    }
}

/// Where every member of a primary view stands after the same messages.
type Standing = (StateKind, Option<GroupFacts>, Vec<(NodeId, gcs::Status, u32)>);
type GroupFacts = (gcs::ConfigurationId, galera_protocol::id::StateId, gcs::Seqno, gcs::Protocols);

/// Everything that was ever delivered, installed or agreed on.
#[derive(Debug, Default)]
pub(crate) struct Oracle {
    orders: BTreeMap<NodeId, Order>,
    memberships: BTreeMap<ViewNumber, BTreeSet<NodeId>>,
    sequences: Sequences,
    companies: BTreeMap<ViewNumber, BTreeSet<BTreeSet<NodeId>>>,
    /// How much was delivered on the way from one view to the next.
    passages: BTreeMap<(ViewNumber, Company, ViewNumber), [usize; 2]>,
    /// Primary views in the order of their first installation.
    chain: Vec<(ViewId, Installed)>,
    /// Those before the operator began anew.
    past: Vec<(ViewId, Installed)>,
    /// Which lives have installed a primary view.
    installers: BTreeMap<ViewNumber, BTreeSet<NodeId>>,
    /// What lives were started from.
    pub(crate) restored: BTreeMap<NodeId, SavedView>,
    /// A primary view that Galera's rules allow beside another, until somebody asks.
    split: Option<ViewId>,
    standings: BTreeMap<(ViewNumber, i64), Standing>,
    positions: BTreeMap<NodeId, Position>,
    /// Lives that were told to leave.
    pub(crate) leavers: BTreeSet<NodeId>,
    /// Lives that left by themselves, for want of a primary component.
    pub(crate) departed: BTreeSet<NodeId>,
    /// Who was banned: a group may recover without them.
    pub(crate) banned: BTreeSet<NodeId>,
    /// Lives whose machine has started anew without its saved view. A recovery can do without them
    /// if somebody remembers an older primary view, all of whose members are back (spec 03 §3.6): no
    /// rule of ours, but nobody can be their rival.
    pub(crate) forgotten: BTreeSet<NodeId>,
    /// Groups that were founded on purpose beside others: chains are not compared.
    pub(crate) allows_rivals: bool,
    /// What was seen of views.
    pub(crate) coverage: Coverage,
}

fn number(view: ViewId) -> ViewNumber {
    (view.node, view.seq)
}

impl Oracle {
    /// Takes what passed between the layers of one process during one input.
    pub(crate) fn observe(&mut self, process: &mut Process) -> Checked {
        let mut has_moved = false;
        for passed in process.take_passed() {
            has_moved |= matches!(passed, Passed::Pc(_) | Passed::Gcs(_));
            match passed {
                Passed::Began(me) => process.me = me,
                Passed::Evs(output) => self.observe_evs(process.me, output)?,
                Passed::Pc(output) => self.observe_pc(process, output)?,
                Passed::Gcs(_) => {}
            }
        }
        if !process.is_running() {
            return Ok(());
        }
        process.evs().check_invariants().map_err(String::from)?;
        if has_moved { self.check_standing(process) } else { Ok(()) }
    }

    fn observe_evs(&mut self, me: NodeId, output: evs::Output) -> Checked {
        match output {
            evs::Output::View(view) if view.id.kind == ViewKind::Regular => {
                self.enter_regular(me, view)
            }
            evs::Output::View(view) => self.enter_transitional(me, view),
            evs::Output::Deliver(delivery) => self.deliver(me, delivery),
            evs::Output::Evict(node) => {
                self.banned.insert(node);
                self.coverage.add(Seen::Ban, 1);
                Ok(())
            }
            evs::Output::Send { .. }
            | evs::Output::Welcome(_)
            | evs::Output::RegularView { .. }
            | evs::Output::Closed
            | evs::Output::Failed(_) => Ok(()),
        }
    }

    fn enter_regular(&mut self, me: NodeId, view: View) -> Checked {
        let order = self.orders.entry(me).or_default();
        ensure(!order.has_ended, || "a view after the last one".into())?;
        let before = order.last.replace(view.clone());
        let follows = before.is_some_and(|last| last.id.kind == ViewKind::Transitional);
        ensure(follows, || format!("{} does not follow a transitional view", view.id))?;
        let passage = (order.regular, order.company.take());
        let counts = core::mem::take(&mut order.counts);
        if view.is_end() {
            order.has_ended = true;
            return Ok(());
        }
        let is_later = order.regular.is_none_or(|(_, seq)| view.id.seq > seq);
        ensure(is_later, || format!("{} is not later than {:?}", view.id, passage.0))?;
        ensure(view.members.contains(&me), || format!("not in its own view {view:?}"))?;
        order.regular = Some(number(view.id));
        order.sequence = self.sequences.place(number(view.id), &None);
        if !self.memberships.contains_key(&number(view.id)) {
            self.note_merge(me, passage.0, &view.members);
        }
        let agreed = self.memberships.entry(number(view.id)).or_insert(view.members.clone());
        ensure(*agreed == view.members, || format!("members of {}: {agreed:?}", view.id))?;
        if let (Some(from), company) = passage {
            let key = (from, company, number(view.id));
            let same = *self.passages.entry(key.clone()).or_insert(counts);
            ensure(same == counts, || format!("{key:?}: {counts:?} deliveries, others {same:?}"))?;
        }
        Ok(())
    }

    /// The first member to enter a view: have the others come another way?
    fn note_merge(&mut self, me: NodeId, mine: Option<ViewNumber>, members: &BTreeSet<NodeId>) {
        let others = members.iter().filter(|node| **node != me);
        let mut views = others.filter_map(|node| self.orders.get(node)?.regular);
        let is_merge = mine.is_some() && views.any(|view| Some(view) != mine);
        self.coverage.add(Seen::Merge, u64::from(is_merge));
    }

    fn enter_transitional(&mut self, me: NodeId, view: View) -> Checked {
        let order = self.orders.entry(me).or_default();
        ensure(!order.has_ended, || "a view after the last one".into())?;
        let before = order.last.replace(view.clone());
        let is_first = before.is_none() && view.members == BTreeSet::from([me]);
        let follows = before.is_some_and(|last| {
            last.id.kind == ViewKind::Regular && number(last.id) == number(view.id)
        });
        ensure(is_first || follows, || format!("{} does not follow its view", view.id))?;
        ensure(view.members.contains(&me), || format!("not in its own view {view:?}"))?;
        order.company = Some(view.members.clone());
        order.sequence = self.sequences.place(number(view.id), &order.company);
        let others = self.companies.entry(number(view.id)).or_default();
        let overlaps = others.iter().filter(|other| **other != view.members);
        // An install timer can cause this.
        let overlaps = overlaps.filter(|other| !other.is_disjoint(&view.members)).count() as u64;
        self.coverage.add(Seen::Overlap, overlaps);
        others.insert(view.members);
        Ok(())
    }

    fn deliver(&mut self, me: NodeId, delivery: Delivery) -> Checked {
        let order = self.orders.entry(me).or_default();
        let Some(regular) = order.regular else {
            return Err(format!("delivery of {} outside of a view", delivery.source));
        };
        let count = &mut order.counts[usize::from(order.company.is_some())];
        let Delivery { source, user_type, payload, .. } = delivery;
        let delivered = Delivered { source, user_type, payload };
        let sequence = &mut self.sequences.messages[order.sequence];
        match sequence.get(*count) {
            None => sequence.push(delivered),
            Some(same) => ensure(*same == delivered, || {
                format!("message {count} of {regular:?} is {delivered:?}, for others {same:?}")
            })?,
        }
        *count += 1;
        Ok(())
    }

    fn observe_pc(&mut self, process: &Process, output: pc::Output) -> Checked {
        match output {
            pc::Output::Component(component) if component.is_primary() => {
                self.install(process, component)
            }
            // A server that comes back from disk counts less than one that kept running, even if it
            // had received more: such is the rule, and its server then refuses to join.
            pc::Output::Event(pc::Event::Decided(pc::Decision::Rebootstrap)) => {
                self.positions.clear();
                Ok(())
            }
            pc::Output::Component(_)
            | pc::Output::Send { .. }
            | pc::Output::Deliver(_)
            | pc::Output::PrimaryView { .. }
            | pc::Output::Persist(_)
            | pc::Output::Forget
            | pc::Output::Advice(_)
            | pc::Output::Event(_)
            | pc::Output::Fatal(_) => Ok(()),
        }
    }

    /// The same messages of one primary view lead everybody to the same table.
    fn check_standing(&mut self, process: &Process) -> Checked {
        if !process.is_primary() {
            return Ok(());
        }
        let (status, gcs) = (process.pc().status(), process.gcs());
        let facts = gcs.configuration().map(|c| (c.id, c.state, c.seqno, c.protocols));
        let row = |member: &gcs::Member| (member.node, member.status, member.desync_count);
        // During an exchange everybody still has what it knew before.
        let is_agreed = gcs.state() == StateKind::Primary;
        let rows = gcs.members().iter().filter(|_| is_agreed).map(row).collect();
        let standing: Standing = (gcs.state(), facts, rows);
        if let Some((_, state, seqno, _)) = standing.1 {
            let view = number(status.view);
            let now = Position { view, state, seqno, has_data: process.has_data() };
            let before = self.positions.insert(process.me, now);
            let goes_back = before.as_ref().is_some_and(|before| before.forbids(&now));
            ensure(!goes_back, || format!("position {now:?} after {before:?}"))?;
        }
        let key = (number(status.view), status.to_seq);
        let same = self.standings.entry(key).or_insert_with(|| standing.clone());
        ensure(*same == standing, || {
            format!("at {key:?} the group is {standing:?}, for others {same:?}")
        })
    }
}
