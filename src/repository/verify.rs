//! Re-checks everything in a backup without restoring it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::error::RepositoryError;
use super::plan::Plan;
use super::pump::{self, Nowhere, OnDamage, ReadConfig, Target};
use super::reader::Backup;
use crate::pages::{FilePages, Scan, is_innodb_file};

/// What `verify` found.
#[derive(Debug)]
pub struct VerifyReport {
    /// Packs looked at; in layout `xbcloud`, chunks.
    pub packs: u64,
    /// Files looked at.
    pub files: u64,
    /// Bytes of files looked at.
    pub bytes: u64,
    /// What is wrong: blocks and packs, and each file that suffers. Empty for a sound backup.
    pub damage: Vec<RepositoryError>,
    /// What could not be looked at.
    pub notes: Vec<&'static str>,
    /// Pages of InnoDB's files that arrived whole, if they were asked for.
    pub pages: Option<Vec<FilePages>>,
}

impl VerifyReport {
    /// True if nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.pages.iter().flatten().all(|file| file.bad == 0)
    }
}

impl Backup {
    /// Reads every pack and checks its hash, every block, and every file's hash.
    ///
    /// Damage is reported, not returned as an error; an error means that checking was not possible.
    pub async fn verify(&self, config: &ReadConfig) -> Result<VerifyReport, RepositoryError> {
        let plan = Plan::new(self.index().files().iter().cloned())?;
        self.check(plan, Arc::new(Nowhere), config).await
    }

    /// The same, and the pages of InnoDB's files in one go. Needs a key if the backup is encrypted.
    pub async fn verify_pages(&self, config: &ReadConfig) -> Result<VerifyReport, RepositoryError> {
        self.refuse_sealed()?;
        let plan = Plan::new(self.index().files().iter().cloned())?.in_order(is_innodb_file);
        let scans = Arc::new(Scans::default());
        let report = self.check(plan, Arc::clone(&scans), config).await?;
        Ok(VerifyReport { pages: Some(scans.found()), ..report })
    }

    async fn check<T: Target>(
        &self,
        plan: Plan,
        target: Arc<T>,
        config: &ReadConfig,
    ) -> Result<VerifyReport, RepositoryError> {
        let (packs, files) = (self.index().packs.len() as u64, plan.files().len() as u64);
        let bytes = plan.data_bytes();
        let damage = pump::run(self, Arc::new(plan), target, config, OnDamage::Note).await?;
        Ok(VerifyReport { packs, files, bytes, damage, notes: Vec::new(), pages: None })
    }
}

/// Files whose pages are being checked: as many as were open at once when the backup was written.
#[derive(Default)]
struct Scans(Mutex<Found>);

#[derive(Default)]
struct Found {
    under_way: HashMap<usize, Under>,
    files: Vec<FilePages>,
}

struct Under {
    scan: Scan,
    position: u64,
    data_bytes: u64,
}

impl Scans {
    fn found(&self) -> Vec<FilePages> {
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut files = core::mem::take(&mut found.files);
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        files
    }
}

impl Target for Scans {
    /// In order for each file of InnoDB; holes are not told, but seen.
    fn place(
        &self,
        plan: &Plan,
        number: usize,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), RepositoryError> {
        let planned = &plan.files()[number];
        let path = planned.record.path();
        if !is_innodb_file(path) {
            return Ok(());
        }
        let mut found = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let begin = || Under { scan: Scan::new(path), position: 0, data_bytes: 0 };
        let under = found.under_way.entry(number).or_insert_with(begin);
        under.take(offset, bytes);
        if under.data_bytes == planned.data_bytes {
            let whole = found.under_way.remove(&number);
            found.files.extend(whole.map(|under| under.finish(planned.record.bytes())));
        }
        Ok(())
    }
}

impl Under {
    fn take(&mut self, offset: u64, bytes: &[u8]) {
        self.scan.skip(offset.saturating_sub(self.position));
        self.scan.write(bytes);
        self.position = offset + bytes.len() as u64;
        self.data_bytes += bytes.len() as u64;
    }

    fn finish(mut self, file_bytes: u64) -> FilePages {
        self.scan.skip(file_bytes.saturating_sub(self.position));
        self.scan.finish()
    }
}
