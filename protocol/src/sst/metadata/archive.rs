//! Takes the small archives of conn 1 apart: whole in memory, xbstream or tar.
//!
//! The backup itself is read by [`crate::xbstream`], piece by piece and in every dialect; here a
//! file must lie in the archive in order, and nothing but payload and end chunks may appear.
//!
//! A tar header, of which only these fields are read:
//!
//! | offset | size | field                              |
//! |-------:|-----:|------------------------------------|
//! |      0 |  100 | name, NUL-padded                   |
//! |    124 |   12 | size, octal digits                 |
//! |    148 |    8 | sum of the header bytes, octal     |
//! |    156 |    1 | type: `0` or NUL is a file         |
//! |    257 |    5 | `ustar`                            |

use bytes::Bytes;
use nom::Parser;
use nom::bytes::complete::take;
use nom::error::context;
use nom::number::complete::{le_u32, le_u64, u8};

use super::MetadataFile;
use crate::decode::{DecodeError, Parsed, Problem, fail, whole};
use crate::sst::sniff::Container;
use crate::xbstream::EntryPath;

/// Files in one metadata archive; real ones have three at most.
const FILES_MAX: usize = 64;

const TAR_BLOCK_BYTES: usize = 512;

pub(super) fn decode(container: Container, input: &[u8]) -> Result<Vec<MetadataFile>, DecodeError> {
    match container {
        Container::Xbstream => whole("metadata xbstream", input, parse_xbstream),
        Container::Tar => whole("metadata tar", input, parse_tar),
    }
}

/// A file whose end chunk has not come.
struct OpenFile {
    name: EntryPath,
    bytes: Vec<u8>,
}

enum Chunk<'a> {
    Payload { offset: u64, bytes: &'a [u8] },
    End,
}

fn parse_xbstream(mut input: &[u8]) -> Parsed<'_, Vec<MetadataFile>> {
    let mut open: Vec<OpenFile> = Vec::new();
    let mut files = Vec::new();
    while !input.is_empty() {
        let start = input;
        let (rest, (name, chunk)) = parse_chunk(input)?;
        input = rest;
        let at = position_of(start, &mut open, name, files.len())?.1;
        match chunk {
            Chunk::Payload { offset, bytes } => append(start, &mut open[at], offset, bytes)?.1,
            Chunk::End => {
                let OpenFile { name, bytes } = open.swap_remove(at);
                files.push(MetadataFile { name, bytes: Bytes::from(bytes) });
            }
        }
    }
    if open.is_empty() {
        return Ok((input, files));
    }
    // Cut between two chunks: the same as a cut inside one.
    fail(input, "end-of-file chunk", Problem::Truncated)
}

/// Where `name` stands among the open files; a new name is opened.
fn position_of<'a>(
    start: &'a [u8],
    open: &mut Vec<OpenFile>,
    name: EntryPath,
    closed: usize,
) -> Parsed<'a, usize> {
    if let Some(at) = open.iter().position(|file| file.name == name) {
        return Ok((start, at));
    }
    if open.len() + closed >= FILES_MAX {
        return fail(start, "file", Problem::TooLarge);
    }
    open.push(OpenFile { name, bytes: Vec::new() });
    Ok((start, open.len() - 1))
}

fn append<'a>(start: &'a [u8], file: &mut OpenFile, offset: u64, bytes: &[u8]) -> Parsed<'a, ()> {
    if usize::try_from(offset) != Ok(file.bytes.len()) {
        return fail(start, "payload offset", Problem::Invalid);
    }
    file.bytes.extend_from_slice(bytes);
    Ok((start, ()))
}

fn parse_chunk(input: &[u8]) -> Parsed<'_, (EntryPath, Chunk<'_>)> {
    let (input, _) = parse_magic(input)?;
    let (input, _flags) = context("flags", u8).parse(input)?;
    let type_at = input;
    let (input, chunk_type) = context("chunk type", u8).parse(input)?;
    let (input, path_length) = context("path length", le_u32).parse(input)?;
    let (input, path) = context("path", take(path_length)).parse(input)?;
    let (_, name) = parse_name(path)?;
    match chunk_type {
        b'P' => {
            let (input, chunk) = parse_payload(input)?;
            Ok((input, (name, chunk)))
        }
        b'E' => Ok((input, (name, Chunk::End))),
        _ => fail(type_at, "chunk type", Problem::Invalid),
    }
}

fn parse_magic(input: &[u8]) -> Parsed<'_, ()> {
    let (rest, magic) = context("magic", take(8_usize)).parse(input)?;
    if magic == b"XBSTCK01" { Ok((rest, ())) } else { fail(input, "magic", Problem::Invalid) }
}

fn parse_payload(input: &[u8]) -> Parsed<'_, Chunk<'_>> {
    let (input, length) = context("payload length", le_u64).parse(input)?;
    let (input, offset) = context("payload offset", le_u64).parse(input)?;
    let checksum_at = input;
    let (input, checksum) = context("checksum", le_u32).parse(input)?;
    let (input, bytes) = context("payload", take(length)).parse(input)?;
    if crc32fast::hash(bytes) != checksum {
        return fail(checksum_at, "checksum", Problem::Checksum);
    }
    Ok((input, Chunk::Payload { offset, bytes }))
}

fn parse_name(path: &[u8]) -> Parsed<'_, EntryPath> {
    match EntryPath::parse(path) {
        Ok(name) => Ok((path, name)),
        Err(_) => fail(path, "path", Problem::Invalid),
    }
}

fn parse_tar(mut input: &[u8]) -> Parsed<'_, Vec<MetadataFile>> {
    let mut files = Vec::new();
    loop {
        let (rest, header) = context("header", take(TAR_BLOCK_BYTES)).parse(input)?;
        if header.iter().all(|&byte| byte == 0) {
            // Writers pad with as many empty blocks as they like.
            return Ok((&rest[rest.len()..], files));
        }
        let (rest, file) = parse_tar_member(header, rest)?;
        files.extend(file);
        if files.len() > FILES_MAX {
            return fail(input, "file", Problem::TooLarge);
        }
        input = rest;
    }
}

/// One member behind its header; `None` for extended headers, which only decorate the next one.
fn parse_tar_member<'a>(header: &'a [u8], input: &'a [u8]) -> Parsed<'a, Option<MetadataFile>> {
    let stored_sum = octal(&header[148..156]);
    if stored_sum != Some(tar_sum(header)) {
        return fail(&header[148..], "header checksum", Problem::Checksum);
    }
    let Some(size) = octal(&header[124..136]).and_then(|size| usize::try_from(size).ok()) else {
        return fail(&header[124..], "size", Problem::Invalid);
    };
    let (input, bytes) = context("content", take(size)).parse(input)?;
    let padding = size.next_multiple_of(TAR_BLOCK_BYTES) - size;
    let (input, _) = context("padding", take(padding)).parse(input)?;
    match header[156] {
        b'0' | 0 => {
            let field = &header[..100];
            let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
            let (_, name) = parse_name(&field[..end])?;
            Ok((input, Some(MetadataFile { name, bytes: Bytes::copy_from_slice(bytes) })))
        }
        b'x' | b'g' => Ok((input, None)),
        _ => fail(&header[156..], "member type", Problem::Invalid),
    }
}

/// The sum counts its own field as blanks.
fn tar_sum(header: &[u8]) -> u64 {
    let blank = |at: usize| (148..156).contains(&at);
    header
        .iter()
        .enumerate()
        .map(|(at, &byte)| u64::from(if blank(at) { b' ' } else { byte }))
        .sum()
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}
