//! What a donor has: the files of a directory, or files that are computed as they are sent.
//!
//! A directory is looked at once, at the start; its files are opened as they are sent, so it must not
//! change meanwhile. What closes a backup and is not there is made up, for most directories are none
//! that a backup tool has written.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use galera_protocol::sst::metadata::Position;
use galera_protocol::sst::request::Method;
use galera_protocol::xbstream::{EntryPath, PathError};

use super::closing;
use super::generate::Noise;

/// Most files of a directory: what a reader of streams takes.
const FILES_MAX: usize = galera_protocol::xbstream::FILES_MAX;

/// Directories below each other that are followed.
const DEPTH_MAX: usize = 64;

/// Longest small file (a position, a summary) that is looked into.
const SMALL_BYTES_MAX: u64 = 64 << 10;

/// Largest generated file.
const GENERATED_FILE_BYTES_MAX: u64 = 256 << 20;

/// Size of a generated system tablespace, if so much is asked for.
const SYSTEM_TABLESPACE_BYTES: u64 = 12 << 20;

/// Why a directory cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    /// Something in it cannot be read.
    #[error("read {path}")]
    Read {
        /// What.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Neither a file nor a directory, which is all that a stream can carry.
    #[error("{0} is not a regular file or directory")]
    Kind(PathBuf),
    /// The name cannot stand in a stream.
    #[error("name {path}")]
    Name {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: PathError,
    },
    /// Too many files, or directories in directories.
    #[error("{0} has more than {FILES_MAX} files, or {DEPTH_MAX} directories below each other")]
    Limit(PathBuf),
}

/// Where the bytes of a file come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// A file on disk, as long as it is when it is read.
    Disk(PathBuf),
    /// A generated one.
    Noise {
        /// What is in it.
        noise: Noise,
        /// How long it is.
        length: u64,
    },
    /// A small one.
    Text(Bytes),
}

/// A file to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name in the stream.
    pub name: EntryPath,
    pub(super) body: Body,
}

/// What a donor has.
#[derive(Clone, Debug)]
pub struct Content {
    /// Data first, closing files in their order.
    entries: Vec<Entry>,
    /// Where the data stands, if it says so.
    pub position: Option<Position>,
    /// The only method that this data goes with, if it is a real backup.
    pub method: Option<Method>,
}

impl Content {
    /// The files below a directory, as they are now.
    pub fn directory(root: &Path) -> Result<Self, ContentError> {
        let mut entries = Vec::new();
        gather(root, &PathBuf::new(), 0, &mut entries)?;
        entries.sort_by_key(|entry| closing::rank(entry.name.as_bytes()));
        let small = |names: [&str; 2]| {
            let text = names.iter().find_map(|name| read_small(&root.join(name)));
            text.unwrap_or_default()
        };
        let position = small(["xtrabackup_galera_info", "mariadb_backup_galera_info"]);
        let method = method_of(&small(["xtrabackup_info", "mariadb_backup_info"]));
        Ok(Self { entries, position: parse_position(&position), method })
    }

    /// Files of so many bytes together, the same for the same seed.
    pub fn generated(bytes: u64, seed: u64) -> Self {
        let system = bytes.min(SYSTEM_TABLESPACE_BYTES);
        let mut sizes = vec![("ibdata1".to_owned(), system)];
        let mut left = bytes - system;
        while left > 0 {
            let size = left.min(GENERATED_FILE_BYTES_MAX);
            sizes.push((format!("shop/t{:05}.ibd", sizes.len()), size));
            left -= size;
        }
        let entry = |(file, (name, length)): (u64, (String, u64))| {
            let noise = Noise { seed, file };
            let name = EntryPath::parse(name.as_bytes()).ok()?;
            Some(Entry { name, body: Body::Noise { noise, length } })
        };
        let entries = (0..).zip(sizes).filter_map(entry).collect();
        Self { entries, position: None, method: None }
    }

    /// Everything that is sent for a request, closing files last; without those named in `omit`.
    pub fn entries(&self, method: Method, position: Position, omit: &[String]) -> Vec<Entry> {
        let has = |name: &str| self.entries.iter().any(|e| e.name.as_bytes() == name.as_bytes());
        let made = closing::missing(method, position, has);
        let made = made.into_iter().filter_map(|(name, text)| {
            let name = EntryPath::parse(name.as_bytes()).ok()?;
            Some(Entry { name, body: Body::Text(text) })
        });
        let mut all: Vec<_> = self.entries.iter().cloned().chain(made).collect();
        all.sort_by_key(|entry| closing::rank(entry.name.as_bytes()));
        all.retain(|entry| !omit.iter().any(|name| name.as_bytes() == entry.name.as_bytes()));
        all
    }
}

impl Entry {
    /// A small file with this content.
    pub fn text(name: &'static str, content: impl Into<Bytes>) -> Option<Self> {
        let name = EntryPath::parse(name.as_bytes()).ok()?;
        Some(Self { name, body: Body::Text(content.into()) })
    }

    /// True for the files that come after all data, one after the other.
    pub(super) fn is_closing(&self) -> bool {
        closing::rank(self.name.as_bytes()) > 0
    }
}

/// An entry that is being read.
#[derive(Debug)]
pub(super) enum OpenBody {
    Disk(File, u64),
    Noise { noise: Noise, at: u64, length: u64 },
    Text(Bytes),
}

impl Body {
    pub(super) fn open(&self) -> io::Result<OpenBody> {
        Ok(match self {
            Self::Disk(path) => OpenBody::Disk(File::open(path)?, 0),
            Self::Noise { noise, length } => {
                OpenBody::Noise { noise: *noise, at: 0, length: *length }
            }
            Self::Text(text) => OpenBody::Text(text.clone()),
        })
    }
}

impl OpenBody {
    /// Fills as much of `out` as there is; 0 at the end.
    pub(super) fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Disk(file, at) => {
                let count = read_full(file, *at, out)?;
                *at += count as u64;
                Ok(count)
            }
            Self::Noise { noise, at, length } => {
                let left = usize::try_from(*length - *at).unwrap_or(usize::MAX);
                let count = left.min(out.len());
                noise.fill(*at, &mut out[..count]);
                *at += count as u64;
                Ok(count)
            }
            Self::Text(text) => {
                let part = text.split_to(text.len().min(out.len()));
                out[..part.len()].copy_from_slice(&part);
                Ok(part.len())
            }
        }
    }
}

fn read_full(file: &File, at: u64, out: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < out.len() {
        match file.read_at(&mut out[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

fn gather(
    root: &Path,
    below: &Path,
    depth: usize,
    entries: &mut Vec<Entry>,
) -> Result<(), ContentError> {
    let directory = root.join(below);
    if depth > DEPTH_MAX {
        return Err(ContentError::Limit(directory));
    }
    let failed = |source| ContentError::Read { path: directory.clone(), source };
    let found = fs::read_dir(&directory).map_err(failed)?.collect::<io::Result<Vec<_>>>();
    let mut found = found.map_err(failed)?;
    found.sort_by_key(fs::DirEntry::file_name);
    for entry in found {
        let path = below.join(entry.file_name());
        if closing::is_never_sent(entry.file_name().as_bytes()) {
            continue;
        }
        // A link could lead anywhere.
        let kind = entry.file_type().map_err(failed)?;
        if kind.is_dir() {
            gather(root, &path, depth + 1, entries)?;
        } else if kind.is_file() {
            entries.push(disk_entry(root, &path)?);
        } else {
            return Err(ContentError::Kind(root.join(path)));
        }
        if entries.len() > FILES_MAX {
            return Err(ContentError::Limit(root.to_path_buf()));
        }
    }
    Ok(())
}

fn disk_entry(root: &Path, path: &Path) -> Result<Entry, ContentError> {
    let name = EntryPath::parse(path.as_os_str().as_bytes())
        .map_err(|source| ContentError::Name { path: root.join(path), source })?;
    Ok(Entry { name, body: Body::Disk(root.join(path)) })
}

fn read_small(path: &Path) -> Option<String> {
    let mut text = String::new();
    File::open(path).ok()?.take(SMALL_BYTES_MAX).read_to_string(&mut text).ok()?;
    Some(text)
}

fn parse_position(text: &str) -> Option<Position> {
    let (state, rest) = text.lines().next()?.split_once(':')?;
    let seqno = rest.split([' ', '\t']).next()?.parse().ok()?;
    Some(Position { state: state.parse().ok()?, seqno })
}

fn method_of(info: &str) -> Option<Method> {
    let tool = info.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "tool_name").then(|| value.trim())
    })?;
    let is_mariadb = tool.contains("maria");
    Some(if is_mariadb { Method::Mariabackup } else { Method::XtrabackupV2 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position() -> Position {
        Position { state: "3ae18adc-e690-11f1-aa68-dbedcff0437f".parse().expect("valid"), seqno: 7 }
    }

    fn names(entries: &[Entry]) -> Vec<String> {
        entries.iter().map(|entry| entry.name.to_string()).collect()
    }

    #[test]
    fn a_plain_directory_gets_the_files_that_close_a_backup_behind_its_own() {
        let root = tempfile::tempdir().expect("directory");
        fs::create_dir(root.path().join("db")).expect("directory");
        for name in ["zeta", "db/a.ibd", "grastate.dat", "ibdata1"] {
            fs::write(root.path().join(name), name).expect("written");
        }
        let content = Content::directory(root.path()).expect("readable");
        assert_eq!((content.position, content.method), (None, None));
        let sent = names(&content.entries(Method::Mariabackup, position(), &[]));
        assert_eq!(sent[..3], ["db/a.ibd", "ibdata1", "zeta"]);
        assert_eq!(sent.last().map(String::as_str), Some("xtrabackup_info"));
        let sent = names(&content.entries(Method::XtrabackupV2, position(), &[]));
        assert_eq!(sent.last().map(String::as_str), Some("xtrabackup_tablespaces"));
    }

    #[test]
    fn a_real_backup_is_sent_as_it_is_in_a_donors_order() {
        let root = tempfile::tempdir().expect("directory");
        let line = format!("{} 0\n", position());
        for (name, text) in [
            ("mariadb_backup_info", "tool_name = mariadb-backup\nend_time = 2026-01-01\n"),
            ("mariadb_backup_galera_info", line.as_str()),
            ("donor_galera_info", line.as_str()),
            ("mariadb_backup_checkpoints", "backup_type = full-backuped\n"),
            ("backup-my.cnf", "[mysqld]\n"),
            ("ib_logfile0", "redo"),
            ("undo001", "undo"),
        ] {
            fs::write(root.path().join(name), text).expect("written");
        }
        let content = Content::directory(root.path()).expect("readable");
        assert_eq!(
            (content.position, content.method),
            (Some(position()), Some(Method::Mariabackup))
        );
        let expected = [
            "undo001",
            "mariadb_backup_galera_info",
            "donor_galera_info",
            "ib_logfile0",
            "mariadb_backup_checkpoints",
            "backup-my.cnf",
            "mariadb_backup_info",
        ];
        assert_eq!(names(&content.entries(Method::Mariabackup, position(), &[])), expected);
    }

    #[test]
    fn a_link_is_not_followed() {
        let root = tempfile::tempdir().expect("directory");
        std::os::unix::fs::symlink("/etc/passwd", root.path().join("link")).expect("link");
        assert!(matches!(Content::directory(root.path()), Err(ContentError::Kind(_))));
    }

    #[test]
    fn generated_files_have_the_size_that_was_asked_for() {
        for bytes in [0, 1, 12 << 20, (600 << 20) + 3] {
            let content = Content::generated(bytes, 1);
            let length = |entry: &Entry| match entry.body {
                Body::Noise { length, .. } => length,
                Body::Disk(_) | Body::Text(_) => 0,
            };
            assert_eq!(content.entries.iter().map(length).sum::<u64>(), bytes);
        }
    }

    #[test]
    fn what_is_to_be_left_out_is_left_out() {
        let content = Content::generated(1, 1);
        let omit = ["xtrabackup_info".to_owned()];
        let sent = names(&content.entries(Method::Mariabackup, position(), &omit));
        assert!(!sent.contains(&omit[0]));
        assert!(sent.contains(&"xtrabackup_checkpoints".to_owned()));
    }
}
