//! Names of files in a stream: parsed once, safe from then on (spec 06 §1.14).

use core::borrow::Borrow;
use core::fmt;

/// Longest name in bytes that a stream can carry and be read back.
pub const PATH_BYTES_MAX: usize = 511;

/// A file's name below the data directory: relative, `/`-separated, no `..`, no NUL, never empty.
///
/// Bytes, not text: the format has no character set.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryPath(Box<[u8]>);

/// Why a stream's name is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// No name at all, or nothing but `.` and `/`.
    #[error("empty path")]
    Empty,
    /// Starts with `/`.
    #[error("absolute path")]
    Absolute,
    /// Has a `..` component.
    #[error("path leaves the target directory")]
    Escapes,
    /// Contains a NUL byte.
    #[error("NUL byte in path")]
    Nul,
    /// Ends with `/`: a directory, which streams do not carry.
    #[error("path names a directory")]
    Directory,
    /// Longer than [`PATH_BYTES_MAX`].
    #[error("path longer than 511 bytes")]
    TooLong,
}

impl EntryPath {
    /// Parses a name as it stands in a stream; `./` and doubled slashes are taken out.
    pub fn parse(raw: &[u8]) -> Result<Self, PathError> {
        Self::refuse(raw)?;
        let mut path = Vec::with_capacity(raw.len());
        for component in raw.split(|&byte| byte == b'/') {
            match component {
                b"" | b"." => continue,
                b".." => return Err(PathError::Escapes),
                _ => {}
            }
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(component);
        }
        if path.is_empty() { Err(PathError::Empty) } else { Ok(Self(path.into())) }
    }

    fn refuse(raw: &[u8]) -> Result<(), PathError> {
        if raw.is_empty() {
            return Err(PathError::Empty);
        }
        if raw.len() > PATH_BYTES_MAX {
            return Err(PathError::TooLong);
        }
        if raw.contains(&0) {
            return Err(PathError::Nul);
        }
        match (raw.first(), raw.last()) {
            (Some(b'/'), _) => Err(PathError::Absolute),
            (_, Some(b'/')) => Err(PathError::Directory),
            _ => Ok(()),
        }
    }

    /// The name as bytes, `/` between components.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Components from the top down.
    pub fn components(&self) -> impl Iterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/')
    }

    /// The directories above the file, nearest first; none for a file at the top.
    pub fn ancestors(&self) -> impl Iterator<Item = &[u8]> {
        let slashes = self.0.iter().enumerate().rev().filter(|&(_, &byte)| byte == b'/');
        slashes.map(|(at, _)| &self.0[..at])
    }

    /// The last component.
    pub fn file_name(&self) -> &[u8] {
        self.components().last().unwrap_or_default()
    }
}

impl Borrow<[u8]> for EntryPath {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.escape_ascii().fmt(f)
    }
}

impl fmt::Debug for EntryPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_names_stay_as_they_are() {
        for name in ["ibdata1", "db/t@0041.ibd", ".hidden", "..a", "a/b/c", "C:\\a"] {
            let path = EntryPath::parse(name.as_bytes()).expect(name);
            assert_eq!(path.as_bytes(), name.as_bytes());
        }
    }

    #[test]
    fn dot_and_doubled_slashes_are_taken_out() {
        let path = EntryPath::parse(b"./a//./b").expect("valid path");
        assert_eq!(path.as_bytes(), b"a/b");
        assert_eq!(path.file_name(), b"b");
    }

    #[test]
    fn ancestors_are_the_directories_above() {
        let path = EntryPath::parse(b"a/b/c").expect("valid path");
        assert_eq!(path.ancestors().collect::<Vec<_>>(), [b"a/b".as_slice(), b"a"]);
    }

    #[test]
    fn names_that_could_leave_the_target_are_refused() {
        let refused: [(&[u8], PathError); 7] = [
            (b"", PathError::Empty),
            (b".", PathError::Empty),
            (b"/etc/passwd", PathError::Absolute),
            (b"../x", PathError::Escapes),
            (b"a/../b", PathError::Escapes),
            (b"a\0b", PathError::Nul),
            (b"dir/", PathError::Directory),
        ];
        for (raw, error) in refused {
            assert_eq!(EntryPath::parse(raw), Err(error));
        }
        assert_eq!(EntryPath::parse(&[b'a'; 512]), Err(PathError::TooLong));
    }
}
