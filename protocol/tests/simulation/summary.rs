//! What came of many lives, for people and for checks that read only the exit status.

use core::fmt;

use crate::coverage::{Coverage, Seen};
use crate::operator::Cause;
use crate::world::World;

/// The sums of a run.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    lives: u64,
    failed: Vec<u64>,
    /// How often each thing happened, and in how many lives.
    coverage: Coverage,
    lives_with: Coverage,
    /// Lives that needed their operator, and why.
    operated: u64,
    causes: [u64; Cause::ALL.len()],
}

impl Summary {
    /// A life that went as it must.
    pub(crate) fn note(&mut self, world: &World) {
        self.lives += 1;
        let coverage = world.all_coverage();
        self.coverage.add_all(&coverage);
        self.lives_with.add_all(&coverage.once_each());
        self.operated += u64::from(!world.operator_calls.is_empty());
        for cause in &world.operator_calls {
            self.causes[*cause as usize] += 1;
        }
    }

    pub(crate) fn fail(&mut self, seed: u64) {
        self.lives += 1;
        self.failed.push(seed);
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.lives += other.lives;
        self.failed.extend(other.failed);
        self.failed.sort_unstable();
        self.coverage.add_all(&other.coverage);
        self.lives_with.add_all(&other.lives_with);
        self.operated += other.operated;
        for (sum, count) in self.causes.iter_mut().zip(other.causes) {
            *sum += count;
        }
    }

    pub(crate) fn failed(&self) -> &[u64] {
        &self.failed
    }

    /// A cause that is more frequent than Galera's rules make it: something else hides behind it.
    pub(crate) fn excessive(&self) -> Option<Cause> {
        let is_excessive = |cause: &Cause| {
            let limit = self.lives * cause.per_mille_max() / 1000 + 3;
            self.causes[*cause as usize] > limit
        };
        Cause::ALL.into_iter().find(is_excessive)
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} lives, {} failed", self.lives, self.failed.len())?;
        if !self.failed.is_empty() {
            writeln!(f, "failed seeds: {:?}", self.failed)?;
        }
        writeln!(f, "{} needed their operator:", self.operated)?;
        for cause in Cause::ALL {
            writeln!(f, "{:>10}  {}", self.causes[cause as usize], cause.sentence())?;
        }
        writeln!(f, "seen, and in how many lives:")?;
        for seen in Seen::ALL {
            let (times, lives) = (self.coverage.count(seen), self.lives_with.count(seen));
            writeln!(f, "{times:>10} {lives:>8}  {}", seen.sentence())?;
        }
        Ok(())
    }
}
