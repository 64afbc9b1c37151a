//! Backups that another program wrote: found by what their objects are called.

use galera_protocol::xbstream::EntryPath;
use jiff::Timestamp;
use jiff::civil::DateTime;
use serde::Serialize;

use super::listing::Listing;
use super::name::{of_first_stream, parse_chunk_name, sums_name};
use super::reader::ChunkedBackup;
use crate::pipeline::manifest::BackupId;
use crate::repository::error::RepositoryError;
use crate::repository::reader::Repository;

/// Objects of an unknown prefix that are looked at before it is taken for none of ours.
const LOOK_AT: usize = 1000;

/// A backup without a manifest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Foreign {
    /// Its name.
    pub backup_id: BackupId,
    /// The cluster, where the name tells it as Percona's operator writes it.
    pub cluster: Option<String>,
    /// When its last chunk appeared.
    pub stored: Timestamp,
    /// Files in it.
    pub files: u64,
    /// Chunks of them.
    pub chunks: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Whether a list of sums is there.
    pub has_sums: bool,
    /// Whether a copy of ours was begun here and not ended.
    pub is_our_copy: bool,
    /// Why it is not whole, as far as names and sizes tell.
    pub fault: Option<String>,
}

impl Repository {
    /// Backups that another program wrote, oldest first; those that are not whole among them, with the
    /// reason.
    pub async fn list_foreign(&self) -> Result<Vec<Foreign>, RepositoryError> {
        let names = self.store().prefixes().await?;
        let mut found = Vec::new();
        for name in &names {
            if let Some(id) = self.as_foreign(name, &names).await? {
                found.extend(self.describe(id).await?);
            }
        }
        found.sort_by(|a, b| (a.stored, &a.backup_id).cmp(&(b.stored, &b.backup_id)));
        Ok(found)
    }

    /// The backup that a prefix belongs to, if it is one of another program. A first stream without its
    /// backup is the beginning of one.
    async fn as_foreign(
        &self,
        name: &str,
        names: &[String],
    ) -> Result<Option<BackupId>, RepositoryError> {
        let name = match of_first_stream(name) {
            Some(backup) if names.iter().any(|name| name == backup) => return Ok(None),
            Some(backup) => backup,
            None => name,
        };
        let is_ours = name.parse::<BackupId>().is_ok();
        let Some(id) = BackupId::foreign(name).filter(|_| !is_ours) else { return Ok(None) };
        if names.iter().any(|other| other == name) {
            let is_chunk = |name: &str| parse_chunk_name(name).is_some();
            let store = self.store();
            return Ok(store.begins_with_any(name, LOOK_AT, is_chunk).await?.then_some(id));
        }
        let is_there = self.store().holds_anything(&super::first_stream_name(&id)).await?;
        Ok(is_there.then_some(id))
    }

    async fn describe(&self, id: BackupId) -> Result<Option<Foreign>, RepositoryError> {
        let listing = Listing::read(self.store(), &id).await?;
        let has_sums = self.store().size(&sums_name(&id)).await?.is_some();
        let fault = listing.first_fault().map(|(object, fault)| format!("{object}: {fault}"));
        let started = listing.is_started.then(|| "it is being written".to_owned());
        let stored = match listing.newest {
            Some(newest) => newest,
            None => self.last_change_below(&super::first_stream_name(&id)).await?,
        };
        Ok(Some(Foreign {
            cluster: cluster_of(id.as_str()).map(str::to_owned),
            stored,
            files: listing.files.len() as u64,
            chunks: listing.chunks,
            stored_bytes: listing.bytes,
            has_sums,
            is_our_copy: listing.is_started,
            fault: started.or(fault),
            backup_id: id,
        }))
    }

    async fn last_change_below(&self, prefix: &str) -> Result<Timestamp, RepositoryError> {
        let newest = self.store().last_modified(prefix).await?;
        // Nobody's age is known: as if it were new.
        Ok(newest.unwrap_or_else(Timestamp::now))
    }
}

impl ChunkedBackup {
    /// What is known of a backup without a manifest.
    pub fn describe(&self) -> Foreign {
        let (chunks, stored_bytes) = self.chunks();
        Foreign {
            backup_id: self.id().clone(),
            cluster: cluster_of(self.id().as_str()).map(str::to_owned),
            stored: self.listing().newest.unwrap_or(Timestamp::UNIX_EPOCH),
            files: self.files().count() as u64,
            chunks,
            stored_bytes,
            has_sums: self.has_sums(),
            is_our_copy: false,
            fault: None,
        }
    }

    /// The backup tool's own summary, if it can be read.
    pub async fn summary(&self) -> Option<String> {
        use futures_util::TryStreamExt as _;
        const SUMMARY_BYTES_MAX: usize = 64 << 10;
        for name in ["xtrabackup_info", "mariadb_backup_info"] {
            let Ok(path) = EntryPath::parse(name.as_bytes()) else { continue };
            let Ok(pieces) = self.read_file(&path) else { continue };
            let text = pieces.try_fold(Vec::new(), async |mut text: Vec<u8>, piece| {
                let room = SUMMARY_BYTES_MAX.saturating_sub(text.len()).min(piece.len());
                text.extend_from_slice(&piece[..room]);
                Ok(text)
            });
            return text.await.ok().map(|text| String::from_utf8_lossy(&text).into_owned());
        }
        None
    }
}

/// `<cluster>-2026-03-01-00:00:00-full`.
fn cluster_of(name: &str) -> Option<&str> {
    const TIME_CHARS: usize = "-2026-03-01-00:00:00".len();
    let name = name.strip_suffix("-full")?;
    let at = name.len().checked_sub(TIME_CHARS)?;
    let (cluster, time) = (name.get(..at)?, name.get(at..)?);
    DateTime::strptime("-%Y-%m-%d-%H:%M:%S", time).ok()?;
    (!cluster.is_empty()).then_some(cluster)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_operators_names_tell_the_cluster() {
        assert_eq!(cluster_of("cluster1-2026-03-01-00:00:00-full"), Some("cluster1"));
        for name in
            ["b1", "-2026-03-01-00:00:00-full", "c-2026-13-01-00:00:00-full", "-full", "é-full"]
        {
            assert_eq!(cluster_of(name), None, "{name}");
        }
    }
}
