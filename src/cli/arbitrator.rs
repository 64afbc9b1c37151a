//! `galera-sst arbitrator`: garbd's job with our own log, exit codes and metrics.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::signals::Stop;
use super::tls::{TlsArgs, reload_on_hangup};
use super::{garbd, talk};
use crate::arbitrator::{self, Outcome};
use crate::config::{Settings, SettingsError};
use crate::exit::ExitCode;
use crate::ops::http::{HttpError, HttpServer};
use crate::ops::{Monitor, metrics, systemd};

/// Arguments of `arbitrator`: garbd's, and what garbd does not have.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    garbd: garbd::Options,
    /// garbd's configuration file: key=value a line
    #[arg(short, long, value_name = "FILE")]
    cfg: Option<PathBuf>,
    /// Serve /metrics, /livez and /readyz here
    #[arg(long, value_name = "ADDRESS:PORT")]
    http: Option<SocketAddr>,
    #[command(flatten)]
    tls: TlsArgs,
}

impl Args {
    /// Command line, then `--cfg`, then the variables of garbd's service file.
    fn settings(self) -> Result<Settings, SettingsError> {
        let settings = garbd::with_file(self.garbd.into(), self.cfg.as_deref())?;
        let variables: BTreeMap<_, _> = std::env::vars().collect();
        Ok(settings.or(Settings::from_variables(&variables)))
    }
}

/// Runs the command.
pub(super) async fn run(args: Args) -> u8 {
    let http = args.http;
    let keys = match args.tls.open() {
        Ok(keys) => keys,
        Err(error) => return talk::fail(&error, error.exit_code()).number(),
    };
    let config = match args.settings().and_then(|settings| settings.check_with(keys)) {
        Ok(config) => config,
        Err(error) => {
            let code = match &error {
                SettingsError::NoAddress
                | SettingsError::NoGroup
                | SettingsError::NothingToReceive => ExitCode::Usage,
                SettingsError::Read { .. }
                | SettingsError::Form { .. }
                | SettingsError::Key { .. } => ExitCode::Configuration,
                SettingsError::Group(error) => error.exit_code(),
            };
            return talk::fail(&error, code).number();
        }
    };
    reload_on_hangup(config.member.security.keys().into_iter().cloned().collect());
    let stop = match Stop::listen() {
        Ok(stop) => stop,
        Err(error) => return talk::fail(&error, ExitCode::Other).number(),
    };
    match watched(&config, http, &stop.token()).await {
        Ok(outcome) => finish(&outcome),
        Err(error) => talk::fail(&error, ExitCode::Configuration).number(),
    }
}

/// Runs it under the eyes of whoever watches.
async fn watched(
    config: &arbitrator::Config,
    http: Option<SocketAddr>,
    stop: &CancellationToken,
) -> Result<Outcome, HttpError> {
    let monitor = Monitor::default();
    let mut watchers = JoinSet::new();
    if let Some(address) = http {
        let server = HttpServer::bind(address, metrics::registry(&monitor), monitor.clone())?;
        watchers.spawn(server.run());
    }
    watchers.spawn(systemd::run(monitor.clone()));
    let stopping = stop.clone();
    watchers.spawn(async move {
        stopping.cancelled().await;
        systemd::stopping();
    });
    Ok(arbitrator::run(config, &monitor, stop).await)
}

/// A confirmed leave is what an arbitrator that is told to stop succeeds in.
fn finish(outcome: &Outcome) -> u8 {
    let code = outcome.code();
    if code != ExitCode::Success.number() {
        talk::say(&format!("galera-sst: {}", talk::sentence(outcome)));
    }
    code
}
