//! The small files that close a backup: their order in a stream, and what stands in them if the data
//! has none of its own (spec 05 §4.1–4.4).

use bytes::Bytes;
use galera_protocol::sst::metadata::Position;
use galera_protocol::sst::request::Method;
use jiff::Zoned;

/// Names in the order in which donors send them, after everything else.
const ORDER: [&str; 15] = [
    "aria_log.00000001",
    "xtrabackup_binlog_info",
    "xtrabackup_logfile",
    "xtrabackup_galera_info",
    "mariadb_backup_galera_info",
    "donor_galera_info",
    "ib_logfile0",
    "xtrabackup_checkpoints",
    "mariadb_backup_checkpoints",
    "ib_buffer_pool",
    "backup-my.cnf",
    "xtrabackup_info",
    "mariadb_backup_info",
    "xtrabackup_tablespaces",
    "xtrabackup_keys",
];

/// MariaDB's new names beside the old ones: who has one does not need the other.
const RENAMED: [(&str, &str); 3] = [
    ("xtrabackup_galera_info", "mariadb_backup_galera_info"),
    ("xtrabackup_checkpoints", "mariadb_backup_checkpoints"),
    ("xtrabackup_info", "mariadb_backup_info"),
];

/// Servers' own files that no backup tool sends.
const NEVER_SENT: [&str; 6] =
    ["auto.cnf", "grastate.dat", "gvwstate.dat", "galera.cache", "lost+found", "sst_in_progress"];

/// Where in the stream a file belongs: 0 for data, then the closing files one by one.
pub(super) fn rank(name: &[u8]) -> usize {
    ORDER.iter().position(|closing| closing.as_bytes() == name).map_or(0, |at| at + 1)
}

/// Whether backup tools leave a file out.
pub(super) fn is_never_sent(name: &[u8]) -> bool {
    NEVER_SENT.iter().any(|other| other.as_bytes() == name)
}

/// Files that a backup of this method must have and `has` does not know, in order.
pub(super) fn missing(
    method: Method,
    position: Position,
    has: impl Fn(&str) -> bool,
) -> Vec<(&'static str, Bytes)> {
    let has_renamed = |name: &str| RENAMED.iter().any(|(old, new)| *old == name && has(new));
    let wanted = needed(method).iter().filter(|name| !has(name) && !has_renamed(name));
    wanted.map(|name| (*name, text(name, method, position).into())).collect()
}

fn needed(method: Method) -> &'static [&'static str] {
    match method {
        Method::Mariabackup => &[
            "xtrabackup_galera_info",
            "donor_galera_info",
            "ib_logfile0",
            "xtrabackup_checkpoints",
            "backup-my.cnf",
            "xtrabackup_info",
        ],
        Method::XtrabackupV2 => &[
            "xtrabackup_logfile",
            "xtrabackup_checkpoints",
            "backup-my.cnf",
            "xtrabackup_info",
            "xtrabackup_tablespaces",
        ],
    }
}

fn text(name: &str, method: Method, position: Position) -> String {
    match name {
        "xtrabackup_galera_info" | "donor_galera_info" => format!("{position} 0\n"),
        "xtrabackup_checkpoints" => {
            "backup_type = full-backuped\nfrom_lsn = 0\nto_lsn = 40103251\nlast_lsn = 40103251\n"
                .into()
        }
        "backup-my.cnf" => "# This file is part of a backup without a server\n[mysqld]\n".into(),
        "xtrabackup_info" => info(method),
        "xtrabackup_tablespaces" => "{\"version\":3,\"tablespaces\":[]}\n".into(),
        _ => "no redo: this backup was made without a server\n".into(),
    }
}

fn info(method: Method) -> String {
    let now = Zoned::now().strftime("%Y-%m-%d %H:%M:%S").to_string();
    let (tool, version) = match method {
        Method::Mariabackup => ("mariadb-backup", "10.11.0-MariaDB"),
        Method::XtrabackupV2 => ("xtrabackup", "8.0.0-0"),
    };
    format!(
        "tool_name = {tool}\ntool_command = galera-sst donate\ntool_version = {version}\n\
         server_version = {version}\nstart_time = {now}\nend_time = {now}\nlock_time = 0\n\
         binlog_pos =\ninnodb_from_lsn = 0\ninnodb_to_lsn = 40103251\npartial = N\n\
         incremental = N\nformat = xbstream\ncompressed = N\nencrypted = N\n"
    )
}
