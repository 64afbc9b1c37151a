//! `decode`: captured or live traffic into readable messages.

mod error;
mod output;
mod source;

use std::path::PathBuf;

use clap::ValueEnum;
use galera_protocol::describe::Layer;

use super::{Output, talk};
use crate::capture::Timestamp;
use crate::decode::tls::KeyLog;
use crate::decode::{Dissector, Filter, Follow};
use crate::exit::ExitCode;
use error::Error;
use output::Shown;

/// Arguments of `decode`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A capture, or text or bytes as --format says; `-` and nothing mean standard input
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    /// What the input is [default: told from its first bytes]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Capture on this interface with dumpcap instead of reading a file
    #[arg(long, value_name = "NAME", conflicts_with = "file")]
    interface: Option<String>,
    /// Ports to capture on, as dumpcap's filter takes them: 4567, or 4444-4568
    #[arg(long, value_name = "PORTS", default_value = "4444-4568", requires = "interface")]
    ports: String,
    /// What hex and raw bytes are: whole frames, or messages of one layer
    #[arg(long, value_enum, default_value_t = LayerName::Frame)]
    layer_of_bytes: LayerName,
    /// User type of EVS for bytes of layer pc or gcs
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    user_type: u8,
    /// Keys of the TLS connections in the capture, in NSS's format: what an end wrote that ran with
    /// SSLKEYLOGFILE set
    #[arg(long, value_name = "FILE")]
    key_log: Option<PathBuf>,
    /// Show every field with its offset, length and bytes
    #[arg(long)]
    bytes: bool,
    /// Show only these layers: gmcast, evs, pc, gcs, link, sst
    #[arg(long, value_name = "LAYER", value_delimiter = ',')]
    layer: Vec<String>,
    /// Show only these types of messages: JOIN, STATE_REQ, GAP(request)…
    #[arg(long = "type", value_name = "TYPE", value_delimiter = ',')]
    kind: Vec<String>,
    /// Show only what this member sent or received: name, beginning of a UUID, or address
    #[arg(long, value_name = "MEMBER", value_delimiter = ',')]
    member: Vec<String>,
    /// Show nothing before this time: RFC 3339
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    since: Option<Timestamp>,
    /// Show nothing after this time: RFC 3339
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    until: Option<Timestamp>,
    /// Show only messages with a seqno in this range: A..B
    #[arg(long, value_name = "RANGE", value_parser = range, allow_hyphen_values = true)]
    seqno: Option<(i64, i64)>,
    /// Show only what is malformed, lost or broken
    #[arg(long)]
    faults: bool,
    /// Leave out views, statuses and names as they change
    #[arg(long)]
    no_notes: bool,
    /// Write a page with a sequence chart to this file instead
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Print a dissector for Wireshark and tshark, and nothing else
    #[arg(long, conflicts_with_all = ["file", "interface", "html"])]
    wireshark: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// pcap or pcapng
    Capture,
    /// Lines of hexadecimal digits; spaces and what follows a # do not matter
    Hex,
    /// The bytes of one direction of a link
    Raw,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum LayerName {
    Frame,
    Gmcast,
    Evs,
    Pc,
    Gcs,
}

impl From<LayerName> for Layer {
    fn from(name: LayerName) -> Self {
        match name {
            LayerName::Frame => Self::Frame,
            LayerName::Gmcast => Self::Gmcast,
            LayerName::Evs => Self::Evs,
            LayerName::Pc => Self::Pc,
            LayerName::Gcs => Self::Gcs,
        }
    }
}

fn timestamp(text: &str) -> Result<Timestamp, String> {
    let time: jiff::Timestamp = text.parse().map_err(|error| format!("{error}"))?;
    Ok(Timestamp(time.as_microsecond()))
}

fn range(text: &str) -> Result<(i64, i64), String> {
    let refuse = || format!("{text} is not A..B");
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let number = |text: &str, none| match text {
        "" => Ok(none),
        text => text.parse::<i64>().map_err(|_| refuse()),
    };
    Ok((number(first, i64::MIN)?, number(last, i64::MAX)?))
}

/// Runs what the arguments say. Blocks its thread: there is nothing else to do.
pub(super) fn run(args: Args, output: Output) -> ExitCode {
    if args.wireshark {
        talk::answer(&crate::decode::lua::dissector());
        return ExitCode::Success;
    }
    match decode(&args, output) {
        Ok(()) => ExitCode::Success,
        Err(error) => talk::fail(&error, error.exit_code()),
    }
}

fn decode(args: &Args, output: Output) -> Result<(), Error> {
    let mut shown = Shown::new(args.filter(), args.style(output), args.html.as_deref())?;
    let keys = args.key_log.as_deref().map(KeyLog::read).transpose()?;
    let mut dissector = Dissector::with_keys(keys.unwrap_or_default());
    let mut follow = Follow::default();
    let result = source::read(args, &mut dissector, &mut |records| {
        records.into_iter().try_for_each(|record| shown.take(record, &mut follow))
    });
    // A capture that is damaged at its end is worth showing up to there.
    match result {
        Ok(()) | Err(Error::Capture(_)) => shown.finish(&follow)?,
        Err(_) => {}
    }
    match result {
        Err(Error::OutputClosed) => Ok(()),
        other => other,
    }
}

impl Args {
    fn filter(&self) -> Filter {
        Filter {
            layers: self.layer.clone(),
            types: self.kind.clone(),
            members: self.member.clone(),
            since: self.since,
            until: self.until,
            seqnos: self.seqno,
            only_faults: self.faults,
        }
    }

    fn style(&self, output: Output) -> output::Style {
        output::Style { json: output == Output::Json, bytes: self.bytes, notes: !self.no_notes }
    }
}
