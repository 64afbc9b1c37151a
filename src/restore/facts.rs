//! What an unpacked backup directory says about itself.

use std::path::{Path, PathBuf};

use super::error::RestoreError;
use super::tool::Version;
use super::{position, tree};
use crate::pipeline::manifest::{BackupInfo, Flavour};

/// The tool's summary, before and since MariaDB 11.1.
const INFO: [&str; 2] = ["xtrabackup_info", "mariadb_backup_info"];
const CHECKPOINTS: [&str; 2] = ["xtrabackup_checkpoints", "mariadb_backup_checkpoints"];
/// Tablespace keys under the transition key.
const KEYS: &str = "xtrabackup_keys";
const ENCRYPTED: &str = "xbcrypt";

/// What an unpacked backup directory says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) flavour: Flavour,
    /// Version of the donor's backup tool, or else of its server.
    pub(super) made_by: Option<Version>,
    pub(super) is_prepared: bool,
    /// A position came with the stream.
    pub(super) has_streamed_position: bool,
    pub(super) has_tablespace_keys: bool,
}

impl Facts {
    /// Looks at a directory whose files are neither compressed nor encrypted.
    pub(super) fn read(directory: &Path, known: Option<Flavour>) -> Result<Self, RestoreError> {
        let checkpoints = read_first(directory, &CHECKPOINTS)?;
        let info = BackupInfo::parse(&read_first(directory, &INFO)?);
        if info.end_time.is_none() {
            return Err(RestoreError::Unfinished);
        }
        Ok(Self {
            flavour: known.unwrap_or_else(|| flavour_of(directory, &info)),
            made_by: [&info.tool_version, &info.server_version]
                .into_iter()
                .flatten()
                .find_map(|text| Version::find(text)),
            is_prepared: is_prepared(&checkpoints),
            has_streamed_position: position::has_galera_info(directory),
            has_tablespace_keys: directory.join(KEYS).exists(),
        })
    }
}

/// True if the directory says that it was prepared.
pub(super) fn says_prepared(directory: &Path) -> Result<bool, RestoreError> {
    Ok(is_prepared(&read_first(directory, &CHECKPOINTS)?))
}

/// XtraBackup says `full-prepared`, mariadb-backup `log-applied`.
fn is_prepared(checkpoints: &[u8]) -> bool {
    let text = String::from_utf8_lossy(checkpoints);
    let kind = text.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "backup_type").then(|| value.trim().to_owned())
    });
    kind.is_some_and(|kind| kind == "full-prepared" || kind == "log-applied")
}

/// MariaDB's tools and servers say so; XtraBackup's name never has its name in it.
fn flavour_of(directory: &Path, info: &BackupInfo) -> Flavour {
    let says = [&info.tool_name, &info.tool_version, &info.server_version];
    let is_mariadb =
        says.into_iter().flatten().any(|text| text.to_ascii_lowercase().contains("maria"));
    if is_mariadb || directory.join(INFO[1]).exists() { Flavour::Mariadb } else { Flavour::Percona }
}

fn read_first(directory: &Path, names: &[&'static str; 2]) -> Result<Vec<u8>, RestoreError> {
    let path = names.iter().map(|name| directory.join(name)).find(|path| path.is_file());
    match path {
        Some(path) => std::fs::read(&path).map_err(RestoreError::read(path)),
        None => {
            let (directory, missing) = (directory.to_path_buf(), names[0]);
            Err(RestoreError::NoBackup { directory, missing })
        }
    }
}

/// A file that is still encrypted, if there is one.
pub(super) fn encrypted_file(directory: &Path) -> Result<Option<PathBuf>, RestoreError> {
    let mut found = None;
    tree::walk(directory, &mut |path, kind| {
        let is_encrypted = path.extension().is_some_and(|extension| extension == ENCRYPTED);
        if kind.is_file() && is_encrypted {
            found = Some(path.to_path_buf());
        }
        Ok(())
    })?;
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect("writes");
        }
        directory
    }

    const MARIADB_INFO: &str = "tool_name = mariadb-backup\ntool_version = 10.11.19-MariaDB\n\
                                server_version = 10.11.19-MariaDB\nend_time = 2026-11-22 16:32:20\n";

    #[test]
    fn a_mariadb_backup_is_known_by_its_summary() {
        let directory = directory(&[
            ("xtrabackup_checkpoints", "backup_type = full-backuped\n"),
            ("xtrabackup_info", MARIADB_INFO),
            ("xtrabackup_galera_info", ""),
        ]);
        let facts = Facts::read(directory.path(), None).expect("a backup");
        assert_eq!(
            facts,
            Facts {
                flavour: Flavour::Mariadb,
                made_by: Some(Version { major: 10, minor: 11, patch: 19 }),
                is_prepared: false,
                has_streamed_position: true,
                has_tablespace_keys: false,
            }
        );
    }

    #[test]
    fn a_percona_backup_is_known_by_its_summary() {
        let directory = directory(&[
            ("xtrabackup_checkpoints", "backup_type = full-prepared\n"),
            (
                "xtrabackup_info",
                "tool_name = xtrabackup\ntool_version = 8.0.35-30\n\
                 server_version = 8.0.36-28.1\nend_time = 2026-11-22 16:32:20\n",
            ),
            ("xtrabackup_keys", ""),
        ]);
        let facts = Facts::read(directory.path(), None).expect("a backup");
        assert_eq!(facts.flavour, Flavour::Percona);
        assert_eq!(facts.made_by, Some(Version { major: 8, minor: 0, patch: 35 }));
        assert!(facts.is_prepared && facts.has_tablespace_keys);
    }

    #[test]
    fn a_summary_without_its_end_is_no_backup() {
        let directory = directory(&[
            ("xtrabackup_checkpoints", "backup_type = full-backuped\n"),
            ("xtrabackup_info", "tool_name = xtrabackup\nend_time =\n"),
        ]);
        assert!(matches!(Facts::read(directory.path(), None), Err(RestoreError::Unfinished)));
    }

    #[test]
    fn encrypted_files_are_noticed_below_the_top() {
        let directory = directory(&[("ibdata1", "")]);
        assert_eq!(encrypted_file(directory.path()).expect("reads"), None);
        std::fs::create_dir(directory.path().join("db")).expect("makes a directory");
        let encrypted = directory.path().join("db/t.ibd.xbcrypt");
        std::fs::write(&encrypted, "").expect("writes");
        assert_eq!(encrypted_file(directory.path()).expect("reads"), Some(encrypted));
    }
}
