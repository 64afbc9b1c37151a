//! MariaDB's `xtrabackup_galera_info` and `donor_galera_info` (spec 05 §2.4).
//!
//! ```text
//! 3ae18adc-e690-11f1-aa68-dbedcff0437f:39 0     position, GTID domain
//! secret TEXT                                   of the request, if it carried one
//! total BYTES                                   estimate, when the donor reports progress
//! ```
//!
//! The lines after the first stand in the backup tool's file only.

use super::{Flavour, Metadata, MetadataError, MetadataFile, Secret, position};

/// Builds the metadata from the file that holds the position and, for the extra lines, the one
/// that is named after the backup tool; both are among `files`.
pub(super) fn read(
    file: &MetadataFile,
    tool: Option<&MetadataFile>,
    files: Vec<MetadataFile>,
) -> Result<Metadata, MetadataError> {
    let text = String::from_utf8_lossy(&file.bytes);
    let name = || file.name.clone();
    let line = text.lines().next().filter(|line| !line.trim().is_empty());
    let line = line.ok_or_else(|| MetadataError::NoPosition { name: name() })?;
    let (position, domain) = position::parse_line(line)
        .map_err(|source| MetadataError::Position { name: name(), source })?;
    let extra = String::from_utf8_lossy(&tool.unwrap_or(file).bytes);
    Ok(Metadata {
        position,
        domain: domain.map(str::to_owned),
        flavour: flavour(&files),
        server_version: None,
        binlog_name: None,
        transition_key: None,
        secret: value(&extra, "secret").map(|text| Secret::new(text.to_owned())),
        total_bytes: value(&extra, "total").and_then(|text| text.parse().ok()),
        files,
    })
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let mut lines = text.lines().skip(1);
    lines.find_map(|line| Some(line.strip_prefix(key)?.strip_prefix(' ')?.trim()))
}

/// The oldest donors of both products send `xtrabackup_galera_info` alone, which tells nothing.
fn flavour(files: &[MetadataFile]) -> Option<Flavour> {
    let mariadb = files.iter().any(|file| {
        matches!(file.name.as_bytes(), b"donor_galera_info" | b"mariadb_backup_galera_info")
    });
    mariadb.then_some(Flavour::MariaDb)
}
