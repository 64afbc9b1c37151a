//! The addresses of a network interface, for hosts on which the right one is known by its name.

use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

/// An interface cannot be listened on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InterfaceError {
    /// The system does not tell.
    #[error("ask the system for its network interfaces: {0}")]
    Unknown(String),
    /// There is none of this name.
    #[error("--listen-interface {name}: this host has {}", .present.join(", "))]
    NoSuch {
        /// The name.
        name: String,
        /// The names that there are.
        present: Vec<String>,
    },
    /// It has no address that others could dial.
    #[error("--listen-interface {0}: it has no address but link-local ones")]
    NoAddress(String),
}

/// The address of an interface that others are told: IPv4 if it has one, and never a link-local one,
/// which means nothing without its scope.
pub fn address_of(name: &str) -> Result<IpAddr, InterfaceError> {
    let all = getifaddrs().map_err(|error| InterfaceError::Unknown(error.to_string()))?;
    let (mut present, mut addresses) = (Vec::new(), Vec::new());
    for interface in all {
        if interface.interface_name == name {
            addresses.extend(interface.address.and_then(ip));
        }
        present.push(interface.interface_name);
    }
    if !present.iter().any(|known| known == name) {
        present.dedup();
        present.sort();
        present.dedup();
        return Err(InterfaceError::NoSuch { name: name.to_owned(), present });
    }
    addresses.retain(|address| !is_link_local(address));
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.into_iter().next().ok_or_else(|| InterfaceError::NoAddress(name.to_owned()))
}

fn ip(address: nix::sys::socket::SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
}

fn is_link_local(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_has_its_address() {
        let address = address_of("lo").expect("every Linux host has it");
        assert!(address.is_loopback());
    }

    #[test]
    fn an_unknown_interface_is_answered_with_the_names_that_there_are() {
        let error = address_of("no-such-interface").expect_err("unknown");
        assert!(error.to_string().contains("lo"), "{error}");
    }
}
