//! One backup from one repository to another: objects as they are, each checked on its way.
//!
//! Nothing is decompressed or decrypted, so no key is needed. As when a backup is taken, the manifest
//! comes last, create-only, and a failure takes everything back.

use futures_util::{StreamExt, stream};

use super::error::{Fault, RepositoryError};
use super::reader::{Backup, Repository};
use super::store::{Store, StoreOptions};
use super::upload::UploadConfig;
use super::url::RepositoryUrl;
use super::xbcloud::{self, Stored};
use super::{MANIFEST_NAME, STARTED_NAME, object_name};
use crate::pipeline::manifest::{BackupId, Digest};

/// Size of what is read at once.
const RANGE_BYTES: u64 = 4 << 20;

/// Ranges that are read ahead.
const RANGES_AHEAD: usize = 4;

/// What became of a backup that was to be copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// It was copied: so many bytes.
    Now(u64),
    /// It was there already.
    Before,
}

/// A repository that backups are copied into.
#[derive(Clone, Debug)]
pub struct CopyTarget {
    store: Store,
    upload: UploadConfig,
}

impl CopyTarget {
    /// Opens a repository to write into; a directory is made if it is missing.
    pub async fn open(
        url: &RepositoryUrl,
        options: &StoreOptions,
        upload: UploadConfig,
    ) -> Result<Self, RepositoryError> {
        Ok(Self { store: Store::create(url, options).await?, upload })
    }

    /// Copies one backup; one that is there with the same manifest is left alone.
    pub async fn copy(&self, from: &Repository, id: &BackupId) -> Result<Copied, RepositoryError> {
        match from.open_backup(id).await? {
            Stored::Packs(backup) => self.copy_packs(&backup, id).await,
            Stored::Chunks(backup) => xbcloud::copy(&backup, &self.store, self.upload).await,
        }
    }

    async fn copy_packs(&self, backup: &Backup, id: &BackupId) -> Result<Copied, RepositoryError> {
        let name = object_name(id, MANIFEST_NAME);
        let manifest = backup.store().read(&name).await?.unwrap_or_default();
        if let Some(found) = self.store.read(&name).await? {
            return if found == manifest {
                Ok(Copied::Before)
            } else {
                Err(RepositoryError::OtherBackup { object: self.store.full_name(&name) })
            };
        }
        // Names its writer: two that copy at once must not meet.
        let mark = uuid::Uuid::new_v4().to_string().into_bytes();
        self.store.put_new(&object_name(id, STARTED_NAME), mark).await?;
        match self.copy_objects(backup, id, &manifest).await {
            Ok(bytes) => {
                if let Err(error) = self.store.delete(&object_name(id, STARTED_NAME)).await {
                    tracing::debug!(%id, %error, "start mark stays");
                }
                Ok(Copied::Now(bytes))
            }
            Err(error) => {
                if let Err(error) = self.store.delete_backup(id).await {
                    tracing::warn!(%id, %error, "cannot remove what an unfinished copy left");
                }
                Err(error)
            }
        }
    }

    async fn copy_objects(
        &self,
        backup: &Backup,
        id: &BackupId,
        manifest: &[u8],
    ) -> Result<u64, RepositoryError> {
        let mut bytes = 0;
        for pack in &backup.index().packs {
            self.copy_object(backup, &object_name(id, &pack.name), pack.bytes, pack.hash).await?;
            bytes += pack.bytes;
        }
        if let Some(storage) = &backup.manifest().storage {
            let (index, size) = (&storage.index, storage.index.bytes);
            self.copy_object(backup, &object_name(id, &index.name), size, index.blake3).await?;
            bytes += size;
            if let Some(files) = &storage.files {
                let name = object_name(id, &files.name);
                self.copy_object(backup, &name, files.bytes, files.blake3).await?;
                bytes += files.bytes;
            }
        }
        self.store.put_new(&object_name(id, MANIFEST_NAME), manifest.to_vec()).await?;
        Ok(bytes + manifest.len() as u64)
    }

    async fn copy_object(
        &self,
        backup: &Backup,
        name: &str,
        size: u64,
        hash: Digest,
    ) -> Result<(), RepositoryError> {
        let mut upload = self.store.upload(name, self.upload).await?;
        let starts = (0..size).step_by(RANGE_BYTES as usize);
        let ranges = starts.map(|start| start..size.min(start + RANGE_BYTES));
        let mut pieces = stream::iter(ranges)
            .map(|range| backup.store().read_range(name, range))
            .buffered(RANGES_AHEAD);
        let mut hasher = blake3::Hasher::new();
        let copied = async {
            while let Some(piece) = pieces.next().await {
                let piece = piece?;
                hasher.update(&piece);
                upload.write(piece).await?;
            }
            if Digest::from(hasher.finalize()) != hash {
                return Err(RepositoryError::damaged(name, Fault::Hash));
            }
            upload.finish().await
        };
        match copied.await {
            Ok(()) => Ok(()),
            Err(error) => {
                upload.abort().await;
                Err(error)
            }
        }
    }
}
