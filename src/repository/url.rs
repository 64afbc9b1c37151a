//! Where a repository is, as people write it.

use core::fmt;
use std::path::{Path, PathBuf};

/// The place of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryUrl {
    /// `file:///dir`: a directory, absolute.
    File(PathBuf),
}

/// Why a URL is not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RepositoryUrlError {
    /// No `scheme://` in front.
    #[error("repository {text:?} has no scheme; write file:///dir for a directory")]
    NoScheme {
        /// The text given.
        text: String,
    },
    /// A scheme that this program does not know.
    #[error("repository scheme {scheme:?} is not supported")]
    Scheme {
        /// The scheme given.
        scheme: String,
    },
    /// The directory does not start at the root.
    #[error("repository {text:?}: the directory must be absolute, as in file:///dir")]
    NotAbsolute {
        /// The text given.
        text: String,
    },
}

impl RepositoryUrl {
    /// Parses `file:///dir`.
    pub fn parse(text: &str) -> Result<Self, RepositoryUrlError> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| RepositoryUrlError::NoScheme { text: text.to_owned() })?;
        match scheme {
            "file" if rest.starts_with('/') => Ok(Self::File(PathBuf::from(rest))),
            "file" => Err(RepositoryUrlError::NotAbsolute { text: text.to_owned() }),
            _ => Err(RepositoryUrlError::Scheme { scheme: scheme.to_owned() }),
        }
    }

    /// The directory `path` as a repository.
    pub fn from_directory(path: &Path) -> Self {
        Self::File(path.to_path_buf())
    }
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_a_file_url() {
        let url = RepositoryUrl::parse("file:///var/backups").expect("valid");
        assert_eq!(url, RepositoryUrl::File("/var/backups".into()));
        assert_eq!(url.to_string(), "file:///var/backups");
    }

    #[test]
    fn other_texts_are_refused_with_their_reason() {
        assert!(matches!(
            RepositoryUrl::parse("/var/backups"),
            Err(RepositoryUrlError::NoScheme { .. })
        ));
        assert!(matches!(
            RepositoryUrl::parse("file://backups"),
            Err(RepositoryUrlError::NotAbsolute { .. })
        ));
        assert!(matches!(
            RepositoryUrl::parse("ftp://host/x"),
            Err(RepositoryUrlError::Scheme { scheme }) if scheme == "ftp"
        ));
    }
}
