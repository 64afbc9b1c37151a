//! From the donor's files to a data directory that a server starts from: decompress, prepare.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::RestoreError;
use super::facts::{self, Facts, Wrapping};
use super::process::Program;
use super::tool::{Tool, Version};
use crate::pipeline::manifest::Flavour;

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
    unwrap(directory, known, config).await?;
    let facts = Facts::read(directory, known)?;
    if facts.is_prepared {
        tracing::info!("the backup was prepared before");
        return Ok(facts);
    }
    if facts.has_tablespace_keys {
        return Err(RestoreError::EncryptedTablespaces);
    }
    let tool = Tool::find(facts.flavour, config.tool.as_deref()).await?;
    if let Some(made_by) = facts.made_by.filter(|_| !config.any_tool_version) {
        tool.check(made_by)?;
    }
    tracing::info!(tool = %tool.path.display(), version = %tool.version, "preparing");
    run(&tool.path, &prepare_arguments(directory, facts.flavour, tool.version, config), config)
        .await?;
    if !facts::says_prepared(directory)? {
        return Err(RestoreError::NotCompleted { program: tool.path });
    }
    Ok(facts)
}

/// Decompresses files that the donor's tool compressed one by one.
async fn unwrap(
    directory: &Path,
    known: Option<Flavour>,
    config: &PrepareConfig,
) -> Result<(), RestoreError> {
    let wrapping = Wrapping::read(directory)?;
    if let Some(path) = wrapping.encrypted {
        return Err(RestoreError::EncryptedFiles { path });
    }
    if !wrapping.has_compressed {
        return Ok(());
    }
    let flavour = known.unwrap_or_else(|| facts::guess_flavour(directory));
    let tool = Tool::find(flavour, config.tool.as_deref()).await?;
    let arguments = ["--decompress".into(), "--remove-original".into(), target(directory)];
    tracing::info!(tool = %tool.path.display(), "decompressing");
    run(&tool.path, &arguments, config).await
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
