//! Addresses: what people write (`gcomm://…`, listen addresses) and what members tell each other
//! (`tcp://ip:port`). Spec 01 §3.4, 4.1, 4.2.
//!
//! No name is resolved here; that is the driver's part.

use core::fmt;
use core::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6};
use core::str::FromStr;

/// The port of group traffic where none is given.
pub const DEFAULT_PORT: u16 = 4567;

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A cluster address has to start with `gcomm://`.
    #[error("cluster address: expected gcomm://host[:port],…")]
    NotGcomm,
    /// No `://`, or one that the place does not allow.
    #[error("address {0:?}: expected tcp://host:port or ssl://host:port")]
    Scheme(String),
    /// A host with a lone bracket, or more than one colon outside brackets.
    #[error("address {0:?}: cannot tell host from port; put an IPv6 address in brackets")]
    Host(String),
    /// Not a decimal number up to 65535.
    #[error("address {0:?}: port is not a number between 0 and 65535")]
    Port(String),
    /// A port is required here.
    #[error("address {0:?}: port is missing")]
    NoPort(String),
    /// A numeric address is required here.
    #[error("address {0:?}: host has to be a numeric IP address")]
    NotNumeric(String),
    /// A piece behind `?` that is not `key=value`.
    #[error("cluster address: option {0:?} is not key=value")]
    Option(String),
}

/// A host, by name or number, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostPort {
    /// Name or numeric address; IPv6 without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

impl HostPort {
    /// The socket address, if the host is numeric.
    pub fn numeric(&self) -> Option<SocketAddr> {
        self.host.parse().ok().map(|ip| canonical(SocketAddr::new(ip, self.port)))
    }
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// One host of a cluster address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterHost {
    /// Name or numeric address; IPv6 without brackets.
    pub host: String,
    /// Its port, if one was written.
    pub port: Option<u16>,
}

/// A parsed `gcomm://host[:port][,host[:port]]…[?key=value[&key=value]…]`.
///
/// Empty hosts and the wildcard addresses are left out, as members do. The options belong to many
/// layers and stay as they were written, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterAddress {
    /// Where members may be found.
    pub hosts: Vec<ClusterHost>,
    /// Galera options that rode along.
    pub options: Vec<(String, String)>,
}

impl ClusterAddress {
    /// The hosts with `base_port` where no port was written.
    pub fn with_ports(&self, base_port: u16) -> Vec<HostPort> {
        let host_port = |host: &ClusterHost| HostPort {
            host: host.host.clone(),
            port: host.port.unwrap_or(base_port),
        };
        self.hosts.iter().map(host_port).collect()
    }

    /// The last value of an option, if it was given.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }
}

impl FromStr for ClusterAddress {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let rest = text.trim().strip_prefix("gcomm://").ok_or(AddressError::NotGcomm)?;
        let (hosts, query) = rest.split_once('?').unwrap_or((rest, ""));
        Ok(Self { hosts: parse_hosts(hosts)?, options: parse_options(query)? })
    }
}

fn parse_hosts(text: &str) -> Result<Vec<ClusterHost>, AddressError> {
    let mut hosts = Vec::new();
    for piece in text.split(',').map(str::trim) {
        let host = parse_host(piece)?;
        if !host.host.is_empty() && !is_wildcard(&host.host) {
            hosts.push(host);
        }
    }
    Ok(hosts)
}

/// One host, with or without `tcp://` or `ssl://`, with or without a slash behind it.
fn parse_host(piece: &str) -> Result<ClusterHost, AddressError> {
    let bare = match piece.split_once("://") {
        Some(("tcp" | "ssl", rest)) => rest,
        Some(_) => return Err(AddressError::Scheme(piece.to_owned())),
        None => piece,
    };
    let bare = bare.strip_suffix('/').unwrap_or(bare);
    let (host, port) = split_port(bare)?;
    Ok(ClusterHost { host: host.to_owned(), port })
}

fn parse_options(query: &str) -> Result<Vec<(String, String)>, AddressError> {
    if query.is_empty() {
        return Ok(Vec::new());
    }
    let option = |piece: &str| match piece.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err(AddressError::Option(piece.to_owned())),
    };
    query.split('&').map(option).collect()
}

fn is_wildcard(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

/// Splits `host`, `host:port`, `[v6]`, `[v6]:port`; a bare IPv6 address is a host.
fn split_port(text: &str) -> Result<(&str, Option<u16>), AddressError> {
    let malformed = || AddressError::Host(text.to_owned());
    let (host, port) = if let Some(inner) = text.strip_prefix('[') {
        let (host, rest) = inner.split_once(']').ok_or_else(malformed)?;
        match rest.strip_prefix(':') {
            Some(port) => (host, Some(port)),
            None if rest.is_empty() => (host, None),
            None => return Err(malformed()),
        }
    } else if text.parse::<Ipv6Addr>().is_ok() {
        (text, None)
    } else {
        text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)))
    };
    if host.contains(['[', ']']) || port.is_some_and(|port| port.contains(':')) {
        return Err(malformed());
    }
    Ok((host, port.map(|port| parse_port(text, port)).transpose()?))
}

/// Decimal digits only: no sign, no blanks.
fn parse_port(whole: &str, port: &str) -> Result<u16, AddressError> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let number = if digits { port.parse().ok() } else { None };
    number.ok_or_else(|| AddressError::Port(whole.to_owned()))
}

/// Parses `gmcast.listen_addr`: `[tcp://|ssl://]ip[:port]`. The scheme says nothing: TLS is on or
/// off by other options. Without a scheme a colon is not allowed, as in Galera, unless the text is
/// an IPv6 address. The host has to be numeric.
pub fn parse_listen(text: &str, default_port: u16) -> Result<SocketAddr, AddressError> {
    let bare = match text.split_once("://") {
        Some(("tcp" | "ssl", rest)) => rest,
        None if !text.contains(':') || text.parse::<Ipv6Addr>().is_ok() => text,
        Some(_) | None => return Err(AddressError::Scheme(text.to_owned())),
    };
    let (host, port) = split_port(bare)?;
    let ip = host.parse().map_err(|_| AddressError::NotNumeric(text.to_owned()))?;
    Ok(SocketAddr::new(ip, port.unwrap_or(default_port)))
}

/// The form in which members tell addresses to each other, e.g. `ssl://[::1]:4567`.
pub fn peer_uri(address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "ssl" } else { "tcp" };
    format!("{scheme}://{address}")
}

/// Reads an entry of a topology list: scheme `tcp` or `ssl`, numeric address, port other than 0.
///
/// The scheme is not kept, since a group either uses TLS on every link or on none. IPv4-mapped IPv6
/// addresses, which dual-stack members spread, come out as IPv4.
pub fn parse_peer_uri(text: &[u8]) -> Option<SocketAddr> {
    let text = core::str::from_utf8(text).ok()?;
    let bare = text.strip_prefix("tcp://").or_else(|| text.strip_prefix("ssl://"))?;
    let address: SocketAddr = bare.parse().ok()?;
    (address.port() != 0 && !address.ip().is_unspecified()).then(|| canonical(address))
}

/// What an initiator says about its listener in HANDSHAKE_RESPONSE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advertised {
    /// Where it may be called back, at the IP address that it calls from.
    pub port: u16,
    /// The whole address, if it is numeric and not a wildcard.
    pub address: Option<SocketAddr>,
}

/// Reads an advertised listen address. Only the port is of use; any scheme and any host will do.
pub fn parse_advertised(text: &[u8]) -> Option<Advertised> {
    let (scheme, bare) = core::str::from_utf8(text).ok()?.split_once("://")?;
    let (host, port) = split_port(bare).ok()?;
    let port = port.filter(|_| !scheme.is_empty())?;
    let numeric = host.parse::<IpAddr>().ok().filter(|ip| !ip.is_unspecified());
    let address = numeric.map(|ip| canonical(SocketAddr::new(ip, port)));
    Some(Advertised { port, address })
}

/// The one form in which addresses are compared: IPv4-mapped IPv6 becomes IPv4, flow labels go.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(_) => address,
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => SocketAddr::new(IpAddr::V4(v4), v6.port()),
            None => SocketAddrV6::new(*v6.ip(), v6.port(), 0, v6.scope_id()).into(),
        },
    }
}

#[cfg(test)]
mod tests;
