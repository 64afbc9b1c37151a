//! Facts about links for people: logs, `status`, `doctor`. Nothing here is needed to run the
//! protocol.

use core::fmt;
use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeSet;

use super::LinkId;
use super::link::StateKind;
use super::message::Kind;
use super::outgoing::Forbidden;
use super::text::Text;
use crate::decode::DecodeError;
use crate::frame::FrameError;
use crate::id::{NodeId, Segment};
use crate::tls::{Stranger, TlsFailure};

/// Something about links that a person may want to know.
#[expect(missing_docs, reason = "each variant's sentence names its fields")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A look-up had another result than the one before.
    Resolved { host: String, port: u16, addresses: BTreeSet<IpAddr> },
    /// A look-up failed, and the one before did not.
    ResolveFailed { host: String, port: u16 },
    /// A handshake is done.
    LinkEstablished { link: LinkId, node: NodeId, segment: Segment, remote: SocketAddr },
    /// A link is gone, or never came to be.
    LinkClosed(LinkClosed),
    /// Members do not accept our UUID. It takes another one to go on; whether to take one is for
    /// the user to say if we were evicted.
    IdentityRefused { problem: IdentityProblem, remote: SocketAddr },
    /// The process at this address is another one than before.
    IdentityChanged { remote: SocketAddr, before: NodeId, now: NodeId },
    /// This address is our own; it will not be dialled again.
    OwnAddressFound { remote: SocketAddr },
    /// Members without a link to us are reached through others from now on. With nobody
    /// unreachable: no longer.
    RelayingChanged { unreachable: BTreeSet<NodeId>, through: BTreeSet<NodeId> },
}

/// The end of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkClosed {
    /// Which one.
    pub link: LinkId,
    /// The address dialled, or the one that the caller came from.
    pub remote: SocketAddr,
    /// The peer, if it said who it is.
    pub node: Option<NodeId>,
    /// How far it had come.
    pub phase: Phase,
    /// Why it ended.
    pub reason: Reason,
    /// How often this address has failed in a row.
    pub failures: u32,
}

/// How far a link has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// TCP and TLS are not up.
    Dialling,
    /// The peers have not accepted each other.
    Handshake,
    /// In use.
    Established,
}

/// Why a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Whoever owns the socket said so.
    Ended(LinkEnd),
    /// Silent for longer than `gmcast.peer_timeout`.
    TimedOut,
    /// Accepted and dropped at once: the peer still has us in its time wait. Normal for a UUID that
    /// was a member a moment ago.
    TimeWait,
    /// The peer is still in our time wait.
    PeerInTimeWait,
    /// The peer sent FAIL.
    RefusedByPeer(Refusal),
    /// We do not want this peer.
    Refused(Refusal),
    /// Both ends are ourselves.
    OwnAddress,
    /// The node at this address is linked already, at another one.
    LinkedElsewhere,
    /// Another link to the same node survives.
    DuplicateLink,
    /// The node left, or is no part of the primary component.
    Forgotten,
    /// The primary component was reached without it.
    NotNeeded,
    /// There are too many links; this one gives way.
    Crowded,
    /// The peer broke the protocol.
    Violation(Violation),
    /// We would have broken the protocol.
    Forbidden(Forbidden),
    /// We are closing.
    Closing,
}

/// How the driver lost a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// The peer closed it.
    EndOfStream,
    /// Nobody listens there.
    ConnectionRefused,
    /// The connection was reset.
    Reset,
    /// No route to the network or host.
    Unreachable,
    /// The operating system gave up waiting.
    TimedOut,
    /// TLS failed.
    Tls(TlsFailure),
    /// Somebody else answers at this address.
    Stranger(Stranger),
    /// The bytes are not frames.
    Frame(FrameError),
    /// Its send queue ran over with messages that must not be dropped.
    QueueFull,
    /// Anything else.
    Other,
}

/// What peers refuse each other for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Refusal {
    /// The group names differ.
    InvalidGroup,
    /// The advertised address is none.
    InvalidNodeAddress,
    /// The UUID is known at another address, or is the refuser's own.
    DuplicateUuid,
    /// The node was evicted from the group.
    Evicted,
    /// A reason that no release known to us gives.
    Other(Text),
}

impl Refusal {
    /// The reason behind the text of a FAIL.
    pub fn from_text(text: &Text) -> Self {
        match text.as_bytes() {
            b"invalid group" => Self::InvalidGroup,
            b"invalid node address" => Self::InvalidNodeAddress,
            b"duplicate uuid" => Self::DuplicateUuid,
            b"evicted" => Self::Evicted,
            _ => Self::Other(text.clone()),
        }
    }

    /// The text that a FAIL carries.
    pub fn text(&self) -> Text {
        let text = match self {
            Self::InvalidGroup => "invalid group",
            Self::InvalidNodeAddress => "invalid node address",
            Self::DuplicateUuid => "duplicate uuid",
            Self::Evicted => "evicted",
            Self::Other(text) => return text.clone(),
        };
        Text::new(text).unwrap_or_default()
    }
}

/// Why our UUID is of no more use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityProblem {
    /// The operator or the members banned it. Do not come back under another one without being told
    /// to.
    Evicted,
    /// Somebody else has it, or members still know it at another address. Start over with a new
    /// one.
    Duplicate,
}

/// How a peer broke the protocol.
#[expect(missing_docs, reason = "each variant's sentence names its fields")]
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Not a message.
    #[error("malformed message: {0}")]
    Malformed(#[from] DecodeError),
    /// A message that has no business in this state.
    #[error("{message} while {state}")]
    OutOfPlace { message: Kind, state: StateKind },
    /// A HANDSHAKE_RESPONSE to another HANDSHAKE than ours.
    #[error("response to another handshake")]
    WrongHandshake,
    /// The nil UUID where a node or a handshake has to be named.
    #[error("nil UUID in a handshake")]
    NilUuid,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolved { host, addresses, .. } => {
                write!(f, "{host} is {}", list(addresses))
            }
            Self::ResolveFailed { host, .. } => write!(f, "{host} cannot be resolved"),
            Self::LinkEstablished { node, remote, .. } => {
                write!(f, "connected to {node} at {remote}")
            }
            Self::LinkClosed(closed) => closed.fmt(f),
            Self::IdentityRefused { problem, remote } => write!(f, "{remote} says: {problem}"),
            Self::IdentityChanged { remote, before, now } => {
                write!(f, "the node at {remote} was {before} and is {now} now")
            }
            Self::OwnAddressFound { remote } => write!(f, "{remote} is this very process"),
            Self::RelayingChanged { unreachable, .. } if unreachable.is_empty() => {
                f.write_str("every known member is linked directly again")
            }
            Self::RelayingChanged { unreachable, through } if through.is_empty() => {
                write!(f, "no way to {}", list(unreachable))
            }
            Self::RelayingChanged { unreachable, through } => {
                write!(f, "no link to {}: going through {}", list(unreachable), list(through))
            }
        }
    }
}

impl fmt::Display for LinkClosed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { remote, reason, .. } = self;
        match (self.phase, self.link) {
            (Phase::Dialling, _) => write!(f, "cannot connect to {remote}: {reason}"),
            (Phase::Handshake, LinkId::Dialled(_)) => {
                write!(f, "{remote} did not accept us: {reason}")
            }
            (Phase::Handshake, LinkId::Accepted(_)) => {
                write!(f, "caller from {remote} not accepted: {reason}")
            }
            (Phase::Established, _) => write!(f, "connection to {remote} lost: {reason}"),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(end) => end.fmt(f),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::TimeWait => f.write_str("it still waits for our last connection to be forgotten"),
            Self::PeerInTimeWait => f.write_str("it left a moment ago and has to wait"),
            Self::RefusedByPeer(refusal) => write!(f, "it says \"{}\"", refusal.text()),
            Self::Refused(refusal) => write!(f, "{}", refusal.text()),
            Self::OwnAddress => f.write_str("it is this very process"),
            Self::LinkedElsewhere => f.write_str("connected to the same node already"),
            Self::DuplicateLink => f.write_str("another connection to the same node is kept"),
            Self::Forgotten => f.write_str("the node is no longer a member"),
            Self::NotNeeded => f.write_str("no longer needed"),
            Self::Crowded => f.write_str("too many connections"),
            Self::Violation(violation) => write!(f, "protocol violation: {violation}"),
            Self::Forbidden(forbidden) => write!(f, "kept from sending: {forbidden}"),
            Self::Closing => f.write_str("closing"),
        }
    }
}

impl fmt::Display for LinkEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EndOfStream => f.write_str("closed by the peer"),
            Self::ConnectionRefused => f.write_str("connection refused"),
            Self::Reset => f.write_str("connection reset"),
            Self::Unreachable => f.write_str("no route"),
            Self::TimedOut => f.write_str("connection timed out"),
            Self::Tls(failure) => failure.fmt(f),
            Self::Stranger(stranger) => write!(f, "{stranger} answers there"),
            Self::Frame(error) => error.fmt(f),
            Self::QueueFull => f.write_str("it does not read what is sent"),
            Self::Other => f.write_str("connection failed"),
        }
    }
}

impl fmt::Display for IdentityProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Evicted => "we were evicted from the group",
            Self::Duplicate => "our UUID is in use elsewhere",
        })
    }
}

fn list<T: ToString>(items: &BTreeSet<T>) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn closed(link: LinkId, phase: Phase, reason: Reason) -> String {
        let remote = SocketAddr::from(([10, 0, 0, 1], 4567));
        let (node, failures) = (None, 1);
        Event::LinkClosed(LinkClosed { link, remote, node, phase, reason, failures }).to_string()
    }

    #[test]
    fn the_end_of_a_link_reads_as_a_sentence() {
        let dialled = LinkId::Dialled(1);
        assert_eq!(
            closed(dialled, Phase::Dialling, Reason::Ended(LinkEnd::ConnectionRefused)),
            "cannot connect to 10.0.0.1:4567: connection refused"
        );
        assert_eq!(
            closed(dialled, Phase::Handshake, Reason::RefusedByPeer(Refusal::InvalidGroup)),
            "10.0.0.1:4567 did not accept us: it says \"invalid group\""
        );
        assert_eq!(
            closed(LinkId::Accepted(1), Phase::Handshake, Reason::Refused(Refusal::Evicted)),
            "caller from 10.0.0.1:4567 not accepted: evicted"
        );
    }

    #[test]
    fn refusals_and_their_texts_are_each_others_inverse() {
        let other = Refusal::Other(Text::new("because").expect("fits"));
        for refusal in [
            Refusal::InvalidGroup,
            Refusal::InvalidNodeAddress,
            Refusal::DuplicateUuid,
            Refusal::Evicted,
            other,
        ] {
            assert_eq!(Refusal::from_text(&refusal.text()), refusal);
        }
    }
}
