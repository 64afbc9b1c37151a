//! A sink behind a queue on disk: while it takes nothing, what comes waits in a spool, so that an
//! object store that is away for minutes does not cost the donor's transfer.
//!
//! ```text
//!  pipeline ─┬─ a few steps in memory ──────────────┬─► task ─► inner sink
//!            └─ the rest in segments on disk, FIFO ─┘
//! ```
//!
//! Steps go to disk only while memory is full, and all of them until the disk is empty again: their
//! order is kept. The spool is bounded; when it is full, the backup fails and says so.

mod queue;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::spool::Spool;
use super::{Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile, blocking};
use crate::pipeline::manifest::Manifest;
use queue::DiskQueue;

/// Steps in memory, of up to 1 MiB each.
const STEPS_IN_MEMORY: usize = 8;

/// Where steps wait, and how many bytes of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolOptions {
    /// A directory; made if it is missing.
    pub directory: PathBuf,
    /// The most that may wait.
    pub bytes_max: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct FileId(u64);

/// One call of the inner sink or of one of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Create(FileId, EntryPath),
    Write(FileId, Piece),
    Finish(FileId),
    Rename(EntryPath, EntryPath),
    Remove(EntryPath),
    Stream(Bytes),
}

/// A sink behind a spool.
#[derive(Debug)]
pub struct Spooled<S> {
    way: Way,
    needs: Needs,
    next_file: u64,
    working: JoinHandle<(S, Result<(), SinkError>)>,
    stop: CancellationToken,
}

/// One file of a [`Spooled`] sink.
#[derive(Debug)]
pub struct SpooledFile {
    file: FileId,
    way: Way,
}

/// The way to the task.
#[derive(Clone, Debug)]
struct Way {
    memory: mpsc::Sender<Step>,
    disk: Arc<Mutex<DiskQueue>>,
    failure: Arc<Mutex<Option<SinkError>>>,
    name: Arc<str>,
}

impl<S: Sink + 'static> Spooled<S> {
    /// Puts a sink behind a spool.
    pub async fn new(inner: S, options: SpoolOptions) -> Result<Self, (S, SinkError)> {
        let name: Arc<str> = format!("spool {}", options.directory.display()).into();
        let made = blocking(move || {
            std::fs::create_dir_all(&options.directory)?;
            let own = format!(".galera-sst-spool-{}", uuid::Uuid::new_v4().simple());
            Spool::create(options.directory, &own, options.bytes_max)
        });
        let spool = match made.await {
            Ok(spool) => spool,
            Err(source) => {
                return Err((inner, SinkError::Create { target: name.to_string(), source }));
            }
        };
        let (memory, steps) = mpsc::channel(STEPS_IN_MEMORY);
        let disk = Arc::new(Mutex::new(DiskQueue::new(spool)));
        let failure = Arc::new(Mutex::new(None));
        let way = Way { memory, disk, failure, name };
        let (needs, stop) = (inner.needs(), CancellationToken::new());
        let worker = Worker {
            inner,
            open: BTreeMap::new(),
            steps,
            disk: Arc::clone(&way.disk),
            name: Arc::clone(&way.name),
        };
        let working = tokio::spawn(worker.run(Arc::clone(&way.failure), stop.clone()));
        Ok(Self { way, needs, next_file: 0, working, stop })
    }

    /// Ends the task; everything is done if the way in is closed first.
    async fn end(self) -> Result<(S, Result<(), SinkError>), SinkError> {
        let Self { way, working, .. } = self;
        let (name, disk) = (Arc::clone(&way.name), Arc::clone(&way.disk));
        drop(way);
        let ended = working.await;
        // Not with its last owner: files that are still open own it as well.
        blocking(move || disk.lock().unwrap_or_else(PoisonError::into_inner).clear()).await;
        ended.map_err(|_| SinkError::Write {
            target: name.to_string(),
            source: std::io::Error::other("the spool's task was lost"),
        })
    }
}

impl Way {
    /// Hands a step over: in memory if there is room and nothing waits on disk.
    async fn send(&self, step: Step) -> Result<(), SinkError> {
        let step = {
            let disk = self.lock();
            if disk.is_empty() { self.try_memory(step)? } else { Some(step) }
        };
        let Some(step) = step else { return Ok(()) };
        let way = self.clone();
        blocking(move || {
            let mut disk = way.lock();
            // Meanwhile the disk may have been emptied.
            let step = if disk.is_empty() { way.try_memory(step)? } else { Some(step) };
            let Some(step) = step else { return Ok(()) };
            way.check()?;
            disk.push(&step).map_err(|source| way.failed(source))
        })
        .await
    }

    /// Gives the step back if memory is full.
    fn try_memory(&self, step: Step) -> Result<Option<Step>, SinkError> {
        match self.memory.try_send(step) {
            Ok(()) => Ok(None),
            Err(TrySendError::Full(step)) => Ok(Some(step)),
            Err(TrySendError::Closed(_)) => {
                self.check()?;
                Err(self.failed(std::io::Error::other("an earlier write failed")))
            }
        }
    }

    fn check(&self) -> Result<(), SinkError> {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        failure.map_or(Ok(()), Err)
    }

    fn failed(&self, source: std::io::Error) -> SinkError {
        SinkError::Write { target: self.name.to_string(), source }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, DiskQueue> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that feeds the inner sink.
struct Worker<S: Sink> {
    inner: S,
    open: BTreeMap<FileId, S::File>,
    steps: mpsc::Receiver<Step>,
    disk: Arc<Mutex<DiskQueue>>,
    name: Arc<str>,
}

impl<S: Sink> Worker<S> {
    /// Works until the way in is closed and nothing waits; gives the sink back.
    async fn run(
        mut self,
        failure: Arc<Mutex<Option<SinkError>>>,
        stop: CancellationToken,
    ) -> (S, Result<(), SinkError>) {
        let worked = stop.run_until_cancelled(self.work()).await.unwrap_or(Ok(()));
        let told = match worked {
            Ok(()) => Ok(()),
            Err(error) => {
                let mut failure = failure.lock().unwrap_or_else(PoisonError::into_inner);
                let again = SinkError::Write {
                    target: self.name.to_string(),
                    source: std::io::Error::other(error.to_string()),
                };
                *failure = Some(error);
                Err(again)
            }
        };
        (self.inner, told)
    }

    async fn work(&mut self) -> Result<(), SinkError> {
        loop {
            // Memory first: what is on disk came later.
            let step = match self.steps.try_recv() {
                Ok(step) => Some(step),
                Err(_) => self.pop_from_disk().await?,
            };
            let step = match step {
                Some(step) => Some(step),
                None => self.steps.recv().await,
            };
            match step {
                Some(step) => self.apply(step).await?,
                None => return Ok(()),
            }
        }
    }

    async fn pop_from_disk(&mut self) -> Result<Option<Step>, SinkError> {
        let (disk, name) = (Arc::clone(&self.disk), Arc::clone(&self.name));
        blocking(move || {
            let mut disk = disk.lock().unwrap_or_else(PoisonError::into_inner);
            disk.pop().map_err(|source| SinkError::Write { target: name.to_string(), source })
        })
        .await
    }

    async fn apply(&mut self, step: Step) -> Result<(), SinkError> {
        match step {
            Step::Create(file, path) => {
                let created = self.inner.create(&Entry { path, size: None }).await?;
                self.open.insert(file, created);
                Ok(())
            }
            Step::Write(file, piece) => match self.open.get_mut(&file) {
                Some(open) => open.write(piece).await,
                None => Ok(()),
            },
            Step::Finish(file) => match self.open.remove(&file) {
                Some(open) => open.finish().await,
                None => Ok(()),
            },
            Step::Rename(from, to) => self.inner.rename(&from, &to).await,
            Step::Remove(path) => self.inner.remove(&path).await,
            Step::Stream(bytes) => self.inner.stream(bytes).await,
        }
    }
}

impl<S: Sink + 'static> Sink for Spooled<S> {
    type File = SpooledFile;

    fn needs(&self) -> Needs {
        self.needs
    }

    async fn create(&mut self, entry: &Entry) -> Result<SpooledFile, SinkError> {
        let file = FileId(self.next_file);
        self.next_file += 1;
        self.way.send(Step::Create(file, entry.path.clone())).await?;
        Ok(SpooledFile { file, way: self.way.clone() })
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        self.way.send(Step::Rename(from.clone(), to.clone())).await
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        self.way.send(Step::Remove(path.clone())).await
    }

    async fn stream(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        self.way.send(Step::Stream(bytes)).await
    }

    async fn commit(self, manifest: Manifest) -> Result<Receipt, SinkError> {
        let failure = Arc::clone(&self.way.failure);
        let (inner, worked) = self.end().await?;
        match worked {
            Ok(()) => inner.commit(manifest).await,
            Err(error) => {
                inner.abort().await;
                let first = failure.lock().unwrap_or_else(PoisonError::into_inner).take();
                Err(first.unwrap_or(error))
            }
        }
    }

    async fn abort(self) {
        self.stop.cancel();
        if let Ok((inner, _)) = self.end().await {
            inner.abort().await;
        }
    }
}

impl SinkFile for SpooledFile {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        self.way.send(Step::Write(self.file, piece)).await
    }

    async fn finish(self) -> Result<(), SinkError> {
        self.way.send(Step::Finish(self.file)).await
    }
}
