//! The request string of a state snapshot transfer: which program the donor shall run, and where
//! that program shall send to.
//!
//! ```text
//! METHOD ':' DATA          as people write it (garbd's --sst)
//! METHOD NUL DATA NUL      as the group carries it
//!
//! DATA   = [ NAME ":" SECRET "@" ] HOST [ ":" PORT ] "/xtrabackup_sst/" [ LSN ] "/1"
//! HOST   = IPv4 address | DNS name | "[" IPv6 address "]"
//! ```
//!
//! Always the bare form (STR version 0): the container that database nodes use would be refused
//! from a requester that cannot receive an IST. The donor's server checks little and its script
//! less, so only what every generation understands is built here.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

/// Where a donor's script dials if the request names no port.
pub const DEFAULT_PORT: u16 = 4444;

/// The longest DNS name.
const NAME_LENGTH_MAX: usize = 253;

/// What follows host and port: module, empty LSN, and the marker without which donors exit 93.
const SUFFIX: &str = "/xtrabackup_sst//1";

/// A method of physical state snapshot transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Percona XtraDB Cluster.
    XtrabackupV2,
    /// MariaDB.
    Mariabackup,
}

impl Method {
    /// Its name: the donor runs `wsrep_sst_` and this.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XtrabackupV2 => "xtrabackup-v2",
            Self::Mariabackup => "mariabackup",
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Method {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        match text {
            "xtrabackup-v2" => Ok(Self::XtrabackupV2),
            "mariabackup" => Ok(Self::Mariabackup),
            _ => Err(RequestError::Method),
        }
    }
}

/// The host that a donor is told to dial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Host {
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address; bracketed in the request. Scopes (`%eth0`) cannot be expressed.
    V6(Ipv6Addr),
    /// A name that the *donor* resolves.
    Name(DnsName),
}

impl FromStr for Host {
    type Err = RequestError;

    /// Reads an address or name as a person gives it: brackets around IPv6 are optional.
    fn from_str(text: &str) -> Result<Self, RequestError> {
        let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
        if let Some(bare) = bare {
            return bare.parse().map(Self::V6).map_err(|_| RequestError::Host);
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::V4(address));
        }
        if let Ok(address) = text.parse() {
            return Ok(Self::V6(address));
        }
        text.parse().map(Self::Name)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// A DNS name in the alphabet that every donor accepts: letters, digits, `-`, `_`, `.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsName(String);

impl FromStr for DnsName {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        let is_known = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let is_name = !text.is_empty()
            && text.len() <= NAME_LENGTH_MAX
            && !text.starts_with(['-', '.'])
            && text.bytes().all(is_known);
        if is_name { Ok(Self(text.to_owned())) } else { Err(RequestError::Host) }
    }
}

impl fmt::Display for DnsName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// MariaDB only: the name that an identity-checking donor expects in our certificate, and a secret
/// that it writes into its first connection, by which we recognise it.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    name: String,
    secret: String,
}

impl Identity {
    /// Checks both parts: they must not be empty nor contain what divides a request.
    pub fn new(name: &str, secret: &str) -> Result<Self, RequestError> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b":@/".contains(&byte);
        for part in [name, secret] {
            if part.is_empty() || !part.bytes().all(is_plain) {
                return Err(RequestError::Identity);
            }
        }
        Ok(Self { name: name.to_owned(), secret: secret.to_owned() })
    }

    /// The common name of our certificate.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the donor's first connection should repeat.
    pub fn secret(&self) -> &str {
        &self.secret
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a donor is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SstRequest {
    /// Which program the donor runs: the request decides, not the donor's configuration.
    pub method: Method,
    /// Where the donor's script connects to.
    pub host: Host,
    /// The port of our listener.
    pub port: u16,
    /// For MariaDB donors that verify identities.
    pub identity: Option<Identity>,
}

impl SstRequest {
    /// A request without an identity.
    pub const fn new(method: Method, host: Host, port: u16) -> Self {
        Self { method, host, port, identity: None }
    }

    /// Checks what the types cannot: an identity is understood by MariaDB only, and nobody can
    /// dial port 0 or an unspecified address.
    pub fn check(&self) -> Result<(), RequestError> {
        if self.port == 0 {
            return Err(RequestError::Port);
        }
        let is_unspecified = match &self.host {
            Host::V4(address) => address.is_unspecified(),
            Host::V6(address) => address.is_unspecified(),
            Host::Name(_) => false,
        };
        if is_unspecified {
            return Err(RequestError::Unspecified);
        }
        if self.identity.is_some() && self.method != Method::Mariabackup {
            return Err(RequestError::IdentityMethod);
        }
        Ok(())
    }

    /// What some generations of donors cannot do with this request.
    pub fn caveats(&self) -> Vec<Caveat> {
        let is_percona = self.method == Method::XtrabackupV2;
        [
            (is_percona && matches!(self.host, Host::V6(_)), Caveat::Ipv6OnOldPercona),
            (matches!(self.host, Host::Name(_)), Caveat::ResolvedByDonor),
            (self.identity.is_some(), Caveat::IdentityInRequest),
        ]
        .into_iter()
        .filter_map(|(applies, caveat)| applies.then_some(caveat))
        .collect()
    }

    /// The argument of the method: everything after `METHOD:`.
    pub fn address(&self) -> String {
        let Self { host, port, .. } = self;
        match &self.identity {
            Some(Identity { name, secret }) => format!("{name}:{secret}@{host}:{port}{SUFFIX}"),
            None => format!("{host}:{port}{SUFFIX}"),
        }
    }
}

/// `METHOD:DATA`, with the secret left out.
impl fmt::Display for SstRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { method, host, port, .. } = self;
        match &self.identity {
            Some(identity) => {
                write!(f, "{method}:{}:***@{host}:{port}{SUFFIX}", identity.name)
            }
            None => write!(f, "{method}:{host}:{port}{SUFFIX}"),
        }
    }
}

/// Reads `METHOD:DATA` as given to garbd's `--sst`.
impl FromStr for SstRequest {
    type Err = RequestError;

    fn from_str(text: &str) -> Result<Self, RequestError> {
        let (method, data) = text.split_once(':').ok_or(RequestError::Form)?;
        let method = method.parse()?;
        let (identity, data) = match data.rsplit_once('@') {
            Some((identity, data)) => (Some(parse_identity(identity)?), data),
            None => (None, data),
        };
        let (host, path) = data.split_at(data.find('/').ok_or(RequestError::Path)?);
        if path != SUFFIX {
            return Err(RequestError::Path);
        }
        let (host, port) = parse_host_and_port(host)?;
        let request = Self { method, host, port, identity };
        request.check()?;
        Ok(request)
    }
}

fn parse_identity(text: &str) -> Result<Identity, RequestError> {
    let (name, secret) = text.split_once(':').ok_or(RequestError::Identity)?;
    Identity::new(name, secret)
}

fn parse_host_and_port(text: &str) -> Result<(Host, u16), RequestError> {
    let is_bare_address = text.ends_with(']') || !text.contains(':');
    if is_bare_address {
        return Ok((text.parse()?, DEFAULT_PORT));
    }
    let (host, port) = text.rsplit_once(':').ok_or(RequestError::Host)?;
    if host.contains(':') && !host.starts_with('[') {
        return Err(RequestError::Host);
    }
    // FromStr of integers would take a sign.
    let is_number = port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| is_number).ok_or(RequestError::Port)?;
    Ok((host.parse()?, port))
}

/// A property of a request that is fine for most donors; for people who look for a cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Caveat {
    /// Their script splits the address at every colon.
    #[error("donors of PXC 5.6 and the first 5.7 releases cannot dial IPv6 addresses")]
    Ipv6OnOldPercona,
    /// Not by us: the name must mean the same there.
    #[error("the host name is resolved on the donor")]
    ResolvedByDonor,
    /// The donor checks the common name of our certificate against it.
    #[error("donors without the identity check of MariaDB 10.4 and later refuse the request")]
    IdentityInRequest,
}

/// What cannot be asked of a donor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no colon behind the method.
    #[error("SST request must have the form METHOD:HOST:PORT{SUFFIX}")]
    Form,
    /// Not a method that this program can receive.
    #[error("SST method must be xtrabackup-v2 or mariabackup")]
    Method,
    /// Neither an address nor a name that a donor accepts.
    #[error("SST host must be an IPv4 address, an IPv6 address without scope, or a DNS name")]
    Host,
    /// Not a port.
    #[error("SST port must be a number from 1 to 65535")]
    Port,
    /// The donor would dial itself, or nothing.
    #[error("SST host must not be the unspecified address")]
    Unspecified,
    /// Module, LSN or version are not those that donors expect.
    #[error("SST address must end in {SUFFIX}")]
    Path,
    /// A name and a secret, divided by a colon.
    #[error("SST identity must be NAME:SECRET in printable characters without ':', '@' and '/'")]
    Identity,
    /// The donor's server would refuse it.
    #[error("SST identity is understood by mariabackup donors only")]
    IdentityMethod,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_every_generation_read_and_write_back() {
        for text in [
            "xtrabackup-v2:10.0.0.5:4444/xtrabackup_sst//1",
            "xtrabackup-v2:backup-0.backup.ns.svc:4444/xtrabackup_sst//1",
            "xtrabackup-v2:[fd00::5]:4444/xtrabackup_sst//1",
            "mariabackup:127.0.0.1:21450/xtrabackup_sst//1",
            "mariabackup:[::1]:21462/xtrabackup_sst//1",
        ] {
            let request: SstRequest = text.parse().expect(text);
            assert_eq!(request.to_string(), text);
            assert_eq!(format!("{}:{}", request.method, request.address()), text);
        }
    }

    #[test]
    fn the_payload_has_the_documented_46_bytes() {
        let request: SstRequest =
            "xtrabackup-v2:10.0.0.5:4444/xtrabackup_sst//1".parse().expect("valid");
        let bytes = format!("{}\0{}\0", request.method, request.address());
        assert_eq!(bytes.len(), 46);
        assert!(bytes.is_ascii());
    }

    #[test]
    fn a_secret_goes_to_the_donor_and_nowhere_else() {
        let text = "mariabackup:joiner.lab:s3cr3t@127.0.0.1:21485/xtrabackup_sst//1";
        let request: SstRequest = text.parse().expect("valid");
        assert_eq!(request.address(), "joiner.lab:s3cr3t@127.0.0.1:21485/xtrabackup_sst//1");
        assert!(!format!("{request} {request:?}").contains("s3cr3t"));
        let other = text.replace("mariabackup", "xtrabackup-v2");
        assert_eq!(other.parse::<SstRequest>(), Err(RequestError::IdentityMethod));
    }

    #[test]
    fn what_some_generations_cannot_do_is_known() {
        for (text, caveats) in [
            ("xtrabackup-v2:[::1]:1/xtrabackup_sst//1", vec![Caveat::Ipv6OnOldPercona]),
            ("mariabackup:[::1]:1/xtrabackup_sst//1", vec![]),
            ("mariabackup:a:b@h:1/xtrabackup_sst//1", {
                vec![Caveat::ResolvedByDonor, Caveat::IdentityInRequest]
            }),
        ] {
            let request: SstRequest = text.parse().expect(text);
            assert_eq!(request.caveats(), caveats, "{text}");
        }
    }

    #[test]
    fn a_missing_port_is_4444() {
        for (text, host) in [("h", "h"), ("[::1]", "[::1]"), ("10.0.0.5", "10.0.0.5")] {
            let request: SstRequest =
                format!("mariabackup:{text}/xtrabackup_sst//1").parse().expect(text);
            assert_eq!((request.host.to_string().as_str(), request.port), (host, 4444));
        }
    }

    #[test]
    fn what_donors_refuse_or_misread_is_not_built() {
        use RequestError::{Form, Host, Identity, Method, Path, Port, Unspecified};
        for (text, error) in [
            ("mariabackup", Form),
            ("rsync:h:1/xtrabackup_sst//1", Method),
            ("mariabackup:h:1/xtrabackup_sst//", Path),
            ("mariabackup:h:1/xtrabackup_sst", Path),
            ("mariabackup:h:1/rsync_sst//1", Path),
            ("mariabackup:h:1", Path),
            ("mariabackup::1/xtrabackup_sst//1", Host),
            ("mariabackup:::1/xtrabackup_sst//1", Host),
            ("mariabackup:fd00::5:4444/xtrabackup_sst//1", Host),
            ("mariabackup:[fe80::1%eth0]:4444/xtrabackup_sst//1", Host),
            ("mariabackup:a b:4444/xtrabackup_sst//1", Host),
            ("mariabackup:-x:4444/xtrabackup_sst//1", Host),
            ("mariabackup:h:0/xtrabackup_sst//1", Port),
            ("mariabackup:h:+1/xtrabackup_sst//1", Port),
            ("mariabackup:h:65536/xtrabackup_sst//1", Port),
            ("mariabackup:0.0.0.0:1/xtrabackup_sst//1", Unspecified),
            ("mariabackup:[::]:1/xtrabackup_sst//1", Unspecified),
            ("mariabackup:name@h:1/xtrabackup_sst//1", Identity),
            ("mariabackup::x@h:1/xtrabackup_sst//1", Identity),
        ] {
            assert_eq!(text.parse::<SstRequest>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_safe_for_every_donor(text in "(mariabackup|xtrabackup-v2):.{0,40}") {
            if let Ok(request) = text.parse::<SstRequest>() {
                let address = request.address();
                let alphabet = |byte: u8| byte.is_ascii_alphanumeric() || b"_:/.[]-".contains(&byte);
                prop_assert!(request.identity.is_some() || address.bytes().all(alphabet));
                let again = format!("{}:{address}", request.method).parse();
                prop_assert_eq!(again, Ok(request));
            }
        }
    }
}
