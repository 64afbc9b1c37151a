//! Many objects at once, each by a request of its own: listing, putting, removing.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use object_store::{ObjectStoreExt, PutPayload};

use super::{DELETES_IN_FLIGHT, Store, path_of};
use crate::repository::error::RepositoryError;

/// An object as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::repository) struct ObjectSeen<'a> {
    /// Its name below the prefix.
    pub(in crate::repository) name: &'a str,
    /// Its size.
    pub(in crate::repository) bytes: u64,
    /// When it appeared.
    pub(in crate::repository) modified: Timestamp,
}

impl Store {
    /// Gathers all objects below a prefix, in whatever order they are listed.
    pub(in crate::repository) async fn list_below<T>(
        &self,
        prefix: &str,
        start: impl Fn() -> T,
        add: impl Fn(&mut T, ObjectSeen<'_>),
    ) -> Result<T, RepositoryError> {
        let path = path_of(prefix);
        let skip = prefix.len() + 1;
        let listed = self.again(|| async {
            let mut gathered = start();
            let mut objects = self.objects.list(Some(&path));
            while let Some(meta) = objects.try_next().await? {
                let seconds = meta.last_modified.timestamp();
                let name = meta.location.as_ref().get(skip..).unwrap_or_default();
                let modified = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
                add(&mut gathered, ObjectSeen { name, bytes: meta.size, modified });
            }
            Ok(gathered)
        });
        listed.await.map_err(|source| self.read_error(prefix, source))
    }

    /// Whether one of the first objects below a prefix is of a kind: for prefixes that hold who knows
    /// what, and how much of it.
    pub(in crate::repository) async fn begins_with_any(
        &self,
        prefix: &str,
        look_at: usize,
        is_one: impl Fn(&str) -> bool,
    ) -> Result<bool, RepositoryError> {
        let path = path_of(prefix);
        let asked = self.again(|| async {
            let mut first = self.objects.list(Some(&path)).take(look_at);
            while let Some(meta) = first.try_next().await? {
                if is_one(meta.location.as_ref()) {
                    return Ok(true);
                }
            }
            Ok(false)
        });
        asked.await.map_err(|source| self.read_error(prefix, source))
    }

    /// Writes an object that nobody else writes; what is there is replaced.
    pub(in crate::repository) async fn put(
        &self,
        name: &str,
        pieces: &[Bytes],
    ) -> Result<(), RepositoryError> {
        let path = path_of(name);
        self.pace(pieces.iter().map(Bytes::len).sum()).await;
        let put = self.again(|| {
            let payload: PutPayload = pieces.iter().cloned().collect();
            self.objects.put(&path, payload)
        });
        put.await.map(drop).map_err(|source| self.write_error(name, source))
    }

    /// Removes objects; missing ones are no error.
    pub(in crate::repository) async fn delete_all(
        &self,
        names: impl Iterator<Item = String>,
    ) -> Result<(), RepositoryError> {
        let deletes = stream::iter(names).map(async |name| {
            let deleted = self.delete_path(&path_of(&name)).await;
            deleted.map_err(|source| self.write_error(&name, source))
        });
        deletes.buffer_unordered(DELETES_IN_FLIGHT).try_collect().await
    }
}
