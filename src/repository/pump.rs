//! Reads a backup's files: ranges fetched ahead, blocks decompressed in parallel, files hashed in order.
//!
//! ```text
//! store ─ ranges ─► fetcher ┬ worker ┬► in order: file hashes
//!        (ahead)            └ worker ┘
//!                               └─ places parts of files, in any order
//! ```
//!
//! Restore and verify are this with another [`Target`]. Memory is the ranges ahead and three blocks
//! in each worker's lane, whatever the size of the backup.

mod fetch;
mod order;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::compress::{self, Lock};
use super::error::RepositoryError;
use super::lanes::{self, Collector};
use super::plan::Plan;
use super::reader::Backup;

use fetch::{Fetcher, Job};
use order::InOrder;

/// How a backup is read.
#[derive(Clone, Debug)]
pub struct ReadConfig {
    /// Threads that decompress and write.
    pub workers: usize,
    /// Ranges of up to 2 MiB that are fetched ahead.
    pub ranges_ahead: usize,
    /// Told how far the work is.
    pub progress: Arc<ReadProgress>,
}

/// How far reading is; read by whoever shows it.
#[derive(Debug, Default)]
pub struct ReadProgress {
    /// Bytes of files read and checked.
    pub bytes: AtomicU64,
    /// Of so many.
    pub bytes_total: AtomicU64,
    /// Files whose hash was right.
    pub files: AtomicU64,
    /// Of so many.
    pub files_total: AtomicU64,
}

impl Default for ReadConfig {
    fn default() -> Self {
        let workers = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        Self { workers, ranges_ahead: 4, progress: Arc::default() }
    }
}

/// Takes the parts of the files.
pub(crate) trait Target: Send + Sync + 'static {
    /// Writes a part. Called from several threads, in any order, but in order for files with
    /// overlapping extents.
    fn place(
        &self,
        plan: &Plan,
        file: usize,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), RepositoryError>;
}

/// A target that keeps nothing.
pub(crate) struct Nowhere;

impl Target for Nowhere {
    fn place(&self, _: &Plan, _: usize, _: u64, _: &[u8]) -> Result<(), RepositoryError> {
        Ok(())
    }
}

/// What to do about damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnDamage {
    /// End with it.
    Stop,
    /// Note it and check the rest, packs as a whole included.
    Note,
}

/// A block that was read, or could not be.
pub(super) struct Done {
    raw_offset: u64,
    raw_bytes: u64,
    data: Result<Vec<u8>, RepositoryError>,
}

/// Reads all files of the plan into the target. Gives the damage that was noted.
///
/// Stops soon after the future is dropped; what was placed by then stays placed.
pub(crate) async fn run<T: Target>(
    backup: &Backup,
    plan: Arc<Plan>,
    target: Arc<T>,
    config: &ReadConfig,
    on_damage: OnDamage,
) -> Result<Vec<RepositoryError>, RepositoryError> {
    let progress = Arc::clone(&config.progress);
    progress.bytes_total.store(plan.data_bytes(), Ordering::Relaxed);
    progress.files_total.store(plan.files().len() as u64, Ordering::Relaxed);
    let stop = StopOnDrop::default();
    let (feeder, done) = lanes::start(config.workers, || worker(&plan, &target, backup.lock()));
    let fetcher = Fetcher::new(backup, &plan, config.ranges_ahead, on_damage, &stop.flag);
    let fetching = tokio::task::spawn_blocking(move || fetcher.run(feeder));
    let order = InOrder::new(plan, target, progress, on_damage);
    let ordering = tokio::task::spawn_blocking(move || collect(done, order));
    // A failure on the right hangs up on the left; its own reason is the one to tell.
    let (fetched, ordered) = tokio::join!(fetching, ordering);
    let lost = |_| RepositoryError::WorkerLost;
    match (fetched.map_err(lost)?, ordered.map_err(lost)?) {
        (Ok(mut damage), Ok(more)) => {
            damage.extend(more);
            Ok(damage)
        }
        (Err(error), Err(RepositoryError::WorkerLost)) | (_, Err(error)) | (Err(error), Ok(_)) => {
            Err(error)
        }
    }
}

impl Backup {
    /// Reads all files of a plan into a target and checks their hashes; ends at the first damage.
    pub(crate) async fn read_into<T: Target>(
        &self,
        plan: Arc<Plan>,
        target: Arc<T>,
        config: &ReadConfig,
    ) -> Result<(), RepositoryError> {
        self.refuse_sealed()?;
        run(self, plan, target, config, OnDamage::Stop).await.map(drop)
    }
}

fn worker<T: Target>(
    plan: &Arc<Plan>,
    target: &Arc<T>,
    lock: &Lock,
) -> impl FnMut(Job) -> Done + Send + 'static + use<T> {
    let (plan, target, lock) = (Arc::clone(plan), Arc::clone(target), lock.clone());
    let mut decompressor = None;
    move |job| {
        let (raw_offset, raw_bytes) = (job.raw_offset, job.raw_bytes);
        let data = open(&mut decompressor, job, &lock).and_then(|raw| {
            place_parts(&plan, &*target, raw_offset, &raw)?;
            Ok(raw)
        });
        Done { raw_offset, raw_bytes, data }
    }
}

fn open(
    decompressor: &mut Option<zstd::bulk::Decompressor<'static>>,
    job: Job,
    lock: &Lock,
) -> Result<Vec<u8>, RepositoryError> {
    let decompressor = match decompressor {
        Some(decompressor) => decompressor,
        empty => {
            let made = zstd::bulk::Decompressor::new().map_err(RepositoryError::Compress)?;
            empty.insert(made)
        }
    };
    let block = job.block?;
    compress::open_frame(decompressor, block.number, &block.record, &block.frame, lock)
        .map_err(|fault| RepositoryError::damaged(&*block.object, fault))
}

fn place_parts<T: Target>(
    plan: &Plan,
    target: &T,
    raw_offset: u64,
    raw: &[u8],
) -> Result<(), RepositoryError> {
    for part in plan.parts(raw_offset, raw.len()) {
        if !plan.files()[part.file].in_order {
            target.place(plan, part.file, part.file_offset, &raw[part.within])?;
        }
    }
    Ok(())
}

fn collect<T: Target>(
    mut done: Collector<Done>,
    mut order: InOrder<T>,
) -> Result<Vec<RepositoryError>, RepositoryError> {
    while let Some(done) = done.next()? {
        order.take(done)?;
    }
    order.finish()
}

#[derive(Default)]
struct StopOnDrop {
    flag: Arc<AtomicBool>,
}

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.flag.store(true, Ordering::Relaxed);
    }
}
