//! The one place that says in a sentence what is wrong between us and an address, what to try, and
//! with which exit code the program ends. `doctor` and every failed job speak through it.

use std::fmt;

use galera_protocol::gmcast::{
    Event, IdentityProblem, LinkClosed, LinkEnd, LinkId, Phase, Reason, Refusal,
};
use galera_protocol::tls::{Objection, Stranger, TlsFailure};

use crate::exit::ExitCode;

/// Something wrong at one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The address, as the user or the group knows it.
    pub at: String,
    /// What is wrong.
    pub cause: Cause,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The name means nothing to this host.
    Unresolved,
    /// The port is closed.
    NobodyListens,
    /// The network is not reached.
    NoRoute,
    /// Packets get no answer.
    NoAnswer,
    /// The connection is taken and nothing is said; we do not know by whom.
    Silent,
    /// The connection is taken and closed without a word.
    ClosedAtOnce,
    /// Connections to the address are taken whatever the port.
    TakesEverything,
    /// The connection breaks.
    Broken,
    /// The peer uses TLS and we do not.
    PeerUsesTls,
    /// The peer is no member of a group.
    Stranger(Stranger),
    /// TLS fails.
    Tls(TlsFailure),
    /// The group has another name.
    WrongGroup,
    /// The group has banned us.
    Evicted,
    /// Our identity is taken.
    Duplicate,
    /// Anything else, in words.
    Other(String),
}

impl Trouble {
    /// What an event of the link layer means for people, if it is a problem at all.
    pub fn of_event(event: &Event) -> Option<Self> {
        match event {
            Event::LinkClosed(closed) => Self::of_link(closed),
            Event::ResolveFailed { host, port } => {
                Some(Self { at: format!("{host}:{port}"), cause: Cause::Unresolved })
            }
            Event::IdentityRefused { problem, remote } => {
                let cause = match problem {
                    IdentityProblem::Evicted => Cause::Evicted,
                    IdentityProblem::Duplicate => Cause::Duplicate,
                };
                Some(Self { at: remote.to_string(), cause })
            }
            Event::Resolved { .. }
            | Event::LinkEstablished { .. }
            | Event::IdentityChanged { .. }
            | Event::OwnAddressFound { .. }
            | Event::RelayingChanged { .. } => None,
        }
    }

    fn of_link(closed: &LinkClosed) -> Option<Self> {
        let is_ours = matches!(closed.link, LinkId::Dialled(_));
        let cause = match &closed.reason {
            Reason::NotNeeded
            | Reason::DuplicateLink
            | Reason::OwnAddress
            | Reason::Closing
            | Reason::Forgotten => return None,
            Reason::Ended(end) => of_end(*end, closed.phase),
            Reason::TimedOut if closed.phase == Phase::Dialling => Cause::NoAnswer,
            Reason::TimedOut if is_ours && closed.phase == Phase::Handshake => Cause::Silent,
            Reason::RefusedByPeer(Refusal::InvalidGroup) => Cause::WrongGroup,
            Reason::RefusedByPeer(Refusal::Evicted) => Cause::Evicted,
            Reason::RefusedByPeer(_)
            | Reason::TimedOut
            | Reason::TimeWait
            | Reason::PeerInTimeWait
            | Reason::Refused(_)
            | Reason::LinkedElsewhere
            | Reason::Crowded
            | Reason::Violation(_)
            | Reason::Forbidden(_) => Cause::Other(closed.reason.to_string()),
        };
        Some(Self { at: closed.remote.to_string(), cause })
    }

    /// The exit code of a job that ends for this.
    pub fn exit_code(&self) -> ExitCode {
        match &self.cause {
            Cause::Unresolved
            | Cause::NobodyListens
            | Cause::NoRoute
            | Cause::NoAnswer
            | Cause::Silent
            | Cause::ClosedAtOnce
            | Cause::TakesEverything
            | Cause::Broken
            | Cause::Stranger(_)
            | Cause::Tls(TlsFailure::Silent | TlsFailure::Stranger(_))
            | Cause::Other(_) => ExitCode::Unavailable,
            Cause::PeerUsesTls
            | Cause::Tls(
                TlsFailure::PeerIsPlain
                | TlsFailure::Closed
                | TlsFailure::UntrustedPeer(_)
                | TlsFailure::RefusedByPeer(_)
                | TlsFailure::NoCommonParameters
                | TlsFailure::Other,
            )
            | Cause::Evicted
            | Cause::Duplicate => ExitCode::Refused,
            Cause::WrongGroup => ExitCode::Configuration,
        }
    }

    /// Which of several troubles tells most: a refusal says more than silence does, and a peer that
    /// speaks more than one that is not there.
    pub fn weight(&self) -> u8 {
        match &self.cause {
            Cause::Evicted | Cause::Duplicate => 6,
            Cause::WrongGroup => 5,
            Cause::Tls(TlsFailure::Silent | TlsFailure::Stranger(_)) => 3,
            Cause::PeerUsesTls | Cause::Tls(_) => 4,
            Cause::Stranger(_) | Cause::Silent | Cause::TakesEverything => 3,
            Cause::ClosedAtOnce | Cause::Broken => 2,
            Cause::Unresolved
            | Cause::NobodyListens
            | Cause::NoRoute
            | Cause::NoAnswer
            | Cause::Other(_) => 1,
        }
    }

    /// The one of two troubles that tells more; this one if both tell the same.
    #[must_use]
    pub fn heavier_of(self, older: Option<Self>) -> Self {
        older.filter(|older| older.weight() > self.weight()).unwrap_or(self)
    }

    /// What to try.
    pub fn remedy(&self) -> &'static str {
        remedy(&self.cause)
    }
}

fn of_end(end: LinkEnd, phase: Phase) -> Cause {
    match end {
        LinkEnd::ConnectionRefused => Cause::NobodyListens,
        LinkEnd::Unreachable => Cause::NoRoute,
        LinkEnd::TimedOut if phase == Phase::Dialling => Cause::NoAnswer,
        LinkEnd::EndOfStream if phase == Phase::Handshake => Cause::ClosedAtOnce,
        LinkEnd::EndOfStream | LinkEnd::TimedOut | LinkEnd::Reset => Cause::Broken,
        LinkEnd::Tls(failure) => Cause::Tls(failure),
        LinkEnd::Stranger(Stranger::Tls) => Cause::PeerUsesTls,
        LinkEnd::Stranger(stranger) => Cause::Stranger(stranger),
        LinkEnd::Frame(galera_protocol::frame::FrameError::Tls) => Cause::PeerUsesTls,
        LinkEnd::Frame(_) | LinkEnd::QueueFull | LinkEnd::Other => Cause::Other(end.to_string()),
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.at, self.cause)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unresolved => f.write_str("the name cannot be resolved here"),
            Self::NobodyListens => f.write_str("nobody listens on this port"),
            Self::NoRoute => f.write_str("there is no route to this address"),
            Self::NoAnswer => f.write_str("connecting gets no answer at all"),
            Self::Silent => f.write_str("takes connections and then says nothing"),
            Self::ClosedAtOnce => f.write_str("takes connections and closes them without a word"),
            Self::TakesEverything => f.write_str(
                "a proxy or service mesh takes connections to every port of this address, and no \
                 member answers",
            ),
            Self::Broken => f.write_str("the connection broke"),
            Self::PeerUsesTls => f.write_str("uses TLS, and we were told to use none"),
            Self::Stranger(stranger) => write!(f, "{stranger} answers there, not a group member"),
            Self::Tls(failure) => write!(f, "{}", TlsSentence(*failure)),
            Self::WrongGroup => f.write_str("belongs to a group with another name"),
            Self::Evicted => f.write_str("the group has evicted us"),
            Self::Duplicate => f.write_str("our identity is in use by another member"),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// A TLS failure as the end of a sentence about the peer; the donor's side uses it too.
pub struct TlsSentence(pub TlsFailure);

impl fmt::Display for TlsSentence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            TlsFailure::PeerIsPlain => f.write_str("runs without TLS, and we were told to use it"),
            TlsFailure::Stranger(stranger) => {
                write!(f, "{stranger} answers there, not a group member")
            }
            TlsFailure::Silent => {
                f.write_str("takes connections but does not answer our TLS handshake")
            }
            TlsFailure::Closed => f.write_str("closed the connection during the TLS handshake"),
            TlsFailure::UntrustedPeer(objection) => {
                write!(f, "we refuse its certificate, which {objection}")
            }
            TlsFailure::RefusedByPeer(objection) => {
                write!(f, "refuses our certificate, which {objection}")
            }
            TlsFailure::NoCommonParameters => {
                f.write_str("has no TLS version or cipher in common with us")
            }
            TlsFailure::Other => f.write_str("the TLS handshake failed"),
        }
    }
}

fn remedy(cause: &Cause) -> &'static str {
    match cause {
        Cause::Unresolved => "check the name, and that this host uses the cluster's DNS",
        Cause::NobodyListens => {
            "check that the server runs and that the port is the one of its gmcast.listen_addr \
             (4567 by default)"
        }
        Cause::NoRoute => "check routes and the address family: is this host on that network?",
        Cause::NoAnswer => "check firewalls and network policies for the group's port",
        Cause::Silent => {
            "look for a proxy or service mesh that answers for the member, and exclude the group's \
             ports from it"
        }
        Cause::TakesEverything => {
            "exclude the group's port (4567 by default) and 4444 from the mesh, on both sides, and \
             check that the member runs"
        }
        Cause::ClosedAtOnce => {
            "check wsrep_allowlist on the server, that the node is not isolated, and that no proxy \
             without a backend answers"
        }
        Cause::Broken => "try again; look into the server's error log if it stays",
        Cause::PeerUsesTls => {
            "give the cluster's certificates with --tls-dir, or --ssl-cert, --ssl-key and --ssl-ca"
        }
        Cause::Stranger(Stranger::Sql) => {
            "use the port of group traffic (4567 by default), not the one for SQL clients"
        }
        Cause::Stranger(_) => "check address and port in --address",
        Cause::Tls(failure) => tls_remedy(*failure),
        Cause::WrongGroup => "check --group against wsrep_cluster_name",
        Cause::Evicted => "find out why it was evicted; restarting the servers lifts an eviction",
        Cause::Duplicate => "give each process its own --state-dir",
        Cause::Other(_) => "check --address, and that the cluster is primary",
    }
}

/// What to try when TLS has failed.
pub fn tls_remedy(failure: TlsFailure) -> &'static str {
    match failure {
        TlsFailure::PeerIsPlain => {
            "leave out the TLS options, or set socket.dynamic=yes while the cluster moves to TLS"
        }
        TlsFailure::Stranger(Stranger::Sql) => {
            "use the port of group traffic (4567 by default), not the one for SQL clients"
        }
        TlsFailure::Stranger(_) => "check address and port in --address",
        TlsFailure::Silent => {
            "look for a proxy or service mesh that answers for the member, and exclude the group's \
             ports from it"
        }
        TlsFailure::Closed => "look into the server's error log for the handshake's error",
        TlsFailure::UntrustedPeer(objection) => our_remedy(objection),
        TlsFailure::RefusedByPeer(objection) => their_remedy(objection),
        TlsFailure::NoCommonParameters => {
            "allow TLS 1.2 or 1.3 on both sides, and check socket.ssl_cipher"
        }
        TlsFailure::Other => "run again with --log debug to see OpenSSL's words",
    }
}

fn our_remedy(objection: Objection) -> &'static str {
    match objection {
        Objection::UnknownAuthority => {
            "give the CA that signed the servers' certificates as --ssl-ca"
        }
        Objection::Expired => "renew the server's certificate",
        Objection::NotYetValid => "compare the clocks of both hosts",
        Objection::Weak => {
            "have the server's certificate made anew with 2048 bits and SHA-256, or lower our level \
             with --ssl-cipher 'DEFAULT@SECLEVEL=0'"
        }
        Objection::Purpose => {
            "members play both roles: make the server's certificate for serverAuth and clientAuth"
        }
        Objection::Name => "check --tls-peer-name against the names in the server's certificate",
        Objection::Missing => "configure a certificate on the server",
        Objection::Unspecified => "run again with --log debug to see OpenSSL's words",
    }
}

fn their_remedy(objection: Objection) -> &'static str {
    match objection {
        Objection::UnknownAuthority => {
            "use a certificate signed by the CA in the servers' socket.ssl_ca"
        }
        Objection::Expired => "renew our certificate (--ssl-cert)",
        Objection::NotYetValid => "compare the clocks of both hosts",
        Objection::Weak => "have our certificate made anew with 2048 bits and SHA-256",
        Objection::Purpose => {
            "members play both roles: make our certificate for serverAuth and clientAuth"
        }
        Objection::Name => "use a certificate with the name that the server demands",
        Objection::Missing => "give a certificate with --ssl-cert",
        Objection::Unspecified => {
            "check our certificate's dates, chain and key size; the server's error log says more"
        }
    }
}

#[cfg(test)]
mod tests;
