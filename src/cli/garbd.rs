//! Being garbd: its command line, its log, its exit codes, for callers that were written for it.
//!
//! Run under that name (a symlink will do), or as `galera-sst garbd …`. Percona's options are
//! understood as well. What differs on purpose is in `docs/arbitrator.md`.

mod daemon;
mod log;
mod options;

use std::ffi::OsString;
use std::path::Path;

use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::signals::Stop;
use super::talk;
use super::tls::reload_on_hangup;
use crate::arbitrator::{self, Outcome};
use crate::config::{Settings, SettingsError};
use crate::exit::ExitCode;
use crate::ops::Monitor;

pub(super) use options::Options;

const NAME: &str = "garbd";

/// What garbd returns for any failure, unless extended codes are asked for.
const FAILURE: u8 = 1;

/// garbd's own arguments, if this process is to be garbd.
pub(super) fn arguments(all: &[OsString]) -> Option<Vec<OsString>> {
    let program = all.first().and_then(|program| Path::new(program).file_name());
    if program.is_some_and(|program| program == NAME) {
        return Some(all.to_vec());
    }
    let is_command = all.get(1).is_some_and(|command| command == NAME);
    is_command.then(|| all[1..].to_vec())
}

/// Runs as garbd and returns its exit code.
pub(super) fn main(arguments: &[OsString]) -> u8 {
    let settings = match options::parse(arguments) {
        Ok(settings) => settings,
        Err(options::Answered(code)) => return code,
    };
    let config = match settings.check() {
        Ok(config) => config,
        Err(problem) => return refuse(&problem),
    };
    if settings.daemon && !daemon::is_background() {
        return daemon::start(arguments, settings.workdir.as_deref())
            .map_or_else(|problem| refuse(&problem), |()| 0);
    }
    daemon::detach();
    if let Err(problem) = log::start(settings.log.as_deref(), settings.daemon) {
        return refuse(&problem);
    }
    info!("Read config:\n{}", description(&settings));
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(problem) => return refuse(&problem),
    };
    let outcome = runtime.block_on(run(&config));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    finish(&outcome, settings.extended_exit_codes)
}

/// Sends garbd's log to a file.
pub(super) fn log_to(file: &Path) -> Result<(), impl std::error::Error + 'static> {
    log::start(Some(file), false)
}

async fn run(config: &arbitrator::Config) -> Result<Outcome, std::io::Error> {
    let stop = Stop::listen()?;
    reload_on_hangup(config.member.security.keys().into_iter().cloned().collect());
    let cancel = CancellationToken::new();
    let cancel_on_signal = cancel.clone();
    tokio::spawn(async move {
        let is_interrupt = stop.requested().await == ExitCode::Interrupted;
        info!("Received signal {}", if is_interrupt { 2 } else { 15 });
        cancel_on_signal.cancel();
    });
    Ok(arbitrator::run(config, &Monitor::default(), &cancel).await)
}

fn finish(outcome: &Result<Outcome, std::io::Error>, is_extended: bool) -> u8 {
    match outcome {
        Ok(outcome) => {
            let code = outcome.garbd_code(is_extended);
            if code == 0 {
                info!("{outcome}");
            } else {
                error!("{}", talk::sentence(outcome));
            }
            code
        }
        Err(problem) => refuse(problem),
    }
}

/// Before there is a log, and where garbd says it, too: on standard error.
fn refuse(problem: &dyn std::error::Error) -> u8 {
    talk::say(&format!("FATAL: {}", talk::sentence(problem)));
    FAILURE
}

fn description(settings: &Settings) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let path = |value: &Option<std::path::PathBuf>| {
        value.as_ref().map(|path| path.display().to_string()).unwrap_or_default()
    };
    format!(
        "\tdaemon:  {}\n\tname:    {}\n\taddress: {}\n\tgroup:   {}\n\tsst:     {}\n\tdonor:   {}\n\
         \toptions: {}\n\tworkdir: {}\n\tlog:     {}",
        u8::from(settings.daemon),
        settings.name.as_deref().unwrap_or("garb"),
        text(&settings.address),
        text(&settings.group),
        settings.sst.as_deref().unwrap_or("trivial"),
        text(&settings.donor),
        text(&settings.options),
        path(&settings.workdir),
        path(&settings.log),
    )
}

/// A file's settings under those of the command line.
pub(super) fn with_file(
    settings: Settings,
    file: Option<&Path>,
) -> Result<Settings, SettingsError> {
    match file {
        Some(path) => Ok(settings.or(Settings::read(path)?)),
        None => Ok(settings),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<OsString> {
        text.split(' ').map(OsString::from).collect()
    }

    #[test]
    fn the_name_of_the_program_or_the_command_makes_it_garbd() {
        assert_eq!(arguments(&words("/usr/bin/garbd -g x")), Some(words("/usr/bin/garbd -g x")));
        assert_eq!(arguments(&words("galera-sst garbd -g x")), Some(words("garbd -g x")));
        assert_eq!(arguments(&words("galera-sst arbitrator --group x")), None);
    }
}
