//! A sink that keeps nothing but tells of each file as it completes, so that the listing of a damaged
//! stream shows what came before the damage.

use galera_protocol::xbstream::EntryPath;

use crate::pipeline::manifest::Manifest;
use crate::sink::{Cursor, Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile};

/// What happened to a name of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A file is complete.
    File {
        /// Its name.
        path: EntryPath,
        /// Its size in bytes, holes included.
        size: u64,
    },
    /// A complete file got another name.
    Renamed {
        /// The old name.
        from: EntryPath,
        /// The new name.
        to: EntryPath,
    },
    /// A complete file was removed.
    Removed {
        /// Its name.
        path: EntryPath,
    },
}

/// Hears of each note.
pub trait Listener: Fn(Note) + Clone + Send {}

impl<T: Fn(Note) + Clone + Send> Listener for T {}

/// Tells a listener.
#[derive(Clone, Copy, Debug)]
pub struct Listing<F>(pub F);

/// A file that is only measured.
#[derive(Debug)]
pub struct ListedFile<F> {
    path: EntryPath,
    cursor: Cursor,
    tell: F,
}

impl<F: Listener> Sink for Listing<F> {
    type File = ListedFile<F>;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    async fn create(&mut self, entry: &Entry) -> Result<ListedFile<F>, SinkError> {
        Ok(ListedFile { path: entry.path.clone(), cursor: Cursor::default(), tell: self.0.clone() })
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        (self.0)(Note::Renamed { from: from.clone(), to: to.clone() });
        Ok(())
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        (self.0)(Note::Removed { path: path.clone() });
        Ok(())
    }

    async fn commit(self, _: Manifest) -> Result<Receipt, SinkError> {
        Ok(Receipt::new("null:", 0))
    }

    async fn abort(self) {}
}

impl<F: Listener> SinkFile for ListedFile<F> {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        self.cursor.pass(&piece);
        Ok(())
    }

    async fn finish(self) -> Result<(), SinkError> {
        (self.tell)(Note::File { path: self.path, size: self.cursor.size() });
        Ok(())
    }
}
