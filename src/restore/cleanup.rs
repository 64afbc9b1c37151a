//! Takes out of a prepared directory what a new node must not find (spec 05 §5.1, 5.3).

use std::fs;
use std::io;
use std::path::Path;

use super::error::RestoreError;
use crate::pipeline::manifest::Flavour;

/// Another node's identity, and a write-set cache that is not this one's.
const NODE_STATE: [&str; 5] =
    ["auto.cnf", "gvwstate.dat", "galera.cache", "grastate.dat", "sst_in_progress"];

/// The donor's metadata, which may hold a transition key.
const TRANSFER: [&str; 2] = ["sst_info", "donor_galera_info"];

/// What the tools need until the end of preparing; each also with MariaDB 11.1's prefix.
const TOOL: [&str; 8] = [
    "checkpoints",
    "galera_info",
    "galera_info_SST",
    "logfile",
    "tablespaces",
    "binlog_pos_innodb",
    "keys",
    "pos_innodb",
];
const PREFIXES: [&str; 2] = ["xtrabackup", "mariadb_backup"];
const TOOL_SETTINGS: &str = "backup-my.cnf";

/// The donor's binary log at the time of the backup.
const BINLOG_INFO: [&str; 2] = ["xtrabackup_binlog_info", "mariadb_backup_binlog_info"];

/// Removes what belongs to the donor or to the backup tool.
///
/// `…_info` and `…_binlog_info` stay: they tell where the data came from, and recovery to a point in
/// time starts from the latter.
pub(super) fn clean(directory: &Path, flavour: Flavour) -> Result<(), RestoreError> {
    if flavour == Flavour::Mariadb {
        remove_streamed_binlog(directory)?;
    }
    for name in NODE_STATE.into_iter().chain(TRANSFER).chain([TOOL_SETTINGS]) {
        remove(directory, name)?;
    }
    for prefix in PREFIXES {
        for name in TOOL {
            remove(directory, &format!("{prefix}_{name}"))?;
        }
    }
    Ok(())
}

/// MariaDB's joiners start a fresh binary log: the streamed one may be ahead of the data. Percona's
/// keep it, for the server reads its executed GTIDs from it.
fn remove_streamed_binlog(directory: &Path) -> Result<(), RestoreError> {
    let info = BINLOG_INFO.iter().find_map(|name| fs::read_to_string(directory.join(name)).ok());
    let Some(file) = info.as_deref().and_then(binlog_name) else { return Ok(()) };
    remove(directory, file)?;
    match file.rsplit_once('.') {
        Some((base, _)) => remove(directory, &format!("{base}.index")),
        None => Ok(()),
    }
}

/// The first word, if it can only be the name of a binary log in this directory.
fn binlog_name(info: &str) -> Option<&str> {
    let name = info.split('\t').next()?.trim();
    let (base, number) = name.rsplit_once('.')?;
    let is_binlog = !base.is_empty()
        && number.len() >= 6
        && number.bytes().all(|byte| byte.is_ascii_digit())
        && !name.contains('/');
    is_binlog.then_some(name)
}

fn remove(directory: &Path, name: &str) -> Result<(), RestoreError> {
    let path = directory.join(name);
    match fs::remove_file(&path) {
        Ok(()) => {
            tracing::debug!(name, "removed");
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(RestoreError::write(path)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names_after(flavour: Flavour, names: &[&str], binlog_info: &str) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a directory");
        for name in names {
            let text = if name.ends_with("binlog_info") { binlog_info } else { "" };
            fs::write(directory.path().join(name), text).expect("writes");
        }
        clean(directory.path(), flavour).expect("cleans");
        let entries = fs::read_dir(directory.path()).expect("reads");
        let names = entries.map(|entry| entry.expect("an entry").file_name());
        let mut names: Vec<_> = names.map(|name| name.to_string_lossy().into_owned()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_servers_own_files_stay() {
        let server =
            ["aria_log.00000001", "aria_log_control", "ib_buffer_pool", "ib_logfile0", "ibdata1"];
        assert_eq!(names_after(Flavour::Mariadb, &server, ""), server);
    }

    #[test]
    fn other_nodes_identity_and_the_tools_files_go() {
        let names = [
            "auto.cnf",
            "backup-my.cnf",
            "donor_galera_info",
            "galera.cache",
            "grastate.dat",
            "gvwstate.dat",
            "mariadb_backup_checkpoints",
            "sst_info",
            "xtrabackup_binlog_pos_innodb",
            "xtrabackup_checkpoints",
            "xtrabackup_galera_info",
            "xtrabackup_galera_info_SST",
            "xtrabackup_info",
            "xtrabackup_logfile",
            "xtrabackup_tablespaces",
        ];
        assert_eq!(names_after(Flavour::Mariadb, &names, ""), ["xtrabackup_info"]);
    }

    #[test]
    fn the_streamed_binary_log_goes_for_mariadb_and_stays_for_percona() {
        let names = ["binlog.000007", "binlog.index", "xtrabackup_binlog_info"];
        let info = "binlog.000007\t421\t0-1-5\n";
        assert_eq!(names_after(Flavour::Mariadb, &names, info), ["xtrabackup_binlog_info"]);
        assert_eq!(names_after(Flavour::Percona, &names, info), names);
    }

    #[test]
    fn only_a_binary_logs_name_is_taken_for_one() {
        assert_eq!(binlog_name("db.binlog.000007\t4"), Some("db.binlog.000007"));
        for text in ["", "../x.000001\t4", "/var/log/x.000001", "ibdata1\t4", ".000001", "x.12"] {
            assert_eq!(binlog_name(text), None, "{text:?}");
        }
    }
}
