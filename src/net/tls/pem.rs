//! PEM files into certificates and keys, with the reason when that fails.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;

use super::keys::KeyError;

/// Longest file that is read; a bundle of all public authorities has some 200 KiB.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum Complaint {
    /// It cannot be read.
    #[error("it cannot be read")]
    Read(#[source] io::Error),
    /// It is too long to be a key or a certificate.
    #[error("it is longer than {FILE_BYTES_MAX} bytes")]
    TooLong,
    /// No certificate in it.
    #[error("it holds no certificate in PEM form")]
    NoCertificate,
    /// No key in it.
    #[error("it holds no private key in PEM form")]
    NoKey,
    /// The key has a passphrase and we do not.
    #[error("the key is encrypted: name the file of its passphrase (--ssl-password-file)")]
    Encrypted,
    /// The passphrase is wrong.
    #[error("the passphrase does not open the key")]
    WrongPassphrase,
    /// Key and certificate are not a pair.
    #[error("the key does not belong to the certificate {0}")]
    Mismatch(String),
    /// The library's security level forbids it.
    #[error(
        "its {bits}-bit key is too weak for OpenSSL's security level: make a new one of 2048 bits, \
         or lower the level with --ssl-cipher 'DEFAULT@SECLEVEL=0'"
    )]
    WeakKey {
        /// Length of the key.
        bits: u32,
    },
    /// The library's security level forbids the digest of its signature.
    #[error(
        "it is signed with {0}, too weak for OpenSSL's security level: have it signed anew, or \
         lower the level with --ssl-cipher 'DEFAULT@SECLEVEL=0'"
    )]
    WeakSignature(String),
    /// The library says why.
    #[error("OpenSSL refuses it")]
    Refused(#[source] ErrorStack),
}

impl Complaint {
    /// The same with the file's name.
    pub(super) fn about(self, path: &Path) -> KeyError {
        KeyError::File { path: path.to_owned(), complaint: self }
    }
}

/// Reads a whole file of a sensible size.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Complaint> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(Complaint::Read)?;
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(Complaint::Read)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(Complaint::TooLong);
    }
    Ok(bytes)
}

/// All certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<X509>, Complaint> {
    let bytes = read(path)?;
    let found = X509::stack_from_pem(&bytes).map_err(Complaint::Refused)?;
    if found.is_empty() { Err(Complaint::NoCertificate) } else { Ok(found) }
}

/// The private key of a file.
pub(super) fn private_key(
    path: &Path,
    passphrase: Option<&[u8]>,
) -> Result<PKey<Private>, Complaint> {
    let bytes = read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    if !text.contains("PRIVATE KEY-----") {
        return Err(Complaint::NoKey);
    }
    match (text.contains("ENCRYPTED"), passphrase) {
        (true, None) => Err(Complaint::Encrypted),
        (true, Some(passphrase)) => PKey::private_key_from_pem_passphrase(&bytes, passphrase)
            .map_err(|_| Complaint::WrongPassphrase),
        (false, _) => PKey::private_key_from_pem(&bytes).map_err(Complaint::Refused),
    }
}

/// The first line of a file.
pub(super) fn first_line(path: &Path) -> Result<Vec<u8>, Complaint> {
    let bytes = read(path)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
}
