//! `galera-sst receive`: the donor's two connections, for a member that is somebody else's.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use galera_protocol::sst::conversation;
use galera_protocol::sst::peers::{AllowFrom, Network};
use galera_protocol::sst::request;
use tokio_util::sync::CancellationToken;

use super::announce::AnnounceArgs;
use super::answer::{finish, outcome_of, stored};
use super::check::CheckError;
use super::signals::Stop;
use super::target::{Content, TargetArgs};
use super::tls::{SstTlsArgs, TlsArgs, reload_on_hangup};
use super::{Output, progress, seconds, talk};
use crate::backup::{self, Receive, Reporter};
use crate::exit::ExitCode;
use crate::pipeline;
use crate::pipeline::manifest::BackupId;
use crate::sst;

/// Arguments of `receive`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the group, for the backup's own record
    #[arg(long, value_name = "NAME", default_value = "", help_heading = "Group")]
    group: String,
    /// The SST method that was asked for
    #[arg(long, value_enum, default_value_t = Method::XtrabackupV2, help_heading = "Transfer")]
    method: Method,
    /// Where the donor dials; the default takes IPv6 as well
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:4444",
        help_heading = "Transfer"
    )]
    listen: SocketAddr,
    /// Limit for the donor's first connection, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds, help_heading = "Transfer")]
    first_connection_timeout: Duration,
    /// Limit for the donor's second connection after the first has ended, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds, help_heading = "Transfer")]
    second_connection_timeout: Duration,
    /// Longest silence in the donor's stream, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds, help_heading = "Transfer")]
    idle_timeout: Duration,
    /// Limit for the whole job, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Transfer")]
    timeout: Option<Duration>,
    /// How long a SIGTERM may still say, after the stream, that the donor has failed, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "3", value_parser = seconds, help_heading = "Transfer")]
    settle: Duration,
    /// Accept the donor's connections only from this network, as 10.1.0.0/16; may be given again
    #[arg(long, value_name = "NETWORK", help_heading = "Transfer")]
    accept_from: Vec<Network>,

    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    sst_tls: SstTlsArgs,
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    announce: AnnounceArgs,
}

/// `--method`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Method {
    /// Percona XtraDB Cluster
    #[value(name = "xtrabackup-v2")]
    XtrabackupV2,
    /// MariaDB
    Mariabackup,
}

impl Args {
    fn check(&self) -> Result<Receive, CheckError> {
        let keys = self.tls.open()?;
        Ok(Receive {
            listener: self.listener(),
            transfer_tls: self.sst_tls.transfer(keys.as_ref())?,
            stream: pipeline::Options {
                idle_limit: self.idle_timeout,
                hash_files: false,
                ..Default::default()
            },
            group: self.group.clone(),
            method: match self.method {
                Method::XtrabackupV2 => request::Method::XtrabackupV2,
                Method::Mariabackup => request::Method::Mariabackup,
            },
            keys_may_be_stored: self.target.keys_may_be_stored(),
            settle: self.settle,
            overall_limit: self.timeout,
            id: BackupId::generate(),
        })
    }

    fn listener(&self) -> sst::Config {
        let allow_from = if self.accept_from.is_empty() {
            AllowFrom::Anyone
        } else {
            AllowFrom::DonorAnd(self.accept_from.clone())
        };
        sst::Config {
            listen: self.listen.into(),
            socket: sst::SocketOptions::default(),
            conversation: conversation::Config {
                allow_from,
                first_connection: self.first_connection_timeout,
                second_connection: self.second_connection_timeout,
                idle: self.idle_timeout,
                ..Default::default()
            },
            decompressor: self.sst_tls.decompressor(),
        }
    }
}

/// Runs the command.
pub(super) async fn run(args: Args, output: Output) -> ExitCode {
    let config = match args.check() {
        Ok(config) => config,
        Err(error) => return talk::fail(&error, error.exit_code()),
    };
    if let Err(code) = args.target.check(Content::Stream) {
        return code;
    }
    reload_on_hangup(config.keys());
    let stop = match Stop::listen() {
        Ok(stop) => stop,
        Err(error) => return talk::fail(&error, ExitCode::Other),
    };
    if let Err(error) = args.announce.before().await {
        return talk::fail(&error, ExitCode::Configuration);
    }
    let started = Instant::now();
    let result = received(&args, &config, &stop).await;
    let outcome = outcome_of(result.as_ref().map(stored), &config.group, &config.id);
    let code = finish(result, stop.code(), output);
    args.announce.tell(outcome, code, started).await
}

async fn received(
    args: &Args,
    config: &Receive,
    stop: &Stop,
) -> Result<backup::Backup, backup::Error> {
    let (reporter, lines) = Reporter::new();
    let ended = CancellationToken::new();
    let shown = tokio::spawn(progress::show(reporter.clone(), lines, ended.clone()));
    let open = async || args.target.open(&config.id, Content::Stream).await;
    let result = backup::receive(config, open, &reporter, &stop.token()).await;
    drop(reporter);
    ended.cancel();
    if let Err(error) = shown.await {
        tracing::warn!(%error, "show the progress");
    }
    result
}
