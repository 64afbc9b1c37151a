//! The threads that write and sync: each file belongs to one of a few writers, so its pieces stay in
//! order, and each writer hands finished files to its own syncer, so nobody waits for the disk to
//! settle while there is more to write.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;
use tokio::sync::{mpsc, oneshot};

use crate::sink::SinkError;

/// Writing threads. Two keep both the kernel's copying and its file system work going; a stream rarely
/// has more than a few files open.
const WRITERS: usize = 2;

/// Pieces that wait for one writer, of up to 1 MiB each.
const PIECES_QUEUED: usize = 4;

/// Finished files that wait to be synced; each holds a file descriptor.
const FILES_QUEUED: usize = 64;

/// Hands pieces to the writing threads.
#[derive(Debug)]
pub(super) struct Writers {
    queues: Vec<mpsc::Sender<Job>>,
    next: usize,
    shared: Arc<Shared>,
}

/// One file's way to its writer.
#[derive(Debug)]
pub(super) struct FileWriter {
    queue: mpsc::Sender<Job>,
    file: Arc<Target>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Target {
    file: File,
    path: EntryPath,
}

#[derive(Debug)]
enum Job {
    Write {
        file: Arc<Target>,
        offset: u64,
        bytes: Bytes,
    },
    Finish {
        file: Arc<Target>,
        size: u64,
    },
    /// Everything before it is done.
    Barrier(oneshot::Sender<()>),
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    /// The first error; whoever meets the closed queue takes it.
    failure: Mutex<Option<SinkError>>,
    stopped: AtomicBool,
}

impl Writers {
    pub(super) fn start(root: &Path, sync: bool) -> Self {
        let shared = Arc::new(Shared {
            root: root.to_path_buf(),
            failure: Mutex::new(None),
            stopped: AtomicBool::new(false),
        });
        let queues = (0..WRITERS).map(|_| start_writer(&shared, sync)).collect();
        Self { queues, next: 0, shared }
    }

    /// Gives a new file to the writer whose turn it is.
    pub(super) fn open(&mut self, file: File, path: &EntryPath) -> FileWriter {
        self.next = (self.next + 1) % self.queues.len();
        FileWriter {
            queue: self.queues[self.next].clone(),
            file: Arc::new(Target { file, path: path.clone() }),
            shared: Arc::clone(&self.shared),
        }
    }

    /// Waits until everything is written, and synced if asked for.
    pub(super) async fn drain(&self) -> Result<(), SinkError> {
        for queue in &self.queues {
            let (done, waits) = oneshot::channel();
            let sent = queue.send(Job::Barrier(done)).await;
            if sent.is_err() || waits.await.is_err() {
                return Err(self.shared.take_failure());
            }
        }
        Ok(())
    }

    /// What is still queued is not written.
    pub(super) fn stop(&self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
    }
}

impl FileWriter {
    pub(super) async fn write(&self, offset: u64, bytes: Bytes) -> Result<(), SinkError> {
        self.send(Job::Write { file: Arc::clone(&self.file), offset, bytes }).await
    }

    /// The file is `size` bytes long, whatever was written of it.
    pub(super) async fn finish(self, size: u64) -> Result<(), SinkError> {
        self.send(Job::Finish { file: Arc::clone(&self.file), size }).await
    }

    async fn send(&self, job: Job) -> Result<(), SinkError> {
        self.queue.send(job).await.map_err(|_| self.shared.take_failure())
    }
}

impl Shared {
    fn fail(&self, path: &EntryPath, source: io::Error) {
        let target = format!("{}/{path}", self.root.display());
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.get_or_insert(SinkError::Write { target, source });
    }

    fn take_failure(&self) -> SinkError {
        let mut failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.take().unwrap_or_else(|| SinkError::Write {
            target: self.root.display().to_string(),
            source: io::Error::other("an earlier write failed"),
        })
    }
}

fn start_writer(shared: &Arc<Shared>, sync: bool) -> mpsc::Sender<Job> {
    let (queue, jobs) = mpsc::channel(PIECES_QUEUED);
    let (to_syncer, finished) = mpsc::channel(FILES_QUEUED);
    let syncing = Arc::clone(shared);
    let writing = Arc::clone(shared);
    // Both end when the queue's last sender is gone.
    thread::spawn(move || sync_files(finished, sync, &syncing));
    thread::spawn(move || write_files(jobs, &to_syncer, &writing));
    queue
}

/// What a syncer gets, in the order in which it was written.
#[derive(Debug)]
enum Finished {
    File(Arc<Target>),
    Barrier(oneshot::Sender<()>),
}

fn write_files(mut jobs: mpsc::Receiver<Job>, to: &mpsc::Sender<Finished>, shared: &Shared) {
    while let Some(job) = jobs.blocking_recv() {
        if shared.stopped.load(Ordering::Relaxed) {
            return;
        }
        let finished = match job {
            Job::Write { file, offset, bytes } => {
                if let Err(error) = file.file.write_all_at(&bytes, offset) {
                    return shared.fail(&file.path, error);
                }
                continue;
            }
            Job::Finish { file, size } => {
                if let Err(error) = extend(&file.file, size) {
                    return shared.fail(&file.path, error);
                }
                Finished::File(file)
            }
            Job::Barrier(done) => Finished::Barrier(done),
        };
        if to.blocking_send(finished).is_err() {
            return;
        }
    }
}

/// A file that ends in a hole is shorter than it should be.
fn extend(file: &File, size: u64) -> io::Result<()> {
    if file.metadata()?.len() < size { file.set_len(size) } else { Ok(()) }
}

fn sync_files(mut finished: mpsc::Receiver<Finished>, sync: bool, shared: &Shared) {
    while let Some(finished) = finished.blocking_recv() {
        match finished {
            Finished::File(file) if sync => {
                if let Err(error) = file.file.sync_all() {
                    return shared.fail(&file.path, error);
                }
            }
            Finished::File(_) => {}
            Finished::Barrier(done) => {
                let _ = done.send(());
            }
        }
    }
}
