//! `galera-sst backup`: arguments, progress and the answer.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use galera_protocol::sst::conversation;
use galera_protocol::sst::peers::{AllowFrom, Network};
use galera_protocol::sst::request;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::announce::AnnounceArgs;
use super::check::CheckError;
use super::membership::MemberArgs;
use super::place::PlaceArgs;
use super::signals::Stop;
use super::store::{StoreArgs, UploadArgs};
use super::tls::{SstTlsArgs, TlsArgs, reload_on_hangup};
use super::{Output, progress, seconds, talk};
use crate::backup::{self, Backup, Reporter};
use crate::config::{ByteSize, Target};
use crate::exit::ExitCode;
use crate::ops::http::HttpServer;
use crate::outcome::Outcome;
use crate::pipeline;
use crate::pipeline::manifest::BackupId;
use crate::repository::{PackConfig, PackSink, Recipients, RepositoryUrl};
use crate::sink::any::AnySink;
use crate::sink::copies::{Copies, Policy};
use crate::sink::datadir::{Datadir, DatadirOptions};
use crate::sink::discard::Discard;
use crate::sink::raw::{CommandLine, Raw, RawTarget};
use crate::sink::spooled::{SpoolOptions, Spooled};
use crate::sink::tar::{Tar, TarOptions};
use crate::sink::{CopyReport, Receipt, Sink as _, SinkError};
use crate::sst;

/// Arguments of `backup`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    member: MemberArgs,
    /// Limit for reaching the primary component, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds, help_heading = "Group")]
    connect_timeout: Duration,

    /// Names of the members that may be donor, best first; a trailing comma allows any other
    #[arg(long, value_name = "NAMES", default_value = "", help_heading = "Transfer")]
    donor: String,
    /// The SST method that the donor shall run
    #[arg(long, value_enum, default_value_t = Method::Auto, help_heading = "Transfer")]
    method: Method,
    #[command(flatten)]
    place: PlaceArgs,
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

    /// Where the backup goes: file:///DIR, s3://BUCKET/PREFIX, gs://…, az://…, datadir:DIR, tar:FILE, tar:-, xbstream:FILE, xbstream:-,
    /// exec:COMMAND or null:; may be given more than once
    #[arg(long, value_name = "SINK", required = true, help_heading = "Target")]
    to: Vec<Target>,
    /// Of several --to: how many must succeed
    #[arg(long, value_enum, default_value_t = Policy::All, help_heading = "Target")]
    to_policy: Policy,
    /// Where data waits while an object store is away, and a tar's files that cannot be written yet
    /// [default for a tar: beside it]
    #[arg(long, value_name = "DIR", help_heading = "Target")]
    spool: Option<PathBuf>,
    /// How much may wait there: bytes, or with K, M, G or T
    #[arg(long, value_name = "SIZE", default_value = "64G", help_heading = "Target")]
    spool_max: ByteSize,
    /// Limit for a command of exec: from the end of its input to its own, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "1800", value_parser = seconds, help_heading = "Target")]
    command_timeout: Duration,
    /// zstd level of a repository's packs, 1 to 19, or none
    #[arg(long, value_name = "LEVEL", default_value = "3", value_parser = compression_level, help_heading = "Target")]
    compression_level: i32,
    /// Encrypt a repository's packs for this age recipient (age1…); may be given more than once
    #[arg(long, value_name = "RECIPIENT", help_heading = "Target")]
    recipient: Vec<String>,
    #[command(flatten)]
    store: StoreArgs,
    #[command(flatten)]
    upload: UploadArgs,
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

/// `none` is the level at which zstd copies: readers need not know another format.
fn compression_level(text: &str) -> Result<i32, String> {
    const NONE: i32 = -(1 << 17);
    match text.parse() {
        _ if text == "none" => Ok(NONE),
        Ok(level @ 1..=19) => Ok(level),
        Ok(_) | Err(_) => Err(format!("{text} is neither a level from 1 to 19 nor none")),
    }
}

impl Args {
    /// Raw arguments into checked configuration.
    fn check(&self) -> Result<backup::Config, CheckError> {
        let keys = self.tls.open()?;
        let mut member = self.member.guest(self.connect_timeout, keys.clone()).check()?;
        let place = self.place.check(&mut member)?;
        let keys = keys.or_else(|| member.security.keys().cloned());
        let transfer_tls = self.sst_tls.transfer(keys.as_ref())?;
        member.core.gcs.donor_wait_limit = self.donor_timeout;
        member.core.gcs.verdict_limit = self.verdict_timeout;
        Ok(backup::Config {
            member,
            listener: self.listener(place.listen),
            transfer_tls,
            // The packs have hashes of their own; nothing else reads the stream's.
            stream: pipeline::Options {
                idle_limit: self.idle_timeout,
                hash_files: false,
                ..Default::default()
            },
            donors: self.donor.clone(),
            methods: self.method.in_order(),
            advertise: place.advertise.unwrap_or_default(),
            overall_limit: self.timeout,
            id: BackupId::generate(),
        })
    }

    fn command_line(&self, command: &str, config: &backup::Config) -> CommandLine {
        CommandLine {
            command: command.to_owned(),
            environment: vec![("GALERA_SST_BACKUP_ID".into(), config.id.to_string())],
            limit: self.command_timeout,
        }
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
    if args.to.iter().filter(|target| target.is_stdout()).count() > 1 {
        talk::say("galera-sst: only one --to can be standard output");
        return ExitCode::Usage;
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
    let result = match args.announce.before().await {
        Ok(()) => into_targets(&args, &config, &reporter, &stop.token()).await,
        Err(error) => {
            shown.abort();
            return talk::fail(&error, ExitCode::Configuration);
        }
    };
    drop(reporter);
    ended.cancel();
    if let Err(error) = shown.await {
        tracing::warn!(%error, "show the progress");
    }
    let mut outcome = outcome_of(&result, &args, &config);
    let code = finish(result, stop.code(), output);
    outcome.exit_code = code.number();
    outcome.duration = started.elapsed();
    if args.announce.tell(&outcome).await { ExitCode::Success } else { code }
}

/// One stream into all targets.
async fn into_targets(
    args: &Args,
    config: &backup::Config,
    reporter: &Reporter,
    stop: &CancellationToken,
) -> Result<Backup, backup::Error> {
    let open = async || {
        let mut opened = Vec::new();
        for target in &args.to {
            opened.push((target.to_string(), args.sink(target, config).await));
        }
        Copies::new(opened, args.to_policy).await
    };
    backup::run(config, open, reporter, stop).await
}

impl Args {
    /// The one place where a target becomes a sink.
    async fn sink(&self, target: &Target, config: &backup::Config) -> Result<AnySink, SinkError> {
        Ok(match target {
            Target::Repository(url) => {
                let packs = self.packs(url, config).await?;
                self.behind_spool(url, packs).await?
            }
            Target::Datadir(target) => {
                let options = DatadirOptions { target: target.clone(), sync: true };
                AnySink::Datadir(Box::new(Datadir::create(options).await?))
            }
            Target::Stream(target) => {
                AnySink::Raw(Box::new(Raw::create(target.clone(), true).await?))
            }
            Target::Command(command) => {
                let target = RawTarget::Command(self.command_line(command, config));
                AnySink::Raw(Box::new(Raw::create(target, true).await?))
            }
            Target::Tar(target) => {
                let options = TarOptions {
                    target: target.clone(),
                    spool: self.spool.clone(),
                    spool_bytes_max: self.spool_max.0,
                    sync: true,
                };
                AnySink::Tar(Box::new(Tar::create(options).await?))
            }
            Target::Null => AnySink::Discard(Discard),
        })
    }

    /// With `--spool`, an object store may be away for a while.
    async fn behind_spool(
        &self,
        url: &RepositoryUrl,
        packs: PackSink,
    ) -> Result<AnySink, SinkError> {
        let (RepositoryUrl::Cloud(_), Some(directory)) = (url, self.spool.clone()) else {
            return Ok(AnySink::Packs(Box::new(packs)));
        };
        let options = SpoolOptions { directory, bytes_max: self.spool_max.0 };
        match Spooled::new(packs, options).await {
            Ok(spooled) => Ok(AnySink::Spooled(Box::new(spooled))),
            Err((packs, error)) => {
                packs.abort().await;
                Err(error)
            }
        }
    }

    async fn packs(
        &self,
        url: &RepositoryUrl,
        config: &backup::Config,
    ) -> Result<PackSink, SinkError> {
        let recipients = Recipients::parse(self.recipient.iter().map(String::as_str));
        let recipients = recipients.map_err(|error| SinkError::Create {
            target: url.to_string(),
            source: std::io::Error::other(error),
        })?;
        let packs = PackConfig {
            compression_level: self.compression_level,
            recipients,
            store: self.store.options(),
            upload: self.upload.config(),
            ..Default::default()
        };
        PackSink::create(url, config.id.clone(), packs).await
    }
}

/// What everybody is told, but for the exit code and the time.
fn outcome_of(
    result: &Result<Backup, backup::Error>,
    args: &Args,
    config: &backup::Config,
) -> Outcome {
    let outcome = Outcome {
        group: args.member.group.clone(),
        backup_id: config.id.to_string(),
        ended: jiff::Timestamp::now().as_second(),
        ..Outcome::default()
    };
    match result {
        Ok(Backup { manifest, receipt }) => Outcome {
            location: Some(receipt.location.clone()),
            files: manifest.totals.files,
            file_bytes: manifest.totals.file_bytes,
            stored_bytes: receipt.stored_bytes,
            said: receipt.said.clone(),
            ..outcome
        },
        Err(error) => Outcome { error: Some(talk::sentence(error)), ..outcome },
    }
}

fn finish(
    result: Result<Backup, backup::Error>,
    signal: Option<ExitCode>,
    output: Output,
) -> ExitCode {
    match result {
        Ok(backup) => {
            answer(&backup, output);
            ExitCode::Success
        }
        Err(error) => {
            let code = match (&error, signal) {
                (backup::Error::Stopped, Some(signal)) => signal,
                _ => error.exit_code(),
            };
            talk::fail(&error, code);
            if let Some(remedy) = error.remedy() {
                talk::say(&format!("try: {remedy}"));
            }
            code
        }
    }
}

fn answer(backup: &Backup, output: Output) {
    let Backup { manifest, receipt } = backup;
    match output {
        Output::Json => {
            let answer = serde_json::json!({
                "location": receipt.location,
                "stored_bytes": receipt.stored_bytes,
                "copies": copies(receipt),
                "manifest": manifest,
            });
            talk::answer(&answer.to_string());
        }
        Output::Text if receipt.location.split(", ").any(|at| at == "-") => {}
        Output::Text => talk::answer(&format!(
            "backup {} is complete: {} files, {} bytes, state {}:{} or later, in {}",
            manifest.backup_id,
            manifest.totals.files,
            manifest.totals.file_bytes,
            manifest.state.uuid,
            manifest.state.seqno_at_least,
            receipt.location,
        )),
    }
}

/// What became of each of several copies.
fn copies(receipt: &Receipt) -> Vec<serde_json::Value> {
    let report = |copy: &CopyReport| {
        serde_json::json!({
            "location": copy.location,
            "stored_bytes": copy.stored_bytes,
            "failure": copy.failure,
        })
    };
    receipt.copies.iter().map(report).collect()
}
