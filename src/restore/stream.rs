//! Restores from what a sink wrote into one file: a donor's stream, or a tar archive.
//!
//! Both are read once, from the beginning to the end. A stream proves that it is whole by its chunks'
//! checksums and by the files that close a backup; an archive by the list of hashes at its end.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use galera_protocol::xbstream::EntryPath;
use tokio::runtime::Handle;
use tokio_util::io::StreamReader;
use tokio_util::sync::CancellationToken;

use super::error::RestoreError;
use super::finish::{Known, blocking};
use crate::pipeline::hash::Content;
use crate::pipeline::manifest::Manifest;
use crate::pipeline::{self, Options, Progress};
use crate::repository::{ChunkedBackup, Fault, ReadProgress, RepositoryError};
use crate::sink::datadir::{Contents, DatadirFile, MANIFEST_NAME};
use crate::sink::tar::{SUMS_BYTES_MAX, SUMS_NAME, parse_sums};
use crate::sink::{Entry, Piece, Sink, SinkFile};

/// A backup in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamSource {
    /// `xbstream:FILE`: a stream as the donor sent it; `-` is standard input.
    Xbstream(PathBuf),
    /// `tar:FILE`: what `backup --to tar:` made; `-` is standard input.
    Tar(PathBuf),
}

/// Size of what is read and handed on at once.
const PIECE_BYTES: usize = 1 << 20;

/// Puts the files into an empty directory; gives what the manifest says, if there is one.
pub(super) async fn unpack(
    source: &StreamSource,
    place: &Path,
) -> Result<Option<Known>, RestoreError> {
    let below = place.to_path_buf();
    let contents =
        blocking(move || Contents::below(&below, false).map_err(RestoreError::read(below))).await?;
    match source {
        StreamSource::Xbstream(file) => unpack_stream(file, contents).await.map(|()| None),
        StreamSource::Tar(file) => {
            let (file, runtime) = (file.clone(), Handle::current());
            let place = place.to_path_buf();
            blocking(move || {
                let reader = open(&file)?;
                Unpacking { file, runtime, contents, found: BTreeMap::new() }.run(reader)?;
                Ok(known_from(&place))
            })
            .await
        }
    }
}

fn open(file: &Path) -> Result<Box<dyn Read + Send>, RestoreError> {
    if file == Path::new("-") {
        return Ok(Box::new(io::stdin()));
    }
    Ok(Box::new(File::open(file).map_err(RestoreError::read(file))?))
}

async fn unpack_stream(file: &Path, contents: Contents) -> Result<(), RestoreError> {
    let source = open(file)?;
    let options = Options { hash_files: false, ..Options::default() };
    let (progress, cancel) = (Progress::default(), CancellationToken::new());
    let received = pipeline::run_blocking(source, contents, &options, &progress, &cancel).await?;
    if !received.summary.completeness.is_complete() {
        return Err(RestoreError::Incomplete { file: file.to_path_buf() });
    }
    received.sink.flush().await.map_err(pipeline::PipelineError::from)?;
    Ok(())
}

/// Puts the files of a backup in layout `xbcloud` into an empty directory.
pub(super) async fn unpack_chunks(
    backup: &ChunkedBackup,
    place: &Path,
    progress: &Arc<ReadProgress>,
) -> Result<(), RestoreError> {
    backup.refuse_damaged()?;
    let below = place.to_path_buf();
    let contents =
        blocking(move || Contents::below(&below, false).map_err(RestoreError::read(below))).await?;
    let failure: Arc<OnceLock<RepositoryError>> = Arc::default();
    let source = StreamReader::new(counted(backup, progress, &failure));
    let options = Options { hash_files: false, ..Options::default() };
    let (unseen, cancel) = (Progress::default(), CancellationToken::new());
    let received = pipeline::run(source, contents, &options, &unseen, &cancel).await;
    let received = received.map_err(|error| match Arc::into_inner(failure) {
        // The store's own words say more than that reading failed.
        Some(failure) => failure.into_inner().map_or(error.into(), RestoreError::from),
        None => error.into(),
    })?;
    if let Some(gap) = received.summary.completeness.gaps.first() {
        let fault = Fault::Closing(*gap);
        let (id, object) = (backup.id().clone(), "its last files".to_owned());
        return Err(RepositoryError::NotWhole { id, object, fault }.into());
    }
    received.sink.flush().await.map_err(pipeline::PipelineError::from)?;
    Ok(())
}

/// A backup's stream, its bytes counted; why it failed goes to `failure`.
fn counted(
    backup: &ChunkedBackup,
    progress: &Arc<ReadProgress>,
    failure: &Arc<OnceLock<RepositoryError>>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + Unpin + use<> {
    progress.bytes_total.store(backup.chunks().1, Ordering::Relaxed);
    progress.files_total.store(backup.files().count() as u64, Ordering::Relaxed);
    let (progress, failure) = (Arc::clone(progress), Arc::downgrade(failure));
    let stream = backup.stream().map(move |piece| match piece {
        Ok(bytes) => {
            progress.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Ok(bytes)
        }
        Err(error) => {
            let text = io::Error::other(error.to_string());
            if let Some(failure) = failure.upgrade() {
                // The stream ends with its first failure.
                drop(failure.set(error));
            }
            Err(text)
        }
    });
    Box::pin(stream)
}

/// An archive being unpacked.
struct Unpacking {
    file: PathBuf,
    runtime: Handle,
    contents: Contents,
    found: BTreeMap<EntryPath, blake3::Hash>,
}

impl Unpacking {
    fn run(mut self, reader: Box<dyn Read + Send>) -> Result<(), RestoreError> {
        let mut archive = tar::Archive::new(reader);
        let mut expected = None;
        for entry in archive.entries().map_err(|error| self.unreadable(error))? {
            let mut entry = entry.map_err(|error| self.unreadable(error))?;
            let path = EntryPath::parse(&entry.path_bytes())
                .map_err(|error| self.unreadable(io::Error::other(error)))?;
            if path.as_bytes() == SUMS_NAME.as_bytes() {
                expected = Some(self.read_sums(&mut entry)?);
            } else if entry.header().entry_type().is_file() {
                self.unpack_file(path, &mut entry)?;
            }
        }
        let flushed = self.runtime.block_on(self.contents.flush());
        flushed.map_err(pipeline::PipelineError::from)?;
        self.compare(&expected.unwrap_or_default())
    }

    fn unpack_file(&mut self, path: EntryPath, content: &mut dyn Read) -> Result<(), RestoreError> {
        let entry = Entry { path: path.clone(), size: None };
        let runtime = self.runtime.clone();
        let mut file = runtime.block_on(self.contents.create(&entry)).map_err(failed)?;
        let mut hash = Content::new(true);
        loop {
            let mut piece = vec![0; PIECE_BYTES];
            let length = content.read(&mut piece).map_err(|error| self.unreadable(error))?;
            if length == 0 {
                break;
            }
            piece.truncate(length);
            hash.write(&piece);
            runtime.block_on(write(&mut file, piece)).map_err(failed)?;
        }
        runtime.block_on(file.finish()).map_err(failed)?;
        if let (_, Some(hash)) = hash.finish() {
            self.found.insert(path, hash);
        }
        Ok(())
    }

    fn read_sums(
        &self,
        entry: &mut dyn Read,
    ) -> Result<Vec<(EntryPath, blake3::Hash)>, RestoreError> {
        let mut list = Vec::new();
        let read = entry.take(SUMS_BYTES_MAX).read_to_end(&mut list);
        read.map_err(|error| self.unreadable(error))?;
        parse_sums(&list).ok_or_else(|| RestoreError::Incomplete { file: self.file.clone() })
    }

    /// Every listed file is there and right, and there is no other.
    fn compare(&self, expected: &[(EntryPath, blake3::Hash)]) -> Result<(), RestoreError> {
        if expected.is_empty() {
            return Err(RestoreError::Incomplete { file: self.file.clone() });
        }
        let damaged = |path: &EntryPath| RestoreError::DamagedMember {
            file: self.file.clone(),
            member: path.to_string(),
        };
        for (path, hash) in expected {
            if self.found.get(path) != Some(hash) {
                return Err(damaged(path));
            }
        }
        let listed = |path: &&EntryPath| !expected.iter().any(|(listed, _)| listed == *path);
        if self.found.len() == expected.len() {
            return Ok(());
        }
        self.found.keys().find(listed).map_or(Ok(()), |path| Err(damaged(path)))
    }

    fn unreadable(&self, source: io::Error) -> RestoreError {
        RestoreError::Archive { file: self.file.clone(), source }
    }
}

async fn write(file: &mut DatadirFile, piece: Vec<u8>) -> Result<(), crate::sink::SinkError> {
    file.write(Piece::Data(Bytes::from(piece))).await
}

fn failed(error: crate::sink::SinkError) -> RestoreError {
    pipeline::PipelineError::from(error).into()
}

fn known_from(directory: &Path) -> Option<Known> {
    let json = std::fs::read(directory.join(MANIFEST_NAME)).ok()?;
    Manifest::decode(&json).ok().as_ref().map(Known::from)
}
