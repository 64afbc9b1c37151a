//! `streamfmt=tar`: the archive of old donors, turned into the framing that everything behind reads.
//!
//! ```text
//!  header │ content │ padding │ … │ 2 empty blocks   ──▶   P P … E │ … per file
//! ```
//!
//! XtraBackup 2.4 is the last that writes it; later donors fail with it. Extended headers (pax, GNU) are
//! read for long names and sizes; what is no file is left out. Checksums do not exist in tar: those of
//! the chunks made here prove nothing about the way from the donor.

use std::io;

use bytes::{Buf, BufMut, BytesMut};
use galera_protocol::xbstream::{Body, ChunkHeader, Extent, Flags};

const BLOCK_BYTES: usize = 512;

/// Longest extended header that is taken: a name and a few numbers.
const EXTENSION_BYTES_MAX: u64 = 64 << 10;

/// Content of one chunk at most.
const PIECE_BYTES: usize = 256 << 10;

/// Why an archive cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum TarError {
    #[error("damaged header in a tar archive")]
    Header,
    #[error("a tar archive with something that no backup holds")]
    Unsupported,
    #[error("a tar archive that is cut short")]
    Truncated,
}

impl From<TarError> for io::Error {
    fn from(error: TarError) -> Self {
        let kind = match error {
            TarError::Header | TarError::Unsupported => io::ErrorKind::InvalidData,
            TarError::Truncated => io::ErrorKind::UnexpectedEof,
        };
        Self::new(kind, error)
    }
}

/// Reads one archive.
#[derive(Debug, Default)]
pub(super) struct TarReader {
    state: State,
    /// Name and size from extended headers, for the next member.
    next_name: Option<Box<[u8]>>,
    next_size: Option<u64>,
    /// The last block was an empty one, as at the end.
    has_end: bool,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Header,
    Content {
        name: Box<[u8]>,
        offset: u64,
        size: u64,
    },
    Extension {
        kind: u8,
        size: u64,
    },
    /// Padding, and the content of what is left out.
    Skip(u64),
}

impl TarReader {
    /// Takes members apart as far as the input goes; at most one piece of content at a time.
    pub(super) fn push(
        &mut self,
        input: &mut BytesMut,
        output: &mut BytesMut,
    ) -> Result<(), TarError> {
        while output.len() < PIECE_BYTES {
            let goes_on = match &mut self.state {
                State::Header => self.read_header(input)?,
                State::Content { .. } => self.read_content(input, output),
                State::Extension { kind, size } => {
                    let (kind, size) = (*kind, *size);
                    self.read_extension(kind, size, input)?
                }
                State::Skip(left) => {
                    let count = usize::try_from(*left).unwrap_or(usize::MAX).min(input.len());
                    input.advance(count);
                    *left -= count as u64;
                    let is_over = *left == 0;
                    if is_over {
                        self.state = State::Header;
                    }
                    is_over
                }
            };
            if !goes_on {
                return Ok(());
            }
        }
        Ok(())
    }

    /// No more input comes.
    pub(super) fn finish(&self, rest: &[u8]) -> Result<(), TarError> {
        let is_whole = matches!(self.state, State::Header) && self.has_end && rest.is_empty();
        if is_whole { Ok(()) } else { Err(TarError::Truncated) }
    }

    fn read_header(&mut self, input: &mut BytesMut) -> Result<bool, TarError> {
        if input.len() < BLOCK_BYTES {
            return Ok(false);
        }
        let block = input.split_to(BLOCK_BYTES);
        // Old tools glue archives together, so an empty block need not be the last.
        self.has_end = block.iter().all(|&byte| byte == 0);
        if self.has_end {
            return Ok(true);
        }
        if number(&block[148..156]) != Some(checksum(&block)) {
            return Err(TarError::Header);
        }
        let size = number(&block[124..136]).ok_or(TarError::Header)?;
        match block[156] {
            0 | b'0' | b'7' => {
                let name = self.next_name.take().unwrap_or_else(|| header_name(&block));
                let size = self.next_size.take().unwrap_or(size);
                self.state = State::Content { name, offset: 0, size };
            }
            kind @ (b'x' | b'L') if size <= EXTENSION_BYTES_MAX => {
                self.state = State::Extension { kind, size };
            }
            b'g' | b'5' => self.state = State::Skip(padded(size)),
            _ => return Err(TarError::Unsupported),
        }
        Ok(true)
    }

    fn read_content(&mut self, input: &mut BytesMut, output: &mut BytesMut) -> bool {
        let State::Content { name, offset, size } = &mut self.state else { return true };
        let left = *size - *offset;
        if left == 0 {
            put_chunk(output, name, Body::End, &[]);
            self.state = State::Skip(padded(*size) - *size);
            return true;
        }
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len()).min(PIECE_BYTES);
        if count == 0 {
            return false;
        }
        let piece = input.split_to(count);
        let (length, checksum) = (count as u64, crc32fast::hash(&piece));
        put_chunk(
            output,
            name,
            Body::Payload(Extent { length, offset: *offset, checksum }),
            &piece,
        );
        *offset += length;
        true
    }

    fn read_extension(
        &mut self,
        kind: u8,
        size: u64,
        input: &mut BytesMut,
    ) -> Result<bool, TarError> {
        let whole = usize::try_from(padded(size)).map_err(|_| TarError::Header)?;
        if input.len() < whole {
            return Ok(false);
        }
        let text = input.split_to(whole);
        let text = &text[..usize::try_from(size).map_err(|_| TarError::Header)?];
        if kind == b'L' {
            self.next_name = Some(until_nul(text).into());
        } else {
            self.read_pax(text)?;
        }
        self.state = State::Header;
        Ok(true)
    }

    /// Records are `LENGTH KEY=VALUE\n`, the length being the record's own.
    fn read_pax(&mut self, mut text: &[u8]) -> Result<(), TarError> {
        while !text.is_empty() {
            let blank = text.iter().position(|&byte| byte == b' ').ok_or(TarError::Header)?;
            let length = decimal(&text[..blank]).and_then(|length| usize::try_from(length).ok());
            let length = length.filter(|length| *length > blank + 1).ok_or(TarError::Header)?;
            let (record, rest) = text.split_at_checked(length).ok_or(TarError::Header)?;
            let record = record[blank + 1..].strip_suffix(b"\n").ok_or(TarError::Header)?;
            let equals = record.iter().position(|&byte| byte == b'=').ok_or(TarError::Header)?;
            match (&record[..equals], &record[equals + 1..]) {
                (b"path", name) => self.next_name = Some(name.into()),
                (b"size", size) => {
                    self.next_size = Some(decimal(size).ok_or(TarError::Header)?);
                }
                (key, _) if key.starts_with(b"GNU.sparse") => return Err(TarError::Unsupported),
                _ => {}
            }
            text = rest;
        }
        Ok(())
    }
}

fn put_chunk(output: &mut BytesMut, name: &[u8], body: Body, content: &[u8]) {
    ChunkHeader { flags: Flags(0), path: name.into(), body }.encode(output);
    output.put_slice(content);
}

/// ustar has the directories of long names in a field of their own.
fn header_name(block: &[u8]) -> Box<[u8]> {
    let (name, prefix) = (until_nul(&block[..100]), until_nul(&block[345..500]));
    let is_ustar = &block[257..263] == b"ustar\0";
    if is_ustar && !prefix.is_empty() {
        return [prefix, b"/", name].concat().into();
    }
    name.into()
}

fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

const fn padded(size: u64) -> u64 {
    size.div_ceil(BLOCK_BYTES as u64).saturating_mul(BLOCK_BYTES as u64)
}

/// The sum counts its own field as blanks.
fn checksum(block: &[u8]) -> u64 {
    let blank = |at: usize| (148..156).contains(&at);
    let bytes = block.iter().enumerate();
    bytes.map(|(at, &byte)| u64::from(if blank(at) { b' ' } else { byte })).sum()
}

/// Octal digits, or GNU's binary numbers for what does not fit.
fn number(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        let (high, low) = field.split_at_checked(field.len().checked_sub(8)?)?;
        let is_small = high.iter().enumerate().all(|(at, &byte)| byte == [0x80, 0][at.min(1)]);
        return Some(u64::from_be_bytes(low.try_into().ok()?)).filter(|_| is_small);
    }
    let text = core::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}

fn decimal(text: &[u8]) -> Option<u64> {
    core::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
