//! Gives encrypted tablespaces the new server's master key: `xtrabackup --move-back`, the one step that
//! does it (spec 05 §5.5).
//!
//! ```text
//!  DIR ──▶ DIR/.prepared ── move-back --generate-new-master-key ──▶ DIR, with what the tool left behind
//! ```

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::Path;

use super::error::RestoreError;
use super::finish::blocking;

const PREPARED: &str = ".prepared";

/// Moves the prepared files down, runs the tool, and takes up what it did not move.
pub(super) async fn around(
    directory: &Path,
    run: impl AsyncFnOnce(&Path) -> Result<(), RestoreError>,
) -> Result<(), RestoreError> {
    let (place, below) = (directory.to_path_buf(), directory.join(PREPARED));
    blocking(move || {
        let below = place.join(PREPARED);
        fs::create_dir_all(&below).map_err(RestoreError::write(&below))?;
        move_all(&place, &below, false)
    })
    .await?;
    run(&below).await?;
    let place = directory.to_path_buf();
    blocking(move || {
        let below = place.join(PREPARED);
        move_all(&below, &place, true)?;
        fs::remove_dir_all(&below).map_err(RestoreError::write(&below))
    })
    .await
}

/// The tool's arguments, but for those that name the new keyring.
pub(super) fn arguments(directory: &Path, prepared: &Path, key: &str) -> Vec<OsString> {
    let path = |flag: &str, path: &Path| {
        let mut argument = OsString::from(flag);
        argument.push(path);
        argument
    };
    vec![
        "--move-back".into(),
        path("--target-dir=", prepared),
        path("--datadir=", directory),
        "--force-non-empty-directories".into(),
        format!("--transition-key={key}").into(),
        "--generate-new-master-key".into(),
    ]
}

/// Moves every entry of one directory; with `only_new`, those that the other one has not.
fn move_all(from: &Path, to: &Path, only_new: bool) -> Result<(), RestoreError> {
    let entries = fs::read_dir(from).map_err(RestoreError::read(from))?;
    let names: io::Result<Vec<_>> = entries.map(|entry| Ok(entry?.file_name())).collect();
    for name in names.map_err(RestoreError::read(from))? {
        let (old, new) = (from.join(&name), to.join(&name));
        if old == to || (only_new && new.symlink_metadata().is_ok()) {
            continue;
        }
        fs::rename(&old, &new).map_err(RestoreError::write(new))?;
    }
    Ok(())
}
