//! The sink's side: carries out what the parser found good, in order.

use std::collections::BTreeMap;
use std::time::Duration;

use galera_protocol::xbstream::{Event, FileId};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::error::PipelineError;
use super::parse::{Batch, Parsed};
use super::summary::StreamSummary;
use crate::sink::{Entry, Piece, Sink, SinkError, SinkFile};

/// Hands batches to the sink until the stream ends or something fails.
pub(super) async fn deliver<S: Sink>(
    sink: &mut S,
    mut batches: mpsc::Receiver<Parsed>,
    stall_limit: Duration,
    cancel: &CancellationToken,
) -> Result<StreamSummary, PipelineError> {
    let mut delivery = Delivery { sink, open: BTreeMap::new() };
    loop {
        let step = delivery.step(&mut batches, stall_limit);
        let stepped = cancel.run_until_cancelled(step).await;
        if let Some(summary) = stepped.unwrap_or(Err(PipelineError::Cancelled))? {
            return Ok(*summary);
        }
    }
}

struct Delivery<'a, S: Sink> {
    sink: &'a mut S,
    open: BTreeMap<FileId, S::File>,
}

impl<S: Sink> Delivery<'_, S> {
    async fn step(
        &mut self,
        batches: &mut mpsc::Receiver<Parsed>,
        stall_limit: Duration,
    ) -> Result<Option<Box<StreamSummary>>, PipelineError> {
        match batches.recv().await {
            Some(Parsed::Batch(batch)) => {
                let applied = timeout(stall_limit, self.apply(batch)).await;
                applied.map_err(|_| PipelineError::SinkStalled { limit: stall_limit })??;
                Ok(None)
            }
            Some(Parsed::End(summary)) => {
                self.finish_open().await?;
                Ok(Some(summary))
            }
            Some(Parsed::Failed(error)) => Err(error),
            None => Err(PipelineError::ParserLost),
        }
    }

    /// Files without an end, of which there are none unless they are allowed.
    async fn finish_open(&mut self) -> Result<(), SinkError> {
        while let Some((_, open)) = self.open.pop_first() {
            open.finish().await?;
        }
        Ok(())
    }

    async fn apply(&mut self, batch: Batch) -> Result<(), SinkError> {
        if !batch.stream.is_empty() {
            self.sink.stream(batch.stream).await?;
        }
        for event in batch.events {
            self.apply_event(event).await?;
        }
        Ok(())
    }

    async fn apply_event(&mut self, event: Event) -> Result<(), SinkError> {
        match event {
            Event::Opened { file, path, .. } => {
                let created = self.sink.create(&Entry { path, size: None }).await?;
                self.open.insert(file, created);
                Ok(())
            }
            Event::Data { file, bytes } => self.write(file, Piece::Data(bytes)).await,
            Event::Hole { file, length } => self.write(file, Piece::Hole(length)).await,
            Event::Seek { file, offset } => self.write(file, Piece::Seek(offset)).await,
            Event::Closed { file } => match self.open.remove(&file) {
                Some(open) => open.finish().await,
                None => Ok(()),
            },
            Event::Renamed { from, to } => self.sink.rename(&from, &to).await,
            Event::Removed { path } => self.sink.remove(&path).await,
        }
    }

    async fn write(&mut self, file: FileId, piece: Piece) -> Result<(), SinkError> {
        match self.open.get_mut(&file) {
            Some(open) => open.write(piece).await,
            None => Ok(()),
        }
    }
}
