//! Which addresses may connect to the SST listener (spec 05 R5).
//!
//! By default only the donor that the group chose. Donors behind address translation, or with
//! several addresses, come from elsewhere: [`AllowFrom`] widens the door, the content of a
//! connection decides afterwards in any case.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

/// Who may connect besides the chosen donor.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AllowFrom {
    /// Nobody.
    #[default]
    Donor,
    /// These networks too.
    DonorAnd(Vec<Network>),
    /// Everybody: the content of a connection alone decides.
    Anyone,
}

impl AllowFrom {
    /// True if `peer` may connect while `donor` (perhaps empty) are the donor's addresses.
    pub fn admits(&self, peer: IpAddr, donor: &[IpAddr]) -> bool {
        let peer = peer.to_canonical();
        if donor.iter().any(|address| address.to_canonical() == peer) {
            return true;
        }
        match self {
            Self::Donor => false,
            Self::DonorAnd(networks) => networks.iter().any(|network| network.contains(peer)),
            Self::Anyone => true,
        }
    }

    /// True if the donor cannot be told from others by its address alone.
    pub const fn is_widened(&self) -> bool {
        match self {
            Self::Donor => false,
            Self::DonorAnd(_) | Self::Anyone => true,
        }
    }
}

/// A network in CIDR form; a bare address is a network of one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// The text is neither an address nor `address/bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "parse network: expected an IP address, or one followed by / and the number of prefix bits"
)]
pub struct ParseNetworkError;

impl Network {
    /// True if `peer` lies in this network. An IPv4 address in IPv6 clothes counts as IPv4.
    pub fn contains(&self, peer: IpAddr) -> bool {
        match (self.address, peer.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(peer)) => {
                self.matches(32, u128::from(own.to_bits()) ^ u128::from(peer.to_bits()))
            }
            (IpAddr::V6(own), IpAddr::V6(peer)) => {
                self.matches(128, own.to_bits() ^ peer.to_bits())
            }
            (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
        }
    }

    fn matches(&self, width: u32, difference: u128) -> bool {
        let host_bits = width.saturating_sub(u32::from(self.prefix_bits));
        difference.checked_shr(host_bits).unwrap_or(0) == 0
    }
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Self, ParseNetworkError> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| ParseNetworkError)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let prefix_bits = match bits {
            None => width,
            Some(bits) => bits.parse().map_err(|_| ParseNetworkError)?,
        };
        if prefix_bits > width {
            return Err(ParseNetworkError);
        }
        Ok(Self { address, prefix_bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix_bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn network(text: &str) -> Network {
        text.parse().expect("a network")
    }

    #[test]
    fn only_the_donor_is_admitted_by_default() {
        let allow = AllowFrom::default();
        assert!(allow.admits(ip("10.0.0.5"), &[ip("10.0.0.5")]));
        assert!(!allow.admits(ip("10.0.0.6"), &[ip("10.0.0.5")]));
        assert!(!allow.admits(ip("10.0.0.5"), &[]));
    }

    #[test]
    fn a_mapped_address_is_the_same_donor() {
        let allow = AllowFrom::default();
        assert!(allow.admits(ip("::ffff:10.0.0.5"), &[ip("10.0.0.5")]));
        assert!(allow.admits(ip("10.0.0.5"), &[ip("::ffff:10.0.0.5")]));
        assert!(network("10.0.0.0/8").contains(ip("::ffff:10.1.1.1")));
    }

    #[test]
    fn networks_are_admitted_beside_the_donor() {
        let allow = AllowFrom::DonorAnd(vec![network("10.1.0.0/16"), network("fd00::/64")]);
        let cases = [
            ("10.1.255.1", true),
            ("10.2.0.1", false),
            ("fd00::1", true),
            ("fd00:0:0:1::1", false),
            ("192.0.2.1", true),
        ];
        for (peer, admitted) in cases {
            assert_eq!(allow.admits(ip(peer), &[ip("192.0.2.1")]), admitted, "{peer}");
        }
    }

    #[test]
    fn networks_of_every_width_are_compared_bit_by_bit() {
        assert!(network("0.0.0.0/0").contains(ip("255.1.2.3")));
        assert!(network("::/0").contains(ip("ffff::1")));
        assert!(!network("0.0.0.0/0").contains(ip("::1")));
        assert!(network("10.0.0.5").contains(ip("10.0.0.5")));
        assert!(!network("10.0.0.5").contains(ip("10.0.0.4")));
        assert!(network("10.0.0.4/31").contains(ip("10.0.0.5")));
    }

    #[test]
    fn texts_that_are_no_network_are_refused() {
        for text in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "host", "10.0.0.0/", "10.0.0.0/-1"] {
            assert_eq!(text.parse::<Network>(), Err(ParseNetworkError), "{text}");
        }
        assert_eq!(network("fd00::/8").to_string(), "fd00::/8");
    }
}
