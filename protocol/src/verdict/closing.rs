//! The files that end a backup, by flavour of the donor (spec 05 §4.5, 06 §1.16).
//!
//! Backup programs write them last, so a stream that was cut lacks at least one. Names are
//! compared without the suffixes of per-file compression and encryption, and in the spelling of
//! every release.

use core::fmt;
use std::collections::BTreeSet;

use super::ClosingFiles;
use crate::sst::metadata::{Flavour, Metadata};
use crate::sst::sniff::base_name;
use crate::xbstream::EntryPath;

/// Longest summary file that is worth keeping for [`ClosingSet::on_summary`], in bytes.
pub const SUMMARY_BYTES_MAX: usize = 64 * 1024;

/// A file that ends a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ClosingFile {
    /// `xtrabackup_checkpoints`, `mariadb_backup_checkpoints`.
    Checkpoints,
    /// `xtrabackup_info`, `mariadb_backup_info`: the summary.
    Info,
    /// `backup-my.cnf`.
    Configuration,
    /// `xtrabackup_logfile`, and in MariaDB `ib_logfile0`.
    Redo,
    /// `xtrabackup_tablespaces`, from 8.0 on the last file of all backups.
    Tablespaces,
    /// `xtrabackup_keys`, if the donor sent a transition key.
    Keys,
}

impl ClosingFile {
    /// The closing file that has this name in a stream, if one has.
    pub fn named(path: &EntryPath) -> Option<Self> {
        match base_name(path.as_bytes()) {
            b"xtrabackup_checkpoints" | b"mariadb_backup_checkpoints" => Some(Self::Checkpoints),
            b"xtrabackup_info" | b"mariadb_backup_info" => Some(Self::Info),
            b"backup-my.cnf" => Some(Self::Configuration),
            b"xtrabackup_logfile" | b"mariadb_backup_logfile" | b"ib_logfile0" => Some(Self::Redo),
            b"xtrabackup_tablespaces" => Some(Self::Tablespaces),
            b"xtrabackup_keys" => Some(Self::Keys),
            _ => None,
        }
    }
}

impl fmt::Display for ClosingFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checkpoints => "xtrabackup_checkpoints",
            Self::Info => "xtrabackup_info",
            Self::Configuration => "backup-my.cnf",
            Self::Redo => "the redo log",
            Self::Tablespaces => "xtrabackup_tablespaces",
            Self::Keys => "xtrabackup_keys",
        })
    }
}

/// What must be there, derived from the donor's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected(Vec<ClosingFile>);

impl Expected {
    /// What every donor sends.
    const ALWAYS: [ClosingFile; 4] = [
        ClosingFile::Checkpoints,
        ClosingFile::Redo,
        ClosingFile::Configuration,
        ClosingFile::Info,
    ];

    /// What a donor that sent this metadata must send.
    pub fn from_metadata(metadata: &Metadata) -> Self {
        let mut files = Self::ALWAYS.to_vec();
        let percona = metadata.flavour == Some(Flavour::PerconaXtraDbCluster);
        if percona && writes_tablespaces(metadata.server_version.as_deref()) {
            files.push(ClosingFile::Tablespaces);
        }
        if metadata.transition_key.is_some() {
            files.push(ClosingFile::Keys);
        }
        Self(files)
    }
}

/// XtraBackup 8.0 and later do. A donor that does not tell its version is older than 5.7.19.
fn writes_tablespaces(server_version: Option<&str>) -> bool {
    server_version.is_some_and(|version| !version.starts_with("5."))
}

/// Collects the closing files of one stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClosingSet {
    seen: BTreeSet<ClosingFile>,
    lacks_end_time: bool,
}

impl ClosingSet {
    /// A file has got its end chunk.
    pub fn on_file(&mut self, path: &EntryPath) {
        self.seen.extend(ClosingFile::named(path));
    }

    /// A file was removed, or renamed to something else, by a later chunk.
    pub fn on_removed(&mut self, path: &EntryPath) {
        if let Some(file) = ClosingFile::named(path) {
            self.seen.remove(&file);
        }
    }

    /// The content of the summary, when it is neither compressed nor encrypted.
    pub fn on_summary(&mut self, content: &[u8]) {
        self.lacks_end_time = !has_end_time(content);
    }

    /// Compares what was seen with what must be there.
    pub fn judge(&self, expected: &Expected) -> ClosingFiles {
        match expected.0.iter().find(|file| !self.seen.contains(file)) {
            Some(missing) => ClosingFiles::Missing(*missing),
            None if self.lacks_end_time => ClosingFiles::NoEndTime,
            None => ClosingFiles::Present,
        }
    }
}

/// True if a summary says when the backup ended.
fn has_end_time(summary: &[u8]) -> bool {
    let text = String::from_utf8_lossy(summary);
    let mut pairs = text.lines().filter_map(|line| line.split_once('='));
    pairs.any(|(key, value)| key.trim() == "end_time" && !value.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StateId;
    use crate::sst::metadata::{Position, Secret};

    fn metadata(flavour: Option<Flavour>, version: Option<&str>, key: bool) -> Metadata {
        Metadata {
            position: Position { state: StateId::NIL, seqno: 1 },
            domain: None,
            flavour,
            server_version: version.map(str::to_owned),
            binlog_name: None,
            transition_key: key.then(|| Secret::new("key".to_owned())),
            secret: None,
            total_bytes: None,
            files: Vec::new(),
        }
    }

    fn path(name: &str) -> EntryPath {
        EntryPath::parse(name.as_bytes()).expect("a name")
    }

    fn seen(names: &[&str]) -> ClosingSet {
        let mut set = ClosingSet::default();
        names.iter().for_each(|name| set.on_file(&path(name)));
        set
    }

    const PERCONA: [&str; 5] = [
        "xtrabackup_checkpoints",
        "xtrabackup_logfile",
        "backup-my.cnf",
        "xtrabackup_info",
        "xtrabackup_tablespaces",
    ];

    #[test]
    fn each_flavour_is_complete_with_its_own_files() {
        let percona = Some(Flavour::PerconaXtraDbCluster);
        let mariadb = Some(Flavour::MariaDb);
        let old = ["xtrabackup_checkpoints", "ib_logfile0", "backup-my.cnf", "xtrabackup_info"];
        let new =
            ["mariadb_backup_checkpoints", "ib_logfile0", "backup-my.cnf", "mariadb_backup_info"];
        let cases: [(Metadata, &[&str]); 6] = [
            (metadata(percona, Some("8.0.36-28.1"), false), &PERCONA),
            (metadata(percona, Some("5.7.44-48-57"), false), &PERCONA[..4]),
            (metadata(percona, None, false), &PERCONA[..4]),
            (metadata(mariadb, None, false), &old),
            (metadata(mariadb, None, false), &new),
            (metadata(None, None, false), &old),
        ];
        for (metadata, names) in cases {
            let expected = Expected::from_metadata(&metadata);
            assert_eq!(seen(names).judge(&expected), ClosingFiles::Present, "{names:?}");
            for missing in 0..names.len() {
                let mut others = names.to_vec();
                let name = path(others.remove(missing));
                let file = ClosingFile::named(&name).expect("a closing file");
                assert_eq!(seen(&others).judge(&expected), ClosingFiles::Missing(file));
            }
        }
    }

    #[test]
    fn a_transition_key_demands_the_file_it_protects() {
        let metadata = metadata(Some(Flavour::PerconaXtraDbCluster), Some("8.4.4-4.1"), true);
        let expected = Expected::from_metadata(&metadata);
        let set = seen(&PERCONA);
        assert_eq!(set.judge(&expected), ClosingFiles::Missing(ClosingFile::Keys));
    }

    #[test]
    fn suffixes_of_compression_and_encryption_do_not_count() {
        for name in ["xtrabackup_info.qp", "xtrabackup_info.zst.xbcrypt", "xtrabackup_info.lz4"] {
            assert_eq!(ClosingFile::named(&path(name)), Some(ClosingFile::Info), "{name}");
        }
        for name in ["db/xtrabackup_info", "xtrabackup_info.txt", "xtrabackup_galera_info"] {
            assert_eq!(ClosingFile::named(&path(name)), None, "{name}");
        }
    }

    #[test]
    fn a_summary_without_end_time_is_not_the_last_word() {
        let expected = Expected::from_metadata(&metadata(None, None, false));
        let mut set = seen(&PERCONA);
        set.on_summary(b"start_time = 2026-01-02 03:04:05\nend_time = \n");
        assert_eq!(set.judge(&expected), ClosingFiles::NoEndTime);
        set.on_summary(b"tool = x\nend_time = 2026-01-02 03:04:08\n");
        assert_eq!(set.judge(&expected), ClosingFiles::Present);
        set.on_summary(b"\xff\xfe");
        assert_eq!(set.judge(&expected), ClosingFiles::NoEndTime);
    }

    #[test]
    fn a_closing_file_that_is_removed_again_is_missing() {
        let expected = Expected::from_metadata(&metadata(None, None, false));
        let mut set = seen(&PERCONA);
        set.on_removed(&path("xtrabackup_info"));
        assert_eq!(set.judge(&expected), ClosingFiles::Missing(ClosingFile::Info));
    }
}
