//! Names of objects in layout `xbcloud`.

use galera_protocol::xbstream::EntryPath;

use crate::pipeline::manifest::BackupId;

/// A chunk's number in its object's name, zero-padded.
const DIGITS: usize = 20;

const SUMS_SUFFIX: &str = ".md5";
const FIRST_STREAM_SUFFIX: &str = ".sst_info";

/// The list of sums lies beside the backup.
pub(in crate::repository) fn sums_name(id: &BackupId) -> String {
    format!("{id}{SUMS_SUFFIX}")
}

/// The donor's first stream, a small backup of its own beside the other.
pub(in crate::repository) fn first_stream_name(id: &BackupId) -> String {
    format!("{id}{FIRST_STREAM_SUFFIX}")
}

/// The backup that an object of the repository belongs to, by its name.
pub(in crate::repository) fn backup_of(object: &str) -> Option<String> {
    let prefix = object.split_once('/').map(|(prefix, _)| prefix);
    Some(prefix.or_else(|| object.strip_suffix(SUMS_SUFFIX))?.to_owned())
}

/// The backup whose first stream has this name.
pub(in crate::repository) fn of_first_stream(name: &str) -> Option<&str> {
    name.strip_suffix(FIRST_STREAM_SUFFIX).filter(|name| !name.is_empty())
}

/// A chunk's name below its backup.
pub(super) fn chunk_name(path: &str, index: u64) -> String {
    format!("{path}.{index:0DIGITS$}")
}

/// File and number of a chunk; none for other objects, which `xbcloud get` passes over as well.
pub(super) fn parse_chunk_name(name: &str) -> Option<(&str, u64)> {
    let (path, digits) = name.rsplit_once('.')?;
    let is_index = digits.len() == DIGITS && digits.bytes().all(|byte| byte.is_ascii_digit());
    (is_index && !path.is_empty()).then_some(())?;
    Some((path, digits.parse().ok()?))
}

/// A file's name as part of an object's; none if no object can be called so.
pub(super) fn as_object_name(path: &EntryPath) -> Option<&str> {
    let name = core::str::from_utf8(path.as_bytes()).ok()?;
    (!name.contains(|c: char| c.is_ascii_control())).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_has_its_number_in_twenty_digits() {
        assert_eq!(chunk_name("db1/t1.ibd", 2), "db1/t1.ibd.00000000000000000002");
        assert_eq!(
            parse_chunk_name("db1/t#p#p0.ibd.00000000000000000012"),
            Some(("db1/t#p#p0.ibd", 12))
        );
    }

    #[test]
    fn other_objects_are_no_chunks() {
        for name in [
            "manifest.json",
            "started",
            ".00000000000000000001",
            "t.ibd.0000000000000000001",
            "t.ibd.000000000000000000001",
            "t.ibd.0000000000000000000x",
            "t.ibd.99999999999999999999",
            "t.ibd",
        ] {
            assert_eq!(parse_chunk_name(name), None, "{name}");
        }
    }
}
