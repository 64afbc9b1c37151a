//! Encryption of what a repository holds: age, for recipients whose secret keys are elsewhere.
//!
//! Each block and the list of files is an age file of its own, so any block can still be fetched and
//! opened alone. Who writes backups needs no key that opens them.

use std::fmt;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use age::x25519;

/// Recipients of one backup: each makes every block a little larger.
const RECIPIENTS_MAX: usize = 20;

/// The largest file of identities that is read.
const IDENTITY_FILE_BYTES_MAX: u64 = 1 << 20;

/// Whom backups are encrypted for.
#[derive(Clone, Default)]
pub struct Recipients(Arc<Vec<x25519::Recipient>>);

/// Secret keys that open backups.
#[derive(Clone, Default)]
pub struct Identities(Arc<Vec<x25519::Identity>>);

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no recipient.
    #[error("{text:?} is no age recipient (age1…): {reason}")]
    Recipient {
        /// The text.
        text: String,
        /// Why not.
        reason: &'static str,
    },
    /// Too many of them.
    #[error("more than {RECIPIENTS_MAX} recipients")]
    TooMany,
    /// A file with keys cannot be read.
    #[error("read keys in {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A file holds no secret key.
    #[error("{} holds no age identity (AGE-SECRET-KEY-1…)", path.display())]
    NoIdentity {
        /// The file.
        path: PathBuf,
    },
}

impl Recipients {
    /// Parses recipients, `age1…` each.
    pub fn parse<'a>(texts: impl Iterator<Item = &'a str>) -> Result<Self, KeyError> {
        let parse = |text: &str| {
            x25519::Recipient::from_str(text)
                .map_err(|reason| KeyError::Recipient { text: text.to_owned(), reason })
        };
        let recipients = texts.map(parse).collect::<Result<Vec<_>, _>>()?;
        if recipients.len() > RECIPIENTS_MAX {
            return Err(KeyError::TooMany);
        }
        Ok(Self(Arc::new(recipients)))
    }

    /// True if nothing is encrypted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As people write them.
    pub(super) fn names(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }

    /// Encrypts, if there is anybody to encrypt for.
    pub(super) fn seal(&self, plain: Vec<u8>) -> io::Result<Vec<u8>> {
        if self.is_empty() {
            return Ok(plain);
        }
        let recipients = self.0.iter().map(|recipient| recipient as &dyn age::Recipient);
        let encryptor = age::Encryptor::with_recipients(recipients).map_err(io::Error::other)?;
        let mut sealed = Vec::with_capacity(plain.len() + plain.len() / 2048 + 1024);
        let mut writer = encryptor.wrap_output(&mut sealed)?;
        writer.write_all(&plain)?;
        writer.finish()?;
        Ok(sealed)
    }
}

impl Identities {
    /// Reads a file as `age-keygen` writes it.
    pub fn read(path: &Path) -> Result<Self, KeyError> {
        let failed = |source| KeyError::Read { path: path.to_path_buf(), source };
        let mut text = String::new();
        let file = std::fs::File::open(path).map_err(failed)?;
        file.take(IDENTITY_FILE_BYTES_MAX).read_to_string(&mut text).map_err(failed)?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
        let identities: Vec<_> = lines.filter_map(|line| line.parse().ok()).collect();
        if identities.is_empty() {
            return Err(KeyError::NoIdentity { path: path.to_path_buf() });
        }
        Ok(Self(Arc::new(identities)))
    }

    /// True if there is no key.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decrypts up to `limit` bytes; `None` if no key opens it, or if it is damaged or longer.
    pub(super) fn open(&self, sealed: &[u8], limit: u64) -> Option<Vec<u8>> {
        let decryptor = age::Decryptor::new(sealed).ok()?;
        let identities = self.0.iter().map(|identity| identity as &dyn age::Identity);
        let reader = decryptor.decrypt(identities).ok()?;
        let mut plain = Vec::new();
        reader.take(limit + 1).read_to_end(&mut plain).ok()?;
        (plain.len() as u64 <= limit).then_some(plain)
    }
}

impl fmt::Debug for Recipients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl PartialEq for Recipients {
    fn eq(&self, other: &Self) -> bool {
        self.names() == other.names()
    }
}

impl Eq for Recipients {}

impl fmt::Debug for Identities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} identities", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> (Recipients, Identities) {
        let identity = x25519::Identity::generate();
        let recipient = identity.to_public().to_string();
        let recipients = Recipients::parse([recipient.as_str()].into_iter()).expect("valid");
        (recipients, Identities(Arc::new(vec![identity])))
    }

    #[test]
    fn only_the_right_key_opens_and_damage_is_noticed() {
        let (recipients, identities) = keys();
        let mut sealed = recipients.seal(vec![7; 100_000]).expect("seals");
        assert_eq!(identities.open(&sealed, 100_000), Some(vec![7; 100_000]));
        assert_eq!(identities.open(&sealed, 99_999), None);
        assert_eq!(keys().1.open(&sealed, 100_000), None);
        assert_eq!(identities.open(&sealed[..sealed.len() - 1], 100_000), None);
        sealed[90_000] ^= 1;
        assert_eq!(identities.open(&sealed, 100_000), None);
    }

    #[test]
    fn a_secret_key_never_shows() {
        assert_eq!(format!("{:?}", keys().1), "1 identities");
    }

    #[test]
    fn what_is_no_recipient_is_refused() {
        assert!(Recipients::parse(["age1nobody"].into_iter()).is_err());
        assert!(Recipients::parse([].into_iter()).expect("empty").is_empty());
    }
}
