//! `galera-sst doctor`: arguments and the list of findings.

use super::check::CheckError;
use super::membership::MemberArgs;
use super::place::PlaceArgs;
use super::signals::Stop;
use super::store::StoreArgs;
use super::tls::{SstTlsArgs, TlsArgs};
use super::{Output, talk};
use crate::config::Target;
use crate::doctor::{self, Config, JOIN_LIMIT, Line, Report};
use crate::exit::ExitCode;
use crate::sst;

/// Arguments of `doctor`: those of `backup` that matter before a backup.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    member: MemberArgs,
    /// Do not become a member: group name, members and donor stay unknown
    #[arg(long, help_heading = "Group")]
    no_join: bool,
    /// Names of the members that may be donor, best first; a trailing comma allows any other
    #[arg(long, value_name = "NAMES", default_value = "", help_heading = "Transfer")]
    donor: String,
    #[command(flatten)]
    place: PlaceArgs,
    /// Where the backup would go; may be given more than once
    #[arg(long, value_name = "SINK", help_heading = "Target")]
    to: Vec<Target>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    sst_tls: SstTlsArgs,
}

impl Args {
    fn check(&self) -> Result<Config, CheckError> {
        let keys = self.tls.open()?;
        let mut member = self.member.guest(JOIN_LIMIT, keys.clone()).check()?;
        let place = self.place.check(&mut member)?;
        let keys = keys.or_else(|| member.security.keys().cloned());
        Ok(Config {
            transfer_tls: self.sst_tls.transfer(keys.as_ref())?,
            member,
            listener: sst::Config { listen: place.listen.into(), ..Default::default() },
            donors: self.donor.clone(),
            advertise: place.advertise.unwrap_or_default(),
            targets: self.to.clone(),
            store: self.store.options(),
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
