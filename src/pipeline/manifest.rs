//! What is known about one backup when it is complete: `manifest.json`.
//!
//! The manifest is written last and create-only, and its presence is what makes a backup exist. It
//! is not a catalogue of files: that is the index (`docs/format.md`), whose hash stands here.
//! Readers ignore fields they do not know and refuse a greater `format_version`.

mod digest;
mod id;
mod info;
mod witness;

use galera_protocol::id::{NodeId, StateId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use digest::{Digest, ParseDigestError};
pub use id::{BackupId, ParseBackupIdError};
pub use info::BackupInfo;
pub use witness::{
    ClosingFilesSeen, CommandSeen, GroupSeen, SinkSeen, StreamSeen, TransportEnd, TransportSeen,
    Witness, WitnessName, Witnesses,
};

/// The greatest format that this program reads.
pub const FORMAT_VERSION: u32 = 3;

/// The version of a dump: a backup without a donor, which older programs must not try to prepare.
pub const DUMP_FORMAT_VERSION: u32 = 3;

/// The version of an encrypted backup.
pub const ENCRYPTED_FORMAT_VERSION: u32 = 2;

/// The version of a backup that is not encrypted; older programs read it.
pub const PLAIN_FORMAT_VERSION: u32 = 1;

/// Everything that a backup says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the format; readers refuse a greater one.
    pub format_version: u32,
    /// The backup's name; sorts by time.
    pub backup_id: BackupId,
    /// Name of the group (`wsrep_cluster_name`).
    pub group: String,
    /// Position of the data, as far as it is known without preparing it.
    pub state: StateSeen,
    /// The member that sent the data.
    pub donor: Donor,
    /// How it was sent.
    pub method: Method,
    /// Whose server it is.
    pub flavour: Flavour,
    /// Versions of the programs that took part.
    pub versions: Versions,
    /// When things happened.
    pub times: Times,
    /// Sizes and counts.
    pub totals: Totals,
    /// The evidence that the backup is complete.
    pub witnesses: Witnesses,
    /// Where the bytes are; filled in by the sink, absent where they are plain files.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Storage>,
}

/// Position that the donor named before it copied the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StateSeen {
    /// Identity of the data history.
    #[serde(with = "text")]
    pub uuid: StateId,
    /// The data is at this global seqno or a later one. Only preparing it tells which (spec 05 §4.4).
    pub seqno_at_least: i64,
}

/// The member that sent the data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Donor {
    /// Its UUID in the group at that time.
    #[serde(with = "text")]
    pub uuid: NodeId,
    /// Its `wsrep_node_name`.
    pub name: String,
    /// The address its data came from.
    pub address: String,
}

/// A state transfer method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// Percona XtraBackup.
    XtrabackupV2,
    /// mariadb-backup.
    Mariabackup,
    /// None: a command's logical dump of a stand-alone server.
    Dump,
}

/// Whose server a backup was taken from: decides which tool prepares it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Flavour {
    /// Percona XtraDB Cluster.
    Percona,
    /// MariaDB Server.
    Mariadb,
    /// Not told; only of dumps, which no tool prepares.
    Unknown,
}

/// Versions, each as its program spells it; absent when nothing told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// The program that wrote the backup.
    pub galera_sst: String,
    /// The donor's server.
    pub server: Option<String>,
    /// Name of the donor's backup tool.
    pub tool_name: Option<String>,
    /// Version of the donor's backup tool.
    pub tool: Option<String>,
}

/// When things happened, UTC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// The job began.
    pub started: Timestamp,
    /// The group accepted the request.
    pub requested: Option<Timestamp>,
    /// The donor's first byte of data arrived.
    pub first_byte: Option<Timestamp>,
    /// The stream ended.
    pub received: Option<Timestamp>,
    /// Everything but the manifest was safe in the sink.
    pub stored: Option<Timestamp>,
}

/// Sizes and counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Files in the backup.
    pub files: u64,
    /// Sum of their sizes, holes included.
    pub file_bytes: u64,
    /// Bytes of file content that arrived, before compression.
    pub data_bytes: u64,
    /// Bytes of the donor's stream.
    pub stream_bytes: u64,
    /// Bytes that the sink stored, manifest excluded.
    pub stored_bytes: u64,
}

/// Where the bytes of a backup in a repository are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Name of the layout; `packs` is the only one.
    pub layout: String,
    /// The index object.
    pub index: StoredObject,
    /// Number of packs.
    pub packs: u64,
    /// Sum of their sizes.
    pub pack_bytes: u64,
    /// The list of files where it is not part of the index: of an encrypted backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<StoredObject>,
    /// Whom the backup is encrypted for; absent if it is not encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
}

/// How a backup is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Encryption {
    /// Recipients, as `age` writes them.
    pub age_recipients: Vec<String>,
}

/// One object below the backup's prefix.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredObject {
    /// Its name below the backup's prefix.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Hash of its bytes as stored.
    pub blake3: Digest,
}

/// Why a manifest is not read.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Written by a newer program.
    #[error("format version {found} is newer than {FORMAT_VERSION}, the newest this program reads")]
    Newer {
        /// The version found.
        found: u32,
    },
    /// Not a manifest.
    #[error("parse manifest")]
    Malformed(#[from] serde_json::Error),
}

impl Manifest {
    /// Reads a manifest; the version is looked at before anything else.
    pub fn decode(json: &[u8]) -> Result<Self, ManifestError> {
        #[derive(Deserialize)]
        struct Version {
            format_version: u32,
        }
        let Version { format_version: found } = serde_json::from_slice(json)?;
        if found > FORMAT_VERSION {
            return Err(ManifestError::Newer { found });
        }
        Ok(serde_json::from_slice(json)?)
    }

    /// Writes it for people and programs: indented, fields in a fixed order, newline at the end.
    pub fn encode(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = serde_json::to_vec_pretty(self)?;
        json.push(b'\n');
        Ok(json)
    }
}

/// Serde by `Display` and `FromStr`.
pub(crate) mod text {
    use core::fmt::Display;
    use core::str::FromStr;

    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<T: Display, S: Serializer>(
        value: &T,
        to: S,
    ) -> Result<S::Ok, S::Error> {
        to.collect_str(value)
    }

    pub(crate) fn deserialize<'de, T, D>(from: D) -> Result<T, D::Error>
    where
        T: FromStr<Err: Display>,
        D: Deserializer<'de>,
    {
        std::borrow::Cow::<'de, str>::deserialize(from)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
pub(crate) mod tests;
