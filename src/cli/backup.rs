//! `galera-sst backup`: arguments, progress and the answer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Output;
use crate::exit::ExitCode;

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Members of the group, as garbd takes them: gcomm://host[:port][,host…][?option=value&…]
    #[arg(long, value_name = "GCOMM", help_heading = "Group")]
    address: String,
    /// Name of the group (wsrep_cluster_name)
    #[arg(long, value_name = "NAME", help_heading = "Group")]
    group: String,
    /// Galera's provider options: key=value;key=value
    #[arg(long, value_name = "OPTIONS", default_value = "", help_heading = "Group")]
    options: String,
    /// Our name in the group [default: galera-sst-HOST]
    #[arg(long, value_name = "NAME", help_heading = "Group")]
    name: Option<String>,
    /// Directory that keeps our identity in the group if the process is killed
    #[arg(long, value_name = "DIR", help_heading = "Group")]
    state_dir: Option<PathBuf>,
    /// Limit for reaching the primary component, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, help_heading = "Group")]
    connect_timeout: Duration,

    /// Names of the members that may be donor, best first; a trailing comma allows any other
    #[arg(long, value_name = "NAMES", default_value = "", help_heading = "Transfer")]
    donor: String,
    /// The SST method that the donor shall run
    #[arg(long, value_enum, default_value_t = Method::Auto, help_heading = "Transfer")]
    method: Method,
    /// Where the donor dials; the default takes IPv6 as well
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:4444", help_heading = "Transfer")]
    listen: SocketAddr,
    /// What the donor is told to dial: HOST[:PORT] [default: the address our group links leave from]
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Transfer")]
    advertise: Option<String>,
    /// Limit for finding a free donor, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = seconds, help_heading = "Transfer")]
    donor_timeout: Duration,
    /// Limit for the donor's first connection, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds, help_heading = "Transfer")]
    first_connection_timeout: Duration,
    /// Limit for the donor's second connection after the first has ended, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds, help_heading = "Transfer")]
    second_connection_timeout: Duration,
    /// Longest silence in the donor's stream, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds, help_heading = "Transfer")]
    idle_timeout: Duration,
    /// Limit for the donor's final word to the group after its stream has ended, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds, help_heading = "Transfer")]
    verdict_timeout: Duration,
    /// Accept the donor's connections from any address, not only from the donor's own
    #[arg(long, help_heading = "Transfer")]
    accept_any_address: bool,

    /// Where the backup goes: file:///DIR, datadir:DIR, xbstream:FILE, xbstream:- or null:
    #[arg(long, value_name = "SINK", help_heading = "Target")]
    to: String,
    /// zstd level of a repository's packs, 1 to 19
    #[arg(long, value_name = "LEVEL", default_value = "3", value_parser = clap::value_parser!(i32).range(1..=19), help_heading = "Target")]
    compression_level: i32,
}

/// `--method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Method {
    /// xtrabackup-v2, and mariabackup if the donor does not know it
    Auto,
    /// Percona XtraDB Cluster
    #[value(name = "xtrabackup-v2")]
    XtrabackupV2,
    /// MariaDB
    Mariabackup,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Runs the command.
pub(super) async fn run(_args: Args, _output: Output) -> ExitCode {
    ExitCode::Other
}
