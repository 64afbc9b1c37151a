//! `completions`, `man` and `install`: how the program comes to where it is used. Completions and
//! pages are made from the same definition that parses the command line.

use std::io;
use std::path::{Path, PathBuf};

use clap::Command;
use clap_complete::Shell;

use super::talk;
use crate::exit::ExitCode;

/// Arguments of `completions`.
#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Arguments of `man`.
#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Directory for one page per command; without it the main page goes to standard output
    #[arg(long, value_name = "DIR")]
    to: Option<PathBuf>,
}

/// Arguments of `install`.
#[derive(Debug, clap::Args)]
pub(super) struct InstallArgs {
    /// The directory
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

/// The pages could not be written.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("write the manual pages into {directory}")]
    Pages {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("copy this program into {directory}")]
    Copy {
        directory: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("write to standard output")]
    Output(#[source] io::Error),
}

/// Runs `completions`.
pub(super) fn completions(args: &CompletionsArgs, mut command: Command) -> ExitCode {
    let name = command.get_name().to_owned();
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, name, &mut script);
    conclude(print(&script))
}

/// Runs `man`.
pub(super) fn man(args: &ManArgs, command: Command) -> ExitCode {
    conclude(match &args.to {
        Some(directory) => write_pages(command, directory),
        None => print_page(command),
    })
}

/// Runs `install`: an init container of our image, which has no shell and no cp, gives the program
/// to a container of the database's image, which has the tool that prepares.
pub(super) fn install(args: &InstallArgs) -> ExitCode {
    let copy = || {
        let target = args.directory.join(env!("CARGO_PKG_NAME"));
        std::fs::copy(std::env::current_exe()?, target)
    };
    let copied = copy().map_err(|source| Error::Copy { directory: args.directory.clone(), source });
    conclude(copied.map(|_bytes| ()))
}

fn write_pages(command: Command, directory: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(directory)
        .and_then(|()| clap_mangen::generate_to(command, directory))
        .map_err(|source| Error::Pages { directory: directory.to_owned(), source })
}

fn print_page(command: Command) -> Result<(), Error> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(Error::Output)?;
    print(&page)
}

/// A closed standard output is not an error: `galera-sst man | head`.
fn print(bytes: &[u8]) -> Result<(), Error> {
    match io::Write::write_all(&mut io::stdout().lock(), bytes) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Error::Output(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn conclude(result: Result<(), Error>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::Success,
        Err(error) => talk::fail(&error, ExitCode::SinkFailed),
    }
}
