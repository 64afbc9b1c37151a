//! Whether the files that close a backup are there (spec 05 §4.5, 06 §1.16).
//!
//! A stream has no end mark: one that was cut between two chunks, or whose tool failed half-way, reads
//! like a whole one. Backup tools write a few small files last; that they are there, and that the
//! info file names the time at which the backup ended, is one witness of five.
//!
//! Not here: the other witnesses. Framing and end of the stream are [`super::reader`]'s, the donor's
//! own verdict is the group's, the commit is the sink's.

use core::fmt;

use super::path::EntryPath;

/// What a backup program appends to a name that it compresses or encrypts.
const SUFFIXES: [&[u8]; 4] = [b".qp", b".lz4", b".zst", b".xbcrypt"];

/// Largest content of a closing file that is worth keeping, in bytes.
pub const KEPT_BYTES_MAX: usize = 64 << 10;

/// Whose backup tool wrote a stream: decides what must be in it. Ordered by how telling the names are
/// that only its streams have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Flavour {
    /// Percona XtraBackup 2.4, for MySQL 5.7.
    XtraBackup24,
    /// Percona XtraBackup 8.0 and later.
    XtraBackup,
    /// mariadb-backup.
    MariaDb,
}

/// What is known about a stream from elsewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expected {
    /// Whose tool it is; none: told from the files.
    pub flavour: Option<Flavour>,
    /// The donor announced a transition key, so keys must be in the backup.
    pub transition_key: bool,
}

/// A file that closes a backup, whatever its name in a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClosingFile {
    /// `xtrabackup_checkpoints` or `mariadb_backup_checkpoints`.
    Checkpoints,
    /// `xtrabackup_info` or `mariadb_backup_info`.
    Info,
    /// `backup-my.cnf`.
    ServerOptions,
    /// `xtrabackup_logfile`, or MariaDB's `ib_logfile0`.
    Redo,
    /// `xtrabackup_tablespaces`.
    Tablespaces,
    /// `xtrabackup_keys`.
    Keys,
}

/// What keeps a set of files from being a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gap {
    /// A closing file is not there.
    #[error("{0} is missing")]
    Missing(ClosingFile),
    /// A closing file has no content.
    #[error("{0} is empty")]
    Empty(ClosingFile),
    /// The info file is too large to be one.
    #[error("the info file cannot be read")]
    UnreadableInfo,
    /// The info file does not say when the backup ended.
    #[error("the info file has no end_time")]
    NoEndTime,
}

/// What the files of a stream say about the backup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completeness {
    /// Whose tool wrote it, if that can be told.
    pub flavour: Option<Flavour>,
    /// The closing files that are there, by the names that they have.
    pub found: Vec<EntryPath>,
    /// Why it is not complete; empty if it is.
    pub gaps: Vec<Gap>,
}

impl Completeness {
    /// Whether nothing is missing.
    pub fn is_complete(&self) -> bool {
        self.gaps.is_empty()
    }
}

/// Looks at the files of a stream that ended well.
#[derive(Debug, Default)]
pub struct ClosingFiles<'a> {
    found: Vec<(ClosingFile, &'a EntryPath, u64)>,
    named: Option<Flavour>,
    info: Option<&'a [u8]>,
}

impl<'a> ClosingFiles<'a> {
    /// Gathers from all files and their sizes; `info` is the content of the info file, if it was kept.
    pub fn new(files: impl Iterator<Item = (&'a EntryPath, u64)>, info: Option<&'a [u8]>) -> Self {
        let mut this = Self { info, ..Self::default() };
        for (path, size) in files {
            this.add(path, size);
        }
        this
    }

    fn add(&mut self, path: &'a EntryPath, size: u64) {
        if let Some(file) = ClosingFile::from_path(path) {
            self.found.push((file, path, size));
        }
        self.named = self.named.max(Flavour::from_name(plain_name(path)));
    }

    /// Judges.
    pub fn judge(&self, expected: Expected) -> Completeness {
        let flavour = expected.flavour.or_else(|| self.flavour_by_info()).or(self.named);
        let mut gaps: Vec<Gap> =
            expected.files(flavour).filter_map(|file| self.gap(file)).collect();
        gaps.extend(self.info_gap());
        let found = self.found.iter().map(|&(_, path, _)| path.clone()).collect();
        Completeness { flavour, found, gaps }
    }

    fn gap(&self, wanted: ClosingFile) -> Option<Gap> {
        match self.found.iter().find(|&&(file, ..)| file == wanted) {
            None => Some(Gap::Missing(wanted)),
            Some((_, _, 0)) => Some(Gap::Empty(wanted)),
            Some(_) => None,
        }
    }

    fn info_gap(&self) -> Option<Gap> {
        let &(_, path, size) = self.found.iter().find(|&&(file, ..)| file == ClosingFile::Info)?;
        // A compressed or encrypted one cannot be looked into; an empty one is reported as such.
        if plain_name(path) != path.as_bytes() || size == 0 {
            return None;
        }
        let Some(info) = self.info else { return Some(Gap::UnreadableInfo) };
        if info_value(info, "end_time").is_some() { None } else { Some(Gap::NoEndTime) }
    }

    fn flavour_by_info(&self) -> Option<Flavour> {
        let info = self.info?;
        if info_value(info, "tool_name").is_some_and(|name| name.contains("maria")) {
            return Some(Flavour::MariaDb);
        }
        let tool = info_value(info, "tool_version")?;
        Some(if tool.starts_with("2.") { Flavour::XtraBackup24 } else { Flavour::XtraBackup })
    }
}

impl Expected {
    fn files(self, flavour: Option<Flavour>) -> impl Iterator<Item = ClosingFile> {
        use ClosingFile::{Checkpoints, Info, Keys, Redo, ServerOptions, Tablespaces};
        let tablespaces = (flavour == Some(Flavour::XtraBackup)).then_some(Tablespaces);
        let keys = self.transition_key.then_some(Keys);
        [Checkpoints, Info, ServerOptions, Redo].into_iter().chain(tablespaces).chain(keys)
    }
}

impl Flavour {
    /// What a file's name says of its writer. MariaDB took over most of XtraBackup's names.
    fn from_name(name: &[u8]) -> Option<Self> {
        match name {
            b"aria_log_control" | b"donor_galera_info" | b"ib_logfile0" => Some(Self::MariaDb),
            _ if name.starts_with(b"mariadb_backup_") => Some(Self::MariaDb),
            b"mysql.ibd" | b"xtrabackup_tablespaces" => Some(Self::XtraBackup),
            b"xtrabackup_logfile" => Some(Self::XtraBackup24),
            _ => None,
        }
    }
}

impl ClosingFile {
    /// Which closing file a name means, if any; suffixes of compression and encryption do not matter.
    pub fn from_path(path: &EntryPath) -> Option<Self> {
        match plain_name(path) {
            b"xtrabackup_checkpoints" | b"mariadb_backup_checkpoints" => Some(Self::Checkpoints),
            b"xtrabackup_info" | b"mariadb_backup_info" => Some(Self::Info),
            b"backup-my.cnf" => Some(Self::ServerOptions),
            b"xtrabackup_logfile" | b"ib_logfile0" => Some(Self::Redo),
            b"xtrabackup_tablespaces" => Some(Self::Tablespaces),
            b"xtrabackup_keys" => Some(Self::Keys),
            _ => None,
        }
    }
}

impl fmt::Display for ClosingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checkpoints => "the checkpoints file",
            Self::Info => "the info file",
            Self::ServerOptions => "backup-my.cnf",
            Self::Redo => "the redo log",
            Self::Tablespaces => "xtrabackup_tablespaces",
            Self::Keys => "xtrabackup_keys",
        })
    }
}

/// Whether a file is small and says something about the backup, so that its content should be kept:
/// info, checkpoints, positions and server options, unless compressed or encrypted.
pub fn is_about_backup(path: &EntryPath) -> bool {
    const ABOUT: [&[u8]; 5] =
        [b"_info", b"_checkpoints", b"backup-my.cnf", b"_galera_info", b"_binlog_info"];
    const TOOLS: [&[u8]; 4] = [b"xtrabackup_", b"mariadb_backup_", b"donor_", b"backup-my"];
    let name = path.as_bytes();
    TOOLS.iter().any(|tool| name.starts_with(tool))
        && ABOUT.iter().any(|about| name.ends_with(about))
}

/// A value of an info file: lines of `key = value`. Empty values count as absent.
pub fn info_value<'a>(info: &'a [u8], key: &str) -> Option<&'a str> {
    let text = info.split(|&byte| byte == b'\n').filter_map(|line| core::str::from_utf8(line).ok());
    let mut pairs = text.filter_map(|line| line.split_once('='));
    let (_, value) = pairs.find(|(name, _)| name.trim() == key)?;
    Some(value.trim()).filter(|value| !value.is_empty())
}

/// The name without suffixes; closing files lie at the top, so directories stay part of it.
fn plain_name(path: &EntryPath) -> &[u8] {
    let mut name = path.as_bytes();
    while let Some(plain) = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(*suffix)) {
        name = plain;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    const INFO: &[u8] = b"tool_name = mariadb-backup\ntool_version = 10.11.19-MariaDB\n\
        server_version = 10.11.19-MariaDB\nend_time = 2026-11-22 16:32:20\npartial = Y\n";
    const MARIADB: [&str; 5] =
        ["ibdata1", "ib_logfile0", "xtrabackup_checkpoints", "backup-my.cnf", "xtrabackup_info"];
    const PERCONA_8: [&str; 6] = [
        "mysql.ibd.zst",
        "xtrabackup_logfile.zst",
        "xtrabackup_checkpoints",
        "backup-my.cnf.zst",
        "xtrabackup_info.zst.xbcrypt",
        "xtrabackup_tablespaces.zst",
    ];

    fn judge(names: &[&str], info: Option<&[u8]>, expected: Expected) -> Completeness {
        let paths: Vec<EntryPath> =
            names.iter().map(|name| EntryPath::parse(name.as_bytes()).expect("path")).collect();
        ClosingFiles::new(paths.iter().map(|path| (path, 1)), info).judge(expected)
    }

    fn unknown(names: &[&str], info: Option<&[u8]>) -> Completeness {
        judge(names, info, Expected::default())
    }

    #[test]
    fn a_mariadb_backup_with_its_closing_set_is_complete() {
        let seen = unknown(&MARIADB, Some(INFO));
        assert_eq!((seen.flavour, seen.gaps.as_slice()), (Some(Flavour::MariaDb), &[][..]));
        assert_eq!(seen.found.len(), 4);
    }

    #[test]
    fn names_of_mariadb_11_count_as_well() {
        let names =
            ["ib_logfile0", "mariadb_backup_checkpoints", "backup-my.cnf", "mariadb_backup_info"];
        assert!(unknown(&names, Some(INFO)).is_complete());
    }

    #[test]
    fn compressed_and_encrypted_members_count_by_their_plain_names() {
        let seen = unknown(&PERCONA_8, None);
        assert_eq!((seen.flavour, seen.gaps.as_slice()), (Some(Flavour::XtraBackup), &[][..]));
    }

    #[test]
    fn each_missing_member_is_named() {
        for left_out in 1..MARIADB.len() {
            let mut names = MARIADB.to_vec();
            let name = names.remove(left_out);
            let file = ClosingFile::from_path(&EntryPath::parse(name.as_bytes()).expect("path"));
            let gaps = unknown(&names, Some(INFO)).gaps;
            assert_eq!(gaps, [Gap::Missing(file.expect("a closing file"))]);
        }
    }

    #[test]
    fn an_empty_stream_lacks_everything_and_has_no_flavour() {
        let seen = unknown(&[], None);
        assert_eq!((seen.flavour, seen.gaps.len()), (None, 4));
    }

    #[test]
    fn xtrabackup_8_must_have_sent_its_tablespaces() {
        let cut = &PERCONA_8[..5];
        assert_eq!(unknown(cut, None).gaps, [Gap::Missing(ClosingFile::Tablespaces)]);
    }

    #[test]
    fn xtrabackup_24_has_no_tablespaces_file() {
        let names =
            ["xtrabackup_logfile", "xtrabackup_checkpoints", "backup-my.cnf", "xtrabackup_info"];
        let info = b"tool_version = 2.4.29\nend_time = now\n";
        let seen = unknown(&names, Some(info));
        assert_eq!((seen.flavour, seen.is_complete()), (Some(Flavour::XtraBackup24), true));
        let newer = b"tool_version = 8.0.35-31\nend_time = now\n";
        let gaps = unknown(&names, Some(newer)).gaps;
        assert_eq!(gaps, [Gap::Missing(ClosingFile::Tablespaces)]);
    }

    #[test]
    fn keys_are_required_if_a_transition_key_was_announced() {
        let expected = Expected { flavour: None, transition_key: true };
        assert_eq!(judge(&PERCONA_8, None, expected).gaps, [Gap::Missing(ClosingFile::Keys)]);
    }

    #[test]
    fn a_backup_that_never_ended_says_so_in_its_info_file() {
        let info = b"tool_name = mariadb-backup\nend_time = \n";
        assert_eq!(unknown(&MARIADB, Some(info)).gaps, [Gap::NoEndTime]);
        assert_eq!(unknown(&MARIADB, None).gaps, [Gap::UnreadableInfo]);
    }

    #[test]
    fn an_empty_closing_file_does_not_count() {
        let paths: Vec<EntryPath> =
            MARIADB.iter().map(|name| EntryPath::parse(name.as_bytes()).expect("path")).collect();
        let files = ClosingFiles::new(paths.iter().map(|path| (path, 0)), None);
        let gaps = files.judge(Expected::default()).gaps;
        assert_eq!(gaps.len(), 4);
        assert!(gaps.contains(&Gap::Empty(ClosingFile::Info)));
    }

    #[test]
    fn a_closing_name_in_a_directory_is_a_users_file() {
        let path = EntryPath::parse(b"db/xtrabackup_info").expect("path");
        assert_eq!(ClosingFile::from_path(&path), None);
        assert!(!is_about_backup(&path));
    }

    #[test]
    fn small_files_about_the_backup_are_kept() {
        for name in [
            "xtrabackup_info",
            "mariadb_backup_galera_info",
            "donor_galera_info",
            "xtrabackup_checkpoints",
            "xtrabackup_binlog_info",
            "backup-my.cnf",
        ] {
            assert!(is_about_backup(&EntryPath::parse(name.as_bytes()).expect("path")), "{name}");
        }
    }
}
