//! How to join a group: address, name and Galera's options into the core's configuration.

use std::path::PathBuf;
use std::time::Duration;

use galera_protocol::checksum::Checksum;
use galera_protocol::gcs::Name;
use galera_protocol::gcs::name::InvalidName;
use galera_protocol::gmcast::address::{
    AddressError, ClusterAddress, DEFAULT_PORT, HostPort, parse_listen,
};
use galera_protocol::gmcast::{GroupName, TextError};
use galera_protocol::{Segment, evs, member as core, pc};

use super::options::{OptionError, Options};
use super::tls::{SecurityError, take_security};
use crate::exit::ExitCode;
use crate::member;
use crate::net::tls::Keys;

/// How long a graceful leave may take (`pc.linger`).
const LINGER: Duration = Duration::from_secs(20);

/// How long to look for a primary component (`pc.wait_prim_timeout`).
const WAIT_PRIM: Duration = Duration::from_secs(30);

/// What people say about the group that is to be joined.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// `gcomm://host[:port],…[?key=value&…]`.
    pub address: String,
    /// `wsrep_cluster_name`.
    pub name: String,
    /// `key=value;…`; the address's own options win over these.
    pub options: String,
    /// Our name among the members.
    pub node_name: String,
    /// Our vote, unless `pc.weight` says otherwise.
    pub weight: u8,
    /// Limit for reaching the primary component, unless `pc.wait_prim_timeout` says otherwise.
    pub connect_limit: Option<Duration>,
    /// Where the identity survives a restart.
    pub state_directory: Option<PathBuf>,
    /// Keys for TLS, before those that `options` name.
    pub keys: Option<Keys>,
}

/// Why a group cannot be joined as described.
#[derive(Debug, thiserror::Error)]
pub enum GroupError {
    /// The address is none.
    #[error("--address")]
    Address(#[source] AddressError),
    /// The address names nobody.
    #[error("--address {0} names no member: a member without data cannot start a group")]
    NoMember(String),
    /// The group's name is too long.
    #[error("--group {name:?}")]
    GroupName {
        /// The name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: TextError,
    },
    /// Our own name is not one.
    #[error("--name {name:?}")]
    NodeName {
        /// The name.
        name: String,
        /// What is wrong with it.
        #[source]
        source: InvalidName,
    },
    /// The group's name is empty.
    #[error("--group is empty")]
    NoGroupName,
    /// An option is wrong.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// TLS cannot be had.
    #[error(transparent)]
    Security(#[from] SecurityError),
    /// Options contradict each other.
    #[error("evs options")]
    Evs(#[from] evs::ConfigError),
    /// Options contradict each other.
    #[error("pc options")]
    Pc(#[from] pc::ConfigError),
}

impl GroupError {
    /// The exit code that it means: keys that cannot be used are a matter of TLS, everything else
    /// of configuration.
    pub fn exit_code(&self) -> ExitCode {
        if let Self::Security(SecurityError::Keys(_)) = self {
            ExitCode::Refused
        } else {
            ExitCode::Configuration
        }
    }
}

impl Group {
    /// Checks everything and builds the configuration of a member.
    pub fn check(&self) -> Result<member::Config, GroupError> {
        let address: ClusterAddress = self.address.parse().map_err(GroupError::Address)?;
        let mut options = Options::parse(&self.options)?;
        for (key, value) in &address.options {
            options.set(key, value);
        }
        let mut core = core::Config { connect_limit: Some(WAIT_PRIM), ..Default::default() };
        core.gmcast.group = self.group_name()?;
        core.gcs.name = Name::new(&self.node_name)
            .map_err(|source| GroupError::NodeName { name: self.node_name.clone(), source })?;
        core.pc.weight = self.weight;
        let names_tls = self.address.contains("ssl://") || self.options.contains("ssl://");
        let security = take_security(&mut options, self.keys.clone(), names_tls)?;
        take_gmcast(&mut options, &mut core)?;
        take_evs(&mut options, &mut core.evs)?;
        let linger = take_pc(&mut options, &mut core, self.connect_limit)?;
        options.finish()?;
        core.gmcast.initial = self.members(&address)?;
        // The others take one suspect time-out to miss us, and most of another to agree on it.
        core.freeze_limit = Some(2 * core.evs.suspect_timeout);
        core.evs.check()?;
        core.pc.check()?;
        let state_directory = self.state_directory.clone();
        Ok(member::Config { core, state_directory, saved: None, linger, security })
    }

    fn group_name(&self) -> Result<GroupName, GroupError> {
        if self.name.is_empty() {
            return Err(GroupError::NoGroupName);
        }
        GroupName::new(&self.name)
            .map_err(|source| GroupError::GroupName { name: self.name.clone(), source })
    }

    /// Hosts without a port have Galera's default one, whatever our own listener uses.
    fn members(&self, address: &ClusterAddress) -> Result<Vec<HostPort>, GroupError> {
        let members = address.with_ports(DEFAULT_PORT);
        if members.is_empty() {
            return Err(GroupError::NoMember(self.address.clone()));
        }
        Ok(members)
    }
}

fn take_gmcast(options: &mut Options, core: &mut core::Config) -> Result<(), GroupError> {
    let gmcast = &mut core.gmcast;
    let base_port = options.number("base_port", 1..=u16::MAX)?.unwrap_or(DEFAULT_PORT);
    gmcast.listen.set_port(base_port);
    if let Some(text) = options.text("gmcast.listen_addr") {
        gmcast.listen = parse_listen(&text, base_port).map_err(|_| OptionError::Value {
            key: "gmcast.listen_addr".into(),
            value: text,
            expected: "tcp://ADDRESS:PORT with a numeric address".into(),
        })?;
    }
    if let Some(segment) = options.number("gmcast.segment", 0..=254)? {
        gmcast.segment = Segment(segment);
        core.pc.segment = Segment(segment);
    }
    set(&mut gmcast.peer_timeout, options.duration("gmcast.peer_timeout")?);
    set(&mut gmcast.time_wait, options.duration("gmcast.time_wait")?);
    set(&mut gmcast.redials_max, options.number("gmcast.mira", 0..=i32::MAX as u32)?);
    options.number("gmcast.version", 0..=0)?;
    let name = gmcast.group.to_string();
    options.refuse_unless("gmcast.group", &name, "the group has another name")?;
    options.refuse_unless("gmcast.isolate", "0", "nothing can be isolated before it has begun")?;
    options.refuse_unless("gmcast.mcast_addr", "", "multicast is not spoken here")?;
    options.number("gmcast.mcast_port", 0..=u16::MAX)?;
    options.number("gmcast.mcast_ttl", 1..=255_u8)?;
    options.refuse_unless("gmcast.peer_addr", "", "addresses belong into the group's address")?;
    if let Some(kind) = options.number("socket.checksum", 0..=2)? {
        core.checksum = Checksum::from_option(kind);
    }
    Ok(())
}

fn take_evs(options: &mut Options, evs: &mut evs::Config) -> Result<(), OptionError> {
    set(&mut evs.version, options.number("evs.version", 0..=1)?);
    set(&mut evs.view_forget_timeout, options.duration("evs.view_forget_timeout")?);
    set(&mut evs.suspect_timeout, options.duration("evs.suspect_timeout")?);
    set(&mut evs.inactive_timeout, options.duration("evs.inactive_timeout")?);
    set(&mut evs.inactive_check_period, options.duration("evs.inactive_check_period")?);
    set(&mut evs.keepalive_period, options.duration("evs.keepalive_period")?);
    set(&mut evs.join_retrans_period, options.duration("evs.join_retrans_period")?);
    set(&mut evs.install_timeout, options.duration("evs.install_timeout")?);
    set(&mut evs.max_install_timeouts, options.number("evs.max_install_timeouts", 0..=u32::MAX)?);
    set(&mut evs.send_window, options.number("evs.send_window", 1..=u32::MAX)?);
    set(&mut evs.user_send_window, options.number("evs.user_send_window", 1..=u32::MAX)?);
    set(&mut evs.delay_margin, options.duration("evs.delay_margin")?);
    set(&mut evs.delayed_keep_period, options.duration("evs.delayed_keep_period")?);
    set(&mut evs.auto_evict, options.number("evs.auto_evict", 0..=u8::MAX)?);
    options.switch("evs.use_aggregate")?;
    options.refuse_unless("evs.evict", "", "nobody can be banned before there is a group")
}

/// Also gives the limit of a graceful leave.
fn take_pc(
    options: &mut Options,
    core: &mut core::Config,
    connect_limit: Option<Duration>,
) -> Result<Duration, OptionError> {
    let pc = &mut core.pc;
    set(&mut pc.weight, options.number("pc.weight", 0..=254)?);
    set(&mut pc.npvo, options.switch("pc.npvo")?);
    set(&mut pc.ignore_sb, options.switch("pc.ignore_sb")?);
    set(&mut pc.ignore_quorum, options.switch("pc.ignore_quorum")?);
    options.refuse("pc.bootstrap", false, "a member without data cannot start a group")?;
    options.switch("pc.recovery")?;
    options.duration("pc.announce_timeout")?;
    options.number("pc.version", 0..=0)?;
    let wait = options.duration("pc.wait_prim_timeout")?;
    core.connect_limit = wait.or(connect_limit).or(core.connect_limit);
    if options.switch("pc.wait_prim")? == Some(false) {
        core.connect_limit = None;
    }
    Ok(options.duration("pc.linger")?.unwrap_or(LINGER))
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn group(address: &str, options: &str) -> Result<member::Config, GroupError> {
        let group = Group {
            address: address.into(),
            name: "g".into(),
            options: options.into(),
            node_name: "galera-sst-test".into(),
            ..Group::default()
        };
        group.check()
    }

    #[test]
    fn garbds_full_grammar_is_understood() {
        let address =
            "gcomm://pxc-0:4568,pxc-1?gmcast.listen_addr=tcp://127.0.0.1:5567&pc.weight=2";
        let config = group(address, "evs.suspect_timeout=PT7S;gmcast.segment=3").expect("valid");
        let core = config.core;
        let hosts: Vec<_> = core.gmcast.initial.iter().map(ToString::to_string).collect();
        assert_eq!(hosts, ["pxc-0:4568", "pxc-1:4567"]);
        assert_eq!(core.gmcast.listen, SocketAddr::from(([127, 0, 0, 1], 5567)));
        assert_eq!(core.pc.weight, 2);
        assert_eq!(core.pc.segment, Segment(3));
        assert_eq!(core.evs.suspect_timeout, Duration::from_secs(7));
    }

    #[test]
    fn what_would_harm_the_group_or_makes_no_sense_is_refused() {
        assert!(matches!(group("gcomm://", ""), Err(GroupError::NoMember(_))));
        assert!(matches!(group("pxc-0", ""), Err(GroupError::Address(_))));
        for options in ["pc.bootstrap=true", "pc.weight=255", "evs.nonsense=1"] {
            assert!(matches!(group("gcomm://a", options), Err(GroupError::Option(_))), "{options}");
        }
        assert!(matches!(group("gcomm://a", "pc.ignore_sb=true"), Err(GroupError::Pc(_))));
        let crossed = "evs.suspect_timeout=PT5S;evs.keepalive_period=PT4S";
        assert!(matches!(group("gcomm://a", crossed), Err(GroupError::Evs(_))));
    }
}
