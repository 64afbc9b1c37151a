//! Where we listen and what others are told, on hosts where an interface decides it.

use std::net::{IpAddr, SocketAddr};

use galera_protocol::sst::request::Host;

use crate::backup::Advertise;
use crate::member;
use crate::net::interface::{self, InterfaceError};

/// Where the donor finds us.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Transfer")]
pub(super) struct PlaceArgs {
    /// Where the donor dials; the default takes IPv6 as well
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:4444")]
    listen: SocketAddr,
    /// Listen on this network interface alone, and tell its address to the donor
    #[arg(long, value_name = "NAME")]
    listen_interface: Option<String>,
    /// What the donor is told to dial: HOST[:PORT] [default: the address our group links leave from]
    #[arg(long, value_name = "HOST[:PORT]")]
    advertise: Option<Advertise>,
}

impl PlaceArgs {
    /// Our place, if need be on an interface, where `member` then listens as well.
    pub(super) fn check(&self, member: &mut member::Config) -> Result<Place, InterfaceError> {
        let place = Place { listen: self.listen, advertise: self.advertise.clone() };
        place.on_interface(self.listen_interface.as_deref(), member)
    }
}

/// Our place in the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Where donors connect.
    pub(super) listen: SocketAddr,
    /// What they are told to dial.
    pub(super) advertise: Option<Advertise>,
}

impl Place {
    /// Puts everything that is not said otherwise on one interface: both listeners that are on all
    /// addresses, and the address that the donor is told.
    fn on_interface(
        self,
        name: Option<&str>,
        member: &mut member::Config,
    ) -> Result<Self, InterfaceError> {
        let Some(name) = name else { return Ok(self) };
        let address = interface::address_of(name)?;
        let group = &mut member.core.gmcast.listen;
        if group.ip().is_unspecified() {
            group.set_ip(address);
        }
        Ok(self.at(address))
    }

    fn at(mut self, address: IpAddr) -> Self {
        if self.listen.ip().is_unspecified() {
            self.listen.set_ip(address);
        }
        let mut advertise = self.advertise.unwrap_or_default();
        advertise.host.get_or_insert(match address {
            IpAddr::V4(address) => Host::V4(address),
            IpAddr::V6(address) => Host::V6(address),
        });
        Self { advertise: Some(advertise), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(listen: &str, advertise: Option<&str>) -> Place {
        let advertise = advertise.map(|text| text.parse().expect("valid"));
        Place { listen: listen.parse().expect("valid"), advertise }
    }

    #[test]
    fn an_interface_decides_what_is_not_said_otherwise() {
        let address = "10.0.0.5".parse().expect("valid");
        let all = place("0.0.0.0:4444", None).at(address);
        assert_eq!(all, place("10.0.0.5:4444", Some("10.0.0.5")));
        let said = place("127.0.0.1:4444", Some("nat.example:5555"));
        assert_eq!(said.clone().at(address), said);
        let v6 = place("0.0.0.0:4444", None).at("fd00::5".parse().expect("valid"));
        assert_eq!(v6, place("[fd00::5]:4444", Some("fd00::5")));
    }
}
