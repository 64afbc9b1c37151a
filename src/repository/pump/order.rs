//! The end of the pump: blocks in order, so that each file is hashed as it was written.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Done, OnDamage, ReadProgress, Target};
use crate::pipeline::manifest::Digest;
use crate::repository::error::{Fault, RepositoryError};
use crate::repository::plan::{Part, Plan};

/// Damage that is kept; more is only counted. A lost pack may damage every file.
const DAMAGE_MAX: usize = 1000;

/// Hashes files; writes those whose extents overlap.
pub(super) struct InOrder<T> {
    plan: Arc<Plan>,
    target: Arc<T>,
    progress: Arc<ReadProgress>,
    on_damage: OnDamage,
    /// Files that are under way: as many as were open at once when the backup was written.
    hashers: HashMap<usize, Under>,
    damage: Vec<RepositoryError>,
}

/// A file under way.
enum Under {
    Sound(Box<blake3::Hasher>),
    /// A part is missing, which has been told.
    Damaged,
}

impl<T: Target> InOrder<T> {
    pub(super) fn new(
        plan: Arc<Plan>,
        target: Arc<T>,
        progress: Arc<ReadProgress>,
        on_damage: OnDamage,
    ) -> Self {
        Self { plan, target, progress, on_damage, hashers: HashMap::new(), damage: Vec::new() }
    }

    pub(super) fn take(&mut self, done: Done) -> Result<(), RepositoryError> {
        let plan = Arc::clone(&self.plan);
        match done.data {
            Ok(raw) => plan
                .parts(done.raw_offset, raw.len())
                .try_for_each(|part| self.take_part(&part, &raw[part.within.clone()])),
            Err(error) => {
                self.tell(error)?;
                let length = usize::try_from(done.raw_bytes).unwrap_or(usize::MAX);
                plan.parts(done.raw_offset, length).try_for_each(|part| self.lose_part(&part))
            }
        }
    }

    /// All blocks came; empty files have no other moment to be counted.
    pub(super) fn finish(mut self) -> Result<Vec<RepositoryError>, RepositoryError> {
        let plan = Arc::clone(&self.plan);
        let empty = plan.files().iter().filter(|file| file.data_bytes == 0);
        for file in empty {
            self.judge(&file.record.path.to_string(), file.record.hash, Digest::of(b""))?;
        }
        Ok(self.damage)
    }

    fn take_part(&mut self, part: &Part, bytes: &[u8]) -> Result<(), RepositoryError> {
        let plan = Arc::clone(&self.plan);
        if plan.files()[part.file].in_order {
            self.target.place(&plan, part.file, part.file_offset, bytes)?;
        }
        match self.hashers.entry(part.file).or_default() {
            Under::Sound(hasher) => drop(hasher.update(bytes)),
            Under::Damaged => {}
        }
        self.progress.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.end_if_last(part)
    }

    fn lose_part(&mut self, part: &Part) -> Result<(), RepositoryError> {
        let lost = self.hashers.insert(part.file, Under::Damaged);
        if !matches!(lost, Some(Under::Damaged)) {
            let path = self.plan.files()[part.file].record.path.to_string();
            self.tell(RepositoryError::damaged(path, Fault::Hash))?;
        }
        self.end_if_last(part)
    }

    fn end_if_last(&mut self, part: &Part) -> Result<(), RepositoryError> {
        if !part.is_last {
            return Ok(());
        }
        let plan = Arc::clone(&self.plan);
        let record = &plan.files()[part.file].record;
        match self.hashers.remove(&part.file) {
            Some(Under::Sound(hasher)) => {
                self.judge(&record.path.to_string(), record.hash, hasher.finalize().into())
            }
            Some(Under::Damaged) | None => Ok(()),
        }
    }

    fn judge(
        &mut self,
        path: &str,
        expected: Digest,
        found: Digest,
    ) -> Result<(), RepositoryError> {
        if expected == found {
            self.progress.files.fetch_add(1, Ordering::Relaxed);
            Ok(())
        } else {
            self.tell(RepositoryError::damaged(path, Fault::Hash))
        }
    }

    fn tell(&mut self, error: RepositoryError) -> Result<(), RepositoryError> {
        match self.on_damage {
            OnDamage::Stop => Err(error),
            OnDamage::Note => {
                if self.damage.len() < DAMAGE_MAX {
                    self.damage.push(error);
                }
                Ok(())
            }
        }
    }
}

impl Default for Under {
    fn default() -> Self {
        Self::Sound(Box::default())
    }
}
