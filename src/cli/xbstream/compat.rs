//! Called as `mbstream` or `xbstream`: their flags, their silence, their exit status of 0 or 1.
//!
//! Differences are all on the safe side: whatever fails is an exit status of 1, never 0. They stand in
//! `docs/xbstream.md`.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches, Parser};

use super::error::Error;
use super::{create, extract_into, read_key};
use crate::cli::talk;
use crate::sink::datadir::{Extract, ExtractOptions};
use crate::unpack::{Key, Unpack};
use crate::xbstream::create::Names;
use crate::xbstream::input::Input;
use crate::xbstream::options;

/// Which program we are taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::cli) enum Program {
    Mbstream,
    Xbstream,
}

impl Program {
    /// By the name that we were called by.
    pub(in crate::cli) fn from_name(name: &OsStr) -> Option<Self> {
        match PathBuf::from(name).file_name()?.to_str()? {
            "mbstream" => Some(Self::Mbstream),
            "xbstream" => Some(Self::Xbstream),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Mbstream => "mbstream",
            Self::Xbstream => "xbstream",
        }
    }
}

/// Serialize and deserialize files in the xbstream format.
#[derive(Debug, Parser)]
#[command(disable_help_flag = true, disable_version_flag = true)]
struct Args {
    /// Display this help and exit
    #[arg(short = '?', long, action = clap::ArgAction::Help)]
    help: Option<bool>,
    /// Display the version and exit
    #[arg(short = 'V', long, action = clap::ArgAction::Version)]
    version: Option<bool>,
    /// Stream the files to standard output
    #[arg(short = 'c', long, conflicts_with = "extract", required_unless_present = "extract")]
    create: bool,
    /// Extract the stream on standard input
    #[arg(short = 'x', long)]
    extract: bool,
    /// Change to this directory first
    #[arg(short = 'C', long, value_name = "DIR", default_value = ".")]
    directory: PathBuf,
    /// Print file names
    #[arg(short = 'v', long)]
    verbose: bool,
    /// Accepted; reading, checking and writing are parallel anyway
    #[arg(short = 'p', long, value_name = "N", allow_negative_numbers = true)]
    parallel: Option<i64>,
    #[command(flatten)]
    xtrabackup: XtrabackupArgs,
    /// Files to stream
    #[arg(value_name = "FILE", required_if_eq("create", "true"))]
    files: Vec<PathBuf>,
}

/// What only xbstream has.
#[derive(Debug, clap::Args)]
struct XtrabackupArgs {
    /// Decompress members named .qp, .lz4 and .zst
    #[arg(long)]
    decompress: bool,
    /// Accepted; members are decompressed in parallel anyway
    #[arg(long, value_name = "N")]
    decompress_threads: Option<u32>,
    /// Decrypt members named .xbcrypt: NONE, AES128, AES192 or AES256
    #[arg(short = 'd', long, value_name = "ALGORITHM", ignore_case = true,
          value_parser = ["NONE", "AES128", "AES192", "AES256"])]
    decrypt: Option<String>,
    /// The key
    #[arg(short = 'k', long, value_name = "KEY", conflicts_with = "encrypt_key_file")]
    encrypt_key: Option<OsString>,
    /// File with the key
    #[arg(short = 'f', long, value_name = "FILE")]
    encrypt_key_file: Option<PathBuf>,
    /// Accepted; members are decrypted in parallel anyway
    #[arg(long, value_name = "N")]
    encrypt_threads: Option<u32>,
    /// Only 1, which is standard input
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1))]
    fifo_streams: Option<u32>,
}

/// Runs as that program.
pub(in crate::cli) fn main(program: Program, arguments: Vec<OsString>) -> std::process::ExitCode {
    talk::start_log("error", None);
    let args = match parse(program, arguments) {
        Ok(args) => args,
        Err(code) => return code.into(),
    };
    match run(args) {
        Ok(()) => 0.into(),
        Err(error) => {
            talk::say(&format!("{}: {}", program.name(), talk::sentence(&error)));
            1.into()
        }
    }
}

fn parse(program: Program, arguments: Vec<OsString>) -> Result<Args, u8> {
    let mut command = Args::command().name(program.name()).version(env!("CARGO_PKG_VERSION"));
    if program == Program::Mbstream {
        for id in ["decompress", "decrypt", "encrypt_key", "encrypt_key_file", "fifo_streams"] {
            command = command.mut_arg(id, |arg| arg.hide(true));
        }
    }
    let matches = command.try_get_matches_from(arguments);
    let args = matches.and_then(|matches| Args::from_arg_matches(&matches));
    args.map_err(|error| {
        let _ = error.print();
        u8::from(error.use_stderr())
    })
}

fn run(args: Args) -> Result<(), Error> {
    if args.create {
        if args.verbose {
            args.files.iter().for_each(|file| talk::say(&file.display().to_string()));
        }
        return create(&args.directory, &args.files, Names::AsGiven);
    }
    let unpack = args.xtrabackup.check()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(Error::Signals)?;
    runtime.block_on(extract(args.directory, unpack, args.verbose))
}

async fn extract(target: PathBuf, unpack: Unpack, verbose: bool) -> Result<(), Error> {
    let input = Input::open(&[])?;
    // Neither program syncs all files, nor takes back what it wrote; and a part of a stream, such as
    // one object of a backup in a bucket, is taken without a word.
    let mut options = options();
    options.allow_open_files = true;
    let mut sink = Extract::open(ExtractOptions { target, sync: false, keep_on_failure: true })?;
    if verbose {
        sink.tell(|path| talk::say(&path.to_string()));
    }
    extract_into(sink, unpack, input, options).await.map(drop)
}

impl XtrabackupArgs {
    fn check(&self) -> Result<Unpack, Error> {
        let key = match (&self.encrypt_key, &self.encrypt_key_file) {
            (Some(key), _) => {
                let refused = |source| Error::Key { path: "of the command line".into(), source };
                Some(Arc::new(Key::new(key.as_encoded_bytes().to_vec()).map_err(refused)?))
            }
            (None, Some(path)) => Some(read_key(path)?),
            (None, None) => None,
        };
        let key = key.filter(|_| self.decrypt.is_some());
        Ok(Unpack { decompress: self.decompress, key })
    }
}
