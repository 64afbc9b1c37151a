//! One backup into another repository, object by object, each checked on its way.
//!
//! What makes it a backup comes last: the manifest, or where there is none, that `started` goes.

use bytes::Bytes;
use futures_util::StreamExt;
use galera_protocol::xbstream::EntryPath;
use tokio::task::JoinSet;

use super::name::{as_object_name, chunk_name, first_stream_name, sums_name};
use super::read::{Checker, RANGES_AHEAD, Segments, fetch};
use super::reader::{ChunkedBackup, manifest_name};
use crate::repository::copy::Copied;
use crate::repository::error::RepositoryError;
use crate::repository::object_name;
use crate::repository::store::Store;
use crate::repository::upload::{Upload, UploadConfig};
use crate::repository::writer::{clear_started, mark_started};

/// Chunks up to this size are put whole, larger ones in parts.
const WHOLE_BYTES_MAX: u64 = 16 << 20;

/// Chunks under way at once.
const PUTS_IN_FLIGHT: usize = 4;

/// Size of what is read of the list of sums at once.
const RANGE_BYTES: u64 = 2 << 20;

/// Copies a backup; one that is there with the same objects is left alone.
pub(in crate::repository) async fn copy(
    backup: &ChunkedBackup,
    to: &Store,
    upload: UploadConfig,
) -> Result<Copied, RepositoryError> {
    backup.refuse_damaged()?;
    if is_there(backup, to).await? {
        return Ok(Copied::Before);
    }
    mark_started(to, backup.id()).await?;
    let copying = Copying { backup, to, upload, puts: JoinSet::new(), bytes: 0 };
    match copying.run().await {
        Ok(bytes) => {
            clear_started(to, backup.id()).await;
            Ok(Copied::Now(bytes))
        }
        Err(error) => {
            if let Err(error) = to.delete_backup(backup.id()).await {
                tracing::warn!(id = %backup.id(), %error, "cannot remove what an unfinished copy left");
            }
            Err(error)
        }
    }
}

/// Whether it is there; another one of that name is refused.
async fn is_there(backup: &ChunkedBackup, to: &Store) -> Result<bool, RepositoryError> {
    let id = backup.id();
    let other = || RepositoryError::OtherBackup { object: to.full_name(id.as_str()) };
    match backup.manifest() {
        Some(_) => match to.read(&manifest_name(id)).await? {
            None => Ok(false),
            found if found == backup.store.read(&manifest_name(id)).await? => Ok(true),
            Some(_) => Err(other()),
        },
        None => {
            let found = super::listing::Listing::read(to, id).await?;
            let is_same = found.files == backup.listing().files;
            match (found.files.is_empty(), is_same && !found.is_started) {
                (true, _) => Ok(false),
                (false, true) => Ok(true),
                (false, false) => Err(other()),
            }
        }
    }
}

struct Copying<'a> {
    backup: &'a ChunkedBackup,
    to: &'a Store,
    upload: UploadConfig,
    puts: JoinSet<Result<(), RepositoryError>>,
    bytes: u64,
}

/// A chunk on its way.
enum Arriving {
    Nothing,
    Whole(Vec<Bytes>),
    InParts(Upload),
}

impl Copying<'_> {
    async fn run(mut self) -> Result<u64, RepositoryError> {
        self.copy_chunks().await?;
        while !self.puts.is_empty() {
            self.settle_one().await?;
        }
        self.copy_first_stream().await?;
        self.copy_sums().await?;
        if let Some(manifest) = self.backup.store.read(&manifest_name(self.backup.id())).await? {
            self.to.put_new(&manifest_name(self.backup.id()), manifest.to_vec()).await?;
            self.bytes += manifest.len() as u64;
        }
        Ok(self.bytes)
    }

    async fn copy_chunks(&mut self) -> Result<(), RepositoryError> {
        let backup = self.backup;
        let mut fetched = Box::pin(fetch(backup, Segments::of_all(backup), RANGES_AHEAD));
        let mut checker = Checker::new(backup);
        let mut arriving = Arriving::Nothing;
        while let Some((segment, bytes)) = fetched.next().await {
            let bytes = bytes?;
            checker.take(&segment, &bytes).await?;
            self.bytes += bytes.len() as u64;
            let name = self.object(backup.path(segment.file), segment.index)?;
            let size = backup.listing().files[segment.file].chunks[segment.index as usize];
            arriving = self.take(arriving, &name, size, bytes).await?;
            if segment.ends_chunk {
                let whole = core::mem::replace(&mut arriving, Arriving::Nothing);
                self.end_chunk(whole, name).await?;
            }
        }
        Ok(())
    }

    async fn take(
        &self,
        arriving: Arriving,
        name: &str,
        size: u64,
        bytes: Bytes,
    ) -> Result<Arriving, RepositoryError> {
        match arriving {
            Arriving::Nothing if size <= WHOLE_BYTES_MAX => Ok(Arriving::Whole(vec![bytes])),
            Arriving::Nothing => {
                let mut upload = self.to.upload(name, self.upload).await?;
                upload.write(bytes).await?;
                Ok(Arriving::InParts(upload))
            }
            Arriving::Whole(mut pieces) => {
                pieces.push(bytes);
                Ok(Arriving::Whole(pieces))
            }
            Arriving::InParts(mut upload) => {
                upload.write(bytes).await?;
                Ok(Arriving::InParts(upload))
            }
        }
    }

    async fn end_chunk(&mut self, whole: Arriving, name: String) -> Result<(), RepositoryError> {
        match whole {
            Arriving::Nothing => Ok(()),
            Arriving::InParts(mut upload) => upload.finish().await,
            Arriving::Whole(pieces) => {
                while self.puts.len() >= PUTS_IN_FLIGHT {
                    self.settle_one().await?;
                }
                let to = self.to.clone();
                self.puts.spawn(async move { to.put(&name, &pieces).await });
                Ok(())
            }
        }
    }

    async fn settle_one(&mut self) -> Result<(), RepositoryError> {
        match self.puts.join_next().await {
            None => Ok(()),
            Some(done) => done.map_err(|_| RepositoryError::WorkerLost)?,
        }
    }

    fn object(&self, path: &EntryPath, index: u64) -> Result<String, RepositoryError> {
        let name =
            as_object_name(path).ok_or_else(|| RepositoryError::Name { name: path.to_string() })?;
        Ok(object_name(self.backup.id(), &chunk_name(name, index)))
    }

    /// The donor's first stream is a few small objects.
    async fn copy_first_stream(&mut self) -> Result<(), RepositoryError> {
        let prefix = first_stream_name(self.backup.id());
        let names =
            self.backup.store.list_below(&prefix, Vec::new, |names: &mut Vec<_>, object| {
                names.push((object.name.to_owned(), object.bytes));
            });
        for (name, size) in names.await? {
            if size <= WHOLE_BYTES_MAX {
                let name = format!("{prefix}/{name}");
                let bytes = self.backup.store.read(&name).await?.unwrap_or_default();
                self.bytes += size;
                self.to.put(&name, &[bytes]).await?;
            }
        }
        Ok(())
    }

    async fn copy_sums(&mut self) -> Result<(), RepositoryError> {
        let name = sums_name(self.backup.id());
        let Some(size) = self.backup.store.size(&name).await? else { return Ok(()) };
        let mut upload = self.to.upload(&name, self.upload).await?;
        let mut at = 0;
        while at < size {
            let range = at..size.min(at + RANGE_BYTES);
            at = range.end;
            upload.write(self.backup.store.read_range(&name, range).await?).await?;
        }
        self.bytes += size;
        upload.finish().await
    }
}
