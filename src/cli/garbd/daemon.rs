//! Into the background: a second process of the same program, in a session of its own.
//!
//! It is started anew rather than forked, so that no lock or thread of the first one can be in a
//! state that nobody will leave.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// In the environment of the process in the background.
const MARK: &str = "GALERA_SST_IN_BACKGROUND";

/// Why there is none.
#[derive(Debug, thiserror::Error)]
#[error("become a daemon")]
pub(super) struct DaemonError(#[source] io::Error);

/// True in the process in the background.
pub(super) fn is_background() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts it with the same arguments.
pub(super) fn start(arguments: &[OsString], workdir: Option<&Path>) -> Result<(), DaemonError> {
    let program = std::env::current_exe().map_err(DaemonError)?;
    let mut command = Command::new(program);
    command
        .arg0(super::NAME)
        .args(arguments.iter().skip(1))
        .current_dir(workdir.unwrap_or(Path::new("/")))
        .env(MARK, "1")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().map_err(DaemonError)?;
    Ok(())
}

/// Leaves the session, if this is the process in the background.
pub(super) fn detach() {
    if is_background() {
        // Only a group leader cannot, and a child is none.
        let _ = rustix::process::setsid();
    }
}
