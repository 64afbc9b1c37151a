//! `tar:FILE`, `tar:-` — the files in a tar archive.
//!
//! A tar wants a file's size before its content and its content in one piece; a stream interleaves
//! files and never tells their sizes. So files wait on disk, but only those that must:
//!
//! | file | in `tar:FILE` | in `tar:-` |
//! |---|---|---|
//! | InnoDB's, while no other is being written | straight into the archive, its header afterwards | waits until it is complete |
//! | InnoDB's, while another is being written | waits until it is complete | waits until it is complete |
//! | any other | waits until the end: MariaDB may yet rename, replace or remove it | the same |
//!
//! What waits is bounded: more is an error that names the limit. The last two members are the backup's
//! manifest and a list of hashes that `b3sum --check` reads; an archive without the list is not whole.

mod archive;
mod sums;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;
use tokio::sync::{mpsc, oneshot};

use super::raw::{Place, RawTarget};
use super::spool::Spool;
use super::{Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile, blocking};
use crate::pipeline::manifest::Manifest;
use writer::Writer;

pub use sums::SUMS_NAME;
pub(crate) use sums::{SUMS_BYTES_MAX, parse as parse_sums};

/// The manifest's name in the archive.
pub use super::datadir::MANIFEST_NAME;

/// Jobs that wait for the writing thread; each may hold a piece of up to 1 MiB.
const JOBS_QUEUED: usize = 4;

/// How to make an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TarOptions {
    /// A file, or standard output.
    pub target: RawTarget,
    /// Where files wait [default: beside the archive, or the directory for temporary files].
    pub spool: Option<PathBuf>,
    /// How much may wait.
    pub spool_bytes_max: u64,
    /// Whether the archive is on stable storage before it appears.
    pub sync: bool,
}

/// Writes an archive.
#[derive(Debug)]
pub struct Tar {
    place: Place,
    queue: Queue,
    sync: bool,
    next_file: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FileId(u64);

#[derive(Debug)]
enum Job {
    Create(FileId, EntryPath),
    Write(FileId, Piece),
    Finish(FileId),
    Rename(EntryPath, EntryPath),
    Remove(EntryPath),
    Commit { manifest: Bytes, sync: bool, done: oneshot::Sender<u64> },
    Stop(oneshot::Sender<()>),
}

/// The way to the writing thread.
#[derive(Clone, Debug)]
struct Queue {
    jobs: mpsc::Sender<Job>,
    failure: Arc<Mutex<Option<io::Error>>>,
    name: Arc<str>,
}

impl Tar {
    /// Opens the target and makes the spool.
    pub async fn create(options: TarOptions) -> Result<Self, SinkError> {
        blocking(move || {
            let spool_parent = spool_parent(&options);
            let (place, output) = Place::open(options.target, "tar")?;
            let writer = spool_parent
                .and_then(|parent| {
                    let name = format!(".galera-sst-spool-{}", std::process::id());
                    let name = format!("{name}-{}", uuid::Uuid::new_v4().simple());
                    Spool::create(parent, &name, options.spool_bytes_max)
                })
                .map(|spool| Writer::new(output, spool, place.is_file()));
            match writer {
                Ok(writer) => {
                    let sync = options.sync && place.is_file();
                    Ok(Self { queue: Queue::start(writer, &place), place, sync, next_file: 0 })
                }
                Err(source) => {
                    place.discard();
                    Err(SinkError::Create { target: format!("{} spool", place.location()), source })
                }
            }
        })
        .await
    }

    async fn finish(&self, manifest: &Manifest) -> Result<u64, SinkError> {
        let encoded = manifest.encode().map_err(|error| self.queue.failed(error.into()))?;
        let (done, written) = oneshot::channel();
        let job = Job::Commit { manifest: encoded.into(), sync: self.sync, done };
        self.queue.send(job).await?;
        written.await.map_err(|_| self.queue.take_failure())
    }
}

fn spool_parent(options: &TarOptions) -> io::Result<PathBuf> {
    match (&options.spool, &options.target) {
        (Some(directory), _) => {
            std::fs::create_dir_all(directory)?;
            Ok(directory.clone())
        }
        (None, RawTarget::File(file)) if !file.exists() => {
            let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
            Ok(parent.unwrap_or(Path::new(".")).to_path_buf())
        }
        (None, RawTarget::File(_) | RawTarget::Stdout | RawTarget::Command(_)) => {
            Ok(std::env::temp_dir())
        }
    }
}

impl Queue {
    fn start(writer: Writer, place: &Place) -> Self {
        let (jobs, mut queued) = mpsc::channel(JOBS_QUEUED);
        let failure = Arc::new(Mutex::new(None));
        let failed = Arc::clone(&failure);
        // Ends with the last sender, and takes its spool along.
        std::thread::spawn(move || {
            // The spool goes before anybody is told, so that whoever waits finds nothing left.
            let last = work(writer, &mut queued);
            match last {
                Last::Committed(done, bytes) => drop(done.send(bytes)),
                Last::Stopped(done) => drop(done.send(())),
                Last::Failed(error, unanswered) => {
                    *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    drop(unanswered);
                }
                Last::Dropped => {}
            }
        });
        Self { jobs, failure, name: place.location().into() }
    }

    async fn send(&self, job: Job) -> Result<(), SinkError> {
        self.jobs.send(job).await.map_err(|_| self.take_failure())
    }

    fn take_failure(&self) -> SinkError {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.failed(failure.unwrap_or_else(|| io::Error::other("an earlier write failed")))
    }

    fn failed(&self, source: io::Error) -> SinkError {
        SinkError::Write { target: self.name.to_string(), source }
    }
}

/// How the thread's work ended, and who waits to hear it.
enum Last {
    Committed(oneshot::Sender<u64>, u64),
    Stopped(oneshot::Sender<()>),
    Failed(io::Error, Option<oneshot::Sender<u64>>),
    Dropped,
}

fn work(mut writer: Writer, jobs: &mut mpsc::Receiver<Job>) -> Last {
    while let Some(job) = jobs.blocking_recv() {
        let worked = match job {
            Job::Create(file, path) => writer.create(file, path),
            Job::Write(file, piece) => writer.write(file, &piece),
            Job::Finish(file) => writer.finish(file),
            Job::Rename(from, to) => writer.rename(&from, to),
            Job::Remove(path) => writer.remove_for_good(&path),
            Job::Commit { manifest, sync, done } => {
                return match writer.commit(&manifest, sync) {
                    Ok(bytes) => Last::Committed(done, bytes),
                    Err(error) => Last::Failed(error, Some(done)),
                };
            }
            Job::Stop(done) => return Last::Stopped(done),
        };
        if let Err(error) = worked {
            return Last::Failed(error, None);
        }
    }
    Last::Dropped
}

impl Sink for Tar {
    type File = TarFile;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    async fn create(&mut self, entry: &Entry) -> Result<TarFile, SinkError> {
        let file = FileId(self.next_file);
        self.next_file += 1;
        self.queue.send(Job::Create(file, entry.path.clone())).await?;
        Ok(TarFile { file, queue: self.queue.clone() })
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        self.queue.send(Job::Rename(from.clone(), to.clone())).await
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        self.queue.send(Job::Remove(path.clone())).await
    }

    async fn commit(self, manifest: Manifest) -> Result<Receipt, SinkError> {
        let written = self.finish(&manifest).await;
        let Self { place, .. } = self;
        blocking(move || place.commit(written)).await
    }

    async fn abort(self) {
        let (done, stopped) = oneshot::channel();
        // A thread that has ended has left nothing.
        if self.queue.jobs.send(Job::Stop(done)).await.is_ok() {
            let _ = stopped.await;
        }
        let Self { place, .. } = self;
        blocking(move || place.discard()).await;
    }
}

/// A file of an archive.
#[derive(Debug)]
pub struct TarFile {
    file: FileId,
    queue: Queue,
}

impl SinkFile for TarFile {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        self.queue.send(Job::Write(self.file, piece)).await
    }

    async fn finish(self) -> Result<(), SinkError> {
        self.queue.send(Job::Finish(self.file)).await
    }
}
