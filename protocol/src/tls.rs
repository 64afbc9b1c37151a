//! What can go wrong between two sides before they speak the group's language: TLS that does not
//! come about, and programs that are no members. Shared by the links and by the donor's
//! connections; the bytes of TLS itself are the driver's business.

use core::fmt;

use crate::frame;

/// Why TLS failed, as far as the driver can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// The peer answered with a plain group greeting.
    PeerIsPlain,
    /// The peer speaks something else altogether.
    Stranger(Stranger),
    /// The peer took the connection and did not answer.
    Silent,
    /// The peer closed the connection in the middle of the handshake.
    Closed,
    /// We do not trust the peer's certificate.
    UntrustedPeer(Objection),
    /// The peer does not trust our certificate.
    RefusedByPeer(Objection),
    /// No version or cipher in common.
    NoCommonParameters,
    /// Anything else; the driver has logged it.
    Other,
}

/// What one side has against the other's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objection {
    /// It does not lead to an authority that the side trusts.
    UnknownAuthority,
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// Its key or signature is too weak for the side's security level.
    Weak,
    /// Its extended key usage does not permit this role.
    Purpose,
    /// It does not carry the name that it must have.
    Name,
    /// There is none.
    Missing,
    /// Refused without saying why.
    Unspecified,
}

/// A program that answers where a member of a group was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stranger {
    /// The port for SQL clients of MySQL or MariaDB.
    Sql,
    /// A web server, or a proxy of a service mesh.
    Http,
    /// An SSH server.
    Ssh,
    /// TLS where plain text was expected.
    Tls,
    /// Nobody known.
    Unknown,
}

impl Stranger {
    /// Who begins a connection like this; `None` if a member may.
    pub fn from_head(head: &[u8]) -> Option<Self> {
        if frame::is_plain_greeting(head) {
            return None;
        }
        Some(match head {
            // The server's greeting, or its refusal of our host.
            [_, _, 0, 0, 0x0a | 0xff, ..] => Self::Sql,
            [0x15 | 0x16, 0x03, 0..=4, ..] => Self::Tls,
            _ if head.starts_with(b"HTTP/") => Self::Http,
            _ if head.starts_with(b"SSH-") => Self::Ssh,
            _ => Self::Unknown,
        })
    }
}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerIsPlain => f.write_str("it runs without TLS"),
            Self::Stranger(stranger) => write!(f, "{stranger} answers there"),
            Self::Silent => f.write_str("it takes connections but does not answer TLS"),
            Self::Closed => f.write_str("it closed the connection during the TLS handshake"),
            Self::UntrustedPeer(objection) => write!(f, "its certificate {objection}"),
            Self::RefusedByPeer(objection) => {
                write!(f, "it refuses our certificate, which {objection}")
            }
            Self::NoCommonParameters => f.write_str("no TLS version or cipher in common"),
            Self::Other => f.write_str("TLS failed"),
        }
    }
}

impl fmt::Display for Objection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownAuthority => "does not lead to a trusted CA",
            Self::Expired => "has expired",
            Self::NotYetValid => "is not valid yet",
            Self::Weak => "has too weak a key or signature",
            Self::Purpose => "is not made for this role",
            Self::Name => "does not have the required name",
            Self::Missing => "is missing",
            Self::Unspecified => "is not accepted",
        })
    }
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sql => "a database server's port for SQL clients",
            Self::Http => "a web server or proxy",
            Self::Ssh => "an SSH server",
            Self::Tls => "TLS",
            Self::Unknown => "something that is no member of a group",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_are_known_by_their_first_bytes() {
        let sql = b"\x5b\x00\x00\x00\x0a5.5.5-10.11.19-MariaDB";
        let denied = b"\x45\x00\x00\x00\xff\x6a\x04Host";
        for (head, stranger) in [
            (sql.as_slice(), Some(Stranger::Sql)),
            (denied, Some(Stranger::Sql)),
            (b"HTTP/1.1 400 Bad Request", Some(Stranger::Http)),
            (b"SSH-2.0-OpenSSH_9.2", Some(Stranger::Ssh)),
            (&[0x15, 3, 1, 0, 2], Some(Stranger::Tls)),
            (b"hello", Some(Stranger::Unknown)),
            (&[0x24, 0, 0, 2, 0xd5], None),
        ] {
            assert_eq!(Stranger::from_head(head), stranger, "{head:?}");
        }
    }
}
