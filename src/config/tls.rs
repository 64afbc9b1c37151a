//! Which keys links have and when they use them: flags, and Galera's `socket.…` options.

use std::path::PathBuf;

use super::options::{OptionError, Options};
use crate::net::stream::Security;
use crate::net::tls::{KeyError, KeyFiles, Keys};

/// Options of a server that say nothing to us: reloading is done by a signal, and no TLS library
/// compresses any more.
const IGNORED: [&str; 2] = ["socket.ssl_compression", "socket.ssl_reload"];

/// TLS cannot be had as described.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// An option cannot be read.
    #[error(transparent)]
    Option(#[from] OptionError),
    /// Half a pair.
    #[error("{given} is given without {missing}: TLS needs both")]
    Half {
        /// What is there.
        given: &'static str,
        /// What is not.
        missing: &'static str,
    },
    /// TLS without keys.
    #[error(
        "{asked} asks for TLS, but there is no certificate: give --tls-dir, or --ssl-cert and \
         --ssl-key"
    )]
    NoKeys {
        /// Who asks for it.
        asked: &'static str,
    },
    /// The files cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// Puts a pair together; `None` if neither is given.
pub fn pair(
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    names: [&'static str; 2],
) -> Result<Option<(PathBuf, PathBuf)>, SecurityError> {
    let [certificate_name, key_name] = names;
    match (certificate, key) {
        (Some(certificate), Some(key)) => Ok(Some((certificate, key))),
        (None, None) => Ok(None),
        (Some(_), None) => Err(SecurityError::Half { given: certificate_name, missing: key_name }),
        (None, Some(_)) => Err(SecurityError::Half { given: key_name, missing: certificate_name }),
    }
}

/// What the options and the given keys make of links. `names_tls` says that an address was written
/// with `ssl://`.
pub(super) fn take_security(
    options: &mut Options,
    keys: Option<Keys>,
    names_tls: bool,
) -> Result<Security, SecurityError> {
    let is_on = options.switch("socket.ssl")?;
    let is_dynamic = options.switch("socket.dynamic")?.unwrap_or(false);
    let from_options = take_files(options)?;
    if is_on == Some(false) {
        return Ok(if is_dynamic { Security::Dynamic(None) } else { Security::Plain });
    }
    let keys = match (keys, from_options) {
        (Some(keys), _) => Some(keys),
        (None, Some(files)) => Some(Keys::open(files)?),
        (None, None) => None,
    };
    match (keys, is_dynamic) {
        (None, _) if is_on == Some(true) => Err(SecurityError::NoKeys { asked: "socket.ssl=yes" }),
        (None, false) if names_tls => Err(SecurityError::NoKeys { asked: "an ssl:// address" }),
        (keys, true) => Ok(Security::Dynamic(keys)),
        (Some(keys), false) => Ok(Security::Tls(keys)),
        (None, false) => Ok(Security::Plain),
    }
}

/// An empty value is none, as in `socket.ssl_cipher=`.
fn take_files(options: &mut Options) -> Result<Option<KeyFiles>, SecurityError> {
    let mut text = |key| options.text(key).filter(|value| !value.is_empty());
    IGNORED.into_iter().for_each(|key| drop(text(key)));
    let certificate = text("socket.ssl_cert").map(PathBuf::from);
    let key = text("socket.ssl_key").map(PathBuf::from);
    let ca = text("socket.ssl_ca").map(PathBuf::from);
    let password = text("socket.ssl_password_file").map(PathBuf::from);
    let ciphers = text("socket.ssl_cipher");
    let pair = pair(certificate, key, ["socket.ssl_cert", "socket.ssl_key"])?;
    Ok(pair.map(|(certificate, key)| KeyFiles {
        certificate,
        key,
        ca,
        ciphers,
        password,
        peer_name: None,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn security(text: &str, names_tls: bool) -> Result<Security, SecurityError> {
        let mut options = Options::parse(text).expect("form");
        let security = take_security(&mut options, None, names_tls)?;
        options.finish()?;
        Ok(security)
    }

    #[test]
    fn without_options_links_are_plain() {
        assert!(matches!(security("", false), Ok(Security::Plain)));
        assert!(matches!(security("socket.ssl=no", true), Ok(Security::Plain)));
        let dynamic = security("socket.dynamic=yes;socket.ssl_cipher=", false);
        assert!(matches!(dynamic, Ok(Security::Dynamic(None))));
    }

    #[test]
    fn tls_that_is_asked_for_without_keys_is_refused() {
        for (text, names_tls) in [("socket.ssl=yes", false), ("", true)] {
            assert!(matches!(security(text, names_tls), Err(SecurityError::NoKeys { .. })));
        }
        let half = security("socket.ssl_key=/k.pem", false).expect_err("half a pair");
        assert_eq!(
            half.to_string(),
            "socket.ssl_key is given without socket.ssl_cert: TLS needs both"
        );
        let missing = security("socket.ssl_key=/no/k;socket.ssl_cert=/no/c", false);
        assert!(matches!(missing, Err(SecurityError::Keys(_))));
    }
}
