//! Flags about being a member, the same for every command that joins a group as a guest.

use std::path::PathBuf;
use std::time::Duration;

use crate::backup::default_node_name;
use crate::config::Group;
use crate::net::tls::Keys;

/// Which group, and who we are in it.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Group")]
pub(super) struct MemberArgs {
    /// Members of the group, as garbd takes them: gcomm://host[:port][,host…][?option=value&…]
    #[arg(long, value_name = "GCOMM")]
    address: String,
    /// Name of the group (wsrep_cluster_name)
    #[arg(long, value_name = "NAME")]
    pub(super) group: String,
    /// Galera's provider options: key=value;key=value
    #[arg(long, value_name = "OPTIONS", default_value = "")]
    options: String,
    /// Our name in the group [default: galera-sst-HOST]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Directory that keeps our identity in the group if the process is killed
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
}

impl MemberArgs {
    /// A guest without a vote that has `connect_limit` to reach the primary component.
    pub(super) fn guest(&self, connect_limit: Duration, keys: Option<Keys>) -> Group {
        Group {
            address: self.address.clone(),
            name: self.group.clone(),
            options: self.options.clone(),
            node_name: self.name.clone().unwrap_or_else(default_name),
            weight: 0,
            connect_limit: Some(connect_limit),
            state_directory: self.state_dir.clone(),
            keys,
        }
    }
}

fn default_name() -> String {
    default_node_name(&rustix::system::uname().nodename().to_string_lossy())
}
