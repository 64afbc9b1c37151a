//! A sink that keeps one file of the stream, by the name that it has in the end.
//!
//! It goes to a temporary file without a name first: later chunks may overwrite earlier ones, and
//! nothing may be shown of a file that turns out to be damaged. Those that may still be renamed to the
//! wanted name are not kept: tools rename only what they sent whole, and only tables.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;

use galera_protocol::xbstream::EntryPath;

use crate::pipeline::manifest::Manifest;
use crate::sink::{Cursor, Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile};

/// Keeps one file.
#[derive(Debug)]
pub struct Content {
    wanted: EntryPath,
    /// Opened anew for each file of that name.
    kept: Option<File>,
}

/// A file that is kept, or not.
#[derive(Debug)]
pub struct ContentFile {
    target: Option<File>,
    cursor: Cursor,
}

impl Content {
    /// Waits for the file of that name.
    pub fn new(wanted: EntryPath) -> Self {
        Self { wanted, kept: None }
    }

    /// Copies the file; false if the stream had none of that name.
    pub fn copy_to(self, out: &mut impl Write) -> io::Result<bool> {
        let Some(mut kept) = self.kept else { return Ok(false) };
        kept.seek(SeekFrom::Start(0))?;
        io::copy(&mut kept, out)?;
        out.flush()?;
        Ok(true)
    }

    fn open(&mut self) -> io::Result<File> {
        let file = temporary_file()?;
        self.kept = Some(file.try_clone()?);
        Ok(file)
    }
}

/// A file without a name, in the directory for such files.
fn temporary_file() -> io::Result<File> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    Ok(File::from(rustix::fs::open(std::env::temp_dir(), flags, mode)?))
}

fn write_error(source: io::Error) -> SinkError {
    let target = format!("a temporary file in {}", std::env::temp_dir().display());
    SinkError::Write { target, source }
}

impl Sink for Content {
    type File = ContentFile;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    async fn create(&mut self, entry: &Entry) -> Result<ContentFile, SinkError> {
        let is_wanted = entry.path == self.wanted;
        let target = if is_wanted { Some(self.open().map_err(write_error)?) } else { None };
        Ok(ContentFile { target, cursor: Cursor::default() })
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        if *from == self.wanted || *to == self.wanted {
            self.kept = None;
        }
        Ok(())
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        if *path == self.wanted {
            self.kept = None;
        }
        Ok(())
    }

    async fn commit(self, _: Manifest) -> Result<Receipt, SinkError> {
        Ok(Receipt::new(self.wanted.to_string(), 0))
    }

    async fn abort(self) {}
}

impl SinkFile for ContentFile {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        let Some(target) = &self.target else { return Ok(()) };
        let offset = self.cursor.pass(&piece);
        match piece {
            // A local file of moderate size: not worth another thread.
            Piece::Data(bytes) => target.write_all_at(&bytes, offset).map_err(write_error),
            Piece::Hole(_) | Piece::Seek(_) => Ok(()),
        }
    }

    async fn finish(self) -> Result<(), SinkError> {
        // A hole at the end counts.
        self.target.map_or(Ok(()), |target| target.set_len(self.cursor.size())).map_err(write_error)
    }
}
