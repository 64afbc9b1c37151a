//! Finds backups in a repository and opens them.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jiff::Timestamp;

use super::compress::Lock;
use super::error::{Fault, RepositoryError};
use super::index::{Index, PackRecord, decode, decode_files};
use super::pack::{self, BlockRecord};
use super::seal::Identities;
use super::store::{Store, StoreOptions};
use super::url::RepositoryUrl;
use super::{LAYOUT, MANIFEST_NAME, object_name, xbcloud};
use crate::pipeline::manifest::{BackupId, Digest, Manifest, Storage, StoredObject};

/// Manifests that are read at once when listing: hides latency.
const MANIFESTS_AHEAD: usize = 8;

/// Backups among which one of the same group is looked for.
const MANIFESTS_LOOKED_AT: usize = 16;

/// A place that holds backups, opened for reading.
#[derive(Clone, Debug)]
pub struct Repository {
    store: Store,
    identities: Identities,
}

/// A backup in a list: its manifest, or why it cannot be read.
#[derive(Debug)]
pub struct Listed {
    /// The backup's name.
    pub id: BackupId,
    /// What it says about itself.
    pub manifest: Result<Manifest, RepositoryError>,
}

/// One complete backup. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Backup {
    store: Store,
    inner: Arc<Opened>,
}

#[derive(Debug)]
struct Opened {
    manifest: Manifest,
    index: Index,
    lock: Lock,
}

/// A pack's block table, checked against the index.
pub(super) struct PackTable {
    pub(super) object: Arc<str>,
    pub(super) bytes: Bytes,
    pub(super) blocks: Vec<BlockRecord>,
}

impl Repository {
    /// Opens a repository; it must exist.
    pub async fn open(url: &RepositoryUrl) -> Result<Self, RepositoryError> {
        Self::open_with(url, &StoreOptions::default()).await
    }

    /// As [`Repository::open`], with options for its object store.
    pub async fn open_with(
        url: &RepositoryUrl,
        options: &StoreOptions,
    ) -> Result<Self, RepositoryError> {
        Ok(Self { store: Store::open(url, options).await?, identities: Identities::default() })
    }

    /// With keys for encrypted backups.
    pub fn with_identities(self, identities: Identities) -> Self {
        Self { identities, ..self }
    }

    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    #[cfg(test)]
    pub(super) fn from_store(store: Store) -> Self {
        Self { store, identities: Identities::default() }
    }

    /// All complete backups, oldest first. One with a bad manifest is listed with the reason.
    pub async fn list(&self) -> Result<Vec<Listed>, RepositoryError> {
        let manifests = stream::iter(self.prefixes().await?).map(|id| async {
            let manifest = self.manifest(&id).await;
            Listed { id, manifest }
        });
        let is_there = |listed: &Listed| {
            std::future::ready(!matches!(listed.manifest, Err(RepositoryError::NoBackup { .. })))
        };
        Ok(manifests.buffered(MANIFESTS_AHEAD).filter(is_there).collect().await)
    }

    /// Prefixes that look like a backup but have no manifest: unfinished, or failed and left behind. Those
    /// with nothing but unfinished uploads are among them.
    pub async fn incomplete(&self) -> Result<Vec<BackupId>, RepositoryError> {
        let mut incomplete = Vec::new();
        let uploads = self.store.prefixes_of_uploads().await?;
        let uploads: Vec<BackupId> = uploads.iter().filter_map(|name| name.parse().ok()).collect();
        let mut ids = self.prefixes().await?;
        let beside = self.first_streams().await?;
        ids.extend(uploads.iter().chain(&beside).cloned());
        ids.sort_unstable();
        ids.dedup();
        for id in ids {
            if self.store.size(&object_name(&id, MANIFEST_NAME)).await?.is_some() {
                continue;
            }
            if uploads.contains(&id)
                || beside.contains(&id)
                || self.store.holds_anything(id.as_str()).await?
            {
                incomplete.push(id);
            }
        }
        Ok(incomplete)
    }

    /// The name of the newest complete backup.
    pub async fn latest(&self) -> Result<BackupId, RepositoryError> {
        let mut foreign = self.list_foreign().await?;
        foreign.retain(|backup| backup.fault.is_none());
        let foreign = foreign.pop().map(|backup| (Some(backup.stored), backup.backup_id));
        for id in self.prefixes().await?.into_iter().rev() {
            if self.store.size(&object_name(&id, MANIFEST_NAME)).await?.is_some() {
                let ours = (id.time(), id);
                return Ok(foreign.map_or(ours.clone(), |foreign| foreign.max(ours)).1);
            }
        }
        if let Some((_, id)) = foreign {
            return Ok(id);
        }
        Err(RepositoryError::Empty { repository: self.store.url().to_owned() })
    }

    /// The newest complete backup of a group among the last ones; unreadable ones are passed over.
    pub async fn newest_of(&self, group: &str) -> Result<Option<Manifest>, RepositoryError> {
        for id in self.prefixes().await?.into_iter().rev().take(MANIFESTS_LOOKED_AT) {
            match self.manifest(&id).await {
                Ok(manifest) if manifest.group == group => return Ok(Some(manifest)),
                Ok(_) | Err(_) => {}
            }
        }
        Ok(None)
    }

    /// Reads one backup's manifest.
    pub async fn manifest(&self, id: &BackupId) -> Result<Manifest, RepositoryError> {
        match self.store.read(&object_name(id, MANIFEST_NAME)).await? {
            Some(json) => Manifest::decode(&json)
                .map_err(|source| RepositoryError::Manifest { id: id.clone(), source }),
            None => Err(RepositoryError::NoBackup {
                id: id.clone(),
                repository: self.store.url().to_owned(),
            }),
        }
    }

    /// Opens a complete backup: manifest and index, the latter checked against the former.
    pub async fn backup(&self, id: &BackupId) -> Result<Backup, RepositoryError> {
        let manifest = self.manifest(id).await?;
        let storage = match &manifest.storage {
            Some(storage) if storage.layout == LAYOUT && manifest.backup_id == *id => storage,
            Some(_) | None => {
                return Err(RepositoryError::damaged(id.to_string(), Fault::Layout));
            }
        };
        let index = self.index(id, storage).await?;
        let (index, lock) = match (&storage.encryption, &storage.files) {
            (None, None) => (index, Lock::Open),
            (Some(_), Some(files)) if !self.identities.is_empty() => {
                let index = self.sealed_files(id, files, index).await?;
                (index, Lock::Keys(self.identities.clone()))
            }
            (Some(_), Some(_)) => (index, Lock::Shut),
            (Some(_), None) | (None, Some(_)) => {
                return Err(RepositoryError::damaged(id.to_string(), Fault::Layout));
            }
        };
        let inner = Arc::new(Opened { manifest, index, lock });
        Ok(Backup { store: self.store.clone(), inner })
    }

    /// When something last happened in a backup: when it began, or its newest object appeared.
    pub(super) async fn last_change(&self, id: &BackupId) -> Result<Timestamp, RepositoryError> {
        let began = id.time().unwrap_or(Timestamp::UNIX_EPOCH);
        let newest = self.store.last_modified(id.as_str()).await?;
        Ok(newest.map_or(began, |newest| newest.max(began)))
    }

    /// Removes a backup, or what an unfinished one left.
    pub async fn remove(&self, id: &BackupId) -> Result<(), RepositoryError> {
        self.store.delete_backup(id).await
    }

    /// Ends unfinished uploads of complete backups, which are nobody's.
    pub(super) async fn end_lost_uploads(&self, ids: &[BackupId]) -> Result<(), RepositoryError> {
        for name in self.store.prefixes_of_uploads().await? {
            if ids.iter().any(|id| id.as_str() == name) {
                self.store.end_uploads(&name).await?;
            }
        }
        Ok(())
    }

    /// Backups whose first stream, in layout `xbcloud`, is there.
    async fn first_streams(&self) -> Result<Vec<BackupId>, RepositoryError> {
        let names = self.store.prefixes().await?;
        let mut found = Vec::new();
        for name in &names {
            let id = xbcloud::of_first_stream(name).and_then(|id| id.parse().ok());
            let Some(id) = id else { continue };
            if self.store.holds_anything(name).await? {
                found.push(id);
            }
        }
        Ok(found)
    }

    async fn prefixes(&self) -> Result<Vec<BackupId>, RepositoryError> {
        let names = self.store.prefixes().await?;
        let mut ids: Vec<BackupId> = names.iter().filter_map(|name| name.parse().ok()).collect();
        ids.sort_unstable();
        Ok(ids)
    }

    /// The list of files of an encrypted backup.
    async fn sealed_files(
        &self,
        id: &BackupId,
        files: &StoredObject,
        packs: Index,
    ) -> Result<Index, RepositoryError> {
        let object = object_name(id, &files.name);
        let bytes = self.store.read(&object).await?.unwrap_or_default();
        check_bytes(&object, &bytes, files.bytes, files.blake3)?;
        let (id, identities) = (id.clone(), self.identities.clone());
        let decoded = tokio::task::spawn_blocking(move || {
            let plain = identities.open(&bytes, bytes.len() as u64);
            let plain = plain.ok_or_else(|| RepositoryError::WrongKey { id: id.clone() })?;
            decode_files(&object, &id, &plain, packs)
        });
        decoded.await.map_err(|_| RepositoryError::WorkerLost)?
    }

    async fn index(&self, id: &BackupId, storage: &Storage) -> Result<Index, RepositoryError> {
        let object = object_name(id, &storage.index.name);
        let (expected, blake3) = (storage.index.bytes, storage.index.blake3);
        let bytes = self.store.read(&object).await?.unwrap_or_default();
        check_bytes(&object, &bytes, expected, blake3)?;
        let (id, packs) = (id.clone(), storage.packs);
        let decoded = tokio::task::spawn_blocking(move || {
            let index = decode(&object, &id, &bytes)?;
            let is_whole = index.packs.len() as u64 == packs;
            is_whole.then_some(index).ok_or(RepositoryError::damaged(object, Fault::IndexEnd))
        });
        decoded.await.map_err(|_| RepositoryError::WorkerLost)?
    }
}

impl Backup {
    /// What the backup says about itself.
    pub fn manifest(&self) -> &Manifest {
        &self.inner.manifest
    }

    /// True if it is encrypted and there is no key: then it has no files that could be read.
    pub fn is_sealed(&self) -> bool {
        matches!(self.inner.lock, Lock::Shut)
    }

    /// An error if it is sealed.
    pub(crate) fn refuse_sealed(&self) -> Result<(), RepositoryError> {
        let id = || self.inner.manifest.backup_id.clone();
        if self.is_sealed() { Err(RepositoryError::Sealed { id: id() }) } else { Ok(()) }
    }

    pub(super) fn lock(&self) -> &Lock {
        &self.inner.lock
    }

    /// Its files; none if it is sealed.
    pub fn index(&self) -> &Index {
        &self.inner.index
    }

    pub(super) const fn store(&self) -> &Store {
        &self.store
    }

    /// Reads a range of a pack; an answer of another length is damage.
    pub(super) async fn read_pack(
        &self,
        pack: &PackRecord,
        range: Range<u64>,
    ) -> Result<Bytes, RepositoryError> {
        let object = self.object(&pack.name);
        let expected = range.end - range.start;
        let bytes = self.store.read_range(&object, range).await?;
        match bytes.len() as u64 {
            found if found == expected => Ok(bytes),
            found => Err(RepositoryError::damaged(object, Fault::Size { expected, found })),
        }
    }

    /// Reads a pack's block table.
    pub(super) async fn table(&self, pack: usize) -> Result<PackTable, RepositoryError> {
        let record = &self.inner.index.packs[pack];
        let object = self.object(&record.name);
        let start = record.bytes - record.table_bytes();
        let bytes = self.read_pack(record, start..record.bytes).await?;
        check_bytes(&object, &bytes, record.table_bytes(), record.table_hash)?;
        let blocks = pack::decode_table(&bytes)
            .and_then(|blocks| fits(record, &blocks).then_some(blocks).ok_or(Fault::BlockTable))
            .map_err(|fault| RepositoryError::damaged(&*object, fault))?;
        Ok(PackTable { object: object.into(), bytes, blocks })
    }

    fn object(&self, name: &str) -> String {
        object_name(&self.inner.manifest.backup_id, name)
    }
}

fn check_bytes(
    object: &str,
    bytes: &[u8],
    expected: u64,
    hash: Digest,
) -> Result<(), RepositoryError> {
    let found = bytes.len() as u64;
    if found != expected {
        return Err(RepositoryError::damaged(object, Fault::Size { expected, found }));
    }
    if Digest::of(bytes) != hash {
        return Err(RepositoryError::damaged(object, Fault::Hash));
    }
    Ok(())
}

/// The table accounts for every byte of the pack, stored and raw.
fn fits(pack: &PackRecord, blocks: &[BlockRecord]) -> bool {
    let stored: u64 = blocks.iter().map(|block| u64::from(block.stored_bytes)).sum();
    let raw: u64 = blocks.iter().map(|block| u64::from(block.raw_bytes)).sum();
    let around = pack::HEADER_BYTES as u64 + pack.table_bytes();
    blocks.len() as u64 == pack.blocks && stored + around == pack.bytes && raw == pack.raw_bytes
}
