//! Files into a stream, byte for byte as `mbstream -c` writes it.

use std::ffi::OsStr;
use std::fs::{self, File, FileType};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use bytes::BytesMut;
use galera_protocol::xbstream::chunk::{Body, ChunkHeader, Extent, Flags};
use galera_protocol::xbstream::{EntryPath, PATH_BYTES_MAX, PathError};

/// Payload of a chunk: what all tools write.
const CHUNK_BYTES: usize = 10 << 20;

/// Directories below each other that are followed.
const DEPTH_MAX: usize = 64;

/// Why a stream was not written. What was written so far is no stream that anybody should keep.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A file cannot be read.
    #[error("read {path}")]
    Read {
        /// The file.
        path: String,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Neither a file nor a directory, which is all that a stream can carry.
    #[error("{path} is not a regular file{}", if *.directories { " or directory" } else { "" })]
    Kind {
        /// What it is about.
        path: String,
        /// Whether directories would have been taken.
        directories: bool,
    },
    /// The name cannot stand in a stream.
    #[error("name {path}")]
    Name {
        /// The name.
        path: String,
        /// Why not.
        #[source]
        source: PathError,
    },
    /// Directories are nested too deep.
    #[error("{path} lies more than {DEPTH_MAX} directories deep")]
    Depth {
        /// The directory.
        path: String,
    },
    /// The stream's reader is gone, or the disk is full.
    #[error("write the stream")]
    Write(#[source] io::Error),
}

/// How names become members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Names {
    /// Safe ones only, without `./`; directories are followed.
    Safe,
    /// As they were given; only files. What `mbstream` does.
    AsGiven,
}

/// Writes files below `root` as one stream.
#[derive(Debug)]
pub struct Creator<W> {
    out: W,
    root: PathBuf,
    names: Names,
    buffer: Vec<u8>,
}

impl<W: Write> Creator<W> {
    /// Paths are relative to `root`.
    pub fn new(out: W, root: PathBuf, names: Names) -> Self {
        Self { out, root, names, buffer: Vec::new() }
    }

    /// Appends a file, or what is below a directory, in order of names.
    pub fn add(&mut self, path: &Path) -> Result<(), CreateError> {
        self.add_at(path, 0)
    }

    /// Writes out what is left.
    pub fn finish(mut self) -> Result<(), CreateError> {
        self.out.flush().map_err(CreateError::Write)
    }

    fn add_at(&mut self, path: &Path, depth: usize) -> Result<(), CreateError> {
        let place = self.root.join(path);
        let kind = self.kind(&place).map_err(|source| read_error(path, source))?;
        if kind.is_dir() && self.names == Names::Safe {
            return self.add_directory(path, &place, depth);
        }
        if !kind.is_file() {
            let directories = self.names == Names::Safe;
            return Err(CreateError::Kind { path: path.display().to_string(), directories });
        }
        let name = self.member_name(path)?;
        let file = File::open(&place).map_err(|source| read_error(path, source))?;
        self.write_file(path, &name, file)
    }

    fn kind(&self, place: &Path) -> io::Result<FileType> {
        // A link below a directory could lead anywhere.
        let metadata = match self.names {
            Names::Safe => fs::symlink_metadata(place)?,
            Names::AsGiven => fs::metadata(place)?,
        };
        Ok(metadata.file_type())
    }

    fn add_directory(
        &mut self,
        path: &Path,
        place: &Path,
        depth: usize,
    ) -> Result<(), CreateError> {
        if depth >= DEPTH_MAX {
            return Err(CreateError::Depth { path: path.display().to_string() });
        }
        let names = entries(place).map_err(|source| read_error(path, source))?;
        names.iter().try_for_each(|name| self.add_at(&path.join(name), depth + 1))
    }

    fn member_name(&self, path: &Path) -> Result<Vec<u8>, CreateError> {
        let raw = path.as_os_str().as_bytes();
        let refused = |source| CreateError::Name { path: path.display().to_string(), source };
        match self.names {
            Names::Safe => {
                EntryPath::parse(raw).map(|name| name.as_bytes().to_vec()).map_err(refused)
            }
            Names::AsGiven if raw.len() > PATH_BYTES_MAX => Err(refused(PathError::TooLong)),
            Names::AsGiven => Ok(raw.to_vec()),
        }
    }

    fn write_file(&mut self, path: &Path, name: &[u8], mut file: File) -> Result<(), CreateError> {
        let mut offset = 0;
        loop {
            self.buffer.clear();
            Read::take(&mut file, CHUNK_BYTES as u64)
                .read_to_end(&mut self.buffer)
                .map_err(|source| read_error(path, source))?;
            if self.buffer.is_empty() {
                return self.write_header(name, Body::End);
            }
            let length = self.buffer.len() as u64;
            let checksum = crc32fast::hash(&self.buffer);
            self.write_header(name, Body::Payload(Extent { length, offset, checksum }))?;
            self.out.write_all(&self.buffer).map_err(CreateError::Write)?;
            offset += length;
        }
    }

    fn write_header(&mut self, name: &[u8], body: Body) -> Result<(), CreateError> {
        let mut header = BytesMut::new();
        ChunkHeader { flags: Flags::default(), path: name.into(), body }.encode(&mut header);
        self.out.write_all(&header).map_err(CreateError::Write)
    }
}

fn entries(directory: &Path) -> io::Result<Vec<std::ffi::OsString>> {
    let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()));
    let mut names = names.collect::<io::Result<Vec<_>>>()?;
    names.sort_by(|a: &std::ffi::OsString, b| OsStr::cmp(a, b));
    Ok(names)
}

fn read_error(path: &Path, source: io::Error) -> CreateError {
    CreateError::Read { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    fn stream(root: &Path, names: Names, paths: &[&str]) -> Result<Vec<u8>, CreateError> {
        let mut out = Vec::new();
        let mut creator = Creator::new(&mut out, root.to_path_buf(), names);
        paths.iter().try_for_each(|path| creator.add(Path::new(path)))?;
        creator.finish()?;
        Ok(out)
    }

    /// Recipes whose streams were written by mbstream 10.11.19.
    #[test]
    fn large_files_are_cut_as_mbstream_cuts_them() {
        let directory = tempfile::tempdir().expect("directory");
        let content: Vec<u8> =
            (0..26_214_400_usize).map(|at| ((31 * at + 7 * (at >> 8)) % 256) as u8).collect();
        for (length, expected) in [
            (10_485_759, "6a4517d2a96a8ec91745ecfaaa510322236d34f2ef483245fb57bb9a55b5f470"),
            (10_485_760, "d9b2e15b024d9dc26f909b40df53c1a35febaec069d5f79f5329dbd06a0418e6"),
            (10_485_761, "31b6e3a39a9c28589286edcf9d88d1109803449a57e70276bc2df625c4b56280"),
            (26_214_400, "24082bfc261c19971448b47ea0b1f94da3451b61c11b49e76229b8c515ee44db"),
        ] {
            fs::write(directory.path().join("big.dat"), &content[..length]).expect("written");
            let stream = stream(directory.path(), Names::AsGiven, &["big.dat"]).expect("created");
            let hash: String =
                Sha256::digest(&stream).iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(hash, expected, "{length} bytes");
        }
    }

    #[test]
    fn directories_are_followed_in_order_and_links_are_refused() {
        let directory = tempfile::tempdir().expect("directory");
        let root = directory.path();
        fs::create_dir(root.join("db")).expect("made");
        for name in ["db/b", "db/a", "c"] {
            fs::write(root.join(name), "").expect("written");
        }
        let found = stream(root, Names::Safe, &["./db", "c"]).expect("created");
        let expected = ["db/a", "db/b", "c"].map(|name| {
            let mut header = BytesMut::new();
            let path = name.as_bytes().into();
            ChunkHeader { flags: Flags::default(), path, body: Body::End }.encode(&mut header);
            header
        });
        assert_eq!(found, expected.concat());
        std::os::unix::fs::symlink("/etc/passwd", root.join("db/link")).expect("linked");
        let refused = stream(root, Names::Safe, &["db"]);
        assert!(matches!(refused, Err(CreateError::Kind { .. })), "{refused:?}");
        assert!(matches!(stream(root, Names::AsGiven, &["db"]), Err(CreateError::Kind { .. })));
        let below = root.join("db");
        let outside = stream(&below, Names::Safe, &["../c"]);
        assert!(matches!(outside, Err(CreateError::Name { .. })), "{outside:?}");
    }
}
