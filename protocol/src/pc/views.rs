//! Views from EVS: keep or lose the primary view, report, publish.

use std::collections::{BTreeMap, BTreeSet};

use super::advice::{Advice, PrimaryLost};
use super::decision::Memory;
use super::fatal::Fatal;
use super::message::{Flags, Message, VERSION_MAX};
use super::node::SEQ_MASK;
use super::quorum::Tally;
use super::recovery::{self, Recovery};
use super::saved::SavedView;
use super::state::State;
use super::{Event, Output, Pc, PcView, outgoing};
use crate::id::{NodeId, Segment, ViewId, ViewKind};
use crate::planted::Bug;
use crate::view::{Component, View};

impl Pc {
    pub(super) fn handle_view(&mut self, view: View) -> Result<(), Fatal> {
        self.check_view(&view)?;
        if view.is_end() {
            return self.end();
        }
        match view.id.kind {
            ViewKind::Transitional if !self.has_evs_view() => self.start(view),
            ViewKind::Transitional => self.keep_or_lose(view),
            ViewKind::Regular => self.open_exchange(view),
            ViewKind::NonPrimary | ViewKind::Primary => Err(self.unexpected(&view)),
        }
    }

    pub(super) fn has_evs_view(&self) -> bool {
        !self.evs_view.id.node.is_nil()
    }

    /// What EVS promises about the order and the content of views.
    fn check_view(&self, view: &View) -> Result<(), Fatal> {
        let previous = self.evs_view.id;
        let fits = match view.id.kind {
            ViewKind::Transitional => {
                let is_same = previous.node == view.id.node && previous.seq == view.id.seq;
                let is_expected =
                    !self.has_evs_view() || is_same && self.evs_view.version == view.version;
                self.state != State::Transitional && is_expected && view.members.contains(&self.me)
            }
            ViewKind::Regular if view.is_end() => self.state == State::Transitional,
            ViewKind::Regular => {
                let is_newer = previous.seq < view.id.seq && view.id.seq <= SEQ_MASK;
                self.state == State::Transitional && is_newer && view.members.contains(&self.me)
            }
            ViewKind::NonPrimary | ViewKind::Primary => false,
        };
        if !fits {
            return Err(self.unexpected(view));
        }
        if view.version > VERSION_MAX { Err(Fatal::Version(view.version)) } else { Ok(()) }
    }

    fn unexpected(&self, view: &View) -> Fatal {
        let previous = self.evs_view.id;
        Fatal::UnexpectedView { view: view.id, previous, state: self.state }
    }

    /// The first view of a life: nobody else is there yet.
    fn start(&mut self, view: View) -> Result<(), Fatal> {
        if self.config.start_primary {
            if view.members.len() != 1 {
                return Err(self.unexpected(&view));
            }
            let mine = self.known.mine_mut();
            mine.last_primary = view.id.with_kind(ViewKind::Primary);
            mine.is_primary = true;
        }
        self.evs_view = view;
        self.transition(State::Transitional)
    }

    /// Is what is left of the last installed view still enough?
    ///
    /// The reference is the view that PC installed last, not the previous one of EVS: until the
    /// next installation, a member that left politely two views ago counts as lost.
    fn keep_or_lose(&mut self, view: View) -> Result<(), Fatal> {
        let tally = Tally::count(&view, &self.pc_view.members, self.known.nodes());
        let was_exchanging = self.state.is_exchanging();
        let is_only_me = view.members.len() == 1;
        self.left_primary = self.is_closing && self.state == State::Primary && is_only_me;
        let has_half = self.config.planted.is(Bug::HalfIsQuorum) && tally.is_split();
        let keeps = tally.has_quorum() || has_half || self.is_quorum_ignored(tally);
        self.evs_view = view;
        self.transition(State::Transitional)?;
        if keeps {
            return Ok(());
        }
        let was_primary = self.pc_view.is_primary();
        if was_primary {
            self.event(Event::QuorumLost(tally));
        }
        self.demote();
        self.publish(false)?;
        if was_primary && !self.is_closing {
            self.report_loss(was_exchanging);
        }
        Ok(())
    }

    fn is_quorum_ignored(&mut self, tally: Tally) -> bool {
        // With weight 0 every lost view looks split or worse: such a member must never go on alone.
        let has_vote = self.known.mine().weight.is_some_and(|weight| weight > 0);
        if self.is_closing || !has_vote {
            return false;
        }
        let ignored = self.config.ignore_quorum || self.config.ignore_sb && tally.is_split();
        if ignored {
            self.event(Event::QuorumIgnored(tally));
        }
        ignored
    }

    pub(super) fn report_loss(&mut self, is_mid_exchange: bool) {
        if let Some(saved) = self.saved.clone() {
            let lost = PrimaryLost { saved, is_mid_exchange };
            self.outputs.push_back(Output::Advice(Advice::PrimaryLost(lost)));
        }
    }

    /// A regular view: say what we know, and wait until everybody did.
    fn open_exchange(&mut self, view: View) -> Result<(), Fatal> {
        if let Some(doubt) = self.doubt {
            return Err(doubt);
        }
        self.evs_view = view;
        self.exchange = super::exchange::Exchange::default();
        self.transition(State::StatesExchange)?;
        self.known.level_positions(&self.evs_view.members);
        self.known.mark_evicted(&self.evicted);
        let nodes = self.known.nodes().clone();
        let companions =
            self.evs_view.members.intersection(&self.pc_view.members).copied().collect();
        outgoing::check_state(&nodes, &self.me, &companions).map_err(Fatal::Withheld)?;
        self.send_control(&Message::state(self.evs_view.version, nodes));
        Ok(())
    }

    /// The empty view: the leave is complete.
    fn end(&mut self) -> Result<(), Fatal> {
        self.evs_view =
            View::new(ViewId::new(ViewKind::Regular, NodeId::NIL, 0), 0, BTreeSet::new());
        self.demote();
        self.transition(State::NonPrimary)?;
        self.publish(false)?;
        if self.left_primary {
            self.outputs.push_back(Output::Forget);
        }
        self.transition(State::Closed)
    }

    /// Does nobody wait for us after a leave? `release` is who goes on without us: enough of the last
    /// primary view to stay primary, or else that view will be asked for, with us in it.
    pub fn is_released(&self, release: Option<&View>) -> bool {
        let Some(saved) = &self.saved else { return true };
        let members: BTreeSet<_> = saved.members.keys().copied().collect();
        let is_only_me = members.iter().all(|node| *node == self.me);
        let goes_on = |view: &View| Tally::count(view, &members, self.known.nodes()).has_quorum();
        is_only_me || release.is_some_and(goes_on)
    }

    /// No longer primary, with the members of the EVS view that are known.
    pub(super) fn demote(&mut self) {
        self.known.demote(&self.evs_view.members);
        let id = self.evs_view.id.with_kind(ViewKind::NonPrimary);
        let members = self.present().into_keys().collect();
        self.pc_view = PcView { id, members };
    }

    /// Members of the EVS view that have reported once.
    pub(super) fn present(&self) -> BTreeMap<NodeId, Segment> {
        let nodes = self.known.nodes().iter();
        let present = nodes.filter(|(node, _)| self.evs_view.members.contains(node));
        present.map(|(node, entry)| (*node, entry.segment)).collect()
    }

    /// Hands the PC view up. Departed members, the polite ones too, are still known at this moment.
    pub(super) fn publish(&mut self, is_bootstrap: bool) -> Result<(), Fatal> {
        let members = self.present();
        let nodes = self.known.nodes().keys();
        let departed = nodes.filter(|node| !members.contains_key(node)).copied().collect();
        let view = self.pc_view.id;
        if self.pc_view.is_primary() {
            self.save(is_bootstrap, &members);
        }
        self.event(Event::Published { view, departed });
        self.component = members.keys().copied().collect();
        let component = Component { id: view, is_bootstrap, members };
        self.outputs.push_back(Output::Component(component));
        if self.pc_view.is_primary() {
            let members = self.component.clone();
            self.outputs.push_back(Output::PrimaryView { members });
            return Ok(());
        }
        self.try_recovery()
    }

    /// The identity is on disk before anything is done in its name.
    fn save(&mut self, is_bootstrap: bool, members: &BTreeMap<NodeId, Segment>) {
        let (me, view, members) = (self.me, self.pc_view.id, members.clone());
        let saved = SavedView { me, view, is_bootstrap, members };
        self.restored = None;
        self.memory = Memory::default();
        self.standing.was_primary = true;
        self.saved = Some(saved.clone());
        self.outputs.push_back(Output::Persist(saved));
    }

    /// Only after a completed exchange: in a transitional view nothing can be sent.
    fn try_recovery(&mut self) -> Result<(), Fatal> {
        let Some(restored) = self.restored.as_ref().filter(|_| self.state == State::NonPrimary)
        else {
            return Ok(());
        };
        match recovery::assess(restored, self.known.nodes(), &self.component) {
            Recovery::NotNow => Ok(()),
            Recovery::MixedHistory(node) => {
                self.event(Event::RecoveryRefused(node));
                Ok(())
            }
            // Some full member has the same information and will do it; that is the safer choice.
            Recovery::Possible if self.config.weight == 0 => Ok(()),
            Recovery::Possible => self.send_install(Flags::BOOTSTRAP),
        }
    }

    /// Sends INSTALL made of what everybody reported about itself.
    pub(super) fn send_install(&mut self, flags: Flags) -> Result<(), Fatal> {
        let nodes = self.exchange.install_map();
        outgoing::check_install(&nodes, &self.me, &self.evs_view.members, &self.exchange, false)
            .map_err(Fatal::Withheld)?;
        self.send_control(&Message::install(self.evs_view.version, flags, nodes));
        Ok(())
    }
}
