//! `galera-sst doctor`: arguments and the list of findings.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::check::CheckError;
use super::place::Place;
use super::signals::Stop;
use super::tls::{SstTlsArgs, TlsArgs};
use super::{Output, talk};
use crate::backup::{self, Advertise};
use crate::config::{Group, Target};
use crate::doctor::{self, Config, JOIN_LIMIT, Line, Report};
use crate::exit::ExitCode;
use crate::sst;

/// Arguments of `doctor`: those of `backup` that matter before a backup.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Members of the group: gcomm://host[:port][,host…][?option=value&…]
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
    /// Directory that keeps our identity in the group
    #[arg(long, value_name = "DIR", help_heading = "Group")]
    state_dir: Option<PathBuf>,
    /// Do not become a member: group name, members and donor stay unknown
    #[arg(long, help_heading = "Group")]
    no_join: bool,
    /// Names of the members that may be donor, best first; a trailing comma allows any other
    #[arg(long, value_name = "NAMES", default_value = "", help_heading = "Transfer")]
    donor: String,
    /// Where the donor would dial
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:4444",
        help_heading = "Transfer"
    )]
    listen: SocketAddr,
    /// Listen on this network interface alone, and tell its address to the donor
    #[arg(long, value_name = "NAME", help_heading = "Transfer")]
    listen_interface: Option<String>,
    /// What the donor would be told to dial: HOST[:PORT]
    #[arg(long, value_name = "HOST[:PORT]", help_heading = "Transfer")]
    advertise: Option<Advertise>,
    /// Where the backup would go
    #[arg(long, value_name = "SINK", help_heading = "Target")]
    to: Option<Target>,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    sst_tls: SstTlsArgs,
}

impl Args {
    fn check(&self) -> Result<Config, CheckError> {
        let keys = self.tls.open()?;
        let host = || rustix::system::uname().nodename().to_string_lossy().into_owned();
        let group = Group {
            address: self.address.clone(),
            name: self.group.clone(),
            options: self.options.clone(),
            node_name: self.name.clone().unwrap_or_else(|| backup::default_node_name(&host())),
            weight: 0,
            connect_limit: Some(JOIN_LIMIT),
            state_directory: self.state_dir.clone(),
            keys: keys.clone(),
        };
        let mut member = group.check()?;
        let place = Place { listen: self.listen, advertise: self.advertise.clone() };
        let place = place.on_interface(self.listen_interface.as_deref(), &mut member)?;
        let keys = keys.or_else(|| member.security.keys().cloned());
        Ok(Config {
            transfer_tls: self.sst_tls.transfer(keys.as_ref())?,
            member,
            listener: sst::Config { listen: place.listen.into(), ..Default::default() },
            donors: self.donor.clone(),
            advertise: place.advertise.unwrap_or_default(),
            target: self.to.clone(),
            joins: !self.no_join,
        })
    }
}

/// Runs the command.
pub(super) async fn run(args: Args, output: Output) -> ExitCode {
    let config = match args.check() {
        Ok(config) => config,
        Err(error) => return talk::fail(&error, error.exit_code()),
    };
    let stop = match Stop::listen() {
        Ok(stop) => stop,
        Err(error) => return talk::fail(&error, ExitCode::Other),
    };
    let show = |line: &Line| {
        if output == Output::Text {
            talk::answer(&line.to_string());
        }
    };
    let report = doctor::examine(&config, &stop.token(), show).await;
    conclude(&report, stop.code(), output)
}

fn conclude(report: &Report, signal: Option<ExitCode>, output: Output) -> ExitCode {
    let code = signal.unwrap_or_else(|| report.exit_code());
    if output == Output::Json {
        let answer = serde_json::json!({
            "level": report.level(),
            "exit_code": code.number(),
            "lines": report.lines,
        });
        talk::answer(&answer.to_string());
    }
    code
}
