//! Flags for certificates, the same for every command that joins a group or receives a transfer.

use std::path::PathBuf;

use tokio::signal::unix::{SignalKind, signal};

use super::talk;
use crate::backup::TransferTls;
use crate::config::{SecurityError, pair};
use crate::exit::ExitCode;
use crate::net::tls::locate::{self, LocateError};
use crate::net::tls::{self, KeyFiles, Keys};
use crate::sst::{Algorithm, DecryptionKey, DonorCheck, TlsAcceptor};

/// Value of `--tls-dir` without a directory: look where the operator mounts its secrets.
const OPERATOR: &str = "operator";

/// Certificates for the group's links and the donor's connections.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct TlsArgs {
    /// Directory with ca.crt, tls.crt and tls.key, or MySQL's ca.pem, server-cert.pem and
    /// server-key.pem; without DIR: /etc/mysql/ssl-internal, else /etc/mysql/ssl
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = OPERATOR,
          conflicts_with_all = ["ssl_cert", "ssl_key"])]
    tls_dir: Option<PathBuf>,
    /// Our certificate and its intermediates, PEM
    #[arg(long, value_name = "FILE")]
    ssl_cert: Option<PathBuf>,
    /// The certificate's private key, PEM
    #[arg(long, value_name = "FILE")]
    ssl_key: Option<PathBuf>,
    /// Authorities whose certificates we trust, PEM [default: our own certificate]
    #[arg(long, value_name = "FILE")]
    ssl_ca: Option<PathBuf>,
    /// OpenSSL cipher list for TLS 1.2; '@SECLEVEL=0' in it allows old, short keys
    #[arg(long, value_name = "LIST")]
    ssl_cipher: Option<String>,
    /// File whose first line is the passphrase of the key
    #[arg(long, value_name = "FILE")]
    ssl_password_file: Option<PathBuf>,
    /// A name that each peer's certificate must carry; by default only the CA counts
    #[arg(long, value_name = "NAME")]
    tls_peer_name: Option<String>,
}

/// The keys cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum TlsArgsError {
    /// Not found.
    #[error(transparent)]
    Locate(#[from] LocateError),
    /// Not usable.
    #[error(transparent)]
    Security(#[from] SecurityError),
}

impl TlsArgsError {
    pub(super) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Security(SecurityError::Keys(_)) | Self::Locate(_) => ExitCode::Refused,
            Self::Security(
                SecurityError::Option(_)
                | SecurityError::Half { .. }
                | SecurityError::NoKeys { .. },
            ) => ExitCode::Configuration,
        }
    }
}

impl TlsArgs {
    /// The keys that the flags name, if they name any.
    pub(super) fn open(&self) -> Result<Option<Keys>, TlsArgsError> {
        let Some(files) = self.files()? else { return Ok(None) };
        let files = KeyFiles {
            ca: self.ssl_ca.clone().or(files.ca),
            ciphers: self.ssl_cipher.clone(),
            password: self.ssl_password_file.clone(),
            peer_name: self.tls_peer_name.clone(),
            ..files
        };
        let keys = Keys::open(files).map_err(SecurityError::Keys)?;
        Ok(Some(keys))
    }

    fn files(&self) -> Result<Option<KeyFiles>, TlsArgsError> {
        if let Some(directory) = &self.tls_dir {
            let named = Some(directory.as_path()).filter(|name| name.as_os_str() != OPERATOR);
            return Ok(Some(locate::in_directory(named)?));
        }
        let names = ["--ssl-cert", "--ssl-key"];
        let pair = pair(self.ssl_cert.clone(), self.ssl_key.clone(), names)?;
        Ok(pair.map(|(certificate, key)| KeyFiles { certificate, key, ..KeyFiles::default() }))
    }
}

/// Reads all keys again at each SIGHUP, for as long as the process lives. Without keys the signal
/// keeps its meaning, the end of the process.
pub(super) fn reload_on_hangup(all: Vec<Keys>) {
    if all.is_empty() {
        return;
    }
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    tokio::spawn(async move {
        while hangup.recv().await.is_some() {
            for keys in &all {
                reload(keys);
            }
        }
    });
}

fn reload(keys: &Keys) {
    let certificate = keys.files().certificate.display();
    match keys.reload() {
        Ok(()) => talk::say(&format!("{certificate}: read again")),
        Err(error) => {
            let text = talk::sentence(&error);
            talk::say(&format!("{text}: the keys in use stay as they are"));
        }
    }
}

/// TLS of the donor's connections.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "TLS")]
pub(super) struct SstTlsArgs {
    /// What the donor's connections must be
    #[arg(long, value_enum, value_name = "MODE", default_value_t = SstTls::Auto)]
    sst_tls: SstTls,
    /// Certificate for the donor's connections, if it is another one than for the group
    #[arg(long, value_name = "FILE")]
    sst_ssl_cert: Option<PathBuf>,
    /// Its private key
    #[arg(long, value_name = "FILE")]
    sst_ssl_key: Option<PathBuf>,
    /// File whose first line is the passphrase of that key
    #[arg(long, value_name = "FILE", requires = "sst_ssl_key")]
    sst_ssl_password_file: Option<PathBuf>,
    /// Authorities that sign donors' certificates
    #[arg(long, value_name = "FILE")]
    sst_ssl_ca: Option<PathBuf>,
    /// File whose first line is the key of donors with encrypt=1
    #[arg(long, value_name = "FILE")]
    sst_encrypt_key_file: Option<PathBuf>,
    /// Command that undoes the donor's `compressor`, if it is not gzip, zstd, lz4 or qpress
    #[arg(long, value_name = "COMMAND")]
    sst_decompressor: Option<String>,
    /// Their encrypt-algo
    #[arg(long, value_name = "NAME", default_value = "aes-256-cbc")]
    sst_encrypt_algo: Algorithm,
}

/// `--sst-tls`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum SstTls {
    /// verify-ca with a certificate, off without one
    Auto,
    /// Plain text (encrypt=0, ssl-mode=DISABLED)
    Off,
    /// TLS; the donor's certificate is not asked for (encrypt=3, ssl-mode=REQUIRED)
    Required,
    /// TLS; the donor's certificate must lead to our CA (encrypt=2 or 4, ssl-mode=VERIFY_CA)
    VerifyCa,
    /// The same, and the donor checks our certificate's name (MariaDB's ssl-mode=VERIFY_IDENTITY)
    VerifyIdentity,
}

impl SstTlsArgs {
    /// How donors are taken; `common` are the keys of the group's links.
    pub(super) fn transfer(&self, common: Option<&Keys>) -> Result<TransferTls, TlsArgsError> {
        Ok(TransferTls { key: self.key()?, ..self.tls(common)? })
    }

    /// What undoes compressors that are not known here.
    pub(super) fn decompressor(&self) -> Option<String> {
        self.sst_decompressor.clone()
    }

    fn key(&self) -> Result<Option<DecryptionKey>, TlsArgsError> {
        let Some(path) = &self.sst_encrypt_key_file else { return Ok(None) };
        let secret = tls::secret(path).map_err(SecurityError::Keys)?;
        Ok(Some(DecryptionKey { secret, algorithm: self.sst_encrypt_algo }))
    }

    fn tls(&self, common: Option<&Keys>) -> Result<TransferTls, TlsArgsError> {
        if self.sst_tls == SstTls::Off {
            return Ok(TransferTls::default());
        }
        let keys = self.open(common)?;
        let check = match self.sst_tls {
            SstTls::Required => DonorCheck::Nothing,
            SstTls::Auto | SstTls::Off | SstTls::VerifyCa | SstTls::VerifyIdentity => {
                DonorCheck::Authority
            }
        };
        match keys {
            None if self.sst_tls == SstTls::Auto => Ok(TransferTls::default()),
            None => Err(SecurityError::NoKeys { asked: "--sst-tls" }.into()),
            Some(keys) => {
                let shows_name = self.sst_tls == SstTls::VerifyIdentity;
                let identity = keys.material().common_name().filter(|_| shows_name);
                let acceptor = Some(TlsAcceptor::new(keys, check));
                Ok(TransferTls { acceptor, identity, key: None })
            }
        }
    }

    /// The keys of the transfer: its own, or the common ones, which another authority may go with.
    fn open(&self, common: Option<&Keys>) -> Result<Option<Keys>, TlsArgsError> {
        let names = ["--sst-ssl-cert", "--sst-ssl-key"];
        let pair = pair(self.sst_ssl_cert.clone(), self.sst_ssl_key.clone(), names)?;
        let ca = self.sst_ssl_ca.clone();
        let files = match (pair, common, &ca) {
            (Some((certificate, key)), _, _) => {
                let password = self.sst_ssl_password_file.clone();
                KeyFiles { certificate, key, ca, password, ..KeyFiles::default() }
            }
            (None, Some(common), Some(_)) => KeyFiles { ca, ..common.files().clone() },
            (None, None, Some(_)) => {
                return Err(SecurityError::NoKeys { asked: "--sst-ssl-ca" }.into());
            }
            (None, _, None) => return Ok(common.cloned()),
        };
        Ok(Some(Keys::open(files).map_err(SecurityError::Keys)?))
    }
}
