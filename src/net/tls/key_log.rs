//! The secrets of our TLS sessions into the file that `SSLKEYLOGFILE` names, as browsers have it: for
//! people who have to look into a capture (`galera-sst decode --key-log`). Whoever has the file and
//! the capture reads everything.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use openssl::ssl::SslContextBuilder;
use tracing::warn;

/// Names the file.
const VARIABLE: &str = "SSLKEYLOGFILE";

/// Opened once, for the whole process.
static FILE: OnceLock<Option<Mutex<File>>> = OnceLock::new();

/// Lets a context write its secrets, if that is asked for.
pub(super) fn write_secrets_of(context: &mut SslContextBuilder) {
    let file = FILE.get_or_init(|| {
        let path = std::env::var_os(VARIABLE).filter(|path| !path.is_empty())?;
        open(path.into())
    });
    if let Some(file) = file {
        context.set_keylog_callback(|_, line| write(file, line));
    }
}

fn open(path: PathBuf) -> Option<Mutex<File>> {
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(&path);
    match opened {
        Ok(file) => {
            warn!(path = %path.display(), "{VARIABLE} is set: secrets of TLS sessions are written there");
            Some(Mutex::new(file))
        }
        Err(error) => {
            warn!(path = %path.display(), %error, "{VARIABLE} names a file that cannot be written");
            None
        }
    }
}

/// A line is written whole or not at all; a full disk costs the log, never the connection.
fn write(file: &Mutex<File>, line: &str) {
    let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
    let written: io::Result<()> = file.write_all(format!("{line}\n").as_bytes());
    if let Err(error) = written {
        warn!(%error, "write a TLS session's secret");
    }
}
