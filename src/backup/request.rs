//! What the donor is told: which program to run, and where to connect.

use std::net::IpAddr;
use std::str::FromStr;

use galera_protocol::gcs::{Conditions, Request};
use galera_protocol::sst::request::{DnsName, Host, Identity, Method, RequestError, SstRequest};

/// What the donor is told to dial.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Advertise {
    /// Address or name; by default the address that our links to the group leave from.
    pub host: Option<Host>,
    /// Port; by default the one that the listener is bound to.
    pub port: Option<u16>,
}

/// The text is not `HOST[:PORT]` in the alphabet that every donor accepts.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not HOST[:PORT]; an IPv6 address with a port needs brackets")]
pub struct ParseAdvertiseError(String);

impl FromStr for Advertise {
    type Err = ParseAdvertiseError;

    fn from_str(text: &str) -> Result<Self, ParseAdvertiseError> {
        let refuse = || ParseAdvertiseError(text.to_owned());
        if let Ok(host) = text.parse::<Host>() {
            return Ok(Self { host: Some(host), port: None });
        }
        let (host, port) = text.rsplit_once(':').ok_or_else(refuse)?;
        let host = host.parse().map_err(|_| refuse())?;
        let port = port.parse().ok().filter(|port| *port > 0).ok_or_else(refuse)?;
        Ok(Self { host: Some(host), port: Some(port) })
    }
}

impl Advertise {
    /// The request for `method`, where our links leave from `local` and the listener has `port`.
    pub(super) fn request(
        &self,
        method: Method,
        local: Option<IpAddr>,
        port: u16,
    ) -> Option<SstRequest> {
        let host = self.host.clone().or_else(|| local.map(host_of))?;
        Some(SstRequest::new(method, host, self.port.unwrap_or(port)))
    }
}

fn host_of(address: IpAddr) -> Host {
    match address {
        IpAddr::V4(address) => Host::V4(address),
        IpAddr::V6(address) => Host::V6(address),
    }
}

/// Names ourselves in a MariaDB request, with a secret that nobody can guess. Other donors refuse
/// such a request, and check no names.
pub(super) fn identify(request: &mut SstRequest, name: Option<&str>) -> Result<(), RequestError> {
    if let (Some(name), Method::Mariabackup) = (name, request.method) {
        let secret = uuid::Uuid::new_v4().simple().to_string();
        request.identity = Some(Identity::new(name, &secret)?);
    }
    Ok(())
}

/// The same as the group carries it.
pub(super) fn for_group(request: &SstRequest, donors: String, conditions: Conditions) -> Request {
    Request {
        donors,
        method: request.method.name().to_owned(),
        address: request.address(),
        conditions,
    }
}

/// A name for ourselves that no donor list means by accident.
pub fn default_node_name(host: &str) -> String {
    let host = host.split('.').next().unwrap_or_default();
    match host.parse::<DnsName>() {
        Ok(host) => format!("galera-sst-{host}"),
        Err(_) => "galera-sst".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str, local: &str) -> String {
        let advertise: Advertise = text.parse().expect("valid");
        let local = local.parse().ok();
        let request = advertise.request(Method::Mariabackup, local, 4444).expect("host known");
        request.address()
    }

    #[test]
    fn host_and_port_are_taken_from_where_they_are_known() {
        assert_eq!(address("10.0.0.9", "10.0.0.5"), "10.0.0.9:4444/xtrabackup_sst//1");
        assert_eq!(address("pod.ns.svc:5555", ""), "pod.ns.svc:5555/xtrabackup_sst//1");
        assert_eq!(address("[fd00::5]:5555", ""), "[fd00::5]:5555/xtrabackup_sst//1");
        assert_eq!(address("fd00::5", ""), "[fd00::5]:4444/xtrabackup_sst//1");
        let local =
            Advertise::default().request(Method::XtrabackupV2, "10.0.0.5".parse().ok(), 4444);
        let text = local.expect("host known").to_string();
        assert_eq!(text, "xtrabackup-v2:10.0.0.5:4444/xtrabackup_sst//1");
    }

    #[test]
    fn without_any_address_there_is_no_request() {
        assert_eq!(Advertise::default().request(Method::Mariabackup, None, 4444), None);
    }

    #[test]
    fn what_a_donor_would_refuse_is_refused_here() {
        for text in ["", "host:0", "host:x", "a b", "fe80::1%eth0"] {
            assert!(text.parse::<Advertise>().is_err(), "{text}");
        }
    }
}
