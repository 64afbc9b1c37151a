//! The list of sums, `<backup>.md5`: a line for each object, `<md5>  <path>.<number>`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;

use super::name::{chunk_name, parse_chunk_name};
use crate::pipeline::manifest::Digest;
use crate::repository::error::{Fault, RepositoryError};
use crate::repository::index::ENTRIES_MAX;
use crate::repository::store::Store;

/// An MD5 sum.
pub(super) type Md5Sum = [u8; 16];

/// Size of what is read of a list at once.
const RANGE_BYTES: u64 = 2 << 20;

/// The longest line: a sum, the longest path, a number.
const LINE_BYTES_MAX: usize = 1 << 10;

/// Sums by file and number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sums {
    files: BTreeMap<EntryPath, Vec<Md5Sum>>,
    chunks: u64,
    hash: Option<Digest>,
}

impl Sums {
    /// Reads a list; `None` if there is none of that name.
    pub(super) async fn read(store: &Store, name: &str) -> Result<Option<Self>, RepositoryError> {
        let Some(size) = store.size(name).await? else { return Ok(None) };
        let damaged = |fault| RepositoryError::damaged(store.full_name(name), fault);
        let mut parser = Parser::default();
        let mut hasher = blake3::Hasher::new();
        let mut at = 0;
        while at < size {
            let range = at..size.min(at + RANGE_BYTES);
            at = range.end;
            let bytes = store.read_range(name, range).await?;
            hasher.update(&bytes);
            parser.take(&bytes).map_err(damaged)?;
        }
        let sums = parser.end().map_err(damaged)?;
        Ok(Some(Self { hash: Some(hasher.finalize().into()), ..sums }))
    }

    /// A file's sums by number.
    pub(super) fn file(&self, path: &EntryPath) -> Option<&[Md5Sum]> {
        self.files.get(path).map(Vec::as_slice)
    }

    pub(super) fn paths(&self) -> impl Iterator<Item = &EntryPath> {
        self.files.keys()
    }

    /// Of the list as it was read.
    pub(super) const fn hash(&self) -> Option<Digest> {
        self.hash
    }
}

/// Lines may come in any order of files, but each file's in the order of its chunks.
#[derive(Default)]
struct Parser {
    sums: Sums,
    line: Vec<u8>,
}

impl Parser {
    fn take(&mut self, bytes: &Bytes) -> Result<(), Fault> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() > LINE_BYTES_MAX {
                return Err(Fault::Sums);
            }
            if self.line.ends_with(b"\n") {
                let line = core::mem::take(&mut self.line);
                self.add(&line[..line.len() - 1]).ok_or(Fault::Sums)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, line: &[u8]) -> Option<()> {
        let line = core::str::from_utf8(line).ok()?;
        let (sum, name) = line.split_once("  ")?;
        let (path, index) = parse_chunk_name(name)?;
        let sums = self.sums.files.entry(EntryPath::parse(path.as_bytes()).ok()?).or_default();
        self.sums.chunks += 1;
        (index == sums.len() as u64 && self.sums.chunks <= ENTRIES_MAX).then_some(())?;
        sums.push(parse_sum(sum)?);
        Some(())
    }

    fn end(self) -> Result<Sums, Fault> {
        if self.line.is_empty() { Ok(self.sums) } else { Err(Fault::Sums) }
    }
}

/// A file's lines of the list.
pub(super) fn lines(path: &str, sums: &[Md5Sum]) -> String {
    let mut text = String::new();
    for (index, sum) in (0..).zip(sums) {
        for byte in sum {
            // Writing into a string cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        let _ = writeln!(text, "  {}", chunk_name(path, index));
    }
    text
}

fn parse_sum(text: &str) -> Option<Md5Sum> {
    let mut sum = Md5Sum::default();
    if text.len() != 2 * sum.len() || !text.is_ascii() {
        return None;
    }
    for (byte, digits) in sum.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digits = core::str::from_utf8(digits).ok()?;
        digits.bytes().all(|digit| digit.is_ascii_hexdigit()).then_some(())?;
        *byte = u8::from_str_radix(digits, 16).ok()?;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pieces: &[&[u8]]) -> Result<Sums, Fault> {
        let mut parser = Parser::default();
        for piece in pieces {
            parser.take(&Bytes::copy_from_slice(piece))?;
        }
        parser.end()
    }

    #[test]
    fn a_list_is_read_as_it_was_written_however_it_is_cut() {
        let text = lines("db/t.ibd", &[[0xab; 16], [1; 16]]) + &lines("a b", &[[2; 16]]);
        assert!(
            text.starts_with("abababababababababababababababab  db/t.ibd.00000000000000000000\n")
        );
        let path = EntryPath::parse(b"db/t.ibd").expect("valid");
        for at in 0..text.len() {
            let (head, tail) = text.as_bytes().split_at(at);
            let sums = parse(&[head, tail]).expect("a list");
            assert_eq!(sums.file(&path), Some(&[[0xab; 16], [1; 16]][..]));
            assert_eq!(sums.paths().count(), 2);
        }
    }

    #[test]
    fn other_texts_are_no_list() {
        let sum = "ab".repeat(16);
        for text in [
            format!("{sum}  t.00000000000000000001\n"),
            format!("{sum} t.00000000000000000000\n"),
            format!("{sum}  t.00000000000000000000"),
            format!("{sum}  ../t.00000000000000000000\n"),
            format!("{}  t.00000000000000000000\n", "+1".repeat(16)),
            "x".repeat(5000),
        ] {
            assert_eq!(parse(&[text.as_bytes()]), Err(Fault::Sums), "{text}");
        }
    }
}
