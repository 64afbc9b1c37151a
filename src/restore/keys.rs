//! What opens encrypted tablespaces: the transition key of the donor's `sst_info`, or its keyring.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use galera_protocol::sst::metadata::{Metadata, Secret};

use super::tool::Version;

const SST_INFO: &str = "sst_info";

/// What a donor before 5.7.22 sends of its own.
const KEYRING: &str = "donor-keyring";

/// What donors really encrypt with if their script quotes the key wrongly (spec 05 §2.8).
const LITERAL_KEY: &str = "$transition_key";

/// First release whose script quotes it right, and the one build before it that does.
const QUOTED_SINCE: Version = Version { major: 5, minor: 7, patch: 29 };
const QUOTED_EARLIER: &str = "5.7.28-31-57.2";

/// The transition key with which this backup's tablespace keys are encrypted, if it has one.
pub(super) fn transition_key(directory: &Path) -> Option<Secret> {
    let text = std::fs::read(directory.join(SST_INFO)).ok()?;
    let metadata = Metadata::from_sst_info(Bytes::from(text)).ok()?;
    let key = metadata.transition_key?;
    let version = metadata.server_version.unwrap_or_default();
    Some(if quotes_its_key(&version) { key } else { Secret::new(LITERAL_KEY.to_owned()) })
}

fn quotes_its_key(version: &str) -> bool {
    let is_new = Version::find(version).is_none_or(|version| version >= QUOTED_SINCE);
    is_new || version == QUOTED_EARLIER
}

/// The keyring that came with the backup.
pub(super) fn keyring(directory: &Path) -> Option<PathBuf> {
    Some(directory.join(KEYRING)).filter(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_donors_encrypt_with_the_name_of_their_key() {
        for (version, quotes) in [
            ("5.7.22-29.26", false),
            ("5.7.28-31-57.1", false),
            ("5.7.28-31-57.2", true),
            ("5.7.29-31.43", true),
            ("8.0.36-28.1", true),
            ("8.4.4-4.1", true),
            ("", true),
        ] {
            assert_eq!(quotes_its_key(version), quotes, "{version}");
        }
    }

    #[test]
    fn the_key_is_read_from_the_file_that_came_with_the_backup() {
        let directory = tempfile::tempdir().expect("a directory");
        assert_eq!(transition_key(directory.path()), None);
        let info = |version: &str| {
            format!(
                "[sst]\ngalera-gtid=3ae18adc-e690-11f1-aa68-dbedcff0437f:39\nmysql-version={version}\n\
                 transition-key=abc\n"
            )
        };
        for (version, key) in [("8.0.36-28.1", "abc"), ("5.7.25-31.35", LITERAL_KEY)] {
            std::fs::write(directory.path().join(SST_INFO), info(version)).expect("writes");
            assert_eq!(transition_key(directory.path()), Some(Secret::new(key.to_owned())));
        }
    }
}
