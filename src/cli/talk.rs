//! What people read: logs, one sentence for a failure.

use std::error::Error;
use std::io::{IsTerminal, Write};
use std::path::Path;

use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

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

/// An error with its causes in one sentence.
pub(super) fn sentence(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Transparent wrappers repeat their source's words.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Tells people why the command failed, and passes the code on.
pub(super) fn fail(error: &dyn Error, code: ExitCode) -> ExitCode {
    say(&format!("galera-sst: {}", sentence(error)));
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
