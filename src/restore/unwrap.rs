//! Members that the donor's tool compressed or encrypted one by one, back to what the server wrote.
//!
//! Done here and not by the tool: that needs helper programs (`qpress`, `zstd`, `lz4`) which images often
//! lack, and leaves a directory half done when one of them fails.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;

use super::error::RestoreError;
use super::finish::blocking;
use super::tree;
use crate::unpack::{Key, Unpack, Unpacker};

/// Bytes read at once.
const PIECE_BYTES: usize = 1 << 20;

/// Appended to a file while it is written.
const UNFINISHED: &str = ".unwrapping";

/// Unwraps every member in place. A second run goes on where the first was interrupted.
pub(super) async fn unwrap(directory: &Path, key: Option<Arc<Key>>) -> Result<(), RestoreError> {
    let place = directory.to_path_buf();
    blocking(move || {
        let unpack = Unpack { decompress: true, key };
        let mut wrapped = Vec::new();
        tree::walk(&place, &mut |path, kind| {
            if kind.is_file() {
                wrapped.extend(member(&unpack, &place, path));
            }
            Ok(())
        })?;
        if !wrapped.is_empty() {
            tracing::info!(files = wrapped.len(), "unwrapping compressed or encrypted files");
        }
        wrapped
            .into_iter()
            .try_for_each(|(path, plain, unpacker)| unpack_one(&path, &plain, unpacker))
    })
    .await
}

fn member(unpack: &Unpack, place: &Path, path: &Path) -> Option<(PathBuf, PathBuf, Unpacker)> {
    use std::os::unix::ffi::OsStrExt;

    let name = path.strip_prefix(place).ok()?;
    let name = EntryPath::parse(name.as_os_str().as_bytes()).ok()?;
    let (plain, unpacker) = unpack.member(&name)?;
    let plain = place.join(std::ffi::OsStr::from_bytes(plain.as_bytes()));
    Some((path.to_path_buf(), plain, unpacker))
}

/// The wrapped file goes only when the plain one is whole.
fn unpack_one(path: &Path, plain: &Path, mut unpacker: Unpacker) -> Result<(), RestoreError> {
    let mut unfinished = plain.as_os_str().to_owned();
    unfinished.push(UNFINISHED);
    let unfinished = PathBuf::from(unfinished);
    let damaged = |source| RestoreError::Wrapped { path: path.to_path_buf(), source };
    let mut input = File::open(path).map_err(RestoreError::read(path))?;
    let mut output = File::create(&unfinished).map_err(RestoreError::write(&unfinished))?;
    while let Some(mut piece) = read_piece(&mut input).map_err(RestoreError::read(path))? {
        while let Some(bytes) = unpacker.next(&mut piece).map_err(damaged)? {
            output.write_all(&bytes).map_err(RestoreError::write(&unfinished))?;
        }
    }
    unpacker.end().map_err(damaged)?;
    fs::rename(&unfinished, plain).map_err(RestoreError::write(plain))?;
    fs::remove_file(path).map_err(RestoreError::write(path))
}

fn read_piece(input: &mut File) -> io::Result<Option<Bytes>> {
    let mut piece = vec![0; PIECE_BYTES];
    let length = input.read(&mut piece)?;
    piece.truncate(length);
    Ok((length > 0).then(|| piece.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).expect("compresses")
    }

    #[tokio::test]
    async fn members_at_every_level_are_unwrapped_and_their_wrapped_files_go() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("db")).expect("makes a directory");
        fs::write(path("db/t.ibd.zst"), zstd(&[7; 3_000_000])).expect("writes");
        fs::write(path("plain"), "x").expect("writes");
        unwrap(directory.path(), None).await.expect("unwraps");
        assert!(fs::read(path("db/t.ibd")).expect("is there") == [7; 3_000_000]);
        assert!(!path("db/t.ibd.zst").exists() && path("plain").exists());
        unwrap(directory.path(), None).await.expect("there is nothing left to do");
    }

    #[tokio::test]
    async fn a_member_that_is_cut_is_named_and_stays() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("t.ibd.zst");
        let bytes = zstd(&[7; 100_000]);
        fs::write(&path, &bytes[..bytes.len() - 3]).expect("writes");
        let error = unwrap(directory.path(), None).await.expect_err("is cut");
        assert!(error.to_string().contains("t.ibd.zst"), "{error}");
        assert!(path.exists() && !directory.path().join("t.ibd").exists());
    }
}
