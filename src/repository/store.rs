//! The little that the repository asks of an object store.
//!
//! For `file://` every object is synced before its name appears, and so is every directory that was
//! made, so a manifest is never on disk before what it speaks of.

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use super::error::RepositoryError;
use super::upload::{Upload, UploadConfig};
use super::url::RepositoryUrl;
use super::{MANIFEST_NAME, object_name};
use crate::pipeline::manifest::BackupId;

/// An opened store. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    objects: Arc<dyn ObjectStore>,
    directory: Option<PathBuf>,
    url: Arc<str>,
}

impl Store {
    /// Opens a store to read from it; the place must exist.
    pub(crate) async fn open(url: &RepositoryUrl) -> Result<Self, RepositoryError> {
        let target = url.to_string();
        let RepositoryUrl::File(directory) = url;
        Self::in_directory(directory.clone(), &target)
            .await
            .map_err(|source| RepositoryError::Open { target, source })
    }

    /// Opens a store to write to it; a directory is made if it is missing.
    pub(crate) async fn create(url: &RepositoryUrl) -> Result<Self, RepositoryError> {
        let target = url.to_string();
        let failed = |source| RepositoryError::Create { target: target.clone(), source };
        let RepositoryUrl::File(directory) = url;
        tokio::fs::create_dir_all(directory).await.map_err(|error| failed(generic(error)))?;
        Self::in_directory(directory.clone(), &target).await.map_err(failed)
    }

    async fn in_directory(directory: PathBuf, url: &str) -> Result<Self, object_store::Error> {
        let prefix = directory.clone();
        let objects = tokio::task::spawn_blocking(move || LocalFileSystem::new_with_prefix(prefix))
            .await
            .map_err(|error| generic(error.into()))??
            .with_fsync(true);
        Ok(Self { objects: Arc::new(objects), directory: Some(directory), url: url.into() })
    }

    /// Takes any object store; for tests of failing ones.
    #[cfg(test)]
    pub(crate) fn from_object_store(objects: Arc<dyn ObjectStore>) -> Self {
        Self { objects, directory: None, url: "test:".into() }
    }

    /// The URL it was opened with.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Writes a small object; fails if one of that name exists.
    pub(crate) async fn put_new(&self, name: &str, bytes: Vec<u8>) -> Result<(), RepositoryError> {
        let payload = PutPayload::from(bytes);
        self.objects
            .put_opts(&Path::from(name), payload, PutMode::Create.into())
            .await
            .map(drop)
            .map_err(|source| self.write_error(name, source))
    }

    /// Begins a large object; its name appears when the upload finishes.
    pub(crate) async fn upload(
        &self,
        name: &str,
        config: UploadConfig,
    ) -> Result<Upload, RepositoryError> {
        let object = format!("{}/{name}", self.url);
        match self.objects.put_multipart(&Path::from(name)).await {
            Ok(parts) => Ok(Upload::new(object, parts, config)),
            Err(source) => Err(RepositoryError::Write { object, source }),
        }
    }

    /// Reads a whole small object; `None` if there is none of that name.
    pub(crate) async fn read(&self, name: &str) -> Result<Option<Bytes>, RepositoryError> {
        let read = async { self.objects.get(&Path::from(name)).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.read_error(name, source)),
        }
    }

    /// Reads a part of an object.
    pub(crate) async fn read_range(
        &self,
        name: &str,
        range: Range<u64>,
    ) -> Result<Bytes, RepositoryError> {
        self.objects
            .get_range(&Path::from(name), range)
            .await
            .map_err(|source| self.read_error(name, source))
    }

    /// An object's size; `None` if there is none of that name.
    pub(crate) async fn size(&self, name: &str) -> Result<Option<u64>, RepositoryError> {
        match self.objects.head(&Path::from(name)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.read_error(name, source)),
        }
    }

    /// Names of the prefixes directly below the root.
    pub(crate) async fn prefixes(&self) -> Result<Vec<String>, RepositoryError> {
        let listing = self
            .objects
            .list_with_delimiter(None)
            .await
            .map_err(|source| self.read_error("", source))?;
        Ok(listing.common_prefixes.iter().map(ToString::to_string).collect())
    }

    /// Removes an object; a missing one is not an error.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), RepositoryError> {
        match self.objects.delete(&Path::from(name)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => self.sync_parent(name).await,
            Err(source) => Err(self.write_error(name, source)),
        }
    }

    /// Removes a backup: the manifest first, so that it is gone before it is damaged.
    pub(crate) async fn delete_backup(&self, id: &BackupId) -> Result<(), RepositoryError> {
        self.delete(&object_name(id, MANIFEST_NAME)).await?;
        self.delete_prefix(id.as_str()).await
    }

    /// Removes everything below a prefix, unfinished uploads included where the store shows them.
    async fn delete_prefix(&self, prefix: &str) -> Result<(), RepositoryError> {
        if let Some(directory) = &self.directory {
            return match tokio::fs::remove_dir_all(directory.join(prefix)).await {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(self.write_error(prefix, generic(error)))
                }
                Ok(()) | Err(_) => Ok(()),
            };
        }
        let below = self.objects.list(Some(&Path::from(prefix)));
        below
            .try_for_each_concurrent(DELETES_IN_FLIGHT, |meta| async move {
                self.objects.delete(&meta.location).await
            })
            .await
            .map_err(|source| self.write_error(prefix, source))
    }

    /// Makes a removal durable: the object store syncs what it writes but not what it deletes.
    async fn sync_parent(&self, name: &str) -> Result<(), RepositoryError> {
        let Some(directory) = &self.directory else { return Ok(()) };
        let object = directory.join(name);
        let sync = async {
            match object.parent() {
                Some(parent) => tokio::fs::File::open(parent).await?.sync_all().await,
                None => Ok(()),
            }
        };
        sync.await.map_err(|error| self.write_error(name, generic(error)))
    }

    fn write_error(&self, name: &str, source: object_store::Error) -> RepositoryError {
        RepositoryError::Write { object: format!("{}/{name}", self.url), source }
    }

    fn read_error(&self, name: &str, source: object_store::Error) -> RepositoryError {
        RepositoryError::Read { object: format!("{}/{name}", self.url), source }
    }
}

const DELETES_IN_FLIGHT: usize = 16;

fn generic(error: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "file", source: Box::new(error) }
}
