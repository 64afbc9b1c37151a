//! The command line: raw arguments into checked configuration, and the only place that prints.

mod announce;
mod answer;
mod arbitrator;
mod backup;
mod check;
mod decode;
mod doctor;
mod donate;
mod donors;
mod dump;
mod garbd;
mod layers;
mod membership;
mod packaging;
mod place;
mod progress;
mod proxy;
mod prune;
mod receive;
mod reference;
mod restore;
mod signals;
mod stash;
mod status;
mod store;
mod surroundings;
mod talk;
mod target;
mod tls;
mod xbstream;

use std::path::PathBuf;
use std::process;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use tokio::runtime::Runtime;
use tracing::{Instrument as _, Span};

use crate::exit::ExitCode;
use crate::ops::traces::Traces;

const DEFAULT_LOG: &str = "warn";

/// Physical backups of Galera clusters through the cluster's own protocol.
#[derive(Debug, Parser)]
#[command(name = "galera-sst", version, max_term_width = 100)]
struct Cli {
    #[command(flatten)]
    common: Common,
    #[command(subcommand)]
    command: Command,
}

/// Flags of every command.
#[derive(Debug, Args)]
struct Common {
    /// TOML file with defaults: keys are flag names, at the top or in a table named as the command
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Take defaults from the variables that this existing Job is given
    #[arg(long, global = true, value_enum, value_name = "NAME")]
    env: Option<surroundings::Surroundings>,
    /// What standard output shows at the end
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// What standard error talks about: error, warn, info, debug, trace, or tracing directives; a path with a slash: a log file
    #[arg(long, global = true, value_name = "LEVEL", default_value = DEFAULT_LOG)]
    log: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Sentences
    Text,
    /// One JSON document
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Join the group, receive a state snapshot from a donor, verify and store it, leave
    Backup(Box<backup::Args>),
    /// Receive what a donor sends for a member that is somebody else's, verify and store it
    Receive(Box<receive::Args>),
    /// Say of each step from a name to a donor whether it would hold; takes nothing
    Doctor(Box<doctor::Args>),
    /// Vote in the group and store nothing: garbd's job
    Arbitrator(Box<arbitrator::Args>),
    /// Show the group as a member sees it
    Status(status::Args),
    /// Bring a backup back into a data directory
    Restore(restore::Args),
    /// List the backups of a repository
    List(restore::ListArgs),
    /// Show one backup's manifest
    Show(restore::SelectArgs),
    /// Check every hash of a stored backup without restoring it
    Verify(restore::VerifyArgs),
    /// Write one file of a backup to standard output
    Cat(restore::CatArgs),
    /// Remove backups that no keep rule keeps, and sweep what killed jobs left
    Prune(prune::PruneArgs),
    /// Copy backups from one repository to another
    Copy(prune::CopyArgs),
    /// Store what a dump command writes, if it succeeds: a stand-alone server's logical backup
    Dump(Box<dump::DumpArgs>),
    /// Give a stored dump to a client command
    Load(dump::LoadArgs),
    /// Turn captured traffic of a group into readable messages
    Decode(Box<decode::Args>),
    /// Stand between two members: pass on, describe, record, and break on purpose
    Proxy(proxy::Args),
    /// Serve a directory as a donor does, in a group of its own, with faults on purpose: no database needed
    Donate(Box<donate::Args>),
    /// Look into streams of backup tools, extract and write them
    Xbstream(xbstream::Args),
    /// Write a shell's completions to standard output
    Completions(packaging::CompletionsArgs),
    /// Write the manual pages
    Man(packaging::ManArgs),
    /// Copy this program into a directory, for containers whose image lacks it
    Install(packaging::InstallArgs),
    /// Write docs/reference.md
    #[command(hide = true)]
    Reference,
}

/// Runs the command that the process's arguments name.
pub fn main() -> process::ExitCode {
    let arguments: Vec<_> = std::env::args_os().collect();
    let program = arguments.first().and_then(|name| xbstream::compat::Program::from_name(name));
    if let Some(program) = program {
        return xbstream::compat::main(program, arguments);
    }
    if let Some(arguments) = garbd::arguments(&arguments) {
        return garbd::main(&arguments).into();
    }
    if let Some((name, arguments)) = surroundings::asked(&arguments) {
        let error = surroundings::start_anew(&name, &arguments);
        return talk::fail(&error, ExitCode::Configuration).into();
    }
    let cli = match parse(arguments) {
        Ok(cli) => cli,
        Err(code) => return code.into(),
    };
    let runtime = match cli.command.runtime().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return talk::fail(&error, ExitCode::Other).into(),
    };
    let traces = cli.command.traces(&runtime);
    talk::start_log(cli.command.log_level(&cli.common.log), traces.as_ref());
    let span = cli.command.span();
    let code = runtime.block_on(run(cli).instrument(span));
    if let Some(traces) = traces {
        traces.finish();
    }
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code.into()
}

impl Command {
    /// What happens in the group is the only thing that an arbitrator has to tell.
    fn log_level<'a>(&self, asked: &'a str) -> &'a str {
        if matches!(self, Self::Arbitrator(_)) && asked == DEFAULT_LOG {
            return "warn,galera_sst=info";
        }
        asked
    }

    /// Jobs are traced where somebody asks for it; whether that works is not their business.
    fn traces(&self, runtime: &Runtime) -> Option<Traces> {
        let is_job = matches!(
            self,
            Self::Backup(_)
                | Self::Receive(_)
                | Self::Restore(_)
                | Self::Dump(_)
                | Self::Load(_)
                | Self::Verify(_)
                | Self::Prune(_)
                | Self::Copy(_)
        );
        let asked = is_job.then(|| Traces::of_environment(runtime.handle()))?;
        let warn = |error| talk::say(&format!("warning: {}: no traces", talk::sentence(&error)));
        asked.map_err(warn).ok().flatten()
    }

    /// The name of its span.
    fn span(&self) -> Span {
        match self {
            Self::Backup(_) => tracing::info_span!("backup"),
            Self::Receive(_) => tracing::info_span!("receive"),
            Self::Restore(_) => tracing::info_span!("restore"),
            Self::Dump(_) => tracing::info_span!("dump"),
            Self::Load(_) => tracing::info_span!("load"),
            Self::Verify(_) => tracing::info_span!("verify"),
            Self::Prune(_) => tracing::info_span!("prune"),
            Self::Copy(_) => tracing::info_span!("copy"),
            Self::Doctor(_)
            | Self::Arbitrator(_)
            | Self::Status(_)
            | Self::List(_)
            | Self::Show(_)
            | Self::Cat(_)
            | Self::Decode(_)
            | Self::Proxy(_)
            | Self::Donate(_)
            | Self::Xbstream(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Install(_)
            | Self::Reference => Span::none(),
        }
    }

    /// A member alone is one task at a time: other threads would only hand it around.
    fn runtime(&self) -> tokio::runtime::Builder {
        if matches!(self, Self::Arbitrator(_) | Self::Status(_)) {
            tokio::runtime::Builder::new_current_thread()
        } else {
            tokio::runtime::Builder::new_multi_thread()
        }
    }
}

async fn run(cli: Cli) -> u8 {
    let output = cli.common.output;
    let code = match cli.command {
        Command::Arbitrator(args) => return arbitrator::run(*args).await,
        Command::Backup(args) => backup::run(*args, output).await,
        Command::Receive(args) => receive::run(*args, output).await,
        Command::Doctor(args) => doctor::run(*args, output).await,
        Command::Status(args) => status::run(args, output).await,
        Command::Restore(args) => restore::run(args, output).await,
        Command::List(args) => restore::list(args, output).await,
        Command::Show(args) => restore::show_manifest(args).await,
        Command::Verify(args) => restore::verify(args, output).await,
        Command::Cat(args) => restore::cat(args).await,
        Command::Prune(args) => prune::prune(args, output).await,
        Command::Copy(args) => prune::copy(args, output).await,
        Command::Dump(args) => dump::dump(*args, output).await,
        Command::Load(args) => dump::load(args).await,
        Command::Decode(args) => tokio::task::block_in_place(|| decode::run(*args, output)),
        Command::Proxy(args) => proxy::run(args, output).await,
        Command::Donate(args) => donate::run(*args, output).await,
        Command::Xbstream(args) => xbstream::run(args, output).await,
        Command::Completions(args) => packaging::completions(&args, definition()),
        Command::Man(args) => packaging::man(&args, definition()),
        Command::Install(args) => packaging::install(&args),
        Command::Reference => reference::run(&definition()),
    };
    code.number()
}

/// A number of seconds as people write it.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// All commands and flags, with their twins in the environment.
fn definition() -> clap::Command {
    layers::with_environment(Cli::command().after_long_help(ExitCode::table()))
}

/// Flag, then environment, then `--config` file, then default.
fn parse(arguments: Vec<std::ffi::OsString>) -> Result<Cli, ExitCode> {
    let command = layers::with_file(definition(), &arguments)
        .map_err(|error| talk::fail(&error, ExitCode::Configuration))?;
    let matches =
        command.try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    matches.map_err(|error| {
        let is_answer = !error.use_stderr();
        let _ = error.print();
        if is_answer { ExitCode::Success } else { ExitCode::Usage }
    })
}
