//! The error numbers of the protocol: Linux errno values, whatever this machine's are.

use core::fmt;

/// A positive Linux errno value. Messages carry it negated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Errno(pub i64);

impl Errno {
    /// A suitable donor may appear: try again.
    pub const EAGAIN: Self = Self(11);
    /// The request itself is wrong.
    pub const EINVAL: Self = Self(22);
    /// The request arrived in a wrong state.
    pub const EPROTO: Self = Self(71);
    /// Not a member of a primary component.
    pub const ENOTCONN: Self = Self(107);
    /// No answer in time.
    pub const ETIMEDOUT: Self = Self(110);
    /// The named donor is the requester itself.
    pub const EHOSTDOWN: Self = Self(112);
    /// The named donor is not there, or has no state to give.
    pub const EHOSTUNREACH: Self = Self(113);
    /// A request is under way already.
    pub const EALREADY: Self = Self(114);
    /// The requester is not in status PRIM.
    pub const ECANCELED: Self = Self(125);
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match *self {
            Self::EAGAIN => "EAGAIN",
            Self::EINVAL => "EINVAL",
            Self::EPROTO => "EPROTO",
            Self::ENOTCONN => "ENOTCONN",
            Self::ETIMEDOUT => "ETIMEDOUT",
            Self::EHOSTDOWN => "EHOSTDOWN",
            Self::EHOSTUNREACH => "EHOSTUNREACH",
            Self::EALREADY => "EALREADY",
            Self::ECANCELED => "ECANCELED",
            Self(number) => return write!(f, "errno {number}"),
        };
        f.write_str(name)
    }
}
