//! Flags about which member we take away from its group, and when.

use std::time::Duration;

use galera_protocol::gcs::Conditions;
use galera_protocol::id::Segment;

use super::seconds;
use crate::backup::Donors;

/// Which donor, and when.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Donor")]
pub(super) struct DonorArgs {
    /// Names of the members that may be donor, best first; a trailing comma allows any other
    #[arg(long, value_name = "NAMES", default_value = "")]
    donor: String,
    /// Never this member, which takes the writes, say; may be given more than once
    #[arg(long, value_name = "NAME")]
    avoid_donor: Vec<String>,
    /// Take a member of --avoid-donor all the same when there is no other
    #[arg(long)]
    avoid_if_others: bool,
    /// Only members of this segment (gmcast.segment)
    #[arg(long, value_name = "N")]
    donor_segment: Option<u8>,
    /// Limit for finding a free donor, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds)]
    pub(super) donor_timeout: Duration,
    /// Wait until so many members with data are SYNCED, the donor among them
    #[arg(long, value_name = "N", default_value = "0")]
    when_synced_at_least: usize,
    /// Do not wait until other state transfers in the group (backups, joining nodes, desynced members) have ended
    #[arg(long)]
    beside_others: bool,
    /// Longest time for which a donor serves us, in seconds: it is lost to the group for so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(super) max_donor_time: Option<Duration>,
    /// How often to try, each time with another donor
    #[arg(long, value_name = "N", default_value = "1", value_parser = clap::value_parser!(u32).range(1..=100))]
    pub(super) attempts: u32,
}

impl DonorArgs {
    pub(super) fn donors(&self) -> Donors {
        Donors {
            names: self.donor.clone(),
            avoid: self.avoid_donor.clone(),
            avoid_if_others: self.avoid_if_others,
            segment: self.donor_segment.map(Segment),
            conditions: Conditions {
                synced_min: self.when_synced_at_least,
                alone: !self.beside_others,
            },
        }
    }
}
