//! tar archives of conn 1 (`streamfmt=tar`): old donors only, and only the metadata arrives so.
//!
//! A member is a header of 512 bytes and its content, padded to a multiple of that; an empty block
//! ends the archive. Of a header only these fields are read:
//!
//! | offset | size | field                              |
//! |-------:|-----:|------------------------------------|
//! |      0 |  100 | name, NUL-padded                   |
//! |    124 |   12 | size, octal digits                 |
//! |    148 |    8 | sum of the header bytes, octal     |
//! |    156 |    1 | type: `0` or NUL is a file         |

use bytes::Bytes;
use nom::Parser;
use nom::bytes::complete::take;
use nom::error::context;

use super::{FILES_MAX, MetadataFile};
use crate::decode::{DecodeError, Parsed, Problem, fail, whole};
use crate::xbstream::EntryPath;

const TAR_BLOCK_BYTES: usize = 512;

pub(super) fn decode(input: &[u8]) -> Result<Vec<MetadataFile>, DecodeError> {
    whole("metadata tar", input, parse_tar)
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

fn parse_name(path: &[u8]) -> Parsed<'_, EntryPath> {
    match EntryPath::parse(path) {
        Ok(name) => Ok((path, name)),
        Err(_) => fail(path, "name", Problem::Invalid),
    }
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = core::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}
