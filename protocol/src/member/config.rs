//! What a member is told before it starts.

use core::net::SocketAddr;

use crate::checksum::Checksum;
use crate::id::NodeId;
use crate::pc::SavedView;
use crate::time::Duration;
use crate::{evs, gcs, gmcast, pc};

/// Options of all layers.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// How the frames that we send are protected.
    pub checksum: Checksum,
    /// Links.
    pub gmcast: gmcast::Config,
    /// Order.
    pub evs: evs::Config,
    /// Quorum.
    pub pc: pc::Config,
    /// Group.
    pub gcs: gcs::Config,
    /// After not having been run for so long (a stopped process, a paused virtual machine) the
    /// others have certainly given this member up: it begins its next life at once, instead of first
    /// missing them for `evs.suspect_timeout`. Never if `None`.
    pub freeze_limit: Option<Duration>,
    /// How long to look for a primary component (`pc.wait_prim_timeout`); no limit if `None`.
    pub connect_limit: Option<Duration>,
}

impl Config {
    /// Is the group complete without us? Then we do not bring together what is apart.
    pub(super) fn is_guest(&self) -> bool {
        self.evs.start == evs::Start::JoinGroup && self.pc.leave_if_not_primary
    }

    /// The same for a member that replaces one whose links had the numbers before `first_link`, and
    /// that knew these addresses.
    pub(super) fn again(&self, first_link: u32, known: impl Iterator<Item = SocketAddr>) -> Self {
        let mut config = self.clone();
        config.gmcast.first_link = first_link;
        for address in known {
            let (host, port) = (address.ip().to_string(), address.port());
            let address = gmcast::address::HostPort { host, port };
            if !config.gmcast.initial.contains(&address) {
                config.gmcast.initial.push(address);
            }
        }
        config
    }
}

/// Who a member is: a fresh node, or one that comes back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// Never seen before.
    Fresh(NodeId),
    /// The next life of the node that saved this view.
    Saved(SavedView),
}
