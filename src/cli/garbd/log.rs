//! garbd's log: one line each, `DATE TIME LEVEL: text`, to standard error, a file or syslog.

use std::fmt;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::{FmtContext, MakeWriter};
use tracing_subscriber::registry::LookupSpan;

const SYSLOG_SOCKET: &str = "/dev/log";

/// Facility daemon (3), severity info (6): the level stands in the text.
const SYSLOG_PRIORITY: u8 = 3 * 8 + 6;

/// Overrides what is logged, as for every other command.
const FILTER_VARIABLE: &str = "GALERA_SST_LOG";

/// The log file cannot be written.
#[derive(Debug, thiserror::Error)]
#[error("open log file {path}")]
pub(super) struct LogError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Sends everything from now on there.
pub(super) fn start(file: Option<&Path>, is_daemon: bool) -> Result<(), LogError> {
    match file {
        Some(path) => {
            let file = File::options().create(true).append(true).open(path);
            let file = file.map_err(|source| LogError { path: path.to_owned(), source })?;
            install(Mutex::new(file));
        }
        None if is_daemon => install(Syslog::open),
        None => install(io::stderr),
    }
    Ok(())
}

fn install(writer: impl for<'w> MakeWriter<'w> + Send + Sync + 'static) {
    let filter = EnvFilter::try_from_env(FILTER_VARIABLE).unwrap_or_else(|_| {
        // The layers of the core tell the same in other words.
        EnvFilter::new("warn,galera_sst=info")
    });
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .event_format(Line)
        .with_writer(writer)
        .try_init();
}

/// The form of a line.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let now = jiff::Zoned::now().strftime("%Y-%m-%d %H:%M:%S%.3f");
        write!(writer, "{now} {:>5}: ", level(*event.metadata().level()))?;
        context.field_format().format_fields(writer.by_ref(), event)?;
        writeln!(writer)
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

/// One line to the system's log; without one it is lost, as with any daemon.
struct Syslog(Option<UnixDatagram>);

impl Syslog {
    fn open() -> Self {
        let socket = UnixDatagram::unbound().and_then(|socket| {
            socket.connect(SYSLOG_SOCKET)?;
            // A system log that does not read must not hold a member up.
            socket.set_nonblocking(true)?;
            Ok(socket)
        });
        Self(socket.ok())
    }
}

impl Write for Syslog {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(socket) = &self.0 {
            let head = format!("<{SYSLOG_PRIORITY}>{}[{}]: ", super::NAME, std::process::id());
            let _ = socket.send(&[head.as_bytes(), line.trim_ascii_end()].concat());
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_file_that_cannot_be_opened_is_named() {
        let error = start(Some(Path::new("/nonexistent/garbd.log")), false).expect_err("no place");
        assert!(error.to_string().contains("/nonexistent/garbd.log"));
    }

    #[test]
    fn writing_to_a_system_log_that_is_not_there_loses_the_line_only() {
        let written = Syslog(None).write(b"text\n").expect("never fails");
        assert_eq!(written, 5);
    }
}
