//! The last look at outgoing messages: what kills a server never leaves (spec 02 §8.1).
//!
//! Layouts, types, orders and lists without duplicates are right by construction of the types. What
//! remains are rules about the members that will receive the message.

use super::current_view::CurrentView;
use super::message::{
    Body, Flags, Gap, Header, Install, MESSAGE_BYTES_MAX, Message, NodeEntry, Proposal, User,
    split_aggregate,
};
use super::nodes::Nodes;
use super::seqno::{Range, Seqno};
use super::violation::Violation;
use crate::id::NodeId;
use crate::message::Order;

/// Who is going to read the message.
pub(super) struct Readers<'a> {
    pub(super) me: NodeId,
    pub(super) view: &'a CurrentView,
    pub(super) nodes: &'a Nodes,
    /// False only where a simulation shows what the rule is good for.
    pub(super) must_cover: bool,
}

impl Readers<'_> {
    /// May this message be sent?
    pub(super) fn check(&self, message: &Message) -> Result<(), Violation> {
        Violation::Length.unless(message.encoded_len() <= MESSAGE_BYTES_MAX)?;
        Violation::Version.unless(message.header.version <= 1)?;
        Violation::Source
            .unless(matches!(message.body, Body::Install(_)) == self.names_me(message))?;
        match &message.body {
            Body::User(user) => check_user(&message.header, user),
            Body::Delegate(inner) => self.check_delegate(inner),
            Body::Gap(gap) => self.check_gap(&message.header, gap),
            Body::Join(proposal) => self.check_proposal(proposal),
            Body::Install(install) => self.check_install(install),
            Body::Leave(_) | Body::DelayedList(_) => Ok(()),
        }
    }

    fn names_me(&self, message: &Message) -> bool {
        message.header.source == Some(self.me)
    }

    fn check_delegate(&self, inner: &Message) -> Result<(), Violation> {
        let is_retransmission = inner.header.flags.contains(Flags::RETRANSMISSION);
        let is_of_member = inner.header.source.is_some_and(|source| self.nodes.contains(&source));
        Violation::Delegate.unless(is_retransmission && is_of_member)?;
        match &inner.body {
            Body::User(user) => check_user(&inner.header, user),
            Body::Leave(_) => Ok(()),
            Body::Delegate(_)
            | Body::Gap(_)
            | Body::Join(_)
            | Body::Install(_)
            | Body::DelayedList(_) => Err(Violation::Delegate),
        }
    }

    fn check_gap(&self, header: &Header, gap: &Gap) -> Result<(), Violation> {
        if !header.flags.contains(Flags::RETRANSMISSION) {
            return Violation::Request.unless(gap.range_node.is_nil() && gap.range == Range::NONE);
        }
        let is_of_member = self.view.contains(&gap.range_node) && header.view == self.view.id;
        let has_numbers = !gap.range.is_empty() && gap.range.lowest_unseen >= Seqno::FIRST;
        Violation::Request.unless(is_of_member && has_numbers)
    }

    fn check_proposal(&self, proposal: &Proposal) -> Result<(), Violation> {
        let mine = proposal.nodes.entry(&self.me);
        let is_listed = mine.is_some_and(|e| e.is_operational && e.view == self.view.id);
        Violation::SenderNotListed.unless(is_listed)?;
        let covers_view = self.view.iter().all(|member| proposal.nodes.contains(member));
        Violation::MemberNotListed.unless(covers_view)?;
        for (id, entry) in proposal.nodes.filtered(|entry| entry.view == self.view.id) {
            Violation::Stranger.unless(self.view.contains(id))?;
            Violation::Number.unless(entry.range.is_measurable() && entry.safe >= Seqno::NONE)?;
        }
        Ok(())
    }

    /// Whoever accepts the INSTALL must find in it everybody whose messages it may still hold.
    fn check_install(&self, install: &Install) -> Result<(), Violation> {
        self.check_proposal(&install.proposal)?;
        let listed = |id: &NodeId| install.proposal.nodes.contains(id);
        let voters = self.nodes.operational().filter_map(|(_, node)| node.join.as_ref());
        let in_a_view = |entry: &NodeEntry| !entry.view.node.is_nil();
        let mut named = voters.flat_map(|join| join.proposal.nodes.filtered(in_a_view));
        Violation::Coverage.unless(!self.must_cover || named.all(|(id, _)| listed(id)))
    }
}

/// Receivers pass the parts of an aggregate up whatever its order, so DROP must never be one.
fn check_user(header: &Header, user: &User) -> Result<(), Violation> {
    let is_aggregate = header.flags.contains(Flags::AGGREGATE);
    let is_whole = || header.order != Order::Drop && split_aggregate(&user.payload).is_ok();
    Violation::Aggregate.unless(!is_aggregate || is_whole())
}
