//! Finds backups in layout `xbcloud` and opens them.

use std::sync::Arc;

use galera_protocol::xbstream::EntryPath;

use super::LAYOUT;
use super::listing::{ListedFile, Listing};
use super::name::sums_name;
use super::sums::{Md5Sum, Sums};
use crate::pipeline::manifest::{BackupId, Manifest};
use crate::repository::MANIFEST_NAME;
use crate::repository::error::{Fault, RepositoryError};
use crate::repository::object_name;
use crate::repository::reader::{Backup, Repository};
use crate::repository::store::Store;

/// A complete backup of either layout.
#[derive(Clone, Debug)]
pub enum Stored {
    /// Layout `packs`.
    Packs(Backup),
    /// Layout `xbcloud`.
    Chunks(ChunkedBackup),
}

/// A complete backup in layout `xbcloud`. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ChunkedBackup {
    pub(super) store: Store,
    pub(super) inner: Arc<Opened>,
}

#[derive(Debug)]
pub(super) struct Opened {
    pub(super) id: BackupId,
    pub(super) manifest: Option<Manifest>,
    pub(super) listing: Listing,
    pub(super) sums: Option<Sums>,
}

impl Stored {
    /// The backup's name.
    pub fn id(&self) -> &BackupId {
        match self {
            Self::Packs(backup) => &backup.manifest().backup_id,
            Self::Chunks(backup) => backup.id(),
        }
    }

    /// What it says about itself; nothing if another program wrote it.
    pub fn manifest(&self) -> Option<&Manifest> {
        match self {
            Self::Packs(backup) => Some(backup.manifest()),
            Self::Chunks(backup) => backup.manifest(),
        }
    }
}

impl Repository {
    /// Opens a complete backup of either layout.
    pub async fn open_backup(&self, id: &BackupId) -> Result<Stored, RepositoryError> {
        let manifest = match self.manifest(id).await {
            Ok(manifest) => Some(manifest),
            Err(RepositoryError::NoBackup { .. }) => None,
            Err(error) => return Err(error),
        };
        match manifest {
            Some(manifest) if has_chunks(&manifest) => {
                ChunkedBackup::open(self.store(), id, Some(manifest)).await.map(Stored::Chunks)
            }
            Some(_) => self.backup(id).await.map(Stored::Packs),
            None => ChunkedBackup::open(self.store(), id, None).await.map(Stored::Chunks),
        }
    }
}

fn has_chunks(manifest: &Manifest) -> bool {
    manifest.storage.as_ref().is_some_and(|storage| storage.layout == LAYOUT)
}

impl ChunkedBackup {
    /// Opens a backup; without a manifest, it is one if names and sizes say that it is whole.
    async fn open(
        store: &Store,
        id: &BackupId,
        manifest: Option<Manifest>,
    ) -> Result<Self, RepositoryError> {
        let listing = Listing::read(store, id).await?;
        let is_nothing = listing.files.is_empty() || (manifest.is_none() && listing.is_started);
        if is_nothing {
            let repository = store.url().to_owned();
            return Err(RepositoryError::NoBackup { id: id.clone(), repository });
        }
        let fault = match &manifest {
            // What is damaged of a backup that was whole, whoever reads it is told.
            Some(_) => None,
            None => listing.first_fault(),
        };
        if let Some((object, fault)) = fault {
            return Err(RepositoryError::NotWhole { id: id.clone(), object, fault });
        }
        let sums = Sums::read(store, &sums_name(id)).await?;
        let opened = Opened { id: id.clone(), manifest, listing, sums };
        opened.check_sums(store)?;
        Ok(Self { store: store.clone(), inner: Arc::new(opened) })
    }

    /// The backup's name.
    pub fn id(&self) -> &BackupId {
        &self.inner.id
    }

    /// What it says about itself; nothing if another program wrote it.
    pub fn manifest(&self) -> Option<&Manifest> {
        self.inner.manifest.as_ref()
    }

    /// Its files, by path.
    pub fn files(&self) -> impl Iterator<Item = &EntryPath> {
        self.inner.listing.files.iter().map(|file| &file.path)
    }

    /// Number of its chunks, and their bytes.
    pub fn chunks(&self) -> (u64, u64) {
        (self.inner.listing.chunks, self.inner.listing.bytes)
    }

    /// Whether it has a list of sums, by which missing files are noticed.
    pub fn has_sums(&self) -> bool {
        self.inner.sums.is_some()
    }

    pub(super) fn listing(&self) -> &Listing {
        &self.inner.listing
    }

    pub(super) fn object(&self, name: &str) -> String {
        object_name(self.id(), name)
    }

    pub(super) fn sum(&self, file: &ListedFile, index: u64) -> Option<Md5Sum> {
        let sums = self.inner.sums.as_ref()?.file(&file.path)?;
        sums.get(usize::try_from(index).ok()?).copied()
    }
}

impl Opened {
    /// The list of sums is the one that the manifest speaks of.
    fn check_sums(&self, store: &Store) -> Result<(), RepositoryError> {
        let Some(storage) = self.manifest.as_ref().and_then(|it| it.storage.as_ref()) else {
            return Ok(());
        };
        let found = self.sums.as_ref().and_then(Sums::hash);
        if found == Some(storage.index.blake3) && self.is_named() {
            return Ok(());
        }
        let object = store.full_name(&sums_name(&self.id));
        Err(RepositoryError::damaged(object, Fault::Hash))
    }

    fn is_named(&self) -> bool {
        self.manifest.as_ref().is_none_or(|manifest| manifest.backup_id == self.id)
    }

    /// Files of which list and listing disagree.
    pub(super) fn unlisted(&self) -> Vec<EntryPath> {
        let Some(sums) = &self.sums else { return Vec::new() };
        let has_as_many = |file: &&ListedFile| {
            sums.file(&file.path).is_some_and(|sums| sums.len() == file.chunks.len())
        };
        let is_missing = |path: &&EntryPath| self.listing.file(path).is_none();
        let odd = self.listing.files.iter().filter(|file| !has_as_many(file)).map(|it| &it.path);
        odd.chain(sums.paths().filter(is_missing)).cloned().collect()
    }
}

/// Name of the manifest among a backup's objects.
pub(super) fn manifest_name(id: &BackupId) -> String {
    object_name(id, MANIFEST_NAME)
}
