//! `galera-sst dump` and `galera-sst load`: a stand-alone server's logical dump, there and back.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use galera_protocol::xbstream::{EntryPath, PathError};
use indicatif::HumanBytes;
use tokio_util::sync::CancellationToken;

use super::announce::AnnounceArgs;
use super::answer::{self, outcome_of};
use super::restore::{self, SelectArgs, conclude};
use super::signals::Stop;
use super::target::{Content, TargetArgs};
use super::{Output, seconds, talk};
use crate::dump::{
    self, ClosingLine, DumpConfig, DumpError, Dumped, LoadConfig, LoadError, Passed,
};
use crate::exit::ExitCode;
use crate::pipeline::manifest::BackupId;

/// Time between two lines of progress.
const LINE_PERIOD: Duration = Duration::from_secs(5);

/// Arguments of `dump`.
#[derive(Debug, clap::Args)]
pub(super) struct DumpArgs {
    #[command(flatten)]
    target: TargetArgs,
    /// Whose dump this is: shown in lists, and `prune` counts the backups of each name by itself
    #[arg(long, value_name = "NAME", default_value = "dump", help_heading = "Dump")]
    group: String,
    /// The file's name in the backup
    #[arg(long, value_name = "NAME", default_value = "dump.sql", value_parser = entry_path, help_heading = "Dump")]
    file: EntryPath,
    /// Accept a command that succeeds and writes nothing
    #[arg(long, help_heading = "Dump")]
    allow_empty: bool,
    /// What a dump is that does not end with the line `-- Dump completed` [default: a failure of mysqldump and mariadb-dump, unless
    /// they are told to leave comments out; nothing of other commands]
    #[arg(long, value_enum, value_name = "WHAT", help_heading = "Dump")]
    closing_line: Option<Missing>,
    /// Longest silence of the command, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds, help_heading = "Dump")]
    idle_timeout: Duration,
    #[command(flatten)]
    announce: AnnounceArgs,
    /// The command that writes the dump to its standard output, with its arguments
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<OsString>,
}

/// Arguments of `load`.
#[derive(Debug, clap::Args)]
pub(super) struct LoadArgs {
    #[command(flatten)]
    select: SelectArgs,
    /// Do not read and check everything once before the command starts
    #[arg(long)]
    skip_verify: bool,
    /// Limit for the command from the end of its input to its own, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = seconds)]
    command_timeout: Duration,
    /// The command that reads the dump from its standard input, with its arguments
    #[arg(value_name = "COMMAND", last = true, required = true)]
    command: Vec<OsString>,
}

/// `--closing-line`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Missing {
    /// A failure (65), and no backup
    Fail,
    /// A backup, with a warning
    Warn,
    /// A backup
    Ignore,
}

fn entry_path(text: &str) -> Result<EntryPath, PathError> {
    EntryPath::parse(text.as_bytes())
}

impl DumpArgs {
    fn config(&self) -> DumpConfig {
        DumpConfig {
            id: BackupId::generate(),
            group: self.group.clone(),
            file: self.file.clone(),
            command: self.command.clone(),
            allow_empty: self.allow_empty,
            closing_line: match self.closing_line {
                Some(Missing::Fail) => ClosingLine::Demanded,
                Some(Missing::Warn) => ClosingLine::Expected,
                Some(Missing::Ignore) => ClosingLine::Unknown,
                None => ClosingLine::of_command(&self.command),
            },
            idle_limit: self.idle_timeout,
        }
    }
}

/// Runs `dump`.
pub(super) async fn dump(args: DumpArgs, output: Output) -> ExitCode {
    if let Err(code) = args.target.check(Content::File) {
        return code;
    }
    let stop = match Stop::listen() {
        Ok(stop) => stop,
        Err(error) => return talk::fail(&error, ExitCode::Other),
    };
    if let Err(error) = args.announce.before().await {
        return talk::fail(&error, ExitCode::Configuration);
    }
    let (config, started) = (args.config(), Instant::now());
    let passed = Passed::default();
    let shown = CancellationToken::new();
    let lines = tokio::spawn(show("dumped", passed.clone(), shown.clone()));
    let open = async || args.target.open(&config.id, Content::File).await;
    let result = dump::dump(&config, open, &passed, &stop.token()).await;
    shown.cancel();
    let _ = lines.await;
    let stored = result.as_ref().map(|dumped| (&dumped.manifest, &dumped.receipt));
    let outcome = outcome_of(stored, &config.group, &config.id);
    let code = finish_dump(result, stop.code(), output);
    args.announce.tell(outcome, code, started).await
}

/// A line every few seconds until `ended`.
async fn show(what: &'static str, passed: Passed, ended: CancellationToken) {
    let mut tick = tokio::time::interval(LINE_PERIOD);
    tick.tick().await;
    let mut before = 0;
    while ended.run_until_cancelled(tick.tick()).await.is_some() {
        let now = passed.bytes();
        let rate = now.saturating_sub(before) / LINE_PERIOD.as_secs();
        talk::say(&format!("{what} {}, {}/s", HumanBytes(now), HumanBytes(rate)));
        before = now;
    }
}

fn finish_dump(
    result: Result<Dumped, DumpError>,
    signal: Option<ExitCode>,
    output: Output,
) -> ExitCode {
    match result {
        Ok(dumped) => {
            tell(&dumped, output);
            ExitCode::Success
        }
        Err(error) => {
            let code = match (&error, signal) {
                (DumpError::Stopped, Some(signal)) => signal,
                _ => error.exit_code(),
            };
            talk::fail_with_remedy(&error, error.remedy(), code)
        }
    }
}

fn tell(Dumped { manifest, receipt, lacks_closing_line }: &Dumped, output: Output) {
    if *lacks_closing_line {
        talk::say("warning: the dump does not end with the line \"-- Dump completed\"");
    }
    answer::stored_in_full(manifest, receipt, output, || {
        format!(
            "dump {} is complete: {} bytes, in {}",
            manifest.backup_id, manifest.totals.file_bytes, receipt.location,
        )
    });
}

/// Runs `load`.
pub(super) async fn load(args: LoadArgs) -> ExitCode {
    conclude(loaded(args).await)
}

async fn loaded(args: LoadArgs) -> Result<ExitCode, restore::Error> {
    let stop = Stop::listen().map_err(restore::Error::Signals)?;
    let backup = args.select.open_packs().await?;
    let config = LoadConfig {
        command: args.command,
        verify_first: !args.skip_verify,
        end_limit: args.command_timeout,
    };
    let (passed, shown) = (Passed::default(), CancellationToken::new());
    let lines = tokio::spawn(show("loaded", passed.clone(), shown.clone()));
    let result = dump::load(&backup, &config, &passed, &stop.token()).await;
    shown.cancel();
    let _ = lines.await;
    match (result, stop.code()) {
        (Ok(receipt), _) => {
            if let Some(said) = receipt.said.filter(|said| !said.is_empty()) {
                talk::answer(said.trim_end());
            }
            let id = &backup.manifest().backup_id;
            talk::say(&format!("loaded {id}: {} bytes", passed.bytes()));
            Ok(ExitCode::Success)
        }
        (Err(LoadError::Stopped), Some(code)) => Err(restore::Error::Stopped(code)),
        (Err(error), _) => Err(restore::Error::Load(error)),
    }
}
