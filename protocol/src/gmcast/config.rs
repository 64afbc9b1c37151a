//! What a user may choose about links, and the limits that nobody may.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;

use super::address::{DEFAULT_PORT, HostPort};
use super::text::GroupName;
use crate::id::Segment;
use crate::planted::Planted;
use bytes::Bytes;

/// Time between two rounds of the check for silent links, due keepalives and due dials.
pub const CHECK_PERIOD: Duration = Duration::from_millis(500);

/// Wait before an address is dialled again after a failure.
pub const REDIAL_DELAY: Duration = Duration::from_secs(1);

/// Wait before an address is dialled again that refused us for our configuration: it will refuse
/// again.
pub const REFUSED_REDIAL_DELAY: Duration = Duration::from_secs(5);

/// An address learned from others is dialled after a random time up to this, lest all newcomers and
/// members call each other at one moment.
pub const FIRST_DIAL_SPREAD: Duration = Duration::from_millis(100);

/// An initial address may be a service, a virtual IP or an alias. It is told to others as a node's
/// address only if the group has not given a better one by this time.
pub const INITIAL_ADDRESS_HOLD: Duration = Duration::from_secs(1);

/// Most topology lists sent on one link between two rounds; the next round sends what is still
/// news. Members answer changed lists with changed lists, so a disagreement must not run at network
/// speed.
pub const LISTS_PER_ROUND_MAX: u32 = 16;

/// Most node names remembered per peer; beyond it only those that the peer lists at the moment.
pub const NAMES_MAX: usize = 2 * super::message::TOPOLOGY_ENTRIES_MAX;

/// Most callers that may be in their handshake at a time. One more pushes out the oldest: a real
/// member needs milliseconds, so a flood of idle callers cannot keep it out.
pub const CALLERS_MAX: usize = 64;

/// Most links that may be dialling or in their handshake on our side; further dials wait for the
/// next round.
pub const DIALS_MAX: usize = 64;

/// Most established links: as many as one topology message can list.
pub const LINKS_MAX: usize = super::message::TOPOLOGY_ENTRIES_MAX;

/// Most addresses remembered. Peers choose what they list, so what they list is bounded here;
/// further ones are ignored until others are forgotten.
pub const ADDRESSES_MAX: usize = 1024;

/// Most addresses taken from one name look-up.
pub const LOOKUP_ADDRESSES_MAX: usize = 64;

/// Most evicted nodes remembered. Evictions beyond it are refused: to forget one silently would let
/// an evicted node in.
pub const EVICTED_MAX: usize = 65_536;

/// Settings of the link layer. [`Config::default`] has Galera's defaults; a group name and initial
/// addresses have to be added.
#[derive(Clone, Debug)]
pub struct Config {
    /// `gmcast.group` (the cluster name): has to equal the members'.
    pub group: GroupName,
    /// `gmcast.segment`: our site. A segment of its own spares a member the duty to spread other
    /// sites' messages in its site.
    pub segment: Segment,
    /// The address that our listener is bound to. Its port is what peers call back.
    pub listen: SocketAddr,
    /// Where members may be found. Names are looked up again for every attempt.
    pub initial: Vec<HostPort>,
    /// Whether links run inside TLS.
    pub tls: bool,
    /// `gmcast.peer_timeout`: a link silent for longer is closed; also the limit of a handshake's
    /// steps.
    pub peer_timeout: Duration,
    /// `gmcast.time_wait`: how long a node that left is kept out.
    pub time_wait: Duration,
    /// `gmcast.mira`: how often an address learned from others is dialled in vain before it is
    /// forgotten.
    pub redials_max: u32,
    /// Tells whether bytes are a well-formed message of the layer above. What fails is never sent
    /// nor passed on, since a malformed one crashes database servers.
    pub payload_check: fn(&Bytes) -> bool,
    /// Peers are told of nobody whom they do not list themselves before
    /// [`Input::Introduce`](super::Input::Introduce): they may be of two groups that have nothing
    /// but their name in common.
    pub holds_strangers: bool,
    /// The UUID timestamp (100 ns units since 1582-10-15) of
    /// [`Instant::ZERO`](crate::Instant::ZERO), from which connections get their names.
    pub uuid_epoch: u64,
    /// The number of the first dialled link. A core that replaces another one goes on where that
    /// one ended ([`Gmcast::next_link`](super::Gmcast::next_link)), so that no number is used
    /// twice.
    pub first_link: u32,
    /// A bug on purpose.
    pub planted: Planted,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            group: GroupName::default(),
            segment: Segment(0),
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), DEFAULT_PORT),
            initial: Vec::new(),
            tls: false,
            peer_timeout: Duration::from_secs(3),
            time_wait: Duration::from_secs(5),
            redials_max: i32::MAX as u32,
            payload_check: |payload| !payload.is_empty(),
            holds_strangers: false,
            uuid_epoch: UNIX_EPOCH_100NS,
            first_link: 0,
            planted: Planted::default(),
        }
    }
}

/// The UUID timestamp of 1970-01-01.
pub const UNIX_EPOCH_100NS: u64 = 0x01b2_1dd2_1381_4000;
