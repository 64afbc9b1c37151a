//! Why a member can no longer take part.

use super::outgoing::Unsendable;
use super::state::State;
use crate::decode::DecodeError;
use crate::id::{NodeId, ViewId};
use crate::message::SendError;

/// Why the stack cannot go on. The only safe answer is to drop the links, which the group sees as
/// a crash, and perhaps to come back under the saved identity: a guess would stop the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// Another member comes from a primary view that is not ours, and theirs is the one that stays.
    #[error("conflicting primary components: ours {ours}, {source_node} is in {theirs}")]
    ConflictingPrimaries {
        /// The member that said so.
        source_node: NodeId,
        /// Our last primary view.
        ours: ViewId,
        /// Theirs.
        theirs: ViewId,
    },
    /// Members that call themselves primary disagree about the view or the position.
    #[error("members that come from a primary view disagree about it")]
    InconsistentPrimaries,
    /// The group is about to re-bootstrap a primary view without members that we know it had; they
    /// may still be primary.
    #[error("members of {view} are missing from its re-bootstrap")]
    IncompleteRebootstrap {
        /// The last primary view.
        view: ViewId,
    },
    /// A message that does not decode, or whose checksum is wrong.
    #[error("message of {source_node}")]
    Malformed {
        /// Who sent it.
        source_node: NodeId,
        /// What is wrong with it.
        #[source]
        error: DecodeError,
    },
    /// A message that nobody may send in this state.
    #[error("{kind} message of {source_node} in state {state}")]
    OutOfPlace {
        /// Who sent it.
        source_node: NodeId,
        /// STATE, INSTALL or USER.
        kind: &'static str,
        /// Our state.
        state: State,
    },
    /// A second STATE of one member, or one of a node that is not in the view.
    #[error("STATE message of {source_node} is one too many")]
    ExtraState {
        /// Who sent it.
        source_node: NodeId,
    },
    /// A STATE or INSTALL that does not list whom it must list.
    #[error("message of {source_node} does not list {node}")]
    NotListed {
        /// Who sent it.
        source_node: NodeId,
        /// Who is not there.
        node: NodeId,
    },
    /// A member of our primary view reports something else than we know.
    #[error("{source_node} reports {node} differently from what we know")]
    StateMismatch {
        /// Who sent it.
        source_node: NodeId,
        /// About whom.
        node: NodeId,
    },
    /// An INSTALL whose entry about us, or whose positions, are not what everybody agreed on.
    #[error("INSTALL of {source_node} does not match the state exchange")]
    InstallMismatch {
        /// Who sent it.
        source_node: NodeId,
    },
    /// A USER message is missing or repeated.
    #[error("gap in message sequence of {source_node}: expected {expected}, found {found}")]
    SequenceGap {
        /// Who sent it.
        source_node: NodeId,
        /// The number that was due.
        expected: u32,
        /// The number it has.
        found: u32,
    },
    /// More nodes than one STATE can list.
    #[error("more nodes are known than one message can list")]
    TooManyNodes,
    /// The layer below delivered a view that cannot come now.
    #[error("view {view} cannot follow {previous} in state {state}")]
    UnexpectedView {
        /// The view.
        view: ViewId,
        /// The one before it.
        previous: ViewId,
        /// Our state.
        state: State,
    },
    /// The group runs a protocol version that we do not speak.
    #[error("protocol version {0} of the group is not supported")]
    Version(u8),
    /// The layer below refused a message that the group waits for.
    #[error("send control message")]
    Refused(#[source] SendError),
    /// We were about to send something that stops other members. It was not sent.
    #[error("own message withheld")]
    Withheld(#[source] Unsendable),
    /// A step that the table of states does not have.
    #[error("step from {from} to {to}")]
    Transition {
        /// State before.
        from: State,
        /// State that was asked for.
        to: State,
    },
}
