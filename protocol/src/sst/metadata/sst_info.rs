//! PXC's `sst_info`: an INI file with one section (spec 05 §2.3).

use super::{Flavour, Metadata, MetadataError, MetadataFile, Secret, position};

/// Builds the metadata from `file`, which is one of `files`.
///
/// The donor's own reader is tolerant, so is this one: sections are ignored, `_` and `-` are the
/// same, the last of several equal keys counts, unknown keys stay in the kept file.
pub(super) fn read(
    file: &MetadataFile,
    files: Vec<MetadataFile>,
) -> Result<Metadata, MetadataError> {
    let text = String::from_utf8_lossy(&file.bytes);
    let text_of = |key| value(&text, key).map(str::to_owned);
    let name = || file.name.clone();
    let gtid =
        value(&text, "galera-gtid").ok_or_else(|| MetadataError::NoPosition { name: name() })?;
    let (position, domain) = position::parse_line(gtid)
        .map_err(|source| MetadataError::Position { name: name(), source })?;
    Ok(Metadata {
        position,
        domain: domain.map(str::to_owned),
        flavour: Some(Flavour::PerconaXtraDbCluster),
        server_version: text_of("mysql-version"),
        binlog_name: text_of("binlog-name"),
        transition_key: text_of("transition-key").map(Secret::new),
        secret: None,
        total_bytes: None,
        files,
    })
}

/// The value of `key`; an empty one is none.
fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .filter(|line| !line.trim_start().starts_with(['#', ';', '[']))
        .filter_map(|line| line.split_once('='))
        .filter(|(name, _)| name.trim().replace('_', "-") == key)
        .map(|(_, value)| value.trim())
        .next_back()
        .filter(|value| !value.is_empty())
}
