//! Names of backups: the time, then enough randomness that two jobs never meet.

use core::fmt;
use core::str::FromStr;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

/// A backup's name, `20260131T235959Z-1a2b3c4d`: UTC to the second, then eight hexadecimal digits.
///
/// Its order as text is the order in time. It is safe as a file name and in a URL.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

/// The text is not a backup's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("parse backup id: expected the form 20260131T235959Z-1a2b3c4d")]
pub struct ParseBackupIdError;

const TIME_FORMAT: &str = "%Y%m%dT%H%M%SZ";
const TIME_CHARS: usize = 16;

/// The longest name of a directory.
const FOREIGN_CHARS_MAX: usize = 255;

impl BackupId {
    /// Names a backup that begins now; `random` tells it from others of the same second.
    pub fn new(now: Timestamp, random: u32) -> Self {
        let time = now.to_zoned(TimeZone::UTC).strftime(TIME_FORMAT).to_string();
        Self(format!("{time}-{random:08x}"))
    }

    /// Names a backup that begins now.
    pub fn generate() -> Self {
        let [a, b, c, d, ..] = uuid::Uuid::new_v4().into_bytes();
        Self::new(Timestamp::now(), u32::from_be_bytes([a, b, c, d]))
    }

    /// The name of a backup that another program wrote; none if it could not be that of one directory.
    pub fn foreign(name: &str) -> Option<Self> {
        let is_part = !matches!(name, "" | "." | "..") && name.len() <= FOREIGN_CHARS_MAX;
        let is_plain = !name.contains(|c: char| c == '/' || c.is_ascii_control());
        (is_part && is_plain).then(|| Self(name.to_owned()))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The second in which the backup began.
    pub fn time(&self) -> Option<Timestamp> {
        let civil = jiff::civil::DateTime::strptime(TIME_FORMAT, self.0.get(..TIME_CHARS)?).ok()?;
        civil.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    }
}

impl FromStr for BackupId {
    type Err = ParseBackupIdError;

    fn from_str(text: &str) -> Result<Self, ParseBackupIdError> {
        let is_legal = |(at, byte): (usize, u8)| match at {
            8 => byte == b'T',
            15 => byte == b'Z',
            16 => byte == b'-',
            0..=14 => byte.is_ascii_digit(),
            17.. => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        };
        if text.len() == TIME_CHARS + 9 && text.bytes().enumerate().all(is_legal) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ParseBackupIdError)
        }
    }
}

impl TryFrom<String> for BackupId {
    type Error = ParseBackupIdError;

    fn try_from(text: String) -> Result<Self, ParseBackupIdError> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("valid time")
    }

    #[test]
    fn ids_sort_by_time_and_tell_it() {
        let first = BackupId::new(at("2026-01-31T23:59:59Z"), u32::MAX);
        let second = BackupId::new(at("2026-02-01T00:00:00Z"), 0);
        assert_eq!(first.as_str(), "20260131T235959Z-ffffffff");
        assert!(first < second);
        assert_eq!(first.time(), Some(at("2026-01-31T23:59:59Z")));
        assert_eq!(first.as_str().parse(), Ok(first));
    }

    #[test]
    fn other_names_are_no_ids() {
        for text in ["", "packs", "../../../../etc/passwd-0000", "20260131T235959Z-1A2B3C4D"] {
            assert_eq!(text.parse::<BackupId>(), Err(ParseBackupIdError), "{text}");
        }
    }
}
