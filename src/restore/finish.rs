//! What is done to a data directory once its files are there: prepare, position, clean, seal.
//!
//! The order is what makes an interruption harmless: `grastate.dat` comes last, and without it no
//! server believes that the directory has a position.

use std::path::{Path, PathBuf};
use std::time::Duration;

use galera_protocol::id::StateId;

use super::error::RestoreError;
use super::facts::Facts;
use super::grastate::{self, Role};
use super::position::{self, Position};
use super::prepare::{self, PrepareConfig};
use super::tree::{self, Modes, Owner};
use super::{cleanup, tool};
use crate::pipeline::manifest::{Flavour, Manifest};

/// How to finish a data directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FinishConfig {
    /// Prepare it; without this, it stays as the donor had it, unless it was prepared before.
    pub prepare: Option<PrepareConfig>,
    /// What the node is to be. Needs a prepared directory; one that is gets [`Role::Join`] by itself.
    pub role: Option<Role>,
    /// Whom the files shall belong to.
    pub owner: Option<Owner>,
    /// Modes of files and directories.
    pub modes: Modes,
    /// How the position is found.
    pub position: PositionConfig,
}

/// How the position of a prepared directory is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PositionConfig {
    /// Server to run with `--wsrep-recover` where preparing does not tell; looked for in `PATH` if none
    /// is given.
    pub server: Option<PathBuf>,
    /// Run it always, and compare. A newer server than the backup's may upgrade the data.
    pub cross_check: bool,
    /// How long it may take.
    pub limit: Duration,
}

impl Default for PositionConfig {
    fn default() -> Self {
        Self { server: None, cross_check: false, limit: Duration::from_secs(3600) }
    }
}

/// What is known from the manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    flavour: Flavour,
    uuid: StateId,
    seqno_at_least: i64,
}

impl From<&Manifest> for Known {
    fn from(manifest: &Manifest) -> Self {
        Self {
            flavour: manifest.flavour,
            uuid: manifest.state.uuid,
            seqno_at_least: manifest.state.seqno_at_least,
        }
    }
}

/// Finishes a directory in place; gives its position if it is prepared.
pub(super) async fn finish(
    directory: &Path,
    known: Option<Known>,
    config: &FinishConfig,
) -> Result<Option<Position>, RestoreError> {
    let position = match prepared_facts(directory, known, config).await? {
        Some(facts) => {
            let position = find_position(directory, &facts, known, config).await?;
            let (flavour, role) = (facts.flavour, config.role.unwrap_or(Role::Join));
            let (place, owned) = (directory.to_path_buf(), position.clone());
            blocking(move || settle(&place, flavour, owned.as_ref(), role)).await?;
            position
        }
        None if config.role.is_some() => return Err(RestoreError::NotPrepared),
        None => None,
    };
    let (place, owner, modes) = (directory.to_path_buf(), config.owner, config.modes);
    blocking(move || tree::seal(&place, owner, modes)).await?;
    Ok(position)
}

/// Prepares if told to; `None` if the directory is not prepared afterwards.
async fn prepared_facts(
    directory: &Path,
    known: Option<Known>,
    config: &FinishConfig,
) -> Result<Option<Facts>, RestoreError> {
    let flavour = known.map(|known| known.flavour);
    if let Some(prepare) = &config.prepare {
        return prepare::prepare(directory, flavour, prepare).await.map(Some);
    }
    match Facts::read(directory, flavour) {
        Ok(facts) => Ok(facts.is_prepared.then_some(facts)),
        // Compressed files hide the facts; and who asks for the files alone gets them in any case.
        Err(error) if config.role.is_none() => {
            tracing::info!(%error, "not prepared");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

async fn find_position(
    directory: &Path,
    facts: &Facts,
    known: Option<Known>,
    config: &FinishConfig,
) -> Result<Option<Position>, RestoreError> {
    let was_streamed = facts.has_streamed_position || facts.is_prepared;
    let prepared = position::prepared(directory, facts.flavour, was_streamed);
    let position = match prepared {
        Some(prepared) if config.position.cross_check => {
            let recovered = recover(directory, facts.flavour, &config.position).await?;
            agree(prepared, &recovered)?
        }
        Some(prepared) => prepared,
        None => match recover(directory, facts.flavour, &config.position).await {
            Ok(recovered) => recovered,
            Err(RestoreError::NoPosition { .. }) if config.role.is_none() => {
                tracing::warn!("no wsrep position found: the node will need a full SST");
                return Ok(None);
            }
            Err(error) => return Err(error),
        },
    };
    match known {
        Some(known) => check_history(&position, known).map(|()| Some(position)),
        None => Ok(Some(position)),
    }
}

async fn recover(
    directory: &Path,
    flavour: Flavour,
    config: &PositionConfig,
) -> Result<Position, RestoreError> {
    match config.server.clone().or_else(|| tool::find_server(flavour)) {
        Some(server) => position::recover(directory, server, config.limit).await,
        None => Err(RestoreError::NoPosition { directory: directory.to_path_buf() }),
    }
}

fn agree(prepared: Position, recovered: &Position) -> Result<Position, RestoreError> {
    if (prepared.uuid, prepared.seqno) == (recovered.uuid, recovered.seqno) {
        return Ok(prepared);
    }
    let (prepared, recovered) = (prepared.to_string(), recovered.to_string());
    Err(RestoreError::PositionMismatch { prepared, recovered })
}

/// The history must be the manifest's. A seqno below the donor's word is odd but what InnoDB says is
/// true for this copy, and too low a seqno only costs write-sets in IST.
fn check_history(position: &Position, known: Known) -> Result<(), RestoreError> {
    if position.uuid != known.uuid {
        let (expected, found) = (known.uuid, position.uuid);
        return Err(RestoreError::OtherHistory { expected, found });
    }
    if position.seqno < known.seqno_at_least {
        tracing::warn!(
            found = position.seqno,
            at_least = known.seqno_at_least,
            "the data is older than the donor said"
        );
    }
    Ok(())
}

/// Cleans, then makes the directory believable.
fn settle(
    directory: &Path,
    flavour: Flavour,
    position: Option<&Position>,
    role: Role,
) -> Result<(), RestoreError> {
    cleanup::clean(directory, flavour)?;
    // Nothing may be less durable than the file that vouches for it.
    tree::sync(directory)?;
    match position {
        Some(position) => grastate::write(directory, position, role)
            .map_err(RestoreError::write(directory.join(grastate::NAME))),
        None => Ok(()),
    }
}

/// Runs file work where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RestoreError> + Send + 'static,
) -> Result<T, RestoreError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| RestoreError::WorkerLost)?
}

#[cfg(test)]
mod tests;
