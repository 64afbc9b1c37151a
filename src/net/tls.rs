//! TLS as Galera clusters use it: both sides show a certificate that leads to a CA of ours, and
//! names mean nothing (spec 01 §6, 05 §3.3).
//!
//! OpenSSL and not a strict WebPKI library, because the certificates are those of MySQL how-tos:
//! X.509 version 1 leaves, no alternative names, one self-signed certificate for everything, keys
//! behind a passphrase. Strictness is what the user asks for: [`KeyFiles::peer_name`].
//!
//! ```text
//! KeyFiles ── Keys::open ──► Keys ──► material ──► dialler    for links that we make
//!                              ▲                   listener   for links that members make
//!                    SIGHUP: reload                receiver   for the donor's connections
//! ```

pub mod certificate;
mod context;
pub mod dynamic;
mod failure;
pub mod handshake;
mod key_log;
mod keys;
pub mod locate;
mod pem;
pub mod transport;

pub use context::Material;
pub use failure::{of_causes, of_error, of_io};
pub use keys::{KeyError, KeyFiles, Keys, secret};
pub use pem::Complaint;
