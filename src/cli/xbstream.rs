//! `xbstream`: streams in files and pipes.

pub(super) mod compat;
mod error;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Subcommand, ValueEnum};
use galera_protocol::xbstream::{Body, Dialect, EntryPath};
use serde_json::json;

use super::signals::Stop;
use super::{Output, talk};
use crate::exit::ExitCode;
use crate::pipeline::{Options, Received, StreamSummary};
use crate::sink::Sink;
use crate::sink::datadir::{Extract, ExtractOptions};
use crate::sink::discard::Discard;
use crate::sink::unpacked::Unpacked;
use crate::unpack::{Key, Unpack};
use crate::xbstream::chunks::{self, Chunk, Chunks};
use crate::xbstream::content::Content;
use crate::xbstream::create::{Creator, Names};
use crate::xbstream::input::Input;
use crate::xbstream::listing::{Listing, Note};
use crate::xbstream::{self, options};
use error::Error;

/// Arguments of `xbstream`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List the files of a stream, in the order in which they are complete
    List(ListArgs),
    /// Check framing, order, names and every checksum
    Verify(VerifyArgs),
    /// Extract into a directory that exists; nothing in it is replaced
    Extract(ExtractArgs),
    /// Write one file of a stream to standard output, once the whole stream was found good
    Cat(CatArgs),
    /// Write a stream of files to standard output
    Create(CreateArgs),
}

#[derive(Debug, clap::Args)]
struct StreamArgs {
    /// Whose extensions the stream uses [default: told from the stream]
    #[arg(long, value_enum)]
    dialect: Option<DialectName>,
    /// Files or pipes, read as one stream; `-` and none at all mean standard input
    #[arg(value_name = "STREAM")]
    streams: Vec<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum DialectName {
    /// Percona XtraBackup
    Percona,
    /// mariadb-backup
    Mariadb,
}

impl From<DialectName> for Dialect {
    fn from(name: DialectName) -> Self {
        match name {
            DialectName::Percona => Self::Percona,
            DialectName::Mariadb => Self::MariaDb,
        }
    }
}

#[derive(Debug, clap::Args)]
struct ListArgs {
    /// Show every chunk as it stands there, and whether its checksum fits
    #[arg(long)]
    chunks: bool,
    #[command(flatten)]
    stream: StreamArgs,
}

#[derive(Debug, clap::Args)]
struct VerifyArgs {
    /// Fail if the files that close a backup are not there
    #[arg(long)]
    backup: bool,
    #[command(flatten)]
    stream: StreamArgs,
}

#[derive(Debug, clap::Args)]
struct UnpackArgs {
    /// Decompress members named .zst, .lz4 and .qp
    #[arg(long)]
    decompress: bool,
    /// Decrypt members named .xbcrypt with the key in this file: 16, 24 or 32 bytes
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
struct ExtractArgs {
    /// The directory
    #[arg(short = 'C', long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    #[command(flatten)]
    unpack: UnpackArgs,
    /// Do not wait until the files are on stable storage
    #[arg(long)]
    no_sync: bool,
    /// Keep what was extracted if the stream turns out to be damaged
    #[arg(long)]
    keep: bool,
    #[command(flatten)]
    stream: StreamArgs,
}

#[derive(Debug, clap::Args)]
struct CatArgs {
    #[command(flatten)]
    unpack: UnpackArgs,
    /// The file's name in the stream, without the suffixes that are taken off
    #[arg(value_name = "FILE")]
    file: String,
    #[command(flatten)]
    stream: StreamArgs,
}

#[derive(Debug, clap::Args)]
struct CreateArgs {
    /// Paths are relative to this directory
    #[arg(short = 'C', long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Files, and directories with all that is below them
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
}

/// Runs what the arguments say.
pub(super) async fn run(args: Args, output: Output) -> ExitCode {
    let done = match args.action {
        Action::List(args) if args.chunks => list_chunks(&args.stream, output),
        Action::List(args) => list(args.stream, output).await,
        Action::Verify(args) => verify(args, output).await,
        Action::Extract(args) => extract(args, output).await,
        Action::Cat(args) => cat(args).await,
        Action::Create(args) => create(&args.directory, &args.files, Names::Safe),
    };
    match done {
        Ok(()) => ExitCode::Success,
        Err(error) => talk::fail(&error, error.exit_code()),
    }
}

/// Takes a stream into a sink until it ends or a signal comes.
async fn take<S: Sink>(input: Input, sink: S, options: Options) -> Result<Received<S>, Error> {
    let stop = Stop::listen().map_err(Error::Signals)?;
    let received = xbstream::run(input, sink, options, &stop.token()).await;
    received.map_err(|error| match stop.code() {
        Some(code) => Error::Stopped(code),
        None => error.into(),
    })
}

impl StreamArgs {
    fn open(&self) -> Result<(Input, Options), Error> {
        let mut options = options();
        options.reader.dialect = self.dialect.map(Dialect::from);
        Ok((Input::open(&self.streams)?, options))
    }
}

impl UnpackArgs {
    fn check(&self) -> Result<Unpack, Error> {
        let key = self.key_file.as_deref().map(read_key).transpose()?;
        Ok(Unpack { decompress: self.decompress, key })
    }
}

fn read_key(path: &Path) -> Result<Arc<Key>, Error> {
    let shown = || path.display().to_string();
    let bytes = std::fs::read(path).map_err(|source| Error::KeyFile { path: shown(), source })?;
    Ok(Arc::new(Key::new(bytes).map_err(|source| Error::Key { path: shown(), source })?))
}

async fn list(args: StreamArgs, output: Output) -> Result<(), Error> {
    let (input, options) = args.open()?;
    let show = move |note: Note| match output {
        Output::Text => talk::answer(&note_text(&note)),
        Output::Json => talk::answer(&note_json(&note).to_string()),
    };
    take(input, Listing(show), options).await.map(drop)
}

fn note_text(note: &Note) -> String {
    match note {
        Note::File { path, size } => format!("{size:>15} {path}"),
        Note::Renamed { from, to } => format!("{:>15} {from} -> {to}", "renamed"),
        Note::Removed { path } => format!("{:>15} {path}", "removed"),
    }
}

fn note_json(note: &Note) -> serde_json::Value {
    match note {
        Note::File { path, size } => json!({"file": path.to_string(), "size": size}),
        Note::Renamed { from, to } => {
            json!({"renamed": from.to_string(), "to": to.to_string()})
        }
        Note::Removed { path } => json!({"removed": path.to_string()}),
    }
}

fn list_chunks(args: &StreamArgs, output: Output) -> Result<(), Error> {
    let (input, options) = args.open()?;
    let mut stream = Chunks::new(input, options.reader.dialect);
    let mut damaged = 0_u64;
    while let Some(chunk) = stream.next_chunk()? {
        damaged += u64::from(chunk.is_intact == Some(false));
        match output {
            Output::Text => talk::answer(&chunk_text(&chunk)),
            Output::Json => talk::answer(&chunk_json(&chunk).to_string()),
        }
    }
    if damaged == 0 { Ok(()) } else { Err(Error::Damaged(damaged)) }
}

fn chunk_text(chunk: &Chunk) -> String {
    let path = chunk.header.path.escape_ascii();
    let kind = chunks::kind(&chunk.header.body);
    let intact = if chunk.is_intact == Some(false) { ", WRONG CHECKSUM" } else { "" };
    let place = match &chunk.header.body {
        Body::Payload(extent) | Body::Unknown { ignorable: Some(extent), .. } => {
            format!(" {} bytes at {}", extent.length, extent.offset)
        }
        Body::Sparse { entries, extent } => {
            format!(" {} bytes at {} in {entries} runs", extent.length, extent.offset)
        }
        Body::Seek { offset } => format!(" to {offset}"),
        Body::Rename { to } => format!(" to {}", to.escape_ascii()),
        Body::End | Body::Remove | Body::Unknown { ignorable: None, .. } => String::new(),
    };
    format!("{:>12} {kind:8}{} {path}{place}{intact}", chunk.offset, flags(chunk.header.flags.0))
}

fn flags(flags: u8) -> String {
    if flags == 0 { String::new() } else { format!(" flags {flags:#04x}") }
}

fn chunk_json(chunk: &Chunk) -> serde_json::Value {
    let mut object = json!({
        "offset": chunk.offset,
        "type": chunks::kind(&chunk.header.body),
        "flags": chunk.header.flags.0,
        "path": chunk.header.path.escape_ascii().to_string(),
    });
    let more = match &chunk.header.body {
        Body::Payload(extent)
        | Body::Sparse { extent, .. }
        | Body::Unknown { ignorable: Some(extent), .. } => json!({
            "length": extent.length, "at": extent.offset, "intact": chunk.is_intact,
        }),
        Body::Seek { offset } => json!({"at": offset}),
        Body::Rename { to } => json!({"to": to.escape_ascii().to_string()}),
        Body::End | Body::Remove | Body::Unknown { ignorable: None, .. } => json!({}),
    };
    if let (Some(object), serde_json::Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    object
}

async fn verify(args: VerifyArgs, output: Output) -> Result<(), Error> {
    let (input, options) = args.stream.open()?;
    let summary = take(input, Discard, options).await?.summary;
    match output {
        Output::Text => talk::answer(&summary_text(&summary)),
        Output::Json => talk::answer(&summary_json(&summary).to_string()),
    }
    match summary.completeness.gaps.first() {
        Some(gap) if args.backup => Err(Error::Incomplete(*gap)),
        Some(_) | None => Ok(()),
    }
}

fn summary_text(summary: &StreamSummary) -> String {
    let gaps: Vec<String> = summary.completeness.gaps.iter().map(ToString::to_string).collect();
    let backup = if gaps.is_empty() {
        "the files that close a backup are there".to_owned()
    } else {
        format!("not a whole backup: {}", gaps.join(", "))
    };
    let (files, bytes) = (summary.files.len(), summary.file_bytes());
    format!("good stream of {} bytes: {files} files, {bytes} bytes; {backup}", summary.stream_bytes)
}

fn summary_json(summary: &StreamSummary) -> serde_json::Value {
    let dialect = summary.dialect.map(|dialect| match dialect {
        Dialect::Percona => "percona",
        Dialect::MariaDb => "mariadb",
    });
    let gaps: Vec<String> = summary.completeness.gaps.iter().map(ToString::to_string).collect();
    json!({
        "stream_bytes": summary.stream_bytes,
        "files": summary.files.len(),
        "file_bytes": summary.file_bytes(),
        "dialect": dialect,
        "backup_complete": gaps.is_empty(),
        "gaps": gaps,
    })
}

async fn extract(args: ExtractArgs, output: Output) -> Result<(), Error> {
    let unpack = args.unpack.check()?;
    let (input, options) = args.stream.open()?;
    let sink = Extract::open(ExtractOptions {
        target: args.directory,
        sync: !args.no_sync,
        keep_on_failure: args.keep,
    })?;
    let summary = extract_into(sink, unpack, input, options).await?;
    if output == Output::Json {
        talk::answer(&summary_json(&summary).to_string());
    }
    Ok(())
}

async fn extract_into(
    sink: Extract,
    unpack: Unpack,
    input: Input,
    options: Options,
) -> Result<StreamSummary, Error> {
    let (sink, summary) = if unpack.is_wanted() {
        let received = take(input, Unpacked::new(sink, unpack), options).await?;
        (received.sink.into_inner(), received.summary)
    } else {
        let received = take(input, sink, options).await?;
        (received.sink, received.summary)
    };
    sink.finish().await?;
    Ok(summary)
}

async fn cat(args: CatArgs) -> Result<(), Error> {
    let unpack = args.unpack.check()?;
    let wanted = EntryPath::parse(args.file.as_bytes())
        .map_err(|source| Error::Name { name: args.file.clone(), source })?;
    let (input, options) = args.stream.open()?;
    let sink = Unpacked::new(Content::new(wanted), unpack);
    let received = take(input, sink, options).await?;
    match received.sink.into_inner().copy_to(&mut io::stdout().lock()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Error::NoSuchFile(args.file)),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(Error::Output(error)),
    }
}

/// Writes a stream to standard output.
fn create(directory: &Path, files: &[PathBuf], names: Names) -> Result<(), Error> {
    let out = io::stdout().lock();
    if io::IsTerminal::is_terminal(&out) {
        return Err(Error::Terminal);
    }
    let mut creator = Creator::new(Unbuffered(out), directory.to_path_buf(), names);
    for file in files {
        creator.add(file)?;
    }
    Ok(creator.finish()?)
}

/// Standard output without the search for line ends that its own buffer makes.
struct Unbuffered<W>(W);

impl<W: Write + std::os::fd::AsFd> Write for Unbuffered<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(self.0.as_fd(), bytes)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
