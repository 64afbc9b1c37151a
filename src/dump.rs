//! A stand-alone server's logical dump into a sink, and back into a client.
//!
//! ```text
//! COMMAND's standard output ─► pieces ─► one file in the sink ─┐
//! COMMAND's exit status, its output's closing line ────────────┴─► commit, or nothing
//!
//! repository ─► every hash checked ─► blocks, checked again ─► COMMAND's standard input ─► exit status
//! ```
//!
//! There is no group and no donor here: what a dump is worth is what its command says at its end. A
//! pipeline of a shell hides the exit status of all but its last member; a command run from here does not.

mod content;
mod error;
mod load;
mod source;

use std::ffi::OsString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use galera_protocol::xbstream::EntryPath;
use galera_protocol::{NodeId, StateId};
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

pub use content::ClosingLine;
pub use error::{DumpError, LoadError};
pub use load::{LoadConfig, load};

use self::content::Content;
use self::source::Source;
use crate::pipeline::manifest::{
    BackupId, ClosingFilesSeen, CommandSeen, DUMP_FORMAT_VERSION, Donor, Manifest, Method,
    StateSeen, StreamSeen, Times, Totals, TransportEnd, TransportSeen, Versions, Witness,
    Witnesses,
};
use crate::sink::{Entry, Piece, Receipt, Sink, SinkError, SinkFile};

/// Everything about one dump but its sink.
#[derive(Clone, Debug)]
pub struct DumpConfig {
    /// The name of the backup.
    pub id: BackupId,
    /// What stands for the group's name: whose dump this is.
    pub group: String,
    /// The file's name in the backup.
    pub file: EntryPath,
    /// The program that dumps, and its arguments.
    pub command: Vec<OsString>,
    /// Whether a dump without a byte is one.
    pub allow_empty: bool,
    /// What a missing closing line means.
    pub closing_line: ClosingLine,
    /// Longest silence of the command, and longest time from the end of its output to its own.
    pub idle_limit: Duration,
}

/// A complete dump.
#[derive(Clone, Debug)]
pub struct Dumped {
    /// Everything that is known about it.
    pub manifest: Manifest,
    /// What the sink made.
    pub receipt: Receipt,
    /// The command's closing line is missing, and that was allowed.
    pub lacks_closing_line: bool,
}

/// Bytes that have passed, for whoever shows them.
#[derive(Clone, Debug, Default)]
pub struct Passed(Arc<AtomicU64>);

impl Passed {
    /// The number now.
    pub fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.0.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

/// How long a sink may take for one piece: a store that is away costs less by its own limits.
const SINK_LIMIT: Duration = Duration::from_secs(600);

/// Runs the command and stores what it writes. On any failure, and when `stop` is cancelled, the
/// command and all that it started are killed, and nothing that looks like a backup stays behind.
pub async fn dump<S: Sink>(
    config: &DumpConfig,
    open: impl AsyncFnOnce() -> Result<S, SinkError>,
    passed: &Passed,
    stop: &CancellationToken,
) -> Result<Dumped, DumpError> {
    let started = Timestamp::now();
    let mut sink = open().await.map_err(DumpError::OpenSink)?;
    let mut source = match Source::start(&config.command) {
        Ok(source) => source,
        Err(error) => {
            sink.abort().await;
            return Err(error);
        }
    };
    let copying = copy(config, &mut source, &mut sink, passed);
    let copied = stop.run_until_cancelled(copying).await.unwrap_or(Err(DumpError::Stopped));
    match copied {
        Ok(content) => commit(config, sink, &content, started).await,
        Err(error) => {
            source.kill().await;
            sink.abort().await;
            Err(error)
        }
    }
}

async fn copy<S: Sink>(
    config: &DumpConfig,
    source: &mut Source,
    sink: &mut S,
    passed: &Passed,
) -> Result<Content, DumpError> {
    let needs = sink.needs();
    let takes_files = !needs.stream_as_sent || needs.files_as_well;
    let mut file = match takes_files {
        true => Some(sink.create(&Entry { path: config.file.clone(), size: None }).await?),
        false => None,
    };
    let mut content = Content::default();
    while let Some(piece) = source.next(config.idle_limit).await? {
        content.note(&piece);
        passed.add(piece.len());
        let stored = async {
            if needs.stream_as_sent {
                sink.stream(piece.clone()).await?;
            }
            match &mut file {
                Some(file) => file.write(Piece::Data(piece)).await,
                None => Ok(()),
            }
        };
        let stored = tokio::time::timeout(SINK_LIMIT, stored).await;
        stored.map_err(|_| DumpError::SinkStalled { limit: SINK_LIMIT })??;
    }
    source.finish(config.idle_limit).await?;
    judge(config, &content)?;
    if let Some(file) = file {
        file.finish().await?;
    }
    Ok(content)
}

/// Says whether what a command wrote that ended well can be a dump.
fn judge(config: &DumpConfig, content: &Content) -> Result<(), DumpError> {
    if content.bytes() == 0 {
        return if config.allow_empty { Ok(()) } else { Err(DumpError::Empty) };
    }
    if config.closing_line == ClosingLine::Demanded && !content.has_closing_line() {
        return Err(DumpError::NoClosingLine);
    }
    Ok(())
}

async fn commit<S: Sink>(
    config: &DumpConfig,
    sink: S,
    content: &Content,
    started: Timestamp,
) -> Result<Dumped, DumpError> {
    let manifest = manifest(config, content, started);
    let receipt = sink.commit(manifest.clone()).await.map_err(DumpError::Commit)?;
    let lacks_closing_line =
        config.closing_line == ClosingLine::Expected && !content.has_closing_line();
    Ok(Dumped { manifest, receipt, lacks_closing_line })
}

fn manifest(config: &DumpConfig, content: &Content, started: Timestamp) -> Manifest {
    let bytes = content.bytes();
    let head = content.head();
    Manifest {
        format_version: DUMP_FORMAT_VERSION,
        backup_id: config.id.clone(),
        group: config.group.clone(),
        state: StateSeen { uuid: StateId::NIL, seqno_at_least: -1 },
        donor: Donor {
            uuid: NodeId::NIL,
            name: head.host.unwrap_or_default(),
            address: String::new(),
        },
        method: Method::Dump,
        flavour: head.flavour,
        versions: Versions {
            galera_sst: env!("CARGO_PKG_VERSION").to_owned(),
            server: head.server,
            tool_name: Some(source::program(&config.command)),
            tool: head.tool,
        },
        times: Times {
            started,
            requested: None,
            first_byte: content.first_byte(),
            received: Some(Timestamp::now()),
            stored: None,
        },
        totals: Totals {
            files: 1,
            file_bytes: bytes,
            data_bytes: bytes,
            stream_bytes: bytes,
            stored_bytes: 0,
        },
        witnesses: witnesses(config, content),
        storage: None,
    }
}

fn witnesses(config: &DumpConfig, content: &Content) -> Witnesses {
    let line = || vec![content::CLOSING_LINE.to_owned()];
    let closing_files = if content.has_closing_line() {
        ClosingFilesSeen { found: line(), missing: Vec::new() }
    } else if config.closing_line == ClosingLine::Unknown {
        ClosingFilesSeen::default()
    } else {
        ClosingFilesSeen { found: Vec::new(), missing: line() }
    };
    let program = source::program(&config.command);
    Witnesses {
        stream: Witness { holds: true, seen: StreamSeen { files: 1, bytes: content.bytes() } },
        closing_files: Witness { holds: true, seen: closing_files },
        transport: Witness {
            holds: true,
            seen: TransportSeen { end: TransportEnd::EndOfFile, tls: None },
        },
        group: None,
        command: Some(Witness { holds: true, seen: CommandSeen { program, exit_status: 0 } }),
        sink: None,
    }
}

#[cfg(test)]
mod tests;
