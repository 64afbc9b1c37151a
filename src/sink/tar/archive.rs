//! A tar file as it is written: headers, content, padding, trailer.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use galera_protocol::xbstream::EntryPath;
use tar::{EntryType, Header};

/// Everything in a tar begins at a multiple of this.
const BLOCK_BYTES: u64 = 512;

/// Longest name in a header of its own; longer ones stand in an entry before.
const NAME_BYTES_MAX: usize = 100;

/// Mode of the files: what is in them is everything that the database knows.
const FILE_MODE: u32 = 0o640;

const COPY_BYTES: usize = 256 << 10;

/// A tar being written.
#[derive(Debug)]
pub(super) struct Archive {
    output: File,
    position: u64,
    mtime: u64,
}

/// An entry whose content is being written in place; its header comes at the end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Direct {
    header_at: u64,
    data_at: u64,
}

impl Archive {
    pub(super) const fn new(output: File, mtime: u64) -> Self {
        Self { output, position: 0, mtime }
    }

    pub(super) const fn bytes(&self) -> u64 {
        self.position
    }

    /// Writes an entry of known size; gives the hash of its content.
    pub(super) fn append(
        &mut self,
        path: &EntryPath,
        size: u64,
        content: &mut dyn Read,
    ) -> io::Result<blake3::Hash> {
        let head = head(path, size, self.mtime)?;
        self.write(&head)?;
        let hash = self.copy(size, content)?;
        self.pad(size)?;
        Ok(hash)
    }

    /// Begins an entry whose size is not known yet. The output must be a file.
    pub(super) fn begin(&mut self, path: &EntryPath) -> io::Result<Direct> {
        let head_bytes = head(path, 0, self.mtime)?.len() as u64;
        Ok(Direct { header_at: self.position, data_at: self.position + head_bytes })
    }

    /// Writes a part of such an entry; what is left out reads as zeros.
    pub(super) fn write_at(&self, entry: Direct, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all_at(bytes, entry.data_at + offset)
    }

    /// Ends such an entry: now the header can be written.
    pub(super) fn end(&mut self, entry: Direct, path: &EntryPath, size: u64) -> io::Result<()> {
        let head = head(path, size, self.mtime)?;
        self.output.write_all_at(&head, entry.header_at)?;
        self.position = (entry.data_at + size).next_multiple_of(BLOCK_BYTES);
        self.output.set_len(self.position)?;
        self.output.seek(SeekFrom::Start(self.position)).map(drop)
    }

    /// Two empty blocks say that the archive is whole.
    pub(super) fn finish(&mut self, sync: bool) -> io::Result<()> {
        self.write(&[0; 2 * BLOCK_BYTES as usize])?;
        if sync { self.output.sync_all() } else { Ok(()) }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.output.write_all(bytes)?;
        self.position += bytes.len() as u64;
        Ok(())
    }

    fn copy(&mut self, size: u64, content: &mut dyn Read) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; COPY_BYTES];
        let mut left = size;
        while left > 0 {
            let part = usize::try_from(left).unwrap_or(COPY_BYTES).min(COPY_BYTES);
            content.read_exact(&mut buffer[..part])?;
            hasher.update(&buffer[..part]);
            self.write(&buffer[..part])?;
            left -= part as u64;
        }
        Ok(hasher.finalize())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let padding = size.next_multiple_of(BLOCK_BYTES) - size;
        self.write(&[0; BLOCK_BYTES as usize][..padding as usize])
    }
}

/// What stands before an entry's content: its header, and before that a long name's entry.
fn head(path: &EntryPath, size: u64, mtime: u64) -> io::Result<Vec<u8>> {
    let name = path.as_bytes();
    let mut head = Vec::new();
    if name.len() > NAME_BYTES_MAX {
        let length = name.len() as u64 + 1;
        let long = header(Path::new("././@LongLink"), length, mtime, EntryType::GNULongName)?;
        head.extend_from_slice(long.as_bytes());
        head.extend_from_slice(name);
        head.resize(
            head.len() + (length.next_multiple_of(BLOCK_BYTES) - name.len() as u64) as usize,
            0,
        );
    }
    let short = &name[..name.len().min(NAME_BYTES_MAX)];
    let short = Path::new(std::ffi::OsStr::from_bytes(short));
    head.extend_from_slice(header(short, size, mtime, EntryType::Regular)?.as_bytes());
    Ok(head)
}

fn header(path: &Path, size: u64, mtime: u64, kind: EntryType) -> io::Result<Header> {
    let mut header = Header::new_gnu();
    // Not `set_path`: a name cut in the middle is none that it takes.
    let name = path.as_os_str().as_bytes();
    let field = &mut header.as_old_mut().name;
    field.get_mut(..name.len()).ok_or(io::ErrorKind::InvalidInput)?.copy_from_slice(name);
    header.set_entry_type(kind);
    header.set_mode(FILE_MODE);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(mtime);
    header.set_size(size);
    header.set_cksum();
    Ok(header)
}
