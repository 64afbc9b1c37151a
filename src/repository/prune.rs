//! Which backups stay, and what a killed job left.
//!
//! Rules are restic's: each keeps the newest backup of each of the last *n* hours, days, weeks, months or
//! years in which there is one, and a backup stays if any rule keeps it. They hold for each group by
//! itself. The newest good backup of a group stays whatever the rules say, unless forced.
//!
//! Backups of other programs form a group by what their names tell of the cluster, or together one of
//! those that tell nothing; their time is that of their last chunk.
//!
//! An unfinished backup is swept only when nothing has happened in it for a safe time: it may be one
//! that is being written at this moment. What another program has not ended is its own, or in a form that
//! we do not know: it goes only when forced.

mod rules;

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::error::RepositoryError;
use super::reader::{Listed, Repository};
use super::xbcloud::Foreign;
use crate::pipeline::manifest::BackupId;

pub use rules::KeepRules;

/// How to prune.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PruneConfig {
    /// Which backups stay; without any rule, all do.
    pub keep: KeepRules,
    /// Removes the last good backup of a group as well, if no rule keeps it, and sweeps what other
    /// programs did not finish.
    pub force: bool,
    /// Time without any change after which an unfinished backup is nobody's.
    pub incomplete_after: Duration,
    /// Only tells what would be done.
    pub dry_run: bool,
}

/// What prune did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Backups that stay.
    pub kept: Vec<BackupId>,
    /// Backups that went.
    pub removed: Vec<BackupId>,
    /// Unfinished backups that went, with their unfinished uploads.
    pub swept: Vec<BackupId>,
    /// Unfinished backups that are too young to go.
    pub young: Vec<BackupId>,
    /// Backups that stay because they cannot be judged, and why: their manifest cannot be read, or
    /// another program began them and they are not whole.
    pub unreadable: Vec<(BackupId, String)>,
}

impl Repository {
    /// Removes what no rule keeps, and sweeps unfinished backups.
    pub async fn prune(&self, config: &PruneConfig) -> Result<Pruned, RepositoryError> {
        let mut pruned = Pruned::default();
        let listed = self.list().await?;
        let foreign = self.list_foreign().await?;
        let (foreign, unfinished): (Vec<_>, Vec<_>) =
            foreign.into_iter().partition(|backup| backup.fault.is_none());
        choose(listed, foreign, config, &mut pruned);
        self.choose_incomplete(unfinished, config, &mut pruned).await?;
        if !config.dry_run {
            for id in pruned.removed.iter().chain(&pruned.swept) {
                self.remove(id).await?;
            }
            self.end_lost_uploads(&pruned.kept).await?;
        }
        Ok(pruned)
    }

    async fn choose_incomplete(
        &self,
        foreign: Vec<Foreign>,
        config: &PruneConfig,
        pruned: &mut Pruned,
    ) -> Result<(), RepositoryError> {
        let now = Timestamp::now();
        let mut unfinished = Vec::new();
        for backup in foreign {
            match backup.fault {
                Some(fault) if !backup.is_our_copy && !config.force => {
                    let why = format!(
                        "another program began it, and it is not whole ({fault}); --force sweeps it"
                    );
                    pruned.unreadable.push((backup.backup_id, why));
                }
                _ => unfinished.push((backup.backup_id, backup.stored)),
            }
        }
        for id in self.incomplete().await? {
            let changed = self.last_change(&id).await?;
            unfinished.push((id, changed));
        }
        for (id, changed) in unfinished {
            let age = now.duration_since(changed);
            if age.unsigned_abs() >= config.incomplete_after && !age.is_negative() {
                pruned.swept.push(id);
            } else {
                pruned.young.push(id);
            }
        }
        Ok(())
    }
}

fn choose(listed: Vec<Listed>, foreign: Vec<Foreign>, config: &PruneConfig, pruned: &mut Pruned) {
    let mut groups: BTreeMap<String, Vec<(Timestamp, BackupId)>> = BTreeMap::new();
    for backup in listed {
        match backup.manifest {
            Ok(manifest) => {
                let time = backup.id.time().unwrap_or(Timestamp::UNIX_EPOCH);
                groups.entry(manifest.group).or_default().push((time, backup.id));
            }
            Err(error) => pruned.unreadable.push((backup.id, error.to_string())),
        }
    }
    for backup in foreign {
        let group = groups.entry(backup.cluster.unwrap_or_default()).or_default();
        group.push((backup.stored, backup.backup_id));
    }
    for mut backups in groups.into_values() {
        backups.sort_unstable();
        let times: Vec<Timestamp> = backups.iter().map(|(time, _)| *time).collect();
        let keep = config.keep.choose(&times, !config.force);
        for ((_, id), keep) in backups.into_iter().zip(keep) {
            if keep { &mut pruned.kept } else { &mut pruned.removed }.push(id);
        }
    }
    pruned.kept.sort_unstable();
    pruned.removed.sort_unstable();
}
