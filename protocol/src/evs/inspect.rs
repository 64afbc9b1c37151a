//! Checks of incoming messages before anything is changed by them (spec 02 §8.3).

use super::current_view::CurrentView;
use super::message::{Body, Flags, Header, Install, Message, Proposal, User, split_aggregate};
use super::seqno::{Range, Seqno};
use super::violation::Violation;
use crate::id::{NodeId, ViewId, ViewKind};
use crate::message::Order;

/// View numbers beyond this are refused: there must be room for the views that follow.
const VIEW_SEQ_ACCEPTED_MAX: u32 = 0x3fff_ffff - 0x10_0000;

/// Is this a message that a member could have sent to us, who are in `view` as `me`?
pub(super) fn inspect(
    transport: NodeId,
    message: &Message,
    me: NodeId,
    view: &CurrentView,
) -> Result<(), Violation> {
    check_source(transport, message)?;
    check_view_number(message.header.view)?;
    let source = message.header.source.unwrap_or(transport);
    let context = Context { source, me, view };
    match &message.body {
        Body::User(user) => check_user(&message.header, user),
        Body::Delegate(inner) => check_delegate(message, inner),
        Body::Join(proposal) => context.check_proposal(proposal, message.header.view),
        Body::Install(install) => context.check_install(install, message.header.view),
        Body::Gap(_) | Body::Leave(_) | Body::DelayedList(_) => Ok(()),
    }
}

/// Only INSTALL names its source, and it is the one that the transport names.
fn check_source(transport: NodeId, message: &Message) -> Result<(), Violation> {
    let expected = matches!(message.body, Body::Install(_)).then_some(transport);
    Violation::Source.unless(message.header.source == expected)
}

fn check_view_number(view: ViewId) -> Result<(), Violation> {
    Violation::View.unless(view.seq <= VIEW_SEQ_ACCEPTED_MAX)
}

fn check_user(header: &Header, user: &User) -> Result<(), Violation> {
    if !header.flags.contains(Flags::AGGREGATE) {
        return Ok(());
    }
    let is_whole = header.order != Order::Drop && split_aggregate(&user.payload).is_ok();
    Violation::Aggregate.unless(is_whole)
}

fn check_delegate(outer: &Message, inner: &Message) -> Result<(), Violation> {
    let is_retransmission = inner.header.flags.contains(Flags::RETRANSMISSION);
    let is_same_view = inner.header.view == outer.header.view;
    Violation::Delegate.unless(is_retransmission && is_same_view)?;
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

struct Context<'a> {
    source: NodeId,
    me: NodeId,
    view: &'a CurrentView,
}

impl Context<'_> {
    fn check_proposal(&self, proposal: &Proposal, from: ViewId) -> Result<(), Violation> {
        Violation::SenderNotListed.unless(proposal.nodes.contains(&self.source))?;
        for (id, entry) in proposal.nodes.iter() {
            check_view_number(entry.view)?;
            let is_known = entry.range != Range::NONE || entry.view == self.view.id;
            let is_number = entry.safe >= Seqno::NONE && entry.leave_seqno >= Seqno::NONE;
            let is_possible = is_number && (!is_known || entry.range.is_measurable());
            Violation::Number.unless(is_possible)?;
            let is_stranger = entry.view == self.view.id && !self.view.contains(id);
            Violation::Stranger.unless(!is_stranger)?;
        }
        if from == self.view.id { self.check_own_view(proposal) } else { Ok(()) }
    }

    /// A proposal from my own view must say what becomes of the view, me included.
    fn check_own_view(&self, proposal: &Proposal) -> Result<(), Violation> {
        Violation::MemberNotListed.unless(proposal.nodes.contains(&self.me))?;
        let mut of_view = proposal.nodes.filtered(|entry| entry.view == self.view.id);
        Violation::NobodyGoesOn.unless(of_view.any(|(_, entry)| entry.is_operational))
    }

    fn check_install(&self, install: &Install, from: ViewId) -> Result<(), Violation> {
        check_view_number(install.view)?;
        let is_regular = install.view.kind == ViewKind::Regular && install.view.seq > from.seq;
        Violation::View.unless(is_regular && install.view.node == self.source)?;
        self.check_proposal(&install.proposal, from)
    }
}
