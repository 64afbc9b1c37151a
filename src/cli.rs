//! The command line: raw arguments into checked configuration, and the only place that prints.

mod announce;
mod backup;
mod layers;
mod progress;
mod prune;
mod restore;
mod signals;
mod store;
mod talk;

use std::path::PathBuf;
use std::process;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};

use crate::exit::ExitCode;

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
    /// What standard output shows at the end
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// What standard error talks about: error, warn, info, debug, trace, or tracing directives
    #[arg(long, global = true, value_name = "LEVEL", default_value = "warn")]
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
    /// Bring a backup back into a data directory
    Restore(restore::Args),
    /// List the backups of a repository
    List(restore::ListArgs),
    /// Show one backup's manifest
    Show(restore::SelectArgs),
    /// Check every hash of a stored backup without restoring it
    Verify(restore::SelectArgs),
    /// Write one file of a backup to standard output
    Cat(restore::CatArgs),
    /// Remove backups that no keep rule keeps, and sweep what killed jobs left
    Prune(prune::PruneArgs),
    /// Copy backups from one repository to another
    Copy(prune::CopyArgs),
}

/// Runs the command that the process's arguments name.
pub fn main() -> process::ExitCode {
    let cli = match parse() {
        Ok(cli) => cli,
        Err(code) => return code.into(),
    };
    talk::start_log(&cli.common.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return talk::fail(&error, ExitCode::Other).into(),
    };
    let code = runtime.block_on(run(cli));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    code.into()
}

async fn run(cli: Cli) -> ExitCode {
    let output = cli.common.output;
    match cli.command {
        Command::Backup(args) => backup::run(*args, output).await,
        Command::Restore(args) => restore::run(args, output).await,
        Command::List(args) => restore::list(args, output).await,
        Command::Show(args) => restore::show_manifest(args).await,
        Command::Verify(args) => restore::verify(args, output).await,
        Command::Cat(args) => restore::cat(args).await,
        Command::Prune(args) => prune::prune(args, output).await,
        Command::Copy(args) => prune::copy(args, output).await,
    }
}

/// A number of seconds as people write it.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text} is not a number of seconds"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

/// Flag, then environment, then `--config` file, then default.
fn parse() -> Result<Cli, ExitCode> {
    let arguments: Vec<_> = std::env::args_os().collect();
    let command = layers::with_environment(Cli::command().after_long_help(ExitCode::table()));
    let command = layers::with_file(command, &arguments)
        .map_err(|error| talk::fail(&error, ExitCode::Configuration))?;
    let matches =
        command.try_get_matches_from(arguments).and_then(|matches| Cli::from_arg_matches(&matches));
    matches.map_err(|error| {
        let is_answer = !error.use_stderr();
        let _ = error.print();
        if is_answer { ExitCode::Success } else { ExitCode::Usage }
    })
}
