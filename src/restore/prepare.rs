//! From the donor's files to a data directory that a server starts from: decompress, prepare.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use galera_protocol::sst::metadata::Secret;

use super::error::RestoreError;
use super::facts::{self, Facts};
use super::process::Program;
use super::tool::{Tool, Version};
use super::{keys, move_back, unwrap};
use crate::pipeline::manifest::Flavour;
use crate::unpack::Key;

/// How to prepare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrepareConfig {
    /// The program; looked for in `PATH` if none is given.
    pub tool: Option<PathBuf>,
    /// Takes a program of another release series than the one that made the backup.
    pub any_tool_version: bool,
    /// Memory for the buffer pool while the log is applied; the program's default if none is given.
    pub use_memory_bytes: Option<u64>,
    /// Further arguments for the program, as they are.
    pub extra_arguments: Vec<OsString>,
    /// Arguments that name the new server's keyring, where tablespaces are encrypted: the program then
    /// also gives them that keyring's master key.
    pub move_back_arguments: Vec<OsString>,
    /// Opens files that the backup program encrypted one by one.
    pub key: Option<Arc<Key>>,
    /// How long it may take.
    pub limit: Duration,
}

impl Default for PrepareConfig {
    fn default() -> Self {
        Self {
            tool: None,
            any_tool_version: false,
            use_memory_bytes: None,
            extra_arguments: Vec::new(),
            move_back_arguments: Vec::new(),
            key: None,
            limit: Duration::from_secs(24 * 3600),
        }
    }
}

/// What a program prints last when all went well. Its exit status alone was wrong in old versions.
const COMPLETED: &str = "completed OK!";

/// First XtraBackup that rolls back prepared XA transactions only if told to.
const ROLLBACK_SINCE: u32 = 8;

/// Prepares a directory; one that says it was prepared is left as it is.
pub(super) async fn prepare(
    directory: &Path,
    known: Option<Flavour>,
    config: &PrepareConfig,
) -> Result<Facts, RestoreError> {
    unwrap::unwrap(directory, config.key.clone()).await?;
    if let Some(path) = facts::encrypted_file(directory)? {
        return Err(RestoreError::EncryptedFiles { path });
    }
    let facts = Facts::read(directory, known)?;
    if facts.is_prepared {
        tracing::info!("the backup was prepared before");
        return Ok(facts);
    }
    let secret = secret_of(directory, &facts, config)?;
    let tool = Tool::find(facts.flavour, config.tool.as_deref()).await?;
    if let Some(made_by) = facts.made_by.filter(|_| !config.any_tool_version) {
        tool.check(made_by)?;
    }
    tracing::info!(tool = %tool.path.display(), version = %tool.version, "preparing");
    let mut arguments = prepare_arguments(directory, facts.flavour, tool.version, config);
    arguments.extend(key_arguments(directory, secret.as_ref()));
    run(&tool.path, &arguments, config).await?;
    if !facts::says_prepared(directory)? {
        return Err(RestoreError::NotCompleted { program: tool.path });
    }
    if let Some(secret) = secret {
        give_new_key(directory, &tool, &secret, config).await?;
    }
    Ok(facts)
}

/// The transition key, where tablespaces need one.
fn secret_of(
    directory: &Path,
    facts: &Facts,
    config: &PrepareConfig,
) -> Result<Option<Secret>, RestoreError> {
    if !facts.has_tablespace_keys {
        return Ok(None);
    }
    match keys::transition_key(directory) {
        None => Err(RestoreError::NoTransitionKey),
        Some(_) if config.move_back_arguments.is_empty() => Err(RestoreError::EncryptedTablespaces),
        Some(key) => Ok(Some(key)),
    }
}

fn key_arguments(directory: &Path, secret: Option<&Secret>) -> Vec<OsString> {
    let mut arguments = Vec::new();
    if let Some(secret) = secret {
        arguments.push(format!("--transition-key={}", secret.reveal()).into());
    } else if let Some(keyring) = keys::keyring(directory) {
        let mut argument = OsString::from("--keyring-file-data=");
        argument.push(keyring);
        arguments.push(argument);
    }
    arguments
}

async fn give_new_key(
    directory: &Path,
    tool: &Tool,
    secret: &Secret,
    config: &PrepareConfig,
) -> Result<(), RestoreError> {
    tracing::info!("giving encrypted tablespaces the new keyring's master key");
    move_back::around(directory, async |prepared| {
        let mut arguments = move_back::arguments(directory, prepared, secret.reveal());
        arguments.extend(config.move_back_arguments.iter().cloned());
        run(&tool.path, &arguments, config).await
    })
    .await
}

async fn run(
    tool: &Path,
    arguments: &[OsString],
    config: &PrepareConfig,
) -> Result<(), RestoreError> {
    let program = Program { path: tool.to_path_buf(), limit: config.limit };
    let output = program.run(arguments).await?;
    if output.lines().any(|line| line.contains(COMPLETED)) {
        Ok(())
    } else {
        Err(RestoreError::NotCompleted { program: program.path })
    }
}

fn prepare_arguments(
    directory: &Path,
    flavour: Flavour,
    version: Version,
    config: &PrepareConfig,
) -> Vec<OsString> {
    let mut arguments = vec!["--prepare".into(), target(directory)];
    match flavour {
        Flavour::Mariadb | Flavour::Unknown => {}
        Flavour::Percona if version.major >= ROLLBACK_SINCE => {
            arguments.push("--rollback-prepared-trx".into());
        }
        Flavour::Percona => arguments.push("--binlog-info=ON".into()),
    }
    if let Some(bytes) = config.use_memory_bytes {
        arguments.push(format!("--use-memory={bytes}").into());
    }
    arguments.extend(config.extra_arguments.iter().cloned());
    arguments
}

fn target(directory: &Path) -> OsString {
    let mut argument = OsString::from("--target-dir=");
    argument.push(directory);
    argument
}

#[cfg(test)]
mod tests;
