//! The little that the repository asks of an object store.
//!
//! What an object store did not answer is asked again, within limits; whether an object that was to
//! be made is there, is looked up where the answer was lost.
//!
//! For `file://` every object is synced before its name appears, and so is every directory that was
//! made, so a manifest is never on disk before what it speaks of.

mod cloud;
mod contact;
mod many;
mod profile;
mod retry;
mod uploads;

use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutPayload};

use super::error::RepositoryError;
use super::upload::{Upload, UploadConfig};
use super::url::{Cloud, RepositoryUrl};
use super::{MANIFEST_NAME, object_name, xbcloud};
use crate::pipeline::manifest::BackupId;
use crate::throttle::Limit;
use cloud::Connected;
pub use cloud::{Addressing, Environment, StoreOptions};
pub use contact::NoContact;
pub(super) use many::ObjectSeen;
use retry::{Backoff, is_conflict, is_final};
use uploads::Uploads;

/// An opened store. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    objects: Arc<dyn ObjectStore>,
    place: Place,
    url: Arc<str>,
    upload_limit: Option<Limit>,
    retries_max: usize,
}

/// What a store can do that not every store can.
#[derive(Clone, Debug)]
enum Place {
    Directory(PathBuf),
    /// An object store. Some show unfinished uploads, which have to be ended one by one.
    Remote {
        uploads: Option<Arc<Uploads>>,
    },
}

impl Store {
    /// Opens a store to read from it; the place must exist.
    pub(crate) async fn open(
        url: &RepositoryUrl,
        options: &StoreOptions,
    ) -> Result<Self, RepositoryError> {
        let target = url.to_string();
        let opened = match url {
            RepositoryUrl::File(directory) => Self::in_directory(directory.clone(), &target).await,
            RepositoryUrl::Cloud(cloud) => Self::in_cloud(cloud, options, &target),
        };
        opened.map_err(|source| RepositoryError::Open { target, source })
    }

    /// Opens a store to write to it; a directory is made if it is missing.
    pub(crate) async fn create(
        url: &RepositoryUrl,
        options: &StoreOptions,
    ) -> Result<Self, RepositoryError> {
        let target = url.to_string();
        let opened = match url {
            RepositoryUrl::File(directory) => {
                let made = tokio::fs::create_dir_all(directory).await.map_err(generic);
                match made {
                    Ok(()) => Self::in_directory(directory.clone(), &target).await,
                    Err(error) => Err(error),
                }
            }
            RepositoryUrl::Cloud(cloud) => Self::in_cloud(cloud, options, &target),
        };
        opened.map_err(|source| RepositoryError::Create { target, source })
    }

    async fn in_directory(directory: PathBuf, url: &str) -> Result<Self, object_store::Error> {
        let prefix = directory.clone();
        let objects = tokio::task::spawn_blocking(move || LocalFileSystem::new_with_prefix(prefix))
            .await
            .map_err(|error| generic(error.into()))??
            .with_fsync(true);
        let place = Place::Directory(directory);
        let (objects, url) = (Arc::new(objects), url.into());
        Ok(Self { objects, place, url, upload_limit: None, retries_max: 0 })
    }

    fn in_cloud(
        cloud: &Cloud,
        options: &StoreOptions,
        url: &str,
    ) -> Result<Self, object_store::Error> {
        let Connected { objects, uploads } = cloud::connect(cloud, options)?;
        let place = Place::Remote { uploads: uploads.map(Arc::new) };
        let upload_limit = options.upload_limit.clone();
        let retries_max = options.retries_max;
        Ok(Self { objects, place, url: url.into(), upload_limit, retries_max })
    }

    /// Takes any object store; for tests of failing ones.
    #[cfg(test)]
    pub(crate) fn from_object_store(objects: Arc<dyn ObjectStore>) -> Self {
        let place = Place::Remote { uploads: None };
        Self { objects, place, url: "test:".into(), upload_limit: None, retries_max: usize::MAX }
    }

    pub(super) const fn is_remote(&self) -> bool {
        matches!(self.place, Place::Remote { .. })
    }

    /// The URL it was opened with.
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Writes a small object; fails if another one of that name exists.
    ///
    /// An object store is asked afterwards what it has: an answer may be lost, or untrue.
    pub(crate) async fn put_new(&self, name: &str, bytes: Vec<u8>) -> Result<(), RepositoryError> {
        let bytes = Bytes::from(bytes);
        let mut backoff = Backoff::new(self.retries_max);
        loop {
            let path = path_of(name);
            let payload = PutPayload::from(bytes.clone());
            let put = self.objects.put_opts(&path, payload, PutMode::Create.into()).await;
            let failure = match put {
                Ok(_) if !self.is_remote() => return Ok(()),
                Ok(_) => RepositoryError::Lost { object: self.full_name(name) },
                Err(source) => {
                    let is_final = is_final(&source) && !is_conflict(&source);
                    let failure = self.write_error(name, source);
                    if !self.is_remote() || is_final {
                        return Err(failure);
                    }
                    failure
                }
            };
            match self.read(name).await {
                Ok(Some(found)) if found == bytes => return Ok(()),
                Ok(Some(_)) => return Err(failure),
                Ok(None) | Err(_) => {}
            }
            if !backoff.wait().await {
                return Err(failure);
            }
        }
    }

    /// Begins a large object; its name appears when the upload finishes.
    pub(crate) async fn upload(
        &self,
        name: &str,
        config: UploadConfig,
    ) -> Result<Upload, RepositoryError> {
        let path = path_of(name);
        // A beginning whose answer was lost is ended with the backup that it was for.
        let begun = self.again(|| self.objects.put_multipart(&path)).await;
        let parts = begun.map_err(|source| self.write_error(name, source))?;
        Ok(Upload::new(self.clone(), name.to_owned(), parts, config))
    }

    /// Waits until so many bytes of an upload may pass.
    pub(super) async fn pace(&self, bytes: usize) {
        if let Some(limit) = &self.upload_limit {
            limit.pass(bytes).await;
        }
    }

    /// Whether an object store really has what it said it took.
    pub(super) async fn check_stored(
        &self,
        name: &str,
        bytes: u64,
    ) -> Result<bool, RepositoryError> {
        if !self.is_remote() {
            return Ok(true);
        }
        Ok(self.size(name).await? == Some(bytes))
    }

    /// Reads a whole small object; `None` if there is none of that name.
    pub(crate) async fn read(&self, name: &str) -> Result<Option<Bytes>, RepositoryError> {
        let path = path_of(name);
        let read = self.again(|| async { self.objects.get(&path).await?.bytes().await });
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
        let path = path_of(name);
        let read = self.again(|| self.objects.get_range(&path, range.clone()));
        read.await.map_err(|source| self.read_error(name, source))
    }

    /// An object's size; `None` if there is none of that name.
    pub(crate) async fn size(&self, name: &str) -> Result<Option<u64>, RepositoryError> {
        let path = path_of(name);
        match self.again(|| self.objects.head(&path)).await {
            Ok(meta) => Ok(Some(meta.size)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(source) => Err(self.read_error(name, source)),
        }
    }

    /// Asks an object store until it answers or the tries are used up.
    async fn again<T, F>(&self, mut ask: impl FnMut() -> F) -> Result<T, object_store::Error>
    where
        F: Future<Output = Result<T, object_store::Error>>,
    {
        let mut backoff = Backoff::new(self.retries_max);
        loop {
            match ask().await {
                Err(error) if self.is_remote() && !is_final(&error) && backoff.wait().await => {
                    tracing::debug!(%error, "asking the object store again");
                }
                answer => return answer,
            }
        }
    }

    /// When the newest object below a prefix appeared.
    pub(super) async fn last_modified(
        &self,
        prefix: &str,
    ) -> Result<Option<Timestamp>, RepositoryError> {
        let path = path_of(prefix);
        let listed = self.again(|| {
            let seconds =
                self.objects.list(Some(&path)).map_ok(|meta| meta.last_modified.timestamp());
            seconds
                .try_fold(None, async |newest: Option<i64>, seconds| Ok(newest.max(Some(seconds))))
        });
        let newest = listed.await.map_err(|source| self.read_error(prefix, source))?;
        Ok(newest.and_then(|seconds| Timestamp::from_second(seconds).ok()))
    }

    /// Whether there is anything below a prefix. Some object stores list a prefix for a while after the
    /// last object below it has gone.
    pub(super) async fn holds_anything(&self, prefix: &str) -> Result<bool, RepositoryError> {
        Ok(!self.is_remote() || self.last_modified(prefix).await?.is_some())
    }

    /// Names of the prefixes directly below the root.
    pub(crate) async fn prefixes(&self) -> Result<Vec<String>, RepositoryError> {
        let listed = self.again(|| self.objects.list_with_delimiter(None)).await;
        let listing = listed.map_err(|source| self.read_error("", source))?;
        Ok(listing.common_prefixes.iter().map(ToString::to_string).collect())
    }

    /// Names of the prefixes below which there is nothing but unfinished uploads, and of others.
    pub(crate) async fn prefixes_of_uploads(&self) -> Result<Vec<String>, RepositoryError> {
        let Place::Remote { uploads: Some(uploads) } = &self.place else { return Ok(Vec::new()) };
        let listed = self.again(|| uploads.list("")).await;
        let listed = listed.map_err(|source| self.read_error("?uploads", source))?;
        Ok(listed.iter().filter_map(|upload| xbcloud::backup_of(&upload.name)).collect())
    }

    /// Removes an object; a missing one is not an error.
    pub(crate) async fn delete(&self, name: &str) -> Result<(), RepositoryError> {
        let path = path_of(name);
        match self.again(|| self.objects.delete(&path)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => self.sync_parent(name).await,
            Err(source) => Err(self.write_error(name, source)),
        }
    }

    /// Removes a backup: what makes it one goes first, so that it is gone before it is damaged.
    pub(crate) async fn delete_backup(&self, id: &BackupId) -> Result<(), RepositoryError> {
        self.delete(&object_name(id, MANIFEST_NAME)).await?;
        self.delete(&xbcloud::sums_name(id)).await?;
        self.delete_prefix(&xbcloud::first_stream_name(id)).await?;
        self.delete_prefix(id.as_str()).await
    }

    /// Removes everything below a prefix, unfinished uploads included where the store shows them.
    async fn delete_prefix(&self, prefix: &str) -> Result<(), RepositoryError> {
        if let Place::Directory(directory) = &self.place {
            let removed = remove_tree(&directory.join(prefix)).await;
            return removed.map_err(|error| self.write_error(prefix, generic(error)));
        }
        self.end_uploads(prefix).await?;
        let path = path_of(prefix);
        let names: Vec<Path> = self
            .again(|| self.objects.list(Some(&path)).map_ok(|meta| meta.location).try_collect())
            .await
            .map_err(|source| self.read_error(prefix, source))?;
        let deletes = stream::iter(names).map(async |name| match self.delete_path(&name).await {
            Err(source) => Err(self.write_error(name.as_ref(), source)),
            Ok(()) => Ok(()),
        });
        deletes.buffer_unordered(DELETES_IN_FLIGHT).try_collect().await
    }

    async fn delete_path(&self, path: &Path) -> Result<(), object_store::Error> {
        match self.again(|| self.objects.delete(path)).await {
            Err(object_store::Error::NotFound { .. }) => Ok(()),
            deleted => deleted,
        }
    }

    /// Ends unfinished uploads below a prefix, which cost money and no listing of objects shows.
    pub(super) async fn end_uploads(&self, prefix: &str) -> Result<(), RepositoryError> {
        let Place::Remote { uploads: Some(uploads) } = &self.place else { return Ok(()) };
        let listed = self.again(|| uploads.list(prefix)).await;
        let mut listed = listed.map_err(|source| self.read_error(prefix, source))?;
        listed.retain(|upload| xbcloud::backup_of(&upload.name).is_some_and(|id| id == prefix));
        for upload in listed {
            let ended = self.again(|| uploads.end(&upload)).await;
            ended.map_err(|source| self.write_error(&upload.name, source))?;
        }
        Ok(())
    }

    /// Makes a removal durable: the object store syncs what it writes but not what it deletes.
    async fn sync_parent(&self, name: &str) -> Result<(), RepositoryError> {
        let Place::Directory(directory) = &self.place else { return Ok(()) };
        let object = directory.join(name);
        let sync = async {
            match object.parent() {
                Some(parent) => tokio::fs::File::open(parent).await?.sync_all().await,
                None => Ok(()),
            }
        };
        match sync.await {
            // Then the name is not on disk either.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            synced => synced.map_err(|error| self.write_error(name, generic(error))),
        }
    }

    /// An object's name as people know it.
    pub(super) fn full_name(&self, name: &str) -> String {
        format!("{}/{name}", self.url)
    }

    pub(super) fn write_error(&self, name: &str, source: object_store::Error) -> RepositoryError {
        let source = NoContact::plainly(source);
        RepositoryError::Write { object: self.full_name(name), source }
    }

    fn read_error(&self, name: &str, source: object_store::Error) -> RepositoryError {
        let source = NoContact::plainly(source);
        RepositoryError::Read { object: self.full_name(name), source }
    }
}

/// Names of tables have characters that [`Path::from`] would write differently.
fn path_of(name: &str) -> Path {
    Path::parse(name).unwrap_or_else(|_| Path::from(name))
}

const DELETES_IN_FLIGHT: usize = 16;
const REMOVALS_MAX: usize = 5;

/// Removes a directory; again if a write that was given up still put something into it.
async fn remove_tree(directory: &std::path::Path) -> io::Result<()> {
    for _ in 1..REMOVALS_MAX {
        match tokio::fs::remove_dir_all(directory).await {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            removed => return removed,
        }
    }
    tokio::fs::remove_dir_all(directory).await
}

fn generic(error: io::Error) -> object_store::Error {
    object_store::Error::Generic { store: "file", source: Box::new(error) }
}
