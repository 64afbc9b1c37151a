//! `galera-sst status`: the group on a screen, or as JSON.

use std::io::{IsTerminal, Write};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::check::CheckError;
use super::membership::MemberArgs;
use super::signals::Stop;
use super::tls::{TlsArgs, reload_on_hangup};
use super::{Output, talk};
use crate::exit::ExitCode;
use crate::member;
use crate::status::{Error, MemberReport, Report, Visit};

/// Positions move between events.
const REFRESH: Duration = Duration::from_secs(1);

/// Cursor home, clear to the end of the screen.
const CLEAR: &str = "\x1b[H\x1b[J";

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    member: MemberArgs,
    /// Limit for reaching the primary component, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = clap::value_parser!(u64).range(1..))]
    connect_timeout: u64,
    /// Stay in the group and keep the screen up to date until interrupted
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    tls: TlsArgs,
}

impl Args {
    fn check(&self) -> Result<member::Config, CheckError> {
        let limit = Duration::from_secs(self.connect_timeout);
        Ok(self.member.guest(limit, self.tls.open()?).check()?)
    }
}

/// Runs the command.
pub(super) async fn run(args: Args, output: Output) -> ExitCode {
    let config = match args.check() {
        Ok(config) => config,
        Err(error) => return talk::fail(&error, error.exit_code()),
    };
    reload_on_hangup(config.security.keys().into_iter().cloned().collect());
    let stop = match Stop::listen() {
        Ok(stop) => stop,
        Err(error) => return talk::fail(&error, ExitCode::Other),
    };
    let cancel = stop.token();
    let result = match Visit::begin(config, &cancel).await {
        Ok(visit) if args.watch => watch(visit, &cancel, output).await,
        Ok(visit) => {
            show(&visit.report(), output, false);
            visit.end().await;
            Ok(())
        }
        Err(error) => Err(error),
    };
    match result {
        Ok(()) => ExitCode::Success,
        Err(Error::Stopped) => stop.code().unwrap_or(ExitCode::Other),
        Err(error) => talk::fail_with_remedy(&error, error.remedy(), error.exit_code()),
    }
}

/// Shows every change until a signal comes: that is how a watch ends well.
async fn watch(mut visit: Visit, stop: &CancellationToken, output: Output) -> Result<(), Error> {
    let redraws = output == Output::Text && std::io::stdout().is_terminal();
    let mut tick = interval(REFRESH);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut shown = None;
    loop {
        let report = visit.report();
        if shown.as_ref() != Some(&report) {
            show(&report, output, redraws);
            shown = Some(report);
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            event = visit.next_event() => { event?; }
            _ = tick.tick() => {}
        }
    }
    visit.end().await;
    Ok(())
}

fn show(report: &Report, output: Output, redraws: bool) {
    if redraws {
        let _ = write!(std::io::stdout().lock(), "{CLEAR}");
    }
    match output {
        Output::Json => talk::answer(&serde_json::json!(report).to_string()),
        Output::Text => talk::answer(&table(report)),
    }
}

fn table(report: &Report) -> String {
    let head = match (&report.state_uuid, report.seqno) {
        (Some(state), Some(seqno)) => format!(
            "primary, position {state}:{seqno}, configuration {}, protocols {}\n\
             votes: {}, of which {} may be lost at once{}",
            report.configuration.unwrap_or(-1),
            report.protocols.as_deref().unwrap_or("?"),
            report.votes,
            report.quorum_margin,
            if report.is_flow_control_paused { "; flow control holds writers back" } else { "" },
        ),
        _ => "not primary".to_owned(),
    };
    let titles = ["#", "NAME", "STATE", "SEG", "WEIGHT", "ADDRESS", "PROTOCOLS", "CACHED FROM", ""];
    let mut rows = vec![titles.map(str::to_owned)];
    rows.extend(report.members.iter().map(row));
    format!("{head}\n\n{}", aligned(&rows))
}

fn row(member: &MemberReport) -> [String; 9] {
    let clients = Some(member.incoming_address.clone()).filter(|address| !address.is_empty());
    [
        member.index.to_string(),
        member.name.clone(),
        member.state.clone(),
        member.segment.to_string(),
        member.weight.to_string(),
        clients.or(member.address.clone()).unwrap_or_else(|| "-".into()),
        member.protocols.clone(),
        member.cached.map_or_else(|| "-".into(), |seqno| seqno.to_string()),
        notes(member).join(", "),
    ]
}

fn notes(member: &MemberReport) -> Vec<String> {
    let flags = [
        (member.is_representative, "representative"),
        (member.is_stateless && !member.is_us, "no data"),
        (member.is_us, "this command"),
    ];
    let flags = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, text)| text.to_owned());
    let donor = member.donor.iter().map(|name| format!("receives from {name}"));
    let joiner = member.joiner.iter().map(|name| {
        if *name == member.name { "desynced".to_owned() } else { format!("sends to {name}") }
    });
    flags.chain(donor).chain(joiner).collect()
}

/// Columns as wide as their widest cell.
fn aligned<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: [usize; N] = std::array::from_fn(|column| width(column).unwrap_or(0));
    let line = |row: &[String; N]| {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_blanks_at_their_end() {
        let rows = [["#", "NAME"], ["0", "a"], ["10", "bcd"]].map(|row| row.map(str::to_owned));
        assert_eq!(aligned(&rows), "#   NAME\n0   a\n10  bcd");
    }
}
