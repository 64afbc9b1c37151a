//! The beginning of the pump: which ranges of which packs, fetched ahead and cut into frames.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::runtime::Handle;

use super::OnDamage;
use crate::pipeline::manifest::Digest;
use crate::repository::error::{Fault, RepositoryError};
use crate::repository::lanes::Feeder;
use crate::repository::pack::{self, BlockRecord};
use crate::repository::plan::Plan;
use crate::repository::reader::{Backup, PackTable};

/// Neighbouring blocks are fetched together up to this size.
const RANGE_BYTES: u64 = 4 << 20;

/// A block to be opened, or the reason why it cannot be.
pub(super) struct Job {
    pub(super) raw_offset: u64,
    pub(super) raw_bytes: u64,
    pub(super) block: Result<Block, RepositoryError>,
}

/// A frame as it was stored.
pub(super) struct Block {
    pub(super) object: Arc<str>,
    pub(super) number: usize,
    pub(super) record: BlockRecord,
    pub(super) frame: Bytes,
}

/// Fetches the blocks that a plan wants.
pub(super) struct Fetcher {
    backup: Backup,
    plan: Arc<Plan>,
    ranges_ahead: usize,
    on_damage: OnDamage,
    stop: Arc<AtomicBool>,
    runtime: Handle,
    damage: Vec<RepositoryError>,
}

/// Neighbouring blocks of one pack.
struct Run {
    range: Range<u64>,
    blocks: Vec<Placed>,
}

#[derive(Clone, Copy)]
struct Placed {
    number: usize,
    record: BlockRecord,
    raw_offset: u64,
}

impl Fetcher {
    pub(super) fn new(
        backup: &Backup,
        plan: &Arc<Plan>,
        ranges_ahead: usize,
        on_damage: OnDamage,
        stop: &Arc<AtomicBool>,
    ) -> Self {
        Self {
            backup: backup.clone(),
            plan: Arc::clone(plan),
            ranges_ahead: ranges_ahead.max(1),
            on_damage,
            stop: Arc::clone(stop),
            runtime: Handle::current(),
            damage: Vec::new(),
        }
    }

    /// Feeds all wanted blocks, in order; gives the damage of packs that was noted.
    pub(super) fn run(
        mut self,
        mut jobs: Feeder<Job>,
    ) -> Result<Vec<RepositoryError>, RepositoryError> {
        let packs = self.backup.index().packs.len();
        for pack in 0..packs {
            self.fetch_pack(pack, &mut jobs)?;
        }
        jobs.finish()?;
        Ok(self.damage)
    }

    fn fetch_pack(&mut self, pack: usize, jobs: &mut Feeder<Job>) -> Result<(), RepositoryError> {
        let record = &self.backup.index().packs[pack];
        let raw = record.raw_offset..record.raw_end();
        if !self.is_checking() && !self.plan.wants(&raw) {
            return Ok(());
        }
        match self.runtime.block_on(self.backup.table(pack)) {
            Ok(table) => self.fetch_blocks(pack, &table, jobs),
            Err(error) => self.lose(raw, error, jobs),
        }
    }

    fn fetch_blocks(
        &mut self,
        pack: usize,
        table: &PackTable,
        jobs: &mut Feeder<Job>,
    ) -> Result<(), RepositoryError> {
        let backup = self.backup.clone();
        let record = &backup.index().packs[pack];
        let runtime = self.runtime.clone();
        let runs = self.runs(record.raw_offset, &table.blocks);
        let mut hasher = blake3::Hasher::new();
        if self.is_checking() {
            self.check_header(pack, &mut hasher);
        }
        let mut fetched = stream::iter(runs)
            .map(|run| async {
                let bytes = backup.read_pack(record, run.range.clone()).await;
                (run, bytes)
            })
            .buffered(self.ranges_ahead);
        let mut is_whole = true;
        while let Some((run, bytes)) = runtime.block_on(fetched.next()) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(RepositoryError::WorkerLost);
            }
            match bytes {
                Ok(bytes) => {
                    if self.is_checking() {
                        hasher.update(&bytes);
                    }
                    feed(&table.object, &run, &bytes, jobs)?;
                }
                Err(error) => {
                    is_whole = false;
                    self.lose(run.raw(), error, jobs)?;
                }
            }
        }
        hasher.update(&table.bytes);
        if self.is_checking() && is_whole && Digest::from(hasher.finalize()) != record.hash {
            self.damage.push(RepositoryError::damaged(&*table.object, Fault::Hash));
        }
        Ok(())
    }

    /// The header is no use to a reader; only `verify` looks at it.
    fn check_header(&mut self, pack: usize, hasher: &mut blake3::Hasher) {
        let record = &self.backup.index().packs[pack];
        let range = 0..pack::HEADER_BYTES as u64;
        match self.runtime.block_on(self.backup.read_pack(record, range)) {
            Ok(header) => {
                hasher.update(&header);
                if let Err(fault) = pack::check_header(&header) {
                    self.damage.push(RepositoryError::damaged(&*record.name, fault));
                }
            }
            Err(error) => self.damage.push(error),
        }
    }

    /// Raw bytes that cannot be had; their files' turn must come all the same.
    fn lose(
        &self,
        raw: Range<u64>,
        error: RepositoryError,
        jobs: &mut Feeder<Job>,
    ) -> Result<(), RepositoryError> {
        let (raw_offset, raw_bytes) = (raw.start, raw.end - raw.start);
        Ok(jobs.send(Job { raw_offset, raw_bytes, block: Err(error) })?)
    }

    const fn is_checking(&self) -> bool {
        matches!(self.on_damage, OnDamage::Note)
    }

    /// The wanted blocks of a pack, neighbours together.
    fn runs(&self, raw_offset: u64, blocks: &[BlockRecord]) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        let (mut offset, mut raw_offset) = (pack::HEADER_BYTES as u64, raw_offset);
        for (number, record) in blocks.iter().enumerate() {
            let placed = Placed { number, record: *record, raw_offset };
            let range = offset..offset + u64::from(record.stored_bytes);
            (offset, raw_offset) = (range.end, placed.raw().end);
            if !self.is_checking() && !self.plan.wants(&placed.raw()) {
                continue;
            }
            match runs.last_mut() {
                Some(run) if run.takes(&range) => run.push(range, placed),
                Some(_) | None => runs.push(Run { range, blocks: vec![placed] }),
            }
        }
        runs
    }
}

/// Cuts a fetched range into frames.
fn feed(
    object: &Arc<str>,
    run: &Run,
    bytes: &Bytes,
    jobs: &mut Feeder<Job>,
) -> Result<(), RepositoryError> {
    let mut rest = bytes.clone();
    for placed in &run.blocks {
        let stored_bytes = usize::try_from(placed.record.stored_bytes).unwrap_or(usize::MAX);
        let frame = rest.split_to(stored_bytes.min(rest.len()));
        let block = Block {
            object: Arc::clone(object),
            number: placed.number,
            record: placed.record,
            frame,
        };
        let (raw_offset, raw_bytes) = (placed.raw_offset, u64::from(placed.record.raw_bytes));
        jobs.send(Job { raw_offset, raw_bytes, block: Ok(block) })?;
    }
    Ok(())
}

impl Placed {
    fn raw(&self) -> Range<u64> {
        self.raw_offset..self.raw_offset + u64::from(self.record.raw_bytes)
    }
}

impl Run {
    fn takes(&self, next: &Range<u64>) -> bool {
        self.range.end == next.start && next.end - self.range.start <= RANGE_BYTES
    }

    fn push(&mut self, range: Range<u64>, placed: Placed) {
        self.range.end = range.end;
        self.blocks.push(placed);
    }

    fn raw(&self) -> Range<u64> {
        let first = self.blocks.first().map_or(0, |placed| placed.raw_offset);
        let end = self.blocks.last().map_or(first, |placed| placed.raw().end);
        first..end
    }
}
