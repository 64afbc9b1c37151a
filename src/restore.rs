//! From a repository into a data directory that a server starts from.
//!
//! ```text
//! claim DIR.partial ─► files (parallel, each hash checked) ─► prepare ─► position
//!        ─► clean ─► grastate.dat ─► owner, modes, sync ─► rename to DIR
//! ```
//!
//! Until the rename the target is what it was. What an interrupted restore left in `DIR.partial` is used
//! by the next one as far as its hashes are right. The backup tool and, where it is needed, the server are
//! run as programs; what they say goes to the log.

mod cleanup;
mod error;
mod facts;
mod files;
mod finish;
mod grastate;
mod keys;
mod move_back;
mod position;
mod prepare;
mod process;
mod resume;
mod staging;
mod stream;
mod tool;
mod tree;
mod unwrap;

use std::path::{Path, PathBuf};
use std::sync::Arc;

pub use error::RestoreError;
pub use finish::{FinishConfig, PositionConfig};
pub use grastate::Role;
pub use position::{Position, PositionSource};
pub use prepare::PrepareConfig;
pub use stream::StreamSource;
pub use tool::Version;
pub use tree::{Modes, Owner};

use self::files::Files;
use self::finish::{Known, blocking};
use self::staging::{Leftovers, Staging};
use crate::pipeline::manifest::Manifest;
use crate::repository::{Backup, ChunkedBackup, Plan, ReadConfig};
use crate::sink::datadir::MANIFEST_NAME;

/// How to restore.
#[derive(Clone, Debug)]
pub struct RestoreConfig {
    /// The data directory to be made. It must not exist or be empty, unless `force` is set.
    pub target: PathBuf,
    /// Replaces what is there, at the end and in one step.
    pub force: bool,
    /// What is done when the files are there.
    pub finish: FinishConfig,
    /// How the backup is read.
    pub read: ReadConfig,
}

/// What a restore made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The data directory.
    pub directory: PathBuf,
    /// Where it stands, if it is prepared and has a position.
    pub position: Option<Position>,
}

/// Restores a backup. The target appears complete or not at all.
pub async fn restore(backup: &Backup, config: &RestoreConfig) -> Result<Restored, RestoreError> {
    let build = async |place: &Path, finish: &FinishConfig| {
        build(backup, place, finish, &config.read).await
    };
    in_staging(config, Leftovers::Use, build).await
}

/// Restores a backup in layout `xbcloud`. The target appears complete or not at all.
pub async fn restore_chunks(
    backup: &ChunkedBackup,
    config: &RestoreConfig,
) -> Result<Restored, RestoreError> {
    in_staging(config, Leftovers::Remove, async |place, finish| {
        stream::unpack_chunks(backup, place, &config.read.progress).await?;
        finish::finish(place, backup.manifest().map(Known::from), finish).await
    })
    .await
}

/// Restores from what a sink wrote into one file. The target appears complete or not at all.
pub async fn restore_stream(
    source: &StreamSource,
    config: &RestoreConfig,
) -> Result<Restored, RestoreError> {
    in_staging(config, Leftovers::Remove, async |place, finish| {
        let known = stream::unpack(source, place).await?;
        finish::finish(place, known, finish).await
    })
    .await
}

/// Builds beside the target, and publishes what was built or takes it back.
async fn in_staging(
    config: &RestoreConfig,
    leftovers: Leftovers,
    build: impl AsyncFnOnce(&Path, &FinishConfig) -> Result<Option<Position>, RestoreError>,
) -> Result<Restored, RestoreError> {
    if config.finish.role.is_some() && config.finish.prepare.is_none() {
        return Err(RestoreError::NotPrepared);
    }
    let (target, force) = (config.target.clone(), config.force);
    let (staging, owner) = blocking(move || {
        let owner = tree::owner_to_keep(&target);
        Ok((Staging::claim(&target, force, leftovers)?, owner))
    })
    .await?;
    let mut finish = config.finish.clone();
    finish.owner = finish.owner.or(owner);
    match build(staging.place(), &finish).await {
        Ok(position) => {
            let directory = blocking(move || staging.publish()).await?;
            Ok(Restored { directory, position })
        }
        Err(error) if leftovers == Leftovers::Use && error.is_interruption() => {
            tracing::info!(place = %staging.place().display(), "kept for another try");
            Err(error)
        }
        Err(error) => {
            blocking(move || {
                staging.discard();
                Ok(())
            })
            .await?;
            Err(error)
        }
    }
}

/// Finishes a data directory that is there already, in place (`datadir:` makes such).
///
/// A failure leaves it unfinished and without `grastate.dat`; it may be tried again.
pub async fn finish_directory(
    directory: &Path,
    config: &FinishConfig,
) -> Result<Restored, RestoreError> {
    let place = directory.to_path_buf();
    let (known, owner) =
        blocking(move || Ok((known_from(&place), tree::owner_to_keep(&place)))).await?;
    let mut config = config.clone();
    config.owner = config.owner.or(owner);
    let position = finish::finish(directory, known, &config).await?;
    Ok(Restored { directory: directory.to_path_buf(), position })
}

async fn build(
    backup: &Backup,
    place: &Path,
    finish: &FinishConfig,
    read: &ReadConfig,
) -> Result<Option<Position>, RestoreError> {
    backup.refuse_sealed()?;
    let (whole, below, jobs) = (backup.clone(), place.to_path_buf(), read.workers);
    let (plan, files) = blocking(move || {
        let kept = resume::keep_sound(&below, whole.index(), jobs)?;
        let plan = Arc::new(Plan::new(resume::missing(whole.index(), &kept))?);
        let files = Files::below(&below)?;
        files.lay_out(&plan)?;
        Ok((plan, Arc::new(files)))
    })
    .await?;
    backup.read_into(plan, files, read).await?;
    finish::finish(place, Some(Known::from(backup.manifest())), finish).await
}
fn known_from(directory: &Path) -> Option<Known> {
    let json = std::fs::read(directory.join(MANIFEST_NAME)).ok()?;
    Manifest::decode(&json).ok().as_ref().map(Known::from)
}

#[cfg(test)]
mod tests;
