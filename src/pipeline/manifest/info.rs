//! The backup tool's own summary, `xtrabackup_info` or `mariadb_backup_info` (spec 05 §4.2).

/// What of the summary is of use; every field as the tool spells it, absent when empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BackupInfo {
    /// `mariadb-backup`, `xtrabackup`, …
    pub tool_name: Option<String>,
    /// Version of the tool.
    pub tool_version: Option<String>,
    /// Version of the server.
    pub server_version: Option<String>,
    /// Local time at the donor; present in every complete backup.
    pub end_time: Option<String>,
    /// File and position of the binary log, where it is on.
    pub binlog_pos: Option<String>,
    /// LSN up to which the data was copied.
    pub innodb_to_lsn: Option<u64>,
}

impl BackupInfo {
    /// Reads `key = value` lines; unknown keys and lines of any other form are passed over.
    pub fn parse(text: &[u8]) -> Self {
        let mut info = Self::default();
        for line in text.split(|&byte| byte == b'\n') {
            let line = String::from_utf8_lossy(line);
            if let Some((key, value)) = line.split_once('=') {
                info.set(key.trim(), value.trim());
            }
        }
        info
    }

    fn set(&mut self, key: &str, value: &str) {
        let field = match key {
            "tool_name" => &mut self.tool_name,
            "tool_version" => &mut self.tool_version,
            "server_version" => &mut self.server_version,
            "end_time" => &mut self.end_time,
            "binlog_pos" => &mut self.binlog_pos,
            "innodb_to_lsn" => {
                self.innodb_to_lsn = value.parse().ok();
                return;
            }
            _ => return,
        };
        *field = (!value.is_empty()).then(|| value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mariadb_summary_is_read() {
        let info = BackupInfo::parse(
            b"uuid = 1\ntool_name = mariadb-backup\ntool_command = --x=1 --y = 2\n\
              tool_version = 10.11.19-MariaDB\nserver_version = 10.11.19-MariaDB-0+deb12u1\n\
              end_time = 2026-11-22 16:32:20\nbinlog_pos = \ninnodb_to_lsn = 40103251\njunk\n",
        );
        assert_eq!(
            info,
            BackupInfo {
                tool_name: Some("mariadb-backup".into()),
                tool_version: Some("10.11.19-MariaDB".into()),
                server_version: Some("10.11.19-MariaDB-0+deb12u1".into()),
                end_time: Some("2026-11-22 16:32:20".into()),
                binlog_pos: None,
                innodb_to_lsn: Some(40_103_251),
            }
        );
    }

    #[test]
    fn anything_else_is_empty() {
        assert_eq!(BackupInfo::parse(b"\xff\0 = \n=\n"), BackupInfo::default());
    }
}
