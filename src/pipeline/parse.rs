//! The parser's thread: framing, checksums, names and hashes; what is good goes on to the sink.

use bytes::Bytes;
use galera_protocol::xbstream::{
    ClosingFile, ClosingFiles, Event, Expected, Fault, Reader, StreamError,
};
use tokio::sync::mpsc;

use super::Options;
use super::catalogue::Catalogue;
use super::error::PipelineError;
use super::progress::Progress;
use super::source::Input;
use super::summary::StreamSummary;
use crate::sink::Needs;

/// Events of one batch. A buffer full of the smallest chunks holds 70 000.
const EVENTS_PER_BATCH_MAX: usize = 4096;

/// What the sink's side gets.
#[derive(Debug)]
pub(super) enum Parsed {
    Batch(Batch),
    End(Box<StreamSummary>),
    Failed(PipelineError),
}

/// A part of the stream that was found good.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// What it says; empty if the sink takes the stream as it is.
    pub(super) events: Vec<Event>,
    /// The stream as it was sent; empty unless the sink takes it like that.
    pub(super) stream: Bytes,
}

/// Reads buffers and makes batches of them.
pub(super) struct Parser {
    reader: Reader,
    catalogue: Catalogue,
    expected: Expected,
    wants_stream: bool,
    wants_files: bool,
    allow_open_files: bool,
    progress: Progress,
    to_sink: mpsc::Sender<Parsed>,
}

/// The sink's side is gone: it failed or was cancelled, and knows why.
struct SinkGone;

impl Parser {
    pub(super) fn new(
        options: &Options,
        needs: Needs,
        progress: Progress,
        to_sink: mpsc::Sender<Parsed>,
    ) -> Self {
        Self {
            reader: Reader::new(options.reader),
            catalogue: Catalogue::new(options.hash_files),
            expected: options.expected,
            wants_stream: needs.stream_as_sent,
            wants_files: !needs.stream_as_sent || needs.files_as_well,
            allow_open_files: options.allow_open_files,
            progress,
            to_sink,
        }
    }

    /// Works until the stream ends, is refused, or nobody wants it any more.
    pub(super) fn run(mut self, mut buffers: mpsc::Receiver<Input>) {
        while let Some(input) = buffers.blocking_recv() {
            let last = match input {
                Input::Bytes(bytes) => match self.parse(bytes) {
                    Ok(Ok(())) => continue,
                    Ok(Err(SinkGone)) => return,
                    Err(error) => Parsed::Failed(error.into()),
                },
                Input::End => self.end(),
                Input::Failed(error) => Parsed::Failed(error),
            };
            // Nobody to tell: then it is known already.
            let _ = self.to_sink.blocking_send(last);
            return;
        }
    }

    fn parse(&mut self, stream: Bytes) -> Result<Result<(), SinkGone>, StreamError> {
        let mut input = stream.clone();
        let mut events = Vec::new();
        while let Some(event) = self.reader.read(&mut input)? {
            self.catalogue.note(&event);
            if self.wants_files {
                events.push(event);
            }
            if events.len() >= EVENTS_PER_BATCH_MAX {
                let events = core::mem::take(&mut events);
                if let Err(gone) = self.send(Batch { events, stream: Bytes::new() }) {
                    return Ok(Err(gone));
                }
            }
        }
        self.progress.publish(self.catalogue.snapshot(self.reader.position()));
        let stream = if self.wants_stream { stream } else { Bytes::new() };
        Ok(self.send(Batch { events, stream }))
    }

    fn send(&self, batch: Batch) -> Result<(), SinkGone> {
        self.to_sink.blocking_send(Parsed::Batch(batch)).map_err(|_| SinkGone)
    }

    fn end(&mut self) -> Parsed {
        match self.reader.end() {
            Ok(()) => {}
            Err(StreamError { fault: Fault::OpenAtEnd { .. }, .. }) if self.allow_open_files => {}
            Err(error) => return Parsed::Failed(error.into()),
        }
        let Catalogue { files, about, data_bytes, .. } = core::mem::take(&mut self.catalogue);
        let info =
            about.iter().find(|(path, _)| ClosingFile::from_path(path) == Some(ClosingFile::Info));
        let sizes = files.iter().map(|(path, file)| (path, file.size));
        let closing = ClosingFiles::new(sizes, info.map(|(_, content)| content.as_ref()));
        let completeness = closing.judge(self.expected);
        Parsed::End(Box::new(StreamSummary {
            stream_bytes: self.reader.position(),
            data_bytes,
            dialect: self.reader.dialect(),
            completeness,
            files,
            about,
        }))
    }
}
