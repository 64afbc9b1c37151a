//! What people read: logs, one sentence for a failure.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::Path;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

pub(super) use crate::causes::sentence;
use crate::exit::ExitCode;
use crate::ops::traces::Traces;

/// Sends log records to standard error; an unreadable filter falls back to warnings.
///
/// What has a slash in it is a file, as garbd's `--log` is: it gets what garbd would log.
pub(super) fn start_log(level: &str, traces: Option<&Traces>) {
    if level.contains('/') {
        if let Err(problem) = super::garbd::log_to(Path::new(level)) {
            say(&format!("galera-sst: {}", sentence(&problem)));
        }
        return;
    }
    let filter = EnvFilter::try_new(level).unwrap_or_else(|_| EnvFilter::new("warn"));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_filter(filter);
    let spans = traces.map(Traces::layer);
    let _ = tracing_subscriber::registry().with(lines).with(spans).try_init();
}

/// Tells people why the command failed, and passes the code on.
pub(super) fn fail(error: &dyn Error, code: ExitCode) -> ExitCode {
    say(&format!("galera-sst: {}", sentence(error)));
    code
}

/// The same, and what to try.
pub(super) fn fail_with_remedy(
    error: &dyn Error,
    remedy: Option<&str>,
    code: ExitCode,
) -> ExitCode {
    fail(error, code);
    if let Some(remedy) = remedy {
        say(&format!("try: {remedy}"));
    }
    code
}

/// One line of talk.
pub(super) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// One piece of data. A closed standard output is not an error of the command.
pub(super) fn answer(text: &str) {
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}
