//! A sink that fails when told to.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;
use galera_sst::pipeline::manifest::Manifest;
use galera_sst::sink::{Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile};

/// Fails at the n-th call, counted over the sink and all its files, and at every later one.
pub(crate) struct Faulty<T> {
    inner: T,
    calls_left: Arc<AtomicUsize>,
}

impl<S: Sink> Faulty<S> {
    pub(crate) fn new(inner: S, calls: usize) -> Self {
        Self { inner, calls_left: Arc::new(AtomicUsize::new(calls)) }
    }
}

impl<T> Faulty<T> {
    fn call(&self) -> Result<(), SinkError> {
        let counted = self
            .calls_left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
        counted.map(|_| ()).map_err(|_| SinkError::Write {
            target: "faulty".to_owned(),
            source: io::Error::from(io::ErrorKind::StorageFull),
        })
    }
}

impl<S: Sink> Sink for Faulty<S> {
    type File = Faulty<S::File>;

    fn needs(&self) -> Needs {
        self.inner.needs()
    }

    async fn create(&mut self, entry: &Entry) -> Result<Self::File, SinkError> {
        self.call()?;
        let inner = self.inner.create(entry).await?;
        Ok(Faulty { inner, calls_left: Arc::clone(&self.calls_left) })
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        self.call()?;
        self.inner.rename(from, to).await
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        self.call()?;
        self.inner.remove(path).await
    }

    async fn stream(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        self.call()?;
        self.inner.stream(bytes).await
    }

    async fn commit(self, manifest: Manifest) -> Result<Receipt, SinkError> {
        if let Err(error) = self.call() {
            self.inner.abort().await;
            return Err(error);
        }
        self.inner.commit(manifest).await
    }

    async fn abort(self) {
        self.inner.abort().await;
    }
}

impl<F: SinkFile> SinkFile for Faulty<F> {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        self.call()?;
        self.inner.write(piece).await
    }

    async fn finish(self) -> Result<(), SinkError> {
        self.call()?;
        self.inner.finish().await
    }
}
