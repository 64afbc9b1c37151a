//! A stored dump into a client's standard input.
//!
//! A client executes what it reads, so half a dump is worse than none: everything is checked before the
//! command starts, and again on its way. If it then turns out to be damaged after all, the command is
//! killed while its input is still open, so that it never takes the half for the whole.

use std::ffi::OsString;
use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt;
use galera_protocol::xbstream::EntryPath;
use tokio_util::sync::CancellationToken;

use super::Passed;
use super::error::LoadError;
use crate::pipeline::manifest::Method;
use crate::repository::{Backup, ReadConfig};
use crate::sink::raw::{CommandLine, Raw, RawTarget};
use crate::sink::{Receipt, Sink};

/// How to load a dump.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// The client and its arguments.
    pub command: Vec<OsString>,
    /// Whether everything is read and checked once before the command starts.
    pub verify_first: bool,
    /// How long the command may take from the end of its input to its own.
    pub end_limit: Duration,
}

/// Loads a dump. Success means that the command read all of it and said that it succeeded.
pub async fn load(
    backup: &Backup,
    config: &LoadConfig,
    passed: &Passed,
    stop: &CancellationToken,
) -> Result<Receipt, LoadError> {
    let file = file_of(backup)?;
    if config.verify_first {
        let verified = stop.run_until_cancelled(verify(backup)).await;
        verified.unwrap_or(Err(LoadError::Stopped))?;
    }
    let line = CommandLine::of_program(config.command.clone(), config.end_limit);
    let client = Raw::create(RawTarget::Command(line), false).await.map_err(LoadError::Start)?;
    feed(backup, &file, client, passed, stop).await
}

/// A dump is one file.
fn file_of(backup: &Backup) -> Result<EntryPath, LoadError> {
    let manifest = backup.manifest();
    let not_a_dump = || LoadError::NotADump { id: manifest.backup_id.to_string() };
    if manifest.method != Method::Dump {
        return Err(not_a_dump());
    }
    backup.refuse_sealed()?;
    match backup.index().files() {
        [only] => Ok(only.path.clone()),
        _ => Err(not_a_dump()),
    }
}

async fn verify(backup: &Backup) -> Result<(), LoadError> {
    let mut damage = backup.verify(&ReadConfig::default()).await?.damage.into_iter();
    match damage.next() {
        Some(first) => Err(LoadError::Damaged { first, further: damage.count() }),
        None => Ok(()),
    }
}

async fn feed(
    backup: &Backup,
    file: &EntryPath,
    mut client: Raw,
    passed: &Passed,
    stop: &CancellationToken,
) -> Result<Receipt, LoadError> {
    let feeding = async {
        let pieces = backup.read_file(file).map_err(LoadError::Repository)?;
        tokio::pin!(pieces);
        while let Some(piece) = pieces.try_next().await.map_err(LoadError::KilledHalfWay)? {
            give(&mut client, piece, passed).await?;
        }
        Ok(())
    };
    let fed = stop.run_until_cancelled(feeding).await.unwrap_or(Err(LoadError::Stopped));
    match fed {
        Ok(()) => client.commit(backup.manifest().clone()).await.map_err(LoadError::Command),
        Err(error) => {
            client.abort().await;
            Err(error)
        }
    }
}

async fn give(client: &mut Raw, piece: Bytes, passed: &Passed) -> Result<(), LoadError> {
    let length = piece.len();
    client.stream(piece).await.map_err(LoadError::Command)?;
    passed.add(length);
    Ok(())
}
