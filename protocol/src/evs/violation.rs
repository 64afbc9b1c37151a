//! What a message must not be, whether it comes in or is about to go out.
//!
//! Current servers crash or leave the group on some of these (spec 02 §8.1). Coming in, such a
//! message is dropped and counted; going out, it would be our bug, and being out of the group is
//! better than sending it.

/// A rule that a message breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// The header names a source where none belongs, or another one than the transport.
    #[error("source named in the wrong place")]
    Source,
    /// A DELEGATE carries something else than USER or LEAVE of a member, or is not from a member.
    #[error("delegate of the wrong kind")]
    Delegate,
    /// An aggregate with order DROP, or whose lengths do not add up.
    #[error("impossible aggregate")]
    Aggregate,
    /// A proposal that does not list its own sender.
    #[error("sender not in its own node list")]
    SenderNotListed,
    /// A proposal of a view that does not list one of the view's members.
    #[error("member of the view not in the node list")]
    MemberNotListed,
    /// A proposal that claims a view for somebody who is no member of it.
    #[error("node list claims the view for a stranger")]
    Stranger,
    /// A proposal of a view in which nobody of that view goes on.
    #[error("nobody of the view goes on")]
    NobodyGoesOn,
    /// A range or number that nobody could have measured.
    #[error("impossible number in the node list")]
    Number,
    /// A view number at the end of its 30 bits, or a view that cannot be installed.
    #[error("impossible view")]
    View,
    /// A retransmission request without numbers, or about somebody who is no member.
    #[error("impossible retransmission request")]
    Request,
    /// An INSTALL that leaves out a node that its proposals list.
    #[error("install does not cover all nodes")]
    Coverage,
    /// A protocol version that current members drop.
    #[error("protocol version")]
    Version,
    /// Longer than a frame can carry.
    #[error("too long")]
    Length,
}

impl Violation {
    /// Fails with this violation unless the rule holds.
    pub(super) fn unless(self, holds: bool) -> Result<(), Self> {
        if holds { Ok(()) } else { Err(self) }
    }
}
