//! One file, pipe, device or command, and the thread that writes it.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use bytes::Bytes;
use rustix::fs::{FlockOperation, Mode, OFlags};
use tokio::sync::{mpsc, oneshot};

use super::RawTarget;
use super::command::{CommandLine, Running};
use crate::sink::{Receipt, SinkError, blocking};

/// Writes that wait, of up to 1 MiB each.
const WRITES_QUEUED: usize = 4;

/// Mode of the file: what is in it is everything that the database knows.
const FILE_MODE: u32 = 0o640;

/// The target while it is written.
#[derive(Debug)]
pub(super) struct Output {
    place: Place,
    queue: Queue,
    sync: bool,
}

#[derive(Debug)]
pub(in crate::sink) enum Place {
    /// Appears by a rename.
    File {
        scheme: &'static str,
        target: PathBuf,
        partial: PathBuf,
        /// Keeps other processes away as long as it is open.
        _lock: File,
    },
    /// Sees an end of its input only at commit.
    Command { line: String, running: Box<Running> },
    /// Is there already, and cannot be taken back.
    Stream { name: String },
}

/// The way to the writing thread.
#[derive(Clone, Debug)]
pub(super) struct Queue {
    jobs: mpsc::Sender<Job>,
    failure: Arc<Mutex<Option<io::Error>>>,
    name: Arc<str>,
}

#[derive(Debug)]
enum Job {
    /// A header and what it heads, never torn apart.
    Write([Bytes; 2]),
    /// Everything before it is written; answers with the bytes so far.
    Finish { sync: bool, done: oneshot::Sender<u64> },
}

impl Output {
    pub(super) async fn open(target: RawTarget, sync: bool) -> Result<Self, SinkError> {
        blocking(move || {
            let (place, file) = Place::open(target, "xbstream")?;
            // Only a file of ours is ours to sync.
            let sync = sync && matches!(place, Place::File { .. });
            Ok(Self { queue: Queue::start(file, &place), place, sync })
        })
        .await
    }

    pub(super) fn queue(&self) -> Queue {
        self.queue.clone()
    }

    pub(super) async fn commit(self) -> Result<Receipt, SinkError> {
        let Self { place, queue, sync } = self;
        let written = queue.finish(sync).await;
        // The last handle: the writing thread ends, and closes what it wrote to.
        drop(queue);
        match place {
            Place::Command { line, running } => commit_command(line, running, written).await,
            Place::File { .. } | Place::Stream { .. } => {
                blocking(move || place.commit(written)).await
            }
        }
    }

    /// Why nothing more can be written, where the target tells more than the system's error.
    pub(super) async fn explain(&mut self, error: SinkError) -> SinkError {
        let Place::Command { line, running } = &mut self.place else { return error };
        match running.why_closed().await {
            Some(cause) => command_error(line, cause),
            None => error,
        }
    }

    pub(super) async fn abort(self) {
        match self.place {
            Place::Command { running, .. } => running.kill().await,
            place @ (Place::File { .. } | Place::Stream { .. }) => {
                blocking(move || place.discard()).await;
            }
        }
    }
}

async fn commit_command(
    line: String,
    mut running: Box<Running>,
    written: Result<u64, SinkError>,
) -> Result<Receipt, SinkError> {
    let stored_bytes = match written {
        Ok(written) => written,
        Err(error) => {
            let cause = running.why_closed().await;
            running.kill().await;
            return Err(cause.map_or(error, |cause| command_error(&line, cause)));
        }
    };
    match running.finish().await {
        Ok(said) => {
            let location = format!("exec:{line}");
            Ok(Receipt { said: Some(said), ..Receipt::new(location, stored_bytes) })
        }
        Err(error) => Err(command_error(&line, error)),
    }
}

fn command_error(line: &str, error: super::CommandError) -> SinkError {
    SinkError::Write { target: format!("exec:{line}"), source: io::Error::other(error) }
}

impl Place {
    pub(in crate::sink) fn open(
        target: RawTarget,
        scheme: &'static str,
    ) -> Result<(Self, File), SinkError> {
        let path = match target {
            RawTarget::Stdout => {
                let stdout = io::stdout().as_fd().try_clone_to_owned();
                let name = "-".to_owned();
                let file = stdout.map_err(|source| create_error(Path::new("-"), source))?;
                return Ok((Self::Stream { name }, File::from(file)));
            }
            RawTarget::Command(line) => return Self::start(&line),
            RawTarget::File(path) => path,
        };
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() || metadata.is_dir() => {
                Err(SinkError::Occupied { target: path.display().to_string() })
            }
            Ok(_) => Self::open_device(&path),
            Err(_) => Self::open_partial(path, scheme),
        }
    }

    fn start(line: &CommandLine) -> Result<(Self, File), SinkError> {
        let command = line.shown();
        let started = Running::start(line)
            .map_err(|source| SinkError::Create { target: format!("exec:{command}"), source })?;
        let (running, input) = started;
        Ok((Self::Command { line: command, running: Box::new(running) }, input))
    }

    fn open_device(path: &Path) -> Result<(Self, File), SinkError> {
        let file = OpenOptions::new().write(true).open(path);
        let file = file.map_err(|source| create_error(path, source))?;
        Ok((Self::Stream { name: path.display().to_string() }, file))
    }

    fn open_partial(target: PathBuf, scheme: &'static str) -> Result<(Self, File), SinkError> {
        let failed = |source| create_error(&target, source);
        let mut name = target.file_name().ok_or_else(|| failed(invalid()))?.to_os_string();
        name.push(".partial");
        let partial = target.with_file_name(name);
        let (file, lock) = create_locked(&partial).map_err(failed)?;
        Ok((Self::File { scheme, target, partial, _lock: lock }, file))
    }

    pub(in crate::sink) fn commit(
        &self,
        written: Result<u64, SinkError>,
    ) -> Result<Receipt, SinkError> {
        match written.and_then(|bytes| self.publish().map(|()| bytes)) {
            Ok(stored_bytes) => Ok(Receipt::new(self.location(), stored_bytes)),
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    fn publish(&self) -> Result<(), SinkError> {
        let Self::File { target, partial, .. } = self else { return Ok(()) };
        let failed = |source| SinkError::Write { target: target.display().to_string(), source };
        if fs::symlink_metadata(target).is_ok() {
            return Err(SinkError::Occupied { target: target.display().to_string() });
        }
        fs::rename(partial, target).map_err(failed)?;
        let parent = target.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = File::open(parent.unwrap_or(Path::new(".")));
        let synced = parent.and_then(|parent| parent.sync_all());
        if synced.is_err() {
            // What may not survive a power cut must not be taken for a backup.
            fs::rename(target, partial).map_err(failed)?;
        }
        synced.map_err(failed)
    }

    pub(in crate::sink) fn discard(&self) {
        let Self::File { partial, .. } = self else { return };
        if let Err(error) = fs::remove_file(partial) {
            tracing::warn!(file = %partial.display(), %error, "remove unfinished stream");
        }
    }

    /// Whether what was written can be changed until it appears.
    pub(in crate::sink) const fn is_file(&self) -> bool {
        matches!(self, Self::File { .. })
    }

    pub(in crate::sink) fn location(&self) -> String {
        match self {
            Self::File { scheme, target, .. } => format!("{scheme}:{}", target.display()),
            Self::Stream { name } => name.clone(),
            Self::Command { line, .. } => format!("exec:{line}"),
        }
    }
}

impl Queue {
    fn start(file: File, place: &Place) -> Self {
        let (jobs, mut queued) = mpsc::channel(WRITES_QUEUED);
        let failure = Arc::new(Mutex::new(None));
        let failed = Arc::clone(&failure);
        // Ends with the last sender.
        thread::spawn(move || {
            if let Err(error) = write_all(file, &mut queued) {
                // Before the queue closes, so that whoever finds it closed finds the reason.
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
        });
        Self { jobs, failure, name: place.location().into() }
    }

    pub(super) async fn write(&self, parts: [Bytes; 2]) -> Result<(), SinkError> {
        self.jobs.send(Job::Write(parts)).await.map_err(|_| self.take_failure())
    }

    async fn finish(&self, sync: bool) -> Result<u64, SinkError> {
        let (done, written) = oneshot::channel();
        let sent = self.jobs.send(Job::Finish { sync, done }).await;
        sent.map_err(|_| self.take_failure())?;
        written.await.map_err(|_| self.take_failure())
    }

    fn take_failure(&self) -> SinkError {
        let failure = self.failure.lock().unwrap_or_else(PoisonError::into_inner).take();
        let source = failure.unwrap_or_else(|| io::Error::other("an earlier write failed"));
        SinkError::Write { target: self.name.to_string(), source }
    }
}

fn write_all(mut file: File, jobs: &mut mpsc::Receiver<Job>) -> io::Result<()> {
    let mut written = 0;
    while let Some(job) = jobs.blocking_recv() {
        match job {
            Job::Write(parts) => {
                for part in parts {
                    file.write_all(&part)?;
                    written += part.len() as u64;
                }
            }
            Job::Finish { sync, done } => {
                if sync {
                    file.sync_all()?;
                }
                let _ = done.send(written);
            }
        }
    }
    Ok(())
}

/// Makes a new file; what a dead process left there goes away, what a living one writes stays.
fn create_locked(path: &Path) -> io::Result<(File, File)> {
    match lock(path) {
        Ok(_stale) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)?;
    rustix::fs::fchmod(&file, Mode::from_raw_mode(FILE_MODE))?;
    // Its own handle: the one that is written may live a little longer than its sink.
    Ok((file, lock(path)?))
}

fn lock(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive)?;
    Ok(file)
}

fn create_error(target: &Path, source: io::Error) -> SinkError {
    SinkError::Create { target: target.display().to_string(), source }
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidInput.into()
}
