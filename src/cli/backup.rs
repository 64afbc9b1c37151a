//! `galera-sst backup`: arguments, progress and the answer.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use galera_protocol::sst::conversation;
use galera_protocol::sst::peers::{AllowFrom, Network};
use galera_protocol::sst::request;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::announce::AnnounceArgs;
use super::answer::{finish, outcome_of, stored};
use super::check::CheckError;
use super::donors::DonorArgs;
use super::membership::MemberArgs;
use super::place::PlaceArgs;
use super::signals::Stop;
use super::store::rate;
use super::target::{Content, TargetArgs};
use super::tls::{SstTlsArgs, TlsArgs, reload_on_hangup};
use super::{Output, progress, seconds, talk};
use crate::backup::{self, Backup, Reporter};
use crate::exit::ExitCode;
use crate::ops::http::HttpServer;
use crate::pipeline;
use crate::pipeline::manifest::BackupId;
use crate::repository::Repository;
use crate::sst;
use crate::throttle::Limit;

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    member: MemberArgs,
    /// Limit for reaching the primary component, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, help_heading = "Group")]
    connect_timeout: Duration,

    #[command(flatten)]
    donors: DonorArgs,
    /// The SST method that the donor shall run
    #[arg(long, value_enum, default_value_t = Method::Auto, help_heading = "Transfer")]
    method: Method,
    #[command(flatten)]
    place: PlaceArgs,
    /// Limit for the donor's first connection, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds, help_heading = "Transfer")]
    first_connection_timeout: Duration,
    /// Limit for the donor's second connection after the first has ended, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds, help_heading = "Transfer")]
    second_connection_timeout: Duration,
    /// Longest silence in the donor's stream, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds, help_heading = "Transfer")]
    idle_timeout: Duration,
    /// Take no more than so many bytes a second from the donor: bytes, or with K, M or G
    #[arg(long, value_name = "SIZE", value_parser = rate, help_heading = "Transfer")]
    limit_receive: Option<NonZeroU64>,
    /// Limit for the donor's final word to the group after its stream has ended, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "120", value_parser = seconds, help_heading = "Transfer")]
    verdict_timeout: Duration,
    /// Limit for the whole job, in seconds: a donor that serves us is lost to the group for so long
    #[arg(long, value_name = "SECONDS", value_parser = seconds, help_heading = "Transfer")]
    timeout: Option<Duration>,
    /// Accept the donor's connections from any address, not only from the donor's own
    #[arg(long, help_heading = "Transfer")]
    accept_any_address: bool,
    /// Accept the donor's connections from this network too, as 10.1.0.0/16; may be given again
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

    /// Serve /metrics, /livez and /readyz here while the job runs
    #[arg(long, value_name = "ADDRESS:PORT", help_heading = "Watching")]
    http: Option<SocketAddr>,
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

impl Args {
    /// Raw arguments into checked configuration.
    fn check(&self) -> Result<backup::Config, CheckError> {
        let keys = self.tls.open()?;
        let mut member = self.member.guest(self.connect_timeout, keys.clone()).check()?;
        let place = self.place.check(&mut member)?;
        let keys = keys.or_else(|| member.security.keys().cloned());
        let transfer_tls = self.sst_tls.transfer(keys.as_ref())?;
        member.core.gcs.donor_wait_limit = self.donors.donor_timeout;
        member.core.gcs.verdict_limit = self.verdict_timeout;
        Ok(backup::Config {
            member,
            listener: self.listener(place.listen),
            transfer_tls,
            // The packs have hashes of their own; nothing else reads the stream's.
            stream: pipeline::Options {
                idle_limit: self.idle_timeout,
                limit: self.limit_receive.map(Limit::new),
                hash_files: false,
                ..Default::default()
            },
            donors: self.donors.donors(),
            attempts: self.donors.attempts,
            donor_limit: self.donors.max_donor_time,
            methods: self.method.in_order(),
            advertise: place.advertise.unwrap_or_default(),
            keys_may_be_stored: self.target.keys_may_be_stored(),
            overall_limit: self.timeout,
            id: BackupId::generate(),
        })
    }

    fn listener(&self, listen: SocketAddr) -> sst::Config {
        let allow_from = match (self.accept_any_address, self.accept_from.as_slice()) {
            (true, _) => AllowFrom::Anyone,
            (false, []) => AllowFrom::Donor,
            (false, networks) => AllowFrom::DonorAnd(networks.to_vec()),
        };
        sst::Config {
            listen: listen.into(),
            socket: sst::SocketOptions::default(),
            conversation: conversation::Config {
                allow_from,
                first_connection: self.first_connection_timeout,
                second_connection: self.second_connection_timeout,
                idle: self.idle_timeout,
                verdict: self.verdict_timeout,
                ..Default::default()
            },
            decompressor: self.sst_tls.decompressor(),
        }
    }
}

impl Method {
    fn in_order(self) -> Vec<request::Method> {
        match self {
            Self::Auto => vec![request::Method::XtrabackupV2, request::Method::Mariabackup],
            Self::XtrabackupV2 => vec![request::Method::XtrabackupV2],
            Self::Mariabackup => vec![request::Method::Mariabackup],
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
    let (reporter, lines) = Reporter::new();
    let pages = args.http.map(|address| {
        let registry = backup::metrics::registry(&reporter);
        HttpServer::bind(address, registry, reporter.monitor.clone())
    });
    let _served = match pages.transpose() {
        Ok(server) => server.map(|server| AbortOnDropHandle::new(tokio::spawn(server.run()))),
        Err(error) => return talk::fail(&error, ExitCode::Configuration),
    };
    let ended = CancellationToken::new();
    let shown = tokio::spawn(progress::show(reporter.clone(), lines, ended.clone()));
    let started = Instant::now();
    let _asked = AbortOnDropHandle::new(tokio::spawn(ask_earlier(&args, reporter.clone())));
    let result = match args.announce.before().await {
        Ok(()) => into_targets(&args, &config, &reporter, &stop.token()).await,
        Err(error) => {
            shown.abort();
            return talk::fail(&error, ExitCode::Configuration);
        }
    };
    reporter.end();
    drop(reporter);
    ended.cancel();
    if let Err(error) = shown.await {
        tracing::warn!(%error, "show the progress");
    }
    let outcome = outcome_of(result.as_ref().map(stored), &args.member.group, &config.id);
    let code = finish(result, stop.code(), output);
    if let Some(error) = &outcome.error {
        tracing::info!(otel.status_code = "ERROR", error, code = code.number(), "no backup");
    }
    args.announce.tell(outcome, code, started).await
}

/// Tells how large the group's last backup was, if one of the repositories knows: for the time left.
fn ask_earlier(args: &Args, reporter: Reporter) -> impl Future<Output = ()> + use<> {
    let ((urls, options), group) = (args.target.repositories(), args.member.group.clone());
    async move {
        for url in urls {
            let newest =
                async { Repository::open_with(&url, &options).await?.newest_of(&group).await };
            if let Ok(Some(manifest)) = newest.await {
                return reporter.know_earlier(manifest.totals.stream_bytes);
            }
        }
    }
}

/// One stream into all targets.
async fn into_targets(
    args: &Args,
    config: &backup::Config,
    reporter: &Reporter,
    stop: &CancellationToken,
) -> Result<Backup, backup::Error> {
    let open = async || args.target.open(&config.id, Content::Stream).await;
    backup::run(config, open, reporter, stop).await
}
