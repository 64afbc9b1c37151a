//! The position of a prepared data directory: the one inside InnoDB (spec 05 §4.4).
//!
//! Three seqnos go with a backup, and only one is true for the copy. The donor's first words are too
//! old, the file in a MariaDB stream may be *too new*, and a node whose `grastate.dat` says too much is
//! unusable. So the streamed files are never believed: what counts is what preparing wrote, or what a
//! server finds with `--wsrep-recover`.

use core::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use galera_protocol::id::StateId;

use super::error::RestoreError;
use super::process::Program;
use crate::pipeline::manifest::Flavour;

/// Where a data directory stands in the history of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Identity of the history.
    pub uuid: StateId,
    /// The last write-set in the data.
    pub seqno: i64,
    /// Where it was read.
    pub source: PositionSource,
}

/// Where a position was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PositionSource {
    /// The file that preparing wrote from InnoDB.
    Prepared,
    /// A server's `--wsrep-recover`.
    Recovered,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uuid, self.seqno)
    }
}

/// Names of the file with the position, before and since MariaDB 11.1.
const GALERA_INFO: [&str; 2] = ["xtrabackup_galera_info", "mariadb_backup_galera_info"];

/// MariaDB keeps the streamed file under its name and this when it writes its own.
const STREAMED_SUFFIX: &str = "_SST";

/// Line of a recovering server before the position.
const RECOVERED: &str = "WSREP: Recovered position: ";

/// True if a file with the streamed position is there.
pub(super) fn has_galera_info(directory: &Path) -> bool {
    GALERA_INFO.iter().any(|name| directory.join(name).exists())
}

/// The position that preparing wrote, if it can be told from a streamed one.
///
/// MariaDB renames the streamed file when it writes its own; XtraBackup writes only where there was
/// none (`was_streamed` tells).
pub(super) fn prepared(directory: &Path, flavour: Flavour, was_streamed: bool) -> Option<Position> {
    let name = GALERA_INFO.into_iter().find(|name| directory.join(name).is_file())?;
    let is_from_innodb = match flavour {
        Flavour::Mariadb => directory.join(format!("{name}{STREAMED_SUFFIX}")).exists(),
        Flavour::Percona | Flavour::Unknown => !was_streamed,
    };
    let text = is_from_innodb.then(|| std::fs::read(directory.join(name)).ok()).flatten()?;
    let (uuid, seqno) = parse(&String::from_utf8_lossy(&text))?;
    Some(Position { uuid, seqno, source: PositionSource::Prepared })
}

/// Asks a server for the position, by starting it once on the prepared directory.
pub(super) async fn recover(
    directory: &Path,
    server: PathBuf,
    limit: Duration,
) -> Result<Position, RestoreError> {
    let program = Program { path: server, limit };
    let output = program.run(&recover_arguments(directory)).await?;
    let found = output.lines().find_map(|line| Some(line.split_once(RECOVERED)?.1));
    let position = found.and_then(parse).filter(|(uuid, seqno)| !uuid.is_nil() && *seqno >= 0);
    match position {
        Some((uuid, seqno)) => Ok(Position { uuid, seqno, source: PositionSource::Recovered }),
        None => Err(RestoreError::NoPosition { directory: directory.to_path_buf() }),
    }
}

/// Servers look for a position only with wsrep on, an address and a provider (whose file they do not
/// open), and need InnoDB's geometry, which the backup tool left in `backup-my.cnf`.
fn recover_arguments(directory: &Path) -> Vec<std::ffi::OsString> {
    let mut datadir = std::ffi::OsString::from("--datadir=");
    datadir.push(directory);
    let user = rustix::process::geteuid().is_root().then(|| "--user=root".to_owned());
    let fixed = [
        "--wsrep-recover",
        "--wsrep-cluster-address=gcomm://",
        "--wsrep-provider=libgalera_smm.so",
        "--loose-wsrep-on=ON",
        "--loose-binlog-format=ROW",
        "--skip-networking",
        "--skip-log-bin",
    ];
    let settings = std::fs::read_to_string(directory.join("backup-my.cnf")).unwrap_or_default();
    ["--no-defaults".into(), datadir]
        .into_iter()
        .chain(fixed.into_iter().map(Into::into))
        .chain(user.into_iter().map(Into::into))
        .chain(geometry(&settings).map(Into::into))
        .collect()
}

/// Settings without which InnoDB does not find or understand its files.
fn geometry(backup_my_cnf: &str) -> impl Iterator<Item = String> {
    const KEYS: [&str; 4] = [
        "innodb_page_size",
        "innodb_data_file_path",
        "innodb_log_file_size",
        "innodb_undo_tablespaces",
    ];
    backup_my_cnf.lines().filter_map(|line| {
        let (key, value) = line.split_once('=')?;
        let (key, value) = (key.trim(), value.trim());
        KEYS.contains(&key).then(|| format!("--loose-{key}={value}"))
    })
}

/// Reads `UUID:SEQNO`, with a GTID domain or nothing behind it; only the first line counts.
fn parse(text: &str) -> Option<(StateId, i64)> {
    let line = text.lines().next()?;
    let position = line.split([' ', '\t']).next()?;
    let (uuid, seqno) = position.trim_end().split_once(':')?;
    Some((uuid.parse().ok()?, seqno.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3ae18adc-e690-11f1-aa68-dbedcff0437f";

    fn position(seqno: i64) -> Option<Position> {
        let uuid = UUID.parse().expect("valid UUID");
        Some(Position { uuid, seqno, source: PositionSource::Prepared })
    }

    fn directory_with(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a directory");
        for (name, text) in files {
            std::fs::write(directory.path().join(name), text).expect("writes");
        }
        directory
    }

    #[test]
    fn every_spelling_of_a_position_is_read() {
        let uuid = UUID.parse().expect("valid UUID");
        for tail in ["", "\n", " 0", " 0\n", "\t0-1-2\n", "\nsecret x\n"] {
            assert_eq!(parse(&format!("{UUID}:108{tail}")), Some((uuid, 108)), "{tail:?}");
        }
        assert_eq!(parse(&format!("{UUID}:-1")), Some((uuid, -1)));
        for text in ["", UUID, "x:1", &format!("{UUID}:")] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn mariadbs_file_counts_only_beside_the_streamed_one() {
        let text = format!("{UUID}:108 0");
        let streamed = directory_with(&[("xtrabackup_galera_info", &text)]);
        assert_eq!(prepared(streamed.path(), Flavour::Mariadb, true), None);
        let rewritten = directory_with(&[
            ("xtrabackup_galera_info", &text),
            ("xtrabackup_galera_info_SST", &format!("{UUID}:111 0")),
        ]);
        assert_eq!(prepared(rewritten.path(), Flavour::Mariadb, true), position(108));
    }

    #[test]
    fn names_of_newer_mariadb_are_known() {
        let directory = directory_with(&[
            ("mariadb_backup_galera_info", &format!("{UUID}:7 0")),
            ("mariadb_backup_galera_info_SST", ""),
        ]);
        assert_eq!(prepared(directory.path(), Flavour::Mariadb, true), position(7));
    }

    #[test]
    fn perconas_file_counts_only_if_it_was_not_streamed() {
        let directory = directory_with(&[("xtrabackup_galera_info", &format!("{UUID}:108"))]);
        assert_eq!(prepared(directory.path(), Flavour::Percona, false), position(108));
        assert_eq!(prepared(directory.path(), Flavour::Percona, true), None);
    }

    #[test]
    fn a_recovering_server_is_told_innodbs_geometry() {
        let settings = "[mysqld]\ninnodb_page_size=32768\nserver_uuid=x\nplugin_load=y\n";
        assert_eq!(geometry(settings).collect::<Vec<_>>(), ["--loose-innodb_page_size=32768"]);
    }
}
