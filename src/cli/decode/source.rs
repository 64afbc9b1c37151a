//! Where the bytes come from: captures, hex, raw bytes, a live interface.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};

use bytes::Bytes;
use galera_protocol::describe::{Layer, describe_message};

use super::error::Error;
use super::{Args, Format};
use crate::capture::{Flow, Packets, Segment, Timestamp};
use crate::decode::{Dissector, Record, What};

/// Bytes that are looked at to tell a format.
const HEAD_BYTES: usize = 64;

/// Longest line of hex.
const LINE_BYTES_MAX: u64 = 1 << 20;

type Take<'a> = &'a mut dyn FnMut(Vec<Record>) -> Result<(), Error>;

/// Reads the input to its end.
pub(super) fn read(args: &Args, dissector: &mut Dissector, take: Take<'_>) -> Result<(), Error> {
    if let Some(interface) = &args.interface {
        return live(interface, &args.ports, dissector, take);
    }
    let mut input = BufReader::with_capacity(1 << 20, open(args.file.as_deref())?);
    let format = match args.format {
        Some(format) => format,
        None => guess(input.fill_buf().map_err(Error::Read)?),
    };
    match format {
        Format::Capture => capture(input, dissector, take),
        Format::Hex => hex(input, args, dissector, take),
        Format::Raw => raw(input, args, dissector, take),
    }
}

fn open(path: Option<&Path>) -> Result<Box<dyn Read + Send>, Error> {
    match path {
        None => Ok(Box::new(io::stdin())),
        Some(path) if path == Path::new("-") => Ok(Box::new(io::stdin())),
        Some(path) => {
            let refused = |source| Error::Open { path: path.display().to_string(), source };
            Ok(Box::new(File::open(path).map_err(refused)?))
        }
    }
}

fn guess(head: &[u8]) -> Format {
    let head = &head[..head.len().min(HEAD_BYTES)];
    let is_capture = matches!(
        head,
        [0xa1, 0xb2, 0xc3 | 0x3c, 0xd4 | 0x4d, ..]
            | [0xd4 | 0x4d, 0xc3 | 0x3c, 0xb2, 0xa1, ..]
            | [0x0a, 0x0d, 0x0d, 0x0a, ..]
    );
    let is_text = |byte: &u8| byte.is_ascii_graphic() || byte.is_ascii_whitespace();
    match is_capture {
        true => Format::Capture,
        false if !head.is_empty() && head.iter().all(is_text) => Format::Hex,
        false => Format::Raw,
    }
}

fn capture(
    input: impl Read + Send,
    dissector: &mut Dissector,
    take: Take<'_>,
) -> Result<(), Error> {
    let mut packets = Packets::open(input)?;
    let read = loop {
        match packets.next_packet() {
            Ok(Some(packet)) => {
                if let Some(segment) = Segment::parse(&packet) {
                    take(dissector.take(&segment))?;
                }
            }
            Ok(None) => break Ok(()),
            Err(error) => break Err(error.into()),
        }
    };
    take(dissector.finish())?;
    read
}

fn live(
    interface: &str,
    ports: &str,
    dissector: &mut Dissector,
    take: Take<'_>,
) -> Result<(), Error> {
    let mut child = Command::new("dumpcap")
        .args(["-q", "-i", interface, "-f", &format!("tcp portrange {ports}"), "-w", "-"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(Error::Dumpcap)?;
    let result = match child.stdout.take() {
        Some(output) => capture(output, dissector, take),
        None => Ok(()),
    };
    if result.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().map_err(Error::Dumpcap)?;
    match result {
        Err(Error::Capture(_)) if !status.success() => Err(Error::DumpcapFailed),
        other => other,
    }
}

/// The ends of a link of which only bytes are known.
fn nowhere() -> Flow {
    let address = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    Flow { from: address, to: address, generation: 0 }
}

fn raw(
    mut input: impl Read,
    args: &Args,
    dissector: &mut Dissector,
    take: Take<'_>,
) -> Result<(), Error> {
    let mut bytes = Vec::new();
    let limit = 1 << 30;
    input.by_ref().take(limit).read_to_end(&mut bytes).map_err(Error::Read)?;
    take(message(args, dissector, bytes.into(), 1))
}

fn hex(
    mut input: impl BufRead,
    args: &Args,
    dissector: &mut Dissector,
    take: Take<'_>,
) -> Result<(), Error> {
    for number in 1.. {
        let mut line = String::new();
        let read = input.by_ref().take(LINE_BYTES_MAX).read_line(&mut line);
        if read.map_err(Error::Read)? == 0 {
            break;
        }
        let bytes = parse_hex(&line).ok_or(Error::Hex(number))?;
        if !bytes.is_empty() {
            take(message(args, dissector, bytes.into(), number as u64))?;
        }
    }
    Ok(())
}

fn parse_hex(line: &str) -> Option<Vec<u8>> {
    let line = line.split('#').next().unwrap_or_default();
    let digits: Option<Vec<u8>> = line
        .chars()
        .filter(|c| !c.is_whitespace())
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// Bytes that stand for themselves: frames, or one message.
fn message(args: &Args, dissector: &mut Dissector, bytes: Bytes, number: u64) -> Vec<Record> {
    let layer = Layer::from(args.layer_of_bytes);
    let flow = nowhere();
    let records = match layer {
        Layer::Frame => dissector.take_bytes(flow, bytes.clone()),
        Layer::Gmcast | Layer::Evs | Layer::Pc | Layer::Gcs => Vec::new(),
    };
    if !records.is_empty() {
        return records;
    }
    // Not even a frame: say what is wrong with it.
    let description = describe_message(layer, args.user_type, &bytes);
    let what = What::Frame { bytes, description };
    vec![Record { number, time: Timestamp::default(), from: flow.from, to: flow.to, what }]
}
