//! Where a backup goes, as people write it.

use core::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::repository::{RepositoryUrl, RepositoryUrlError};
use crate::sink::raw::RawTarget;

/// `--to`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// `file:///DIR`: a repository.
    Repository(RepositoryUrl),
    /// `datadir:DIR`: a data directory, not prepared.
    Datadir(PathBuf),
    /// `xbstream:FILE`, `xbstream:-`: the stream as the donor sent it.
    Stream(RawTarget),
    /// `tar:FILE`, `tar:-`: the files in a tar archive.
    Tar(RawTarget),
    /// `exec:COMMAND`: the stream into a command's standard input.
    Command(String),
    /// `null:`: nowhere, everything still checked.
    Null,
}

/// The text names no target.
#[derive(Debug, thiserror::Error)]
pub enum ParseTargetError {
    /// The repository's URL is wrong.
    #[error(transparent)]
    Repository(#[from] RepositoryUrlError),
    /// Something has to follow the colon.
    #[error("{0:?} names no file, directory or command")]
    NoPath(String),
}

impl Target {
    /// True if it writes to standard output.
    pub const fn is_stdout(&self) -> bool {
        matches!(self, Self::Stream(RawTarget::Stdout) | Self::Tar(RawTarget::Stdout))
    }
}

/// As people write it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let file = |f: &mut fmt::Formatter<'_>, scheme: &str, target: &RawTarget| match target {
            RawTarget::File(path) => write!(f, "{scheme}:{}", path.display()),
            RawTarget::Stdout => write!(f, "{scheme}:-"),
            RawTarget::Command(line) => write!(f, "exec:{}", line.command),
        };
        match self {
            Self::Repository(url) => write!(f, "{url}"),
            Self::Datadir(directory) => write!(f, "datadir:{}", directory.display()),
            Self::Stream(target) => file(f, "xbstream", target),
            Self::Tar(target) => file(f, "tar", target),
            Self::Command(command) => write!(f, "exec:{command}"),
            Self::Null => f.write_str("null:"),
        }
    }
}

impl FromStr for Target {
    type Err = ParseTargetError;

    fn from_str(text: &str) -> Result<Self, ParseTargetError> {
        let path = |path: &str| match path {
            "" => Err(ParseTargetError::NoPath(text.to_owned())),
            path => Ok(PathBuf::from(path)),
        };
        match text.split_once(':') {
            Some(("null", "")) => Ok(Self::Null),
            Some(("datadir", directory)) => Ok(Self::Datadir(path(directory)?)),
            Some(("tar", "-")) => Ok(Self::Tar(RawTarget::Stdout)),
            Some(("tar", file)) => Ok(Self::Tar(RawTarget::File(path(file)?))),
            Some(("exec", "")) => Err(ParseTargetError::NoPath(text.to_owned())),
            Some(("exec", command)) => Ok(Self::Command(command.to_owned())),
            Some(("xbstream", "-")) => Ok(Self::Stream(RawTarget::Stdout)),
            Some(("xbstream", file)) => Ok(Self::Stream(RawTarget::File(path(file)?))),
            Some(_) | None => Ok(Self::Repository(RepositoryUrl::parse(text)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_target_is_understood() {
        let parse = |text: &str| text.parse::<Target>().expect(text);
        assert_eq!(parse("null:"), Target::Null);
        assert_eq!(parse("datadir:/var/lib/mysql"), Target::Datadir("/var/lib/mysql".into()));
        assert_eq!(parse("xbstream:-"), Target::Stream(RawTarget::Stdout));
        assert_eq!(parse("xbstream:a:b"), Target::Stream(RawTarget::File("a:b".into())));
        assert_eq!(parse("tar:-"), Target::Tar(RawTarget::Stdout));
        assert_eq!(parse("tar:a.tar").to_string(), "tar:a.tar");
        assert_eq!(parse("exec:cat >x"), Target::Command("cat >x".into()));
        assert!(matches!(parse("file:///backups"), Target::Repository(_)));
    }

    #[test]
    fn anything_else_is_refused() {
        for text in ["", "datadir:", "xbstream:", "exec:", "null:x", "ftp://a/b"] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
