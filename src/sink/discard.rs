//! `null:` — nowhere. The stream is still checked, for rehearsals and benchmarks.

use super::{Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile};
use crate::pipeline::manifest::Manifest;
use galera_protocol::xbstream::EntryPath;

/// Keeps nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Discard;

/// A file that is not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiscardedFile;

impl Sink for Discard {
    type File = DiscardedFile;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    async fn create(&mut self, _: &Entry) -> Result<DiscardedFile, SinkError> {
        Ok(DiscardedFile)
    }

    async fn rename(&mut self, _: &EntryPath, _: &EntryPath) -> Result<(), SinkError> {
        Ok(())
    }

    async fn remove(&mut self, _: &EntryPath) -> Result<(), SinkError> {
        Ok(())
    }

    async fn commit(self, _: Manifest) -> Result<Receipt, SinkError> {
        Ok(Receipt::new("null:", 0))
    }

    async fn abort(self) {}
}

impl SinkFile for DiscardedFile {
    async fn write(&mut self, _: Piece) -> Result<(), SinkError> {
        Ok(())
    }

    async fn finish(self) -> Result<(), SinkError> {
        Ok(())
    }
}
