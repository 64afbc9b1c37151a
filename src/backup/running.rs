//! A transfer that runs: the donor's conversation on one side, the pipeline into the sink on the other.
//!
//! Whoever drives it brings the group's words ([`super::attempt`]), or there are none
//! ([`super::receive`]).

use std::io::Cursor;

use galera_protocol::sst::conversation::{Event as SstEvent, Evidence, Failure, Judgement};
use galera_protocol::sst::metadata::{Metadata, Secret};
use galera_protocol::verdict::{self, ClosingFiles, Complete, Files, SinkEnd, Witnesses};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::record::Record;
use super::report::{Phase, Reporter};
use crate::pipeline::{self, Options, PipelineError, Received, Side, StreamSummary};
use crate::sink::Sink;
use crate::sst::{ArchiveReader, NOTICES_MAX, Notice, SstListener, TransferError};

/// What the conversation with the donor must hear; each is said once or twice.
const SST_EVENTS_MAX: usize = 16;

/// The tasks of a running transfer.
pub(super) struct Running<S> {
    /// To the conversation.
    pub(super) tell: mpsc::Sender<SstEvent>,
    /// From the listener.
    pub(super) notices: mpsc::Receiver<Notice>,
    pub(super) conversation: JoinHandle<Result<Evidence, TransferError>>,
    pub(super) receiving: Option<JoinHandle<Result<Received<S>, PipelineError>>>,
    /// Until the backup begins.
    sink: Option<S>,
    outcome: Outcome<S>,
    /// Ends the conversation and the pipeline.
    cancel: CancellationToken,
}

/// How the donor's words and bytes are taken.
pub(super) struct TransferOptions<'a> {
    pub(super) stream: &'a Options,
    pub(super) reporter: &'a Reporter,
    /// What a donor that saw our request may repeat.
    pub(super) secret: Option<&'a str>,
    /// Whether the donor's keys may go where the backup goes.
    pub(super) keys_may_be_stored: bool,
}

/// What a transfer that ended well leaves for the commit.
pub(super) struct Arrived<S> {
    pub(super) sink: S,
    pub(super) summary: StreamSummary,
    pub(super) evidence: Evidence,
    /// The proof that all witnesses but the sink agree.
    pub(super) complete: Complete,
}

/// How the pipeline ended, kept until the group has spoken.
pub(super) enum Outcome<S> {
    Pending,
    Received(Box<Received<S>>),
    Failed(PipelineError),
}

impl<S: Sink + 'static> Running<S> {
    pub(super) fn start(listener: SstListener, sink: S) -> Self {
        let (tell, events) = mpsc::channel(SST_EVENTS_MAX);
        let (notice_sender, notices) = mpsc::channel(NOTICES_MAX);
        let cancel = CancellationToken::new();
        let conversation = tokio::spawn(listener.run(events, notice_sender, cancel.clone()));
        let (sink, outcome) = (Some(sink), Outcome::Pending);
        Self { tell, notices, conversation, receiving: None, sink, outcome, cancel }
    }

    pub(super) fn on_notice(
        &mut self,
        notice: Notice,
        record: &mut Record,
        options: &TransferOptions<'_>,
    ) -> Result<(), Error> {
        match notice {
            Notice::Metadata(metadata) => on_metadata(*metadata, record, options),
            Notice::Keyring(files) => {
                options.reporter.remark("the donor sent its keyring");
                record.keyring(files);
                options.allow_keys()
            }
            Notice::Archive(archive) => {
                self.on_archive(archive, record, options);
                Ok(())
            }
        }
    }

    fn on_archive(
        &mut self,
        archive: ArchiveReader,
        record: &mut Record,
        options: &TransferOptions<'_>,
    ) {
        let Some(sink) = self.sink.take() else { return };
        record.first_byte(archive.tls_version());
        options.reporter.enter(Phase::Receiving, "");
        let stream_options = record.stream_options(options.stream);
        let progress = options.reporter.progress.clone();
        let cancel = self.cancel.clone();
        // In front: a stream that is cut must end where the donor's did.
        let stream = AsyncReadExt::chain(Cursor::new(record.kept_files()), archive);
        self.receiving = Some(tokio::spawn(async move {
            pipeline::run(stream, sink, &stream_options, &progress, &cancel).await
        }));
    }

    pub(super) async fn on_received(
        &mut self,
        received: Result<Result<Received<S>, PipelineError>, JoinError>,
        record: &mut Record,
        reporter: &Reporter,
    ) {
        self.receiving = None;
        self.outcome = outcome_of(received);
        let judgement = match &self.outcome {
            Outcome::Pending => return,
            Outcome::Received(received) => {
                record.received();
                reporter.enter(Phase::Verifying, "waiting for the donor's word");
                let is_complete = received.summary.completeness.is_complete();
                if is_complete { Judgement::Whole } else { Judgement::Incomplete }
            }
            Outcome::Failed(PipelineError::Stream(error)) => Judgement::of_stream_error(error),
            Outcome::Failed(error) => match error.side() {
                Side::Stream => Judgement::Damaged,
                Side::Transport => Judgement::Incomplete,
                Side::Sink | Side::Stopped | Side::Internal => Judgement::NotStored,
            },
        };
        // Only a conversation that has ended does not listen, and it says so itself.
        let _ = self.tell.send(SstEvent::Judged(judgement)).await;
    }

    /// Whatever ended it: the donor is freed, and the pipeline gives its sink back or aborts it.
    pub(super) async fn end(mut self) -> Outcome<S> {
        self.cancel.cancel();
        if let Some(receiving) = self.receiving.take() {
            self.outcome = outcome_of(receiving.await);
        }
        if let Some(unused) = self.sink.take() {
            unused.abort().await;
        }
        self.outcome
    }
}

impl TransferOptions<'_> {
    fn allow_keys(&self) -> Result<(), Error> {
        if self.keys_may_be_stored { Ok(()) } else { Err(Error::UnprotectedKeys) }
    }
}

/// Donors that do not know the secret leave it out; a wrong one is somebody else's.
fn on_metadata(
    metadata: Metadata,
    record: &mut Record,
    options: &TransferOptions<'_>,
) -> Result<(), Error> {
    let told = metadata.secret.as_ref().map(Secret::reveal);
    if options.secret.is_some() && told.is_some_and(|told| Some(told) != options.secret) {
        return Err(Error::WrongSecret);
    }
    options.reporter.expect_bytes(metadata.total_bytes);
    let has_key = metadata.transition_key.is_some();
    record.metadata(metadata);
    if has_key { options.allow_keys() } else { Ok(()) }
}

pub(super) fn conversation_end(
    ended: Result<Result<Evidence, TransferError>, JoinError>,
) -> Result<Result<Evidence, Failure>, Error> {
    match ended {
        Ok(Ok(evidence)) => Ok(Ok(evidence)),
        Ok(Err(TransferError::Failed(failure))) => Ok(Err(failure)),
        Ok(Err(TransferError::Cancelled)) | Err(_) => Err(Error::Stopped),
    }
}

impl Record {
    /// Hears the witnesses. Without a complete backup the sink is aborted.
    pub(super) async fn judge<S: Sink>(
        &self,
        ended: Result<Result<Evidence, Failure>, Error>,
        outcome: Outcome<S>,
    ) -> Result<Arrived<S>, Error> {
        let mut witnesses = Witnesses::NONE;
        // Whether there would be a backup if the sink commits: it is asked last, and only then.
        witnesses.sink = SinkEnd::Committed;
        let (received, cause) = hear_pipeline(&mut witnesses, outcome);
        if let Ok(transfer) = &ended {
            witnesses.hear_transfer(transfer);
        }
        match (ended, verdict::decide(&witnesses), received) {
            (Ok(Ok(evidence)), Ok(complete), Some(Received { sink, summary })) => {
                Ok(Arrived { sink, summary, evidence, complete })
            }
            (ended, decided, received) => {
                if let Some(received) = received {
                    received.sink.abort().await;
                }
                Err(self.no_backup(ended.err(), decided.err(), cause))
            }
        }
    }

    fn no_backup(
        &self,
        ended: Option<Error>,
        failure: Option<verdict::Failure>,
        cause: Option<PipelineError>,
    ) -> Error {
        let has_begun = self.has_begun();
        match (ended, failure) {
            (Some(error), _) => error,
            (None, Some(failure)) => Error::Verdict { failure, cause, has_begun },
            (None, None) => Error::Stopped,
        }
    }
}

/// What the pipeline witnessed; gives back what it received, or why it did not.
fn hear_pipeline<S>(
    witnesses: &mut Witnesses,
    outcome: Outcome<S>,
) -> (Option<Received<S>>, Option<PipelineError>) {
    match outcome {
        Outcome::Pending => (None, None),
        Outcome::Received(received) => {
            witnesses.files = Files::Whole { count: received.summary.files.len() as u64 };
            witnesses.closing_files = ClosingFiles::from(&received.summary.completeness);
            (Some(*received), None)
        }
        Outcome::Failed(error) => {
            match &error {
                PipelineError::Stream(fault) => witnesses.files = Files::Faulty(fault.clone()),
                PipelineError::Sink(_) | PipelineError::SinkStalled { .. } => {
                    witnesses.sink = SinkEnd::Failed;
                }
                PipelineError::Transport(_)
                | PipelineError::Idle { .. }
                | PipelineError::Cancelled
                | PipelineError::ParserLost => {}
            }
            let tells_more = matches!(error.side(), Side::Sink | Side::Internal);
            (None, Some(error).filter(|_| tells_more))
        }
    }
}

fn outcome_of<S>(received: Result<Result<Received<S>, PipelineError>, JoinError>) -> Outcome<S> {
    match received {
        Ok(Ok(received)) => Outcome::Received(Box::new(received)),
        Ok(Err(error)) => Outcome::Failed(error),
        Err(_) => Outcome::Failed(PipelineError::ParserLost),
    }
}

/// Waits for the task, or for ever if there is none.
pub(super) async fn join<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}
