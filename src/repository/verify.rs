//! Re-checks everything in a backup without restoring it.

use std::sync::Arc;

use super::error::RepositoryError;
use super::plan::Plan;
use super::pump::{self, Nowhere, OnDamage, ReadConfig};
use super::reader::Backup;

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
}

impl VerifyReport {
    /// True if nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty()
    }
}

impl Backup {
    /// Reads every pack and checks its hash, every block, and every file's hash.
    ///
    /// Damage is reported, not returned as an error; an error means that checking was not possible.
    pub async fn verify(&self, config: &ReadConfig) -> Result<VerifyReport, RepositoryError> {
        let plan = Arc::new(Plan::new(self.index().files().iter().cloned())?);
        let (packs, files) = (self.index().packs.len() as u64, plan.files().len() as u64);
        let bytes = plan.data_bytes();
        let damage = pump::run(self, plan, Arc::new(Nowhere), config, OnDamage::Note).await?;
        Ok(VerifyReport { packs, files, bytes, damage, notes: Vec::new() })
    }
}
