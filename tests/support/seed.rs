//! An installed data directory that has been a cluster's first node once: copies of it start in a
//! second or two and join each other without a full state transfer.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    local::LocalServer,
    server::{Server, Start},
};

/// Raise this when the way the seed is made changes.
const EDITION: u32 = 1;

/// The data directory to copy. It is made once and kept with the build's other products.
pub(crate) fn directory() -> PathBuf {
    let parent = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let seed = parent.join(format!("seed-{EDITION}-{}", server_version()));
    if !seed.exists() {
        let partial = tempfile::tempdir_in(parent).expect("make a directory for the seed");
        let made = make(partial.path());
        // Another test process may have been faster: both made the same.
        if fs::rename(made, &seed).is_err() {
            assert!(seed.exists(), "could not put the seed in place");
        }
    }
    seed
}

/// Copies the seed, as the node that starts the group or as one that follows.
pub(crate) fn copy_to(data_directory: &Path) {
    copy_directory(&directory(), data_directory);
}

/// Copies a data directory that no server is using.
pub(crate) fn copy_directory(from: &Path, to: &Path) {
    let status = Command::new("cp").arg("-a").arg("--").arg(from).arg(to).status();
    assert!(status.expect("run cp").success(), "copy {} to {}", from.display(), to.display());
}

fn make(directory: &Path) -> PathBuf {
    let data = directory.join("data");
    install(&data, &directory.join("install.log"));
    let mut server = LocalServer::new("seed", "seed", &directory.join("run"), data.clone());
    server.start(&Start::Bootstrap);
    server.wait_synced();
    server.stop();
    for name in ["galera.cache", "gvwstate.dat", "ib_buffer_pool"] {
        fs::remove_file(data.join(name)).ok();
    }
    data
}

fn install(data: &Path, log: &Path) {
    let output = File::create(log).expect("make a log file");
    let status = Command::new("mariadb-install-db")
        .args(["--no-defaults", "--auth-root-authentication-method=normal", "--skip-test-db"])
        .args(["--innodb-log-file-size=32M", "--innodb-fast-shutdown=1"])
        .arg(format!("--user={}", user()))
        .arg(format!("--datadir={}", data.display()))
        .stdin(Stdio::null())
        .stdout(output.try_clone().expect("share a log file"))
        .stderr(output)
        .status()
        .expect("run mariadb-install-db");
    assert!(status.success(), "{}", fs::read_to_string(log).unwrap_or_default());
}

/// Who runs the tests, for servers refuse to guess when it is root.
pub(crate) fn user() -> String {
    stdout_of(Command::new("id").arg("-un"))
}

fn server_version() -> String {
    let version = stdout_of(Command::new(super::local::server_program()).arg("--version"));
    version.split_whitespace().find(|word| word.contains("MariaDB")).unwrap_or("any").to_owned()
}

fn stdout_of(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("run {command:?}: {error}"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
