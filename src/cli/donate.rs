//! `galera-sst donate`: a donor without a database.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use galera_protocol::sst::metadata::Position;
use galera_protocol::sst::request::{RequestError, SstRequest};

use super::signals::Stop;
use super::tls::{TlsArgs, TlsArgsError, reload_on_hangup};
use super::{Output, seconds, talk};
use crate::config::{ByteSize, Group};
use crate::donate::content::{Content, ContentError};
use crate::donate::fault::{Fault, GRAMMAR, Verdict};
use crate::donate::group::{self, Embedded, GroupConfig, Report};
use crate::donate::script::{Script, Served};
use crate::exit::ExitCode;

/// What a joiner's address ends in.
const SUFFIX: &str = "/xtrabackup_sst//1";

/// Most members of a group: as many as anybody's test needs, each with its links to all others.
const MEMBERS_MAX: u16 = 16;

/// Arguments of `donate`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The directory to serve: a backup that mariadb-backup or xtrabackup wrote, or any other files
    #[arg(value_name = "DIR", required_unless_present = "generate")]
    directory: Option<PathBuf>,
    /// Serve so many bytes of generated files instead; they are computed as they are sent
    #[arg(long, value_name = "SIZE", conflicts_with = "directory")]
    generate: Option<ByteSize>,
    /// What the generated files hold: the same for the same number
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,

    /// Stand up a group of so many members, each of which can be donor, and serve whoever asks
    #[arg(long, value_name = "N", required_unless_present = "joiner",
          value_parser = clap::value_parser!(u16).range(1..=i64::from(MEMBERS_MAX)),
          help_heading = "Group")]
    group_of: Option<u16>,
    /// Name of that group
    #[arg(long, value_name = "NAME", default_value = "donate", help_heading = "Group")]
    group: String,
    /// Where its first member listens; the others take the ports after it
    #[arg(
        long,
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:14567",
        help_heading = "Group"
    )]
    listen: SocketAddr,
    /// Galera's provider options for all members: key=value;key=value
    #[arg(long, value_name = "OPTIONS", default_value = "", help_heading = "Group")]
    options: String,
    /// Where the data stands [default: what the backup in DIR says, else a new history]
    #[arg(long, value_name = "UUID:SEQNO", value_parser = position, help_heading = "Group")]
    position: Option<Position>,
    /// End after so many donations [default: serve until stopped]
    #[arg(long, value_name = "N", help_heading = "Group")]
    donations: Option<u64>,

    /// Serve this one joiner without any group: METHOD:HOST:PORT, as garbd's --sst takes it
    #[arg(long, value_name = "REQUEST", value_parser = request, conflicts_with = "group_of")]
    joiner: Option<SstRequest>,

    /// Between the two connections, in seconds; real donors take ten
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pause: Duration,
    /// What goes wrong on purpose; may be given more than once
    #[arg(long, value_name = "FAULT", long_help = fault_help(), help_heading = "Faults")]
    fault: Vec<Fault>,
    /// So many donations have the faults, later ones have none [default: all]
    #[arg(long, value_name = "N", help_heading = "Faults")]
    fault_times: Option<u32>,

    #[command(flatten)]
    tls: TlsArgs,
    /// Transfers are plain, though the group's links have TLS
    #[arg(long, help_heading = "TLS")]
    sst_plain: bool,
}

fn fault_help() -> String {
    format!("What goes wrong on purpose: {GRAMMAR}; may be given more than once")
}

fn position(text: &str) -> Result<Position, String> {
    let parsed = text.split_once(':').and_then(|(state, seqno)| {
        Some(Position { state: state.parse().ok()?, seqno: seqno.parse().ok()? })
    });
    parsed.filter(|position| position.seqno >= 0).ok_or_else(|| format!("{text} is no UUID:SEQNO"))
}

fn request(text: &str) -> Result<SstRequest, RequestError> {
    let has_path = text.contains('/');
    if has_path { text.parse() } else { format!("{text}{SUFFIX}").parse() }
}

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("serve the directory")]
    Content(#[from] ContentError),
    #[error(transparent)]
    Tls(#[from] TlsArgsError),
    #[error("start the group")]
    Group(#[from] group::Error),
    #[error("--listen {0}: not enough ports after it")]
    Ports(SocketAddr),
    #[error("listen for signals")]
    Signals(#[source] std::io::Error),
}

impl Error {
    fn exit_code(&self) -> ExitCode {
        match self {
            Self::Tls(error) => error.exit_code(),
            Self::Group(group::Error::Group(error)) => error.exit_code(),
            Self::Group(group::Error::NotJoined { .. } | group::Error::Behind { .. }) => {
                ExitCode::Unavailable
            }
            Self::Content(_) | Self::Group(group::Error::Start(_)) | Self::Ports(_) => {
                ExitCode::Configuration
            }
            Self::Signals(_) => ExitCode::Other,
        }
    }
}

/// Runs the command.
pub(super) async fn run(args: Args, output: Output) -> ExitCode {
    match donate(args, output).await {
        Ok(code) => code,
        Err(error) => talk::fail(&error, error.exit_code()),
    }
}

async fn donate(args: Args, output: Output) -> Result<ExitCode, Error> {
    let stop = Stop::listen().map_err(Error::Signals)?;
    let content = args.content()?;
    let keys = args.tls.open()?;
    reload_on_hangup(keys.iter().cloned().collect());
    let position = args.position.or(content.position).unwrap_or_else(group::new_history);
    let script = Script {
        content: Arc::new(content),
        keys: keys.clone().filter(|_| !args.sst_plain),
        pause: args.pause,
        faults: args.fault.clone(),
    };
    if let Some(request) = args.joiner {
        let served = tokio::select! {
            served = script.run(Ok(request), position) => served,
            code = stop.requested() => return Ok(code),
        };
        tell(output, &ended("donate", &served));
        return Ok(code_of(&served));
    }
    let group =
        Group { name: args.group.clone(), options: args.options.clone(), keys, ..Group::default() };
    let addresses = args.addresses()?;
    let faulty = args.fault_times.unwrap_or(u32::MAX);
    let config = GroupConfig { group, addresses, position, script, faulty };
    serve(&args, config, stop, output).await
}

/// A donation without a group: there is nobody to tell but whoever called us.
fn code_of(served: &Served) -> ExitCode {
    match (&served.trouble, served.verdict) {
        (None, Verdict::Report(0)) => ExitCode::Success,
        (None | Some(_), Verdict::Report(_)) => ExitCode::Retry,
        (_, Verdict::Silence | Verdict::Leave | Verdict::Crash) => ExitCode::Retry,
    }
}

async fn serve(
    args: &Args,
    config: GroupConfig,
    stop: Stop,
    output: Output,
) -> Result<ExitCode, Error> {
    let addresses: Vec<_> = config.addresses.iter().map(ToString::to_string).collect();
    let started = tokio::select! {
        started = Embedded::start(config) => started?,
        code = stop.clone().requested() => return Ok(code),
    };
    tell(output, &ready(&args.group, &addresses, &started));
    let code = follow(started, args.donations, stop, output).await;
    Ok(code)
}

/// A group that is told to stop has succeeded once all members have left.
async fn follow(
    mut group: Embedded,
    donations: Option<u64>,
    stop: Stop,
    output: Output,
) -> ExitCode {
    let mut left = donations.unwrap_or(u64::MAX);
    while left > 0 {
        let report = tokio::select! {
            report = group.next_report() => report,
            _ = stop.clone().requested() => break,
        };
        let Some(report) = report else {
            talk::say("galera-sst: no member is left");
            return ExitCode::Unavailable;
        };
        left -= u64::from(matches!(report, Report::Ended { .. }));
        tell(output, &told(&report));
    }
    group.stop().await;
    ExitCode::Success
}

impl Args {
    fn content(&self) -> Result<Content, ContentError> {
        match (&self.directory, self.generate) {
            (Some(directory), _) => Content::directory(directory),
            (None, size) => {
                let ByteSize(bytes) = size.unwrap_or(ByteSize(0));
                Ok(Content::generated(bytes, self.seed))
            }
        }
    }

    fn addresses(&self) -> Result<Vec<SocketAddr>, Error> {
        let (first, count) = (self.listen.port(), self.group_of.unwrap_or(1));
        let refuse = || Error::Ports(self.listen);
        let last = first.checked_add(count - 1).filter(|_| first > 0).ok_or_else(refuse)?;
        Ok((first..=last).map(|port| SocketAddr::new(self.listen.ip(), port)).collect())
    }
}

/// The same as a line and as an object.
struct Line {
    text: String,
    json: serde_json::Value,
    /// Standard output gets what a script waits for, in any form.
    is_data: bool,
}

fn tell(output: Output, line: &Line) {
    match output {
        Output::Json => talk::answer(&line.json.to_string()),
        Output::Text if line.is_data => talk::answer(&line.text),
        Output::Text => talk::say(&line.text),
    }
}

fn ready(name: &str, addresses: &[String], group: &Embedded) -> Line {
    let address = format!("gcomm://{}", addresses.join(","));
    let json = serde_json::json!({
        "event": "ready", "address": address, "group": name,
        "position": group.position.to_string(), "members": group.names,
    });
    Line { text: address, json, is_data: true }
}

fn told(report: &Report) -> Line {
    match report {
        Report::Begun { donor, donation } => {
            let joiner = donation.requester_name.to_string();
            let text = format!("{donor} serves {joiner} from position {}", donation.seqno);
            let json = serde_json::json!({
                "event": "begun", "donor": donor, "joiner": joiner, "seqno": donation.seqno.0,
            });
            Line { text, json, is_data: false }
        }
        Report::Ended { donor, served } => ended(donor, served),
        Report::Gone { member, reason } => {
            let text = format!("{member} is gone: {}", talk::sentence(reason));
            let json = serde_json::json!({"event": "gone", "member": member, "reason": reason.to_string()});
            Line { text, json, is_data: false }
        }
    }
}

fn ended(donor: &str, served: &Served) -> Line {
    let (verdict, code) = match served.verdict {
        Verdict::Report(code) => (format!("reports {code}"), Some(code)),
        Verdict::Silence => ("says nothing to the group".into(), None),
        Verdict::Leave => ("leaves the group".into(), None),
        Verdict::Crash => ("drops its links".into(), None),
    };
    let trouble = served.trouble.as_ref().map(|trouble| talk::sentence(trouble));
    let because = trouble.iter().map(|trouble| format!(": {trouble}")).collect::<String>();
    let text = format!("{donor} sent {} bytes and {verdict}{because}", served.bytes);
    let json = serde_json::json!({
        "event": "ended", "donor": donor, "bytes": served.bytes, "code": code, "verdict": verdict,
        "trouble": trouble,
    });
    Line { text, json, is_data: false }
}
