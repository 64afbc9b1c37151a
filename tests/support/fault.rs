//! Donors that misbehave.
//!
//! The servers find the scripts of `donor/` before the packaged programs of the same names. They
//! read the fault from a file at each call, so a test may switch it while the server runs.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

/// Where in the backup stream the faults strike: past the metadata connection (a few hundred
/// bytes), well before the end of the smallest backup.
pub(crate) const OFFSET_BYTES: u64 = 5_000_000;

/// What a donor does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Nothing.
    None,
    /// Its script fails before it sends anything.
    ScriptFails,
    /// The connection breaks in the middle, and the script notices.
    Breaks,
    /// The stream ends in the middle like a good one, and the script reports success.
    Truncates,
    /// One byte in the middle is another one, and the script reports success.
    Corrupts,
    /// The stream stops in the middle and stays open, until the fault is taken away.
    Stalls,
    /// All is sent and the connection is closed, but the donor does not say so, until the fault is taken away.
    Lingers,
}

impl Fault {
    /// The word that the scripts know it by.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ScriptFails => "script-fails",
            Self::Breaks => "breaks",
            Self::Truncates => "truncates",
            Self::Corrupts => "corrupts",
            Self::Stalls => "stalls",
            Self::Lingers => "lingers",
        }
    }
}

/// The file that appears beside the fault's own once a stream has come to the offset.
pub(crate) fn reached_file(fault_file: &Path) -> PathBuf {
    fault_file.with_extension("reached")
}

/// Writes the scripts into a directory that stands first in the servers' search path.
pub(crate) fn install_scripts(directory: &Path) {
    fs::create_dir_all(directory).expect("make a directory for scripts");
    let scripts = [
        ("wsrep_sst_mariabackup", include_str!("donor/wsrep_sst_mariabackup")),
        ("wsrep_sst_xtrabackup-v2", include_str!("donor/wsrep_sst_xtrabackup-v2")),
        ("socat", include_str!("donor/socat")),
        ("sleep", include_str!("donor/sleep")),
    ];
    for (name, text) in scripts {
        let path = directory.join(name);
        fs::write(&path, text).expect("write a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
    }
}
