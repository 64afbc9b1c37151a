//! What a dump says about itself: at its beginning who made it, at its end that it is whole.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use jiff::Timestamp;

use crate::pipeline::manifest::Flavour;

/// How mysqldump and mariadb-dump end. A time may follow.
pub(super) const CLOSING_LINE: &str = "-- Dump completed";

/// Kept from the beginning: a few comment lines.
const HEAD_BYTES_MAX: usize = 4 << 10;

/// Kept from the end: the closing line, its time, and blank lines.
const TAIL_BYTES_MAX: usize = 256;

/// What a missing closing line means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClosingLine {
    /// There is no dump without it.
    Demanded,
    /// A warning.
    Expected,
    /// Nothing: the command does not write one.
    Unknown,
}

impl ClosingLine {
    /// What to make of a command: mysqldump and mariadb-dump write the line unless told not to.
    pub fn of_command(command: &[OsString]) -> Self {
        let [program, arguments @ ..] = command else { return Self::Unknown };
        let name = Path::new(program).file_name().and_then(OsStr::to_str);
        let writes_one = matches!(name, Some("mysqldump" | "mariadb-dump"));
        if writes_one && !arguments.iter().any(|argument| leaves_comments_out(argument)) {
            Self::Demanded
        } else {
            Self::Unknown
        }
    }
}

fn leaves_comments_out(argument: &OsStr) -> bool {
    const SWITCHES: [&str; 5] =
        ["--compact", "--skip-comments", "--comments=0", "--comments=off", "--comments=false"];
    argument.to_str().is_some_and(|text| SWITCHES.contains(&text.to_ascii_lowercase().as_str()))
}

/// What has passed so far.
#[derive(Debug, Default)]
pub(super) struct Content {
    bytes: u64,
    first_byte: Option<Timestamp>,
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// Facts from the comments at a dump's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) flavour: Flavour,
    pub(super) tool: Option<String>,
    pub(super) server: Option<String>,
    pub(super) host: Option<String>,
}

impl Content {
    /// Takes note of the next piece.
    pub(super) fn note(&mut self, piece: &[u8]) {
        self.first_byte.get_or_insert_with(Timestamp::now);
        self.bytes += piece.len() as u64;
        let room = HEAD_BYTES_MAX - self.head.len();
        self.head.extend_from_slice(&piece[..piece.len().min(room)]);
        self.tail.extend_from_slice(&piece[piece.len().saturating_sub(TAIL_BYTES_MAX)..]);
        let surplus = self.tail.len().saturating_sub(TAIL_BYTES_MAX);
        self.tail.drain(..surplus);
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) const fn first_byte(&self) -> Option<Timestamp> {
        self.first_byte
    }

    /// True if the last line that is not blank is the one by which dumps end.
    pub(super) fn has_closing_line(&self) -> bool {
        let tail = self.tail.trim_ascii_end();
        let last = tail.rsplit(|&byte| byte == b'\n').next().unwrap_or_default();
        last.starts_with(CLOSING_LINE.as_bytes())
    }

    pub(super) fn head(&self) -> Head {
        let text = String::from_utf8_lossy(&self.head);
        let after = |mark: &str| {
            let rest = text.lines().find_map(|line| line.strip_prefix(mark))?;
            rest.split_whitespace().next().map(str::to_owned)
        };
        let flavour = if text.contains("\n-- MariaDB dump") || text.starts_with("-- MariaDB dump") {
            Flavour::Mariadb
        } else {
            Flavour::Unknown
        };
        Head {
            flavour,
            tool: after("-- MariaDB dump").or_else(|| after("-- MySQL dump")),
            server: after("-- Server version"),
            host: after("-- Host:"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARIADB: &[u8] = b"/*M!999999\\- enable the sandbox mode */ \n\
        -- MariaDB dump 10.19  Distrib 10.11.19-MariaDB, for debian-linux-gnu (x86_64)\n--\n\
        -- Host: db.example    Database: shop\n-- ------\n-- Server version\t10.11.19-MariaDB-0\n";

    fn content(pieces: &[&[u8]]) -> Content {
        let mut content = Content::default();
        pieces.iter().for_each(|piece| content.note(piece));
        content
    }

    #[test]
    fn the_head_tells_who_made_the_dump() {
        let head = Head {
            flavour: Flavour::Mariadb,
            tool: Some("10.19".into()),
            server: Some("10.11.19-MariaDB-0".into()),
            host: Some("db.example".into()),
        };
        let (first, second) = MARIADB.split_at(100);
        assert_eq!(content(&[first, second]).head(), head);
        let nothing = Head { flavour: Flavour::Unknown, tool: None, server: None, host: None };
        assert_eq!(content(&[b"\xff\n-- \n"]).head(), nothing);
    }

    #[test]
    fn the_closing_line_counts_only_at_the_very_end() {
        let long = [b'x'; 5000];
        let whole: &[&[u8]] = &[&long, b"\n-- Dump comp", b"leted on 2026-11-22 16:32:20\n\n"];
        assert!(content(whole).has_closing_line());
        assert!(content(&[b"-- Dump completed"]).has_closing_line());
        for pieces in [
            &[b"-- Dump completed\nINSERT".as_slice()] as &[&[u8]],
            &[],
            &[b"x -- Dump completed\n"],
            &[&long],
        ] {
            assert!(!content(pieces).has_closing_line(), "{pieces:?}");
        }
    }

    #[test]
    fn only_commands_that_write_the_line_are_asked_for_it() {
        let of = |line: &str| {
            let command: Vec<OsString> = line.split(' ').map(OsString::from).collect();
            ClosingLine::of_command(&command)
        };
        assert_eq!(of("mariadb-dump --all-databases"), ClosingLine::Demanded);
        assert_eq!(of("/usr/bin/mysqldump shop"), ClosingLine::Demanded);
        assert_eq!(of("mysqldump --skip-comments shop"), ClosingLine::Unknown);
        assert_eq!(of("pg_dump shop"), ClosingLine::Unknown);
        assert_eq!(ClosingLine::of_command(&[]), ClosingLine::Unknown);
    }
}
