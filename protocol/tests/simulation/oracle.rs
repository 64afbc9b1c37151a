//! What must hold between all members of all groups, from what passed between their layers
//! (spec 02 §11.2 and 03 §8.3).
//!
//! The rules of one layer alone are checked by that layer's own simulation; here it is the whole
//! stack, so a rule that is broken below shows up as a disagreement above.

use std::collections::{BTreeMap, BTreeSet};

use galera_protocol::evs;
use galera_protocol::gcs::{self, state::StateKind};
use galera_protocol::id::{NodeId, Segment, ViewId, ViewKind};
use galera_protocol::member::Passed;
use galera_protocol::message::Delivery;
use galera_protocol::pc::{self, SavedView};
use galera_protocol::view::{Component, View};

use crate::coverage::{Coverage, Seen};
use crate::process::Process;

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

/// What all members that install one primary view agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Installed {
    is_bootstrap: bool,
    members: BTreeMap<NodeId, Segment>,
    to_seq: i64,
    weights: BTreeMap<NodeId, u32>,
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

    /// Primary views form one chain: each has a quorum of the one before, or all of it.
    fn install(&mut self, process: &Process, component: Component) -> Checked {
        let Component { id, is_bootstrap, members } = component;
        ensure(members.contains_key(&process.me), || format!("not in its primary view {id}"))?;
        let known = process.pc().known();
        let weight = |node: &NodeId| known.get(node).and_then(|entry| entry.weight).unwrap_or(0);
        let weights = members.keys().map(|node| (*node, u32::from(weight(node)))).collect();
        // The position is compared with every message; a later one may have been delivered since.
        let installed = Installed { is_bootstrap, members, to_seq: 0, weights };
        self.installers.entry(number(id)).or_default().insert(process.me);
        let mut known = self.chain.iter().chain(&self.past);
        if let Some((_, same)) = known.find(|(known, _)| *known == id) {
            let (mine, theirs) = (&installed.members, &same.members);
            return ensure(mine == theirs && same.is_bootstrap == is_bootstrap, || {
                format!("primary view {id}: {installed:?}, for others {same:?}")
            });
        }
        if let Some((before, last)) = self.chain.last() {
            let members = installed.members.keys().copied().collect();
            let goes_on = self.allows_rivals
                || goes_on(self, last, &members)
                || self.goes_on_from_earlier(&members);
            let is_split = !goes_on && is_bootstrap && self.is_recovery(&members);
            ensure(goes_on || is_split, || {
                format!("{id} {installed:?} has no right to follow {before} {last:?}")
            })?;
            self.split = is_split.then_some(id).or(self.split);
            self.coverage.add(Seen::Split, u64::from(is_split));
        }
        self.coverage.add(Seen::PrimaryView, 1);
        self.coverage.add(Seen::Recovery, u64::from(is_bootstrap));
        self.chain.push((id, installed));
        Ok(())
    }

    /// May these nodes form the next primary view?
    pub(crate) fn may_go_on(&self, members: &BTreeSet<NodeId>) -> bool {
        self.chain.last().is_none_or(|(_, last)| goes_on(self, last, members))
    }

    /// Quorum is counted against the last view that a member has *installed* (spec 03 §3.4). Who
    /// hears of an INSTALL only when its view is over, but then has most of the votes of that view
    /// too, stays primary without installing it (§3.8): those that did install it have lost. If one
    /// more change comes before the next installation, it is judged against the earlier view.
    fn goes_on_from_earlier(&self, members: &BTreeSet<NodeId>) -> bool {
        let has_installed = |id: &ViewId, node: &NodeId| {
            self.installers.get(&number(*id)).is_some_and(|it| it.contains(node))
        };
        let goes_on = |member: &NodeId| {
            let place = self.chain.iter().rposition(|(id, _)| has_installed(id, member));
            let Some(place) = place else { return false };
            has_votes(self, &self.chain[place].1, members)
                && self.chain[place + 1..].iter().all(|later| self.has_outvoted(member, later))
        };
        members.iter().any(goes_on)
    }

    /// Came this member out of a view with most of its votes, without installing it?
    fn has_outvoted(&self, member: &NodeId, (id, view): &(ViewId, Installed)) -> bool {
        let mut companies = self.companies.get(&number(*id)).into_iter().flatten();
        companies.any(|company| company.contains(member) && has_votes(self, view, company))
    }

    /// Exactly the members of the newest saved view are back, and found it anew. They have a right to that
    /// even if others have gone on with newcomers from there, which happens when all of them die
    /// after the INSTALL of the next view became safe for the newcomers and before it did for them
    /// (spec 03 §4.4): what is on nobody's disk nobody can know.
    fn is_recovery(&self, members: &BTreeSet<NodeId>) -> bool {
        let files: Vec<_> = members.iter().filter_map(|node| self.restored.get(node)).collect();
        let Some(file) = files.iter().max_by_key(|file| file.view.seq) else { return false };
        let is_one_history = files.len() == members.len()
            && files.iter().all(|other| other.view.node == file.view.node);
        let is_everybody = members.len() == file.members.len()
            && members.iter().zip(file.members.keys()).all(|(now, then)| now.is_same_node(then));
        let Some(place) = self.chain.iter().position(|(view, _)| *view == file.view) else {
            return false;
        };
        let later =
            self.chain[place + 1..].iter().filter_map(|(id, _)| self.installers.get(&number(*id)));
        let knew = |node: &NodeId| members.iter().any(|member| member.is_same_node(node));
        is_one_history && is_everybody && !later.flatten().any(knew)
    }

    /// A life that begins with what an earlier one has saved, or saves its own first view.
    pub(crate) fn note_saved(&mut self, saved: &SavedView) {
        if !saved.members.contains_key(&saved.me) {
            self.restored.insert(saved.me, saved.clone());
        }
    }

    /// Has a second primary view come about beside another, by the rules?
    pub(crate) fn take_split(&mut self) -> Option<ViewId> {
        self.split.take()
    }

    /// Votes have changed since the last primary view was installed.
    pub(crate) fn note_votes(&mut self, process: &Process) {
        let Some((_, last)) = self.chain.last_mut() else { return };
        for (node, weight) in &mut last.weights {
            let known = process.pc().known().get(node).and_then(|entry| entry.weight);
            *weight = known.map_or(*weight, u32::from);
        }
    }

    /// A founder starts the chain anew, because the operator says so.
    pub(crate) fn forget_chain(&mut self) {
        self.past.append(&mut self.chain);
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

/// Do these members follow that primary view, as most of its votes or as all who can be missed?
fn goes_on(oracle: &Oracle, last: &Installed, next: &BTreeSet<NodeId>) -> bool {
    let is_out = |node: &NodeId| oracle.banned.contains(node) || oracle.forgotten.contains(node);
    let is_missed =
        |node: &NodeId| !is_among(node, next) && !oracle.leavers.contains(node) && !is_out(node);
    has_votes(oracle, last, next) || !last.members.keys().any(is_missed)
}

/// Have they most of its votes, those that left politely not counted?
fn has_votes(oracle: &Oracle, last: &Installed, next: &BTreeSet<NodeId>) -> bool {
    let sum = |counts: &dyn Fn(&NodeId) -> bool| -> u32 {
        let nodes = last.members.keys().filter(|node| counts(node));
        nodes.map(|node| last.weights.get(node).copied().unwrap_or(0)).sum()
    };
    let total = sum(&|_| true);
    let stayed = sum(&|node| is_among(node, next));
    let left = sum(&|node| !is_among(node, next) && oracle.leavers.contains(node));
    2 * stayed + left > total
}

fn is_among(node: &NodeId, nodes: &BTreeSet<NodeId>) -> bool {
    nodes.iter().any(|other| other.is_same_node(node))
}
