//! Finds the program that prepares a backup, and makes sure that it is of the right series.
//!
//! Preparing replays InnoDB's redo log and resolves the marks that DDL left, so the program must know
//! the donor's formats: same series, and not much else is promised (spec 05 §5.1, trap 20).

use core::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::RestoreError;
use super::process::{Output, Program};
use crate::pipeline::manifest::Flavour;

/// The first three numbers of a version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// First number.
    pub major: u32,
    /// Second number; with the first it makes the release series.
    pub minor: u32,
    /// Third number.
    pub patch: u32,
}

/// How long a program may take to tell its version.
const VERSION_LIMIT: Duration = Duration::from_secs(30);

impl Version {
    /// Finds the first `N.N.N` in a text.
    pub fn find(text: &str) -> Option<Self> {
        text.split(|c: char| !c.is_ascii_digit() && c != '.').find_map(Self::parse)
    }

    fn parse(word: &str) -> Option<Self> {
        let mut numbers = word.split('.').map(str::parse);
        let mut next = || numbers.next()?.ok();
        Some(Self { major: next()?, minor: next()?, patch: next()? })
    }

    /// True if both are of one release series.
    pub const fn is_same_series(&self, other: &Self) -> bool {
        self.major == other.major && self.minor == other.minor
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.patch)
    }
}

/// The program that prepares backups of one flavour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tool {
    pub(super) path: PathBuf,
    pub(super) version: Version,
}

impl Tool {
    /// Takes the given program, or looks for the usual ones in `PATH`.
    pub(super) async fn find(flavour: Flavour, given: Option<&Path>) -> Result<Self, RestoreError> {
        let names = tool_names(flavour);
        let path = given
            .map(Path::to_path_buf)
            .or_else(|| names.iter().find_map(|name| in_path(name)))
            .ok_or(RestoreError::NoTool { flavour, names })?;
        let program = Program { path, limit: VERSION_LIMIT };
        let version = version_of(&program.run(&["--version"]).await?);
        match version {
            Some(version) => Ok(Self { path: program.path, version }),
            None => Err(RestoreError::NoVersion { tool: program.path }),
        }
    }

    /// Refuses another series than the one that made the backup.
    pub(super) fn check(&self, expected: Version) -> Result<(), RestoreError> {
        let (tool, found) = (self.path.clone(), self.version);
        if !found.is_same_series(&expected) {
            return Err(RestoreError::ToolVersion { tool, found, expected });
        }
        if found < expected {
            tracing::warn!(%found, %expected, "the tool is older than the one that made the backup");
        }
        Ok(())
    }
}

const fn tool_names(flavour: Flavour) -> &'static [&'static str] {
    match flavour {
        Flavour::Mariadb => &["mariadb-backup", "mariabackup"],
        Flavour::Percona | Flavour::Unknown => &["xtrabackup"],
    }
}

/// Looks for the server that can tell a position.
pub(super) fn find_server(flavour: Flavour) -> Option<PathBuf> {
    let names: &[&str] = match flavour {
        Flavour::Mariadb => &["mariadbd", "mysqld"],
        Flavour::Percona | Flavour::Unknown => &["mysqld"],
    };
    names.iter().find_map(|name| in_path(name))
}

/// Servers live in `sbin`, which is not in everyone's `PATH`.
fn in_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/bin", "/usr/local/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

/// `xtrabackup version 8.0.35-30 based on MySQL server 8.0.35 …`, `mariadb-backup based on MariaDB
/// server 10.11.19-MariaDB …`; lines about options may come before.
fn version_of(output: &Output) -> Option<Version> {
    output
        .lines()
        .filter(|line| line.contains("version") || line.contains("server"))
        .find_map(Version::find)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_what_programs_say() {
        let version = |major, minor, patch| Some(Version { major, minor, patch });
        let mariadb = "mariadb-backup based on MariaDB server 10.11.19-MariaDB debian-linux-gnu";
        assert_eq!(Version::find(mariadb), version(10, 11, 19));
        let percona = "xtrabackup version 8.0.35-30 based on MySQL server 8.0.35 Linux (x86_64)";
        assert_eq!(Version::find(percona), version(8, 0, 35));
        assert_eq!(Version::find("5.7.28-31-57.2"), version(5, 7, 28));
        assert_eq!(Version::find("no version 8.0 here"), None);
    }

    #[test]
    fn another_series_is_refused() {
        let tool =
            Tool { path: "/usr/bin/x".into(), version: Version { major: 10, minor: 11, patch: 9 } };
        assert!(tool.check(Version { major: 10, minor: 11, patch: 19 }).is_ok());
        assert!(matches!(
            tool.check(Version { major: 10, minor: 6, patch: 9 }),
            Err(RestoreError::ToolVersion { .. })
        ));
    }

    #[tokio::test]
    async fn a_missing_tool_is_told() {
        let missing = Path::new("/nonexistent/xtrabackup");
        let found = Tool::find(Flavour::Percona, Some(missing)).await;
        assert!(matches!(found, Err(RestoreError::Run { .. })));
    }
}
