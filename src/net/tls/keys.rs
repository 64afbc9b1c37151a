//! Keys and certificates on disk, and the contexts made from them; read again on request.

use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use tokio::sync::watch;
use tracing::info;

use super::context::Material;
use super::pem::{self, Complaint};

/// Where our key and certificate are, and whom we trust. All files are PEM.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFiles {
    /// Our certificate, followed by its intermediates (`socket.ssl_cert`).
    pub certificate: PathBuf,
    /// Its private key (`socket.ssl_key`).
    pub key: PathBuf,
    /// Who may have signed the others' certificates (`socket.ssl_ca`). Without it: our certificate
    /// itself, as in Galera.
    pub ca: Option<PathBuf>,
    /// OpenSSL cipher list for TLS 1.2, which may end in `@SECLEVEL=n` (`socket.ssl_cipher`).
    pub ciphers: Option<String>,
    /// A file whose first line is the key's passphrase (`socket.ssl_password_file`).
    pub password: Option<PathBuf>,
    /// A name that every peer's certificate must carry; by default names are not looked at.
    pub peer_name: Option<String>,
}

impl KeyFiles {
    /// The file with the trusted authorities.
    pub fn ca(&self) -> &PathBuf {
        self.ca.as_ref().unwrap_or(&self.certificate)
    }
}

/// Keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// A file is the reason.
    #[error("use {path} for TLS: {complaint}", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        complaint: Complaint,
    },
    /// The library refuses a cipher list.
    #[error("TLS ciphers {list:?} (socket.ssl_cipher) name none that OpenSSL knows")]
    Ciphers {
        /// The list.
        list: String,
    },
    /// The library refuses a setting.
    #[error("set up TLS")]
    Setup(#[from] ErrorStack),
}

/// Keys in use. Clones share them, so that a reload reaches everybody.
#[derive(Clone, Debug)]
pub struct Keys {
    files: KeyFiles,
    material: watch::Sender<Material>,
}

impl Keys {
    /// Reads the files.
    pub fn open(files: KeyFiles) -> Result<Self, KeyError> {
        let material = Material::read(&files, &[])?;
        Ok(Self { files, material: watch::Sender::new(material) })
    }

    /// Reads the files again. New connections use what they hold now, existing ones go on. Whoever
    /// was trusted stays trusted, as in Galera, so that a CA can be replaced in two steps. On an
    /// error nothing changes.
    pub fn reload(&self) -> Result<(), KeyError> {
        let trusted = self.material.borrow().trusted().to_vec();
        let material = Material::read(&self.files, &trusted)?;
        self.material.send_replace(material);
        info!(certificate = %self.files.certificate.display(), "TLS keys read again");
        Ok(())
    }

    /// What the files held when they were last read.
    pub fn material(&self) -> Material {
        self.material.borrow().clone()
    }

    /// Where the files are.
    pub fn files(&self) -> &KeyFiles {
        &self.files
    }
}

/// A secret from the first line of a file.
pub fn secret(path: &Path) -> Result<Vec<u8>, KeyError> {
    pem::first_line(path).map_err(|complaint| complaint.about(path))
}
