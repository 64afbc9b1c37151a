//! Key logs in NSS's format, as `SSLKEYLOGFILE` makes browsers and OpenSSL write them:
//!
//! ```text
//!  LABEL CLIENT_RANDOM SECRET      in hexadecimal
//! ```

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// Largest key log: some 500,000 sessions.
const BYTES_MAX: u64 = 256 << 20;

/// What names a session: the random of its ClientHello.
pub(super) type Random = [u8; 32];

/// The secrets of all sessions in a key log.
#[derive(Debug, Default)]
pub struct KeyLog {
    sessions: BTreeMap<Random, Secrets>,
}

/// The secrets of one session, as far as they were logged.
#[derive(Clone, Debug, Default)]
pub(super) struct Secrets {
    /// TLS 1.2.
    pub(super) master: Option<Vec<u8>>,
    /// TLS 1.3: handshake and application, client and server.
    pub(super) client_handshake: Option<Vec<u8>>,
    pub(super) server_handshake: Option<Vec<u8>>,
    pub(super) client_traffic: Option<Vec<u8>>,
    pub(super) server_traffic: Option<Vec<u8>>,
}

/// The file cannot be read, or is none.
#[derive(Debug, thiserror::Error)]
pub enum KeyLogError {
    /// It cannot be read.
    #[error("read key log {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// It has no line that is one of a key log.
    #[error("{0} is no key log: no line has the form LABEL CLIENT_RANDOM SECRET")]
    Form(PathBuf),
}

impl KeyLog {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, KeyLogError> {
        let failed = |source| KeyLogError::Read { path: path.to_path_buf(), source };
        let file = File::open(path).map_err(failed)?.take(BYTES_MAX);
        let mut log = Self::default();
        for line in BufReader::new(file).lines() {
            log.add(&line.map_err(failed)?);
        }
        if log.is_empty() { Err(KeyLogError::Form(path.to_path_buf())) } else { Ok(log) }
    }

    /// Takes a line; what is none is passed over, as the format demands.
    pub(super) fn add(&mut self, line: &str) {
        let mut words = line.split_ascii_whitespace();
        let (Some(label), Some(random), Some(secret)) = (words.next(), words.next(), words.next())
        else {
            return;
        };
        let random = unhex(random).and_then(|bytes| Random::try_from(bytes).ok());
        let (Some(random), Some(secret)) = (random, unhex(secret)) else { return };
        let place = |secrets: &mut Secrets| match label {
            "CLIENT_RANDOM" => secrets.master = Some(secret),
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET" => secrets.client_handshake = Some(secret),
            "SERVER_HANDSHAKE_TRAFFIC_SECRET" => secrets.server_handshake = Some(secret),
            "CLIENT_TRAFFIC_SECRET_0" => secrets.client_traffic = Some(secret),
            "SERVER_TRAFFIC_SECRET_0" => secrets.server_traffic = Some(secret),
            _ => {}
        };
        place(self.sessions.entry(random).or_default());
    }

    /// True if there is nothing to open anything with.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    pub(super) fn of(&self, random: &Random) -> Option<&Secrets> {
        self.sessions.get(random)
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()));
    let digits = digits.collect::<Option<Vec<u8>>>().filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_unknown_labels_are_passed_over() {
        let mut log = KeyLog::default();
        for line in ["# comment", "", "NONSENSE", "CLIENT_RANDOM xx yy", "CLIENT_RANDOM 00 00"] {
            log.add(line);
        }
        assert!(log.is_empty());
        log.add(&format!("CLIENT_RANDOM {} 0aFF", "01".repeat(32)));
        log.add(&format!("EXPORTER_SECRET {} 00", "01".repeat(32)));
        let secrets = log.of(&[1; 32]).expect("a session");
        assert_eq!(secrets.master.as_deref(), Some(&[0x0a, 0xff][..]));
    }
}
