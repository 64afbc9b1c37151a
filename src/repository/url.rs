//! Where a repository is, as people write it.

use core::fmt;
use std::path::{Path, PathBuf};

/// The place of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RepositoryUrl {
    /// `file:///dir`: a directory, absolute.
    File(PathBuf),
    /// `s3://bucket/prefix`, `gs://bucket/prefix`, `az://container/prefix`.
    Cloud(Cloud),
}

/// A place in an object store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cloud {
    /// Whose protocol is spoken.
    pub kind: CloudKind,
    /// Bucket, or container.
    pub bucket: String,
    /// What all names begin with; may be empty.
    pub prefix: String,
}

/// Whose protocol an object store speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloudKind {
    /// Amazon's S3, and what is compatible with it.
    S3,
    /// Google Cloud Storage.
    Google,
    /// Azure Blob Storage.
    Azure,
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
    #[error("repository scheme {scheme:?} is not supported; there are file, s3, gs and az")]
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
    /// An object store's URL names no bucket, or a prefix with empty or dotted parts.
    #[error("repository {text:?}: write scheme://bucket/prefix")]
    Place {
        /// The text given.
        text: String,
    },
}

impl RepositoryUrl {
    /// Parses `file:///dir`, `s3://bucket/prefix`, `gs://bucket/prefix` or `az://container/prefix`.
    pub fn parse(text: &str) -> Result<Self, RepositoryUrlError> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| RepositoryUrlError::NoScheme { text: text.to_owned() })?;
        let kind = match scheme {
            "file" if rest.starts_with('/') => return Ok(Self::File(PathBuf::from(rest))),
            "file" => return Err(RepositoryUrlError::NotAbsolute { text: text.to_owned() }),
            "s3" => CloudKind::S3,
            "gs" => CloudKind::Google,
            "az" => CloudKind::Azure,
            _ => return Err(RepositoryUrlError::Scheme { scheme: scheme.to_owned() }),
        };
        let place = Cloud::parse(kind, rest);
        place.map(Self::Cloud).ok_or_else(|| RepositoryUrlError::Place { text: text.to_owned() })
    }

    /// The directory `path` as a repository.
    pub fn from_directory(path: &Path) -> Self {
        Self::File(path.to_path_buf())
    }
}

impl Cloud {
    fn parse(kind: CloudKind, text: &str) -> Option<Self> {
        let (bucket, prefix) = text.split_once('/').unwrap_or((text, ""));
        let is_bucket = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let prefix = prefix.trim_end_matches('/');
        let is_part = |part: &str| !matches!(part, "" | "." | "..");
        let is_possible = !bucket.is_empty()
            && bucket.bytes().all(is_bucket)
            && (prefix.is_empty() || prefix.split('/').all(is_part));
        let (bucket, prefix) = (bucket.to_owned(), prefix.to_owned());
        is_possible.then_some(Self { kind, bucket, prefix })
    }
}

impl fmt::Display for RepositoryUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file://{}", path.display()),
            Self::Cloud(Cloud { kind, bucket, prefix }) if prefix.is_empty() => {
                write!(f, "{kind}://{bucket}")
            }
            Self::Cloud(Cloud { kind, bucket, prefix }) => write!(f, "{kind}://{bucket}/{prefix}"),
        }
    }
}

impl fmt::Display for CloudKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::S3 => "s3",
            Self::Google => "gs",
            Self::Azure => "az",
        })
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
    fn object_stores_have_a_bucket_and_perhaps_a_prefix() {
        for text in ["s3://bucket", "gs://my-bucket/a/b", "az://container/pxc"] {
            assert_eq!(RepositoryUrl::parse(text).expect(text).to_string(), text);
        }
        let url = RepositoryUrl::parse("s3://bucket/a/").expect("valid");
        assert_eq!(url.to_string(), "s3://bucket/a");
        for text in ["s3://", "s3:///a", "s3://b/../a", "s3://b//a", "s3://user:secret@host/a"] {
            assert!(
                matches!(RepositoryUrl::parse(text), Err(RepositoryUrlError::Place { .. })),
                "{text}"
            );
        }
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
