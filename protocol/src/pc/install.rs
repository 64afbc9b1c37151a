//! STATE and INSTALL as they come in: from reports to a primary view.

use std::collections::BTreeSet;

use super::advice::{Advice, NotPrimary};
use super::decision::{self, Decision, Obstacle};
use super::fatal::Fatal;
use super::message::Flags;
use super::node::NodeMap;
use super::quorum::Tally;
use super::state::State;
use super::{Event, Output, Pc, PcView};
use crate::id::{NodeId, ViewKind};
use crate::planted::Bug;

impl Pc {
    pub(super) fn handle_state(&mut self, source: NodeId, report: NodeMap) -> Result<(), Fatal> {
        match self.state {
            State::StatesExchange => self.collect(source, report),
            // Of a view that is over already: the next one has its own.
            State::Transitional => Ok(()),
            State::Closed | State::NonPrimary | State::Install | State::Primary => {
                Err(self.out_of_place(source, "STATE"))
            }
        }
    }

    pub(super) fn handle_install(
        &mut self,
        source: NodeId,
        flags: Flags,
        nodes: &NodeMap,
    ) -> Result<(), Fatal> {
        let is_bootstrap = flags.contains(Flags::BOOTSTRAP);
        match self.state {
            State::Install if is_bootstrap => {
                self.event(Event::BootstrapIgnored(source));
                Ok(())
            }
            State::Install | State::NonPrimary => self.become_primary(source, is_bootstrap, nodes),
            State::Primary if flags.contains(Flags::WEIGHT_CHANGE) => {
                self.change_weight_of(source, nodes)
            }
            // Every restored member sends one; all but the first come too late.
            State::Primary => {
                self.event(Event::BootstrapIgnored(source));
                Ok(())
            }
            State::Transitional if is_bootstrap => Ok(()),
            State::Transitional => self.miss_install(source, flags, nodes),
            State::Closed | State::StatesExchange => Err(self.out_of_place(source, "INSTALL")),
        }
    }

    fn collect(&mut self, source: NodeId, report: NodeMap) -> Result<(), Fatal> {
        if self.is_conflict_ours(source, &report)? {
            self.event(Event::ConflictIgnored(source));
            return Ok(());
        }
        self.exchange.add(source, report, &self.evs_view.members)?;
        if !self.exchange.is_complete(&self.evs_view.members) {
            return Ok(());
        }
        self.exchange.merge_into(self.known.nodes_mut(), &self.me)?;
        self.exchange.check(self.known.nodes(), &self.me, &self.evs_view.members)?;
        self.decide()
    }

    /// Two primary components met. True if ours stays: then the other side stops by itself, and a
    /// transitional view without it follows.
    fn is_conflict_ours(&self, source: NodeId, report: &NodeMap) -> Result<bool, Fatal> {
        let mine = self.known.mine();
        let Some(theirs) = report.get(&source) else {
            return Err(Fatal::NotListed { source_node: source, node: source });
        };
        let (ours, theirs, both) =
            (mine.last_primary, theirs.last_primary, mine.is_primary && theirs.is_primary);
        if !both || ours == theirs {
            return Ok(false);
        }
        let stays = if self.config.npvo { ours.is_less(&theirs) } else { theirs.is_less(&ours) };
        if stays {
            Ok(true)
        } else {
            Err(Fatal::ConflictingPrimaries { source_node: source, ours, theirs })
        }
    }

    /// Without our acknowledgement an INSTALL of the others can hardly become safe, and delivered
    /// late it leaves them non-primary: so whoever knows better drops the links at once.
    fn decide(&mut self) -> Result<(), Fatal> {
        let members = &self.evs_view.members;
        let mut decision = decision::decide(&self.exchange, self.known.nodes(), members)?;
        let mut forgotten = self.memory.add(&self.exchange, members);
        if self.config.planted.is(Bug::FoundsWithoutMissing)
            && matches!(decision, Decision::NonPrimary(Obstacle::Missing { .. }))
        {
            (decision, forgotten) = (Decision::Rebootstrap, None);
        }
        let is_representative = members.first() == Some(&self.me);
        if let (Decision::Rebootstrap, Some((view, missing))) = (&decision, forgotten) {
            self.event(Event::MembersForgotten(missing));
            return Err(Fatal::IncompleteRebootstrap { view });
        }
        let is_possible = decision.is_possible();
        self.event(Event::Decided(decision));
        if !is_possible {
            return self.stay_non_primary();
        }
        self.transition(State::Install)?;
        // No timer rescues the group if we keep it waiting here.
        if is_representative { self.send_install(Flags::default()) } else { Ok(()) }
    }

    fn stay_non_primary(&mut self) -> Result<(), Fatal> {
        self.transition(State::NonPrimary)?;
        self.demote();
        self.publish(false)?;
        if self.config.leave_if_not_primary && !self.is_closing {
            let case = NotPrimary {
                me: &self.me,
                standing: self.standing,
                restored: self.restored.as_ref(),
                members: &self.evs_view.members,
                exchange: &self.exchange,
            };
            let advice = case.reason_to_leave().map(Advice::Leave);
            self.outputs.extend(advice.map(Output::Advice));
        }
        Ok(())
    }

    /// The primary view starts here, at every member at the same point of the total order.
    fn become_primary(
        &mut self,
        source: NodeId,
        is_bootstrap: bool,
        nodes: &NodeMap,
    ) -> Result<(), Fatal> {
        let to_seq = self.agreed_position(source, nodes)?;
        let id = self.evs_view.id.with_kind(ViewKind::Primary);
        self.known.promote(id, &self.evs_view.members, to_seq);
        let members = self.present().into_keys().collect();
        self.pc_view = PcView { id, members };
        self.sent_seq = 0;
        self.transition(State::Primary)?;
        self.publish(is_bootstrap)?;
        self.known.forget_absent(&self.evs_view.members);
        Ok(())
    }

    /// The position the view starts at: that of its primary members, or else the furthest one.
    fn agreed_position(&self, source: NodeId, nodes: &NodeMap) -> Result<i64, Fatal> {
        let mismatch = Fatal::InstallMismatch { source_node: source };
        let me = self.me;
        let mine = nodes.get(&me).ok_or(Fatal::NotListed { source_node: source, node: me })?;
        if !self.has_evs_view() || !mine.agrees_with(self.known.mine()) {
            return Err(mismatch);
        }
        let mut primaries = nodes.values().filter(|entry| entry.is_primary);
        match primaries.next() {
            Some(first) if primaries.all(|entry| entry.to_seq == first.to_seq) => Ok(first.to_seq),
            Some(_) => Err(mismatch),
            None => nodes.values().map(|entry| entry.to_seq).max().ok_or(mismatch),
        }
    }

    fn change_weight_of(&mut self, source: NodeId, nodes: &NodeMap) -> Result<(), Fatal> {
        let weight = self.known.take_weight(&source, nodes);
        if !nodes.contains_key(&source) {
            return Err(Fatal::NotListed { source_node: source, node: source });
        }
        self.event(Event::WeightChanged { node: source, weight });
        Ok(())
    }

    /// An INSTALL that arrives when its view is over already: those who did not come along may have
    /// acted on it in time. Everything that depends on that becomes uncertain.
    ///
    /// Without quorum, existing members stop here, a lone member of weight 0 among them; ours goes
    /// the way of every other loss.
    fn miss_install(&mut self, source: NodeId, flags: Flags, nodes: &NodeMap) -> Result<(), Fatal> {
        self.standing.missed_install |= nodes.contains_key(&self.me);
        let tally = Tally::count(&self.evs_view, &self.pc_view.members, self.known.nodes());
        let has_quorum = tally.has_quorum();
        if flags.contains(Flags::WEIGHT_CHANGE) {
            return self.miss_weight_change(source, nodes, has_quorum);
        }
        let prospective: BTreeSet<_> =
            nodes.keys().filter(|node| self.known.nodes().contains_key(node)).copied().collect();
        let with_newcomers = Tally::count(&self.evs_view, &prospective, self.known.nodes());
        if has_quorum && with_newcomers.has_quorum() && self.pc_view.is_primary() {
            return Ok(());
        }
        self.lose_to_missed_install(nodes)
    }

    fn miss_weight_change(
        &mut self,
        source: NodeId,
        nodes: &NodeMap,
        has_quorum: bool,
    ) -> Result<(), Fatal> {
        let (members, left) = (&self.evs_view.members, &self.evs_view.left);
        let is_nobody_lost =
            self.pc_view.members.iter().all(|node| members.contains(node) || left.contains(node));
        if has_quorum && is_nobody_lost {
            return self.change_weight_of(source, nodes);
        }
        let is_source_lost = !members.contains(&source);
        self.lose_to_missed_install(nodes)?;
        if is_source_lost {
            self.known.take_weight(&source, nodes);
        }
        Ok(())
    }

    fn lose_to_missed_install(&mut self, nodes: &NodeMap) -> Result<(), Fatal> {
        let was_primary = self.pc_view.is_primary();
        self.demote();
        self.publish(false)?;
        let marked = self.known.mark_unknown(nodes, &self.evs_view.members);
        self.event(Event::MarkedUnknown(marked));
        if was_primary && !self.is_closing {
            self.report_loss(true);
        }
        Ok(())
    }
}
