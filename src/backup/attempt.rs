//! One try: one membership, one request, one transfer.

use galera_protocol::gcs::{self, Acceptance, Configuration};
use galera_protocol::member::{Command, EndReason, Event};
use galera_protocol::sst::conversation::{Event as SstEvent, Evidence, Failure, Judgement};
use galera_protocol::sst::metadata::{Metadata, Secret};
use galera_protocol::sst::request::Method;
use galera_protocol::verdict::{self, ClosingFiles, Complete, Files, SinkEnd, Witnesses};
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::record::Record;
use super::report::{Phase, Reporter};
use super::{Backup, Config, request};
use crate::member::{self, Handle, NotJoined, Troubles};
use crate::pipeline::{self, PipelineError, Received, Side, StreamSummary};
use crate::sink::{Sink, SinkError};
use crate::sst::{ArchiveReader, NOTICES_MAX, Notice, SstListener, TransferError};

/// What the group says that the conversation with the donor must hear; each is said once or twice.
const SST_EVENTS_MAX: usize = 16;

/// One try with one method.
pub(super) struct Attempt<'a> {
    config: &'a Config,
    method: Method,
    reporter: &'a Reporter,
    stop: &'a CancellationToken,
    record: Record,
    troubles: Troubles,
    last_remark: Option<String>,
    ended: Option<EndReason>,
    /// What a donor that saw our request may repeat.
    secret: Option<String>,
}

/// The tasks of a running transfer.
struct Running<S> {
    /// To the conversation.
    tell: mpsc::Sender<SstEvent>,
    /// From the listener.
    notices: mpsc::Receiver<Notice>,
    conversation: JoinHandle<Result<Evidence, TransferError>>,
    receiving: Option<JoinHandle<Result<Received<S>, PipelineError>>>,
    /// Ends the conversation and the pipeline.
    cancel: CancellationToken,
}

/// What a transfer that ended well leaves for the commit.
struct Arrived<S> {
    sink: S,
    summary: StreamSummary,
    evidence: Evidence,
    /// The proof that all witnesses but the sink agree.
    complete: Complete,
}

/// How the pipeline ended, kept until the group has spoken.
enum Outcome<S> {
    Pending,
    Received(Box<Received<S>>),
    Failed(PipelineError),
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        config: &'a Config,
        method: Method,
        started: Timestamp,
        reporter: &'a Reporter,
        stop: &'a CancellationToken,
    ) -> Self {
        let record = Record::new(config, method, started);
        Self {
            config,
            method,
            reporter,
            stop,
            record,
            troubles: Troubles::default(),
            last_remark: None,
            ended: None,
            secret: None,
        }
    }

    /// Runs to the end, and leaves the group whatever happens.
    pub(super) async fn run<S, F>(mut self, open: &mut F) -> Result<Backup, Error>
    where
        S: Sink + 'static,
        F: AsyncFnMut() -> Result<S, SinkError>,
    {
        let mut listener = SstListener::bind(self.config.listener.clone())?;
        if let Some(acceptor) = self.config.transfer_tls.acceptor.clone() {
            listener = listener.with_tls(acceptor);
        }
        if let Some(key) = self.config.transfer_tls.key.clone() {
            listener = listener.with_key(key);
        }
        let sink = open().await.map_err(Error::OpenSink)?;
        let handle = match member::start(self.config.member.clone()) {
            Ok(handle) => handle,
            Err(error) => {
                sink.abort().await;
                return Err(error.into());
            }
        };
        self.reporter.monitor.follow(handle.pictures());
        self.with_member(handle, listener, sink).await
    }

    async fn with_member<S: Sink + 'static>(
        &mut self,
        mut handle: Handle,
        listener: SstListener,
        sink: S,
    ) -> Result<Backup, Error> {
        let transferred = self.transfer(&mut handle, listener, sink).await;
        match transferred {
            Ok(arrived) => self.commit_and_leave(handle, arrived).await,
            Err(error) => {
                self.leave(handle).await;
                Err(error)
            }
        }
    }

    async fn transfer<S: Sink + 'static>(
        &mut self,
        handle: &mut Handle,
        listener: SstListener,
        sink: S,
    ) -> Result<Arrived<S>, Error> {
        let port = listener.local_addresses().first().map_or(0, std::net::SocketAddr::port);
        let asked = match self.join(handle).await {
            Ok(()) => self.ask(handle, port).await,
            Err(error) => Err(error),
        };
        if let Err(error) = asked {
            sink.abort().await;
            return Err(error);
        }
        self.follow(handle, listener, sink).await
    }

    /// Waits for the first primary configuration.
    async fn join(&mut self, handle: &mut Handle) -> Result<(), Error> {
        self.reporter.enter(Phase::Joining, self.record.group());
        loop {
            match self.next_event(handle).await? {
                Event::Gcs(gcs::Event::ConfigurationChanged(configuration)) => {
                    self.on_configuration(&configuration);
                    let members = configuration.members.len();
                    let about = format!("{members} members, seqno {}", configuration.seqno);
                    self.reporter.enter(Phase::Joined, about);
                    return Ok(());
                }
                Event::Ended(reason) => {
                    self.ended = Some(reason.clone());
                    return Err(self.join_error(reason).await);
                }
                Event::Link(_) | Event::Pc(_) | Event::Gcs(_) | Event::Restarted { .. } => {}
            }
        }
    }

    async fn join_error(&mut self, reason: EndReason) -> Error {
        Error::Join(NotJoined::new(reason, self.troubles.take()).await)
    }

    /// Sends the request; its answer comes as an event.
    async fn ask(&mut self, handle: &mut Handle, port: u16) -> Result<(), Error> {
        let local = handle.status().local_address(None);
        let request = self.config.advertise.request(self.method, local, port);
        let mut request = request.ok_or(Error::NoAddress)?;
        let name = self.config.transfer_tls.identity.as_deref();
        request::identify(&mut request, name).map_err(Error::Address)?;
        self.secret = request.identity.as_ref().map(|identity| identity.secret().to_owned());
        request.check().map_err(Error::Address)?;
        self.reporter.enter(Phase::Requesting, request.to_string());
        let request = request::for_group(&request, &self.config.donors);
        handle.command(Command::RequestStateTransfer(request)).await;
        Ok(())
    }

    /// Follows the transfer from the request to the last witness but the sink's own.
    async fn follow<S: Sink + 'static>(
        &mut self,
        handle: &mut Handle,
        listener: SstListener,
        sink: S,
    ) -> Result<Arrived<S>, Error> {
        let (tell, events) = mpsc::channel(SST_EVENTS_MAX);
        let (notice_sender, notices) = mpsc::channel(NOTICES_MAX);
        let cancel = CancellationToken::new();
        let conversation = tokio::spawn(listener.run(events, notice_sender, cancel.clone()));
        let mut running =
            Running { tell, notices, conversation, receiving: None, cancel: cancel.clone() };
        let mut sink = Some(sink);
        let mut outcome = Outcome::Pending;
        let ended = self.drive(handle, &mut running, &mut sink, &mut outcome).await;
        // Whatever ended it: the donor is freed, and the pipeline gives its sink back or aborts it.
        cancel.cancel();
        if let Some(receiving) = running.receiving.take() {
            outcome = outcome_of(receiving.await);
        }
        if let Some(unused) = sink {
            unused.abort().await;
        }
        self.judge(ended, outcome).await
    }

    /// Moves events between the group, the conversation and the pipeline until one has ended it all.
    async fn drive<S: Sink + 'static>(
        &mut self,
        handle: &mut Handle,
        running: &mut Running<S>,
        sink: &mut Option<S>,
        outcome: &mut Outcome<S>,
    ) -> Result<Result<Evidence, Failure>, Error> {
        loop {
            tokio::select! {
                event = self.next_event(handle) => self.on_group_event(event?, handle, running).await?,
                Some(notice) = running.notices.recv() => self.on_notice(notice, running, sink)?,
                received = join(&mut running.receiving) => {
                    running.receiving = None;
                    *outcome = outcome_of(received);
                    self.on_stream_end(handle, running, outcome).await;
                }
                ended = &mut running.conversation => return self.conversation_end(ended),
            }
        }
    }

    async fn on_group_event<S>(
        &mut self,
        event: Event,
        handle: &Handle,
        running: &Running<S>,
    ) -> Result<(), Error> {
        let tell = match event {
            Event::Ended(reason) => {
                self.ended = Some(reason.clone());
                return Err(Error::GroupLost(reason));
            }
            Event::Gcs(event) => self.on_gcs_event(event, handle)?,
            Event::Restarted { me } => {
                self.reporter.remark(format!("primary component lost: coming back as {me}"));
                None
            }
            Event::Link(_) | Event::Pc(_) => None,
        };
        if let Some(event) = tell {
            // Only a conversation that has ended does not listen, and it says so itself.
            let _ = running.tell.send(event).await;
        }
        Ok(())
    }

    fn on_gcs_event(
        &mut self,
        event: gcs::Event,
        handle: &Handle,
    ) -> Result<Option<SstEvent>, Error> {
        match event {
            gcs::Event::ConfigurationChanged(configuration) => {
                self.on_configuration(&configuration);
                Ok(None)
            }
            gcs::Event::RequestWaiting(reason) => {
                self.reporter.remark(reason.to_string());
                Ok(None)
            }
            gcs::Event::RequestAccepted(acceptance) => Ok(Some(self.accepted(&acceptance, handle))),
            gcs::Event::RequestRefused(error) => {
                Err(Error::Request { donors: self.config.donors.clone(), error })
            }
            gcs::Event::TransferEnded { donor, code, .. } => {
                self.record.join_code(donor, code);
                Ok(Some(SstEvent::DonorJoined { code }))
            }
            gcs::Event::DonorLost { .. } => Ok(Some(SstEvent::DonorGone)),
            gcs::Event::TransferUnknown { cause, .. } => {
                self.reporter.remark(cause.to_string());
                Ok(Some(SstEvent::TransferUnknown))
            }
            gcs::Event::NonPrimary(cause) => {
                self.reporter.remark(format!("{cause}: the transfer goes on"));
                Ok(None)
            }
            gcs::Event::MemberStatusChanged { .. }
            | gcs::Event::RequestSent { .. }
            | gcs::Event::LeaveAdvised(_)
            | gcs::Event::Dropped { .. }
            | gcs::Event::DonationBegun(_)
            | gcs::Event::Left => Ok(None),
        }
    }

    fn accepted(&mut self, acceptance: &Acceptance, handle: &Handle) -> SstEvent {
        let transfer = &acceptance.transfer;
        let address = handle.status().address_of(&transfer.donor);
        self.record.accepted(transfer, address);
        let at = address.map_or_else(|| "unknown address".into(), |address| address.to_string());
        self.reporter.enter(Phase::Waiting, format!("donor {} at {at}", transfer.donor_name));
        SstEvent::RequestAccepted { donor: handle.status().addresses_of(&transfer.donor) }
    }

    fn on_configuration(&mut self, configuration: &Configuration) {
        tracing::info!(
            id = %configuration.id,
            members = configuration.members.len(),
            "group configuration"
        );
    }

    fn on_notice<S: Sink + 'static>(
        &mut self,
        notice: Notice,
        running: &mut Running<S>,
        sink: &mut Option<S>,
    ) -> Result<(), Error> {
        match notice {
            Notice::Metadata(metadata) => return self.on_metadata(*metadata),
            Notice::Keyring(_) => self.reporter.remark("the donor sent its keyring"),
            Notice::Archive(archive) => self.on_archive(archive, running, sink),
        }
        Ok(())
    }

    /// Donors that do not know the secret leave it out; a wrong one is somebody else's.
    fn on_metadata(&mut self, metadata: Metadata) -> Result<(), Error> {
        let told = metadata.secret.as_ref().map(Secret::reveal);
        if self.secret.is_some() && told.is_some_and(|told| Some(told) != self.secret.as_deref()) {
            return Err(Error::WrongSecret);
        }
        self.reporter.expect_bytes(metadata.total_bytes);
        self.record.metadata(metadata);
        Ok(())
    }

    fn on_archive<S: Sink + 'static>(
        &mut self,
        archive: ArchiveReader,
        running: &mut Running<S>,
        sink: &mut Option<S>,
    ) {
        let Some(sink) = sink.take() else { return };
        self.record.first_byte(archive.tls_version());
        self.reporter.enter(Phase::Receiving, "");
        let options = self.record.stream_options(&self.config.stream);
        let progress = self.reporter.progress.clone();
        let cancel = running.cancel.clone();
        running.receiving = Some(tokio::spawn(async move {
            pipeline::run(archive, sink, &options, &progress, &cancel).await
        }));
    }

    async fn on_stream_end<S>(
        &mut self,
        handle: &Handle,
        running: &Running<S>,
        outcome: &Outcome<S>,
    ) {
        let judgement = match outcome {
            Outcome::Pending => return,
            Outcome::Received(received) => {
                self.record.received();
                self.reporter.enter(Phase::Verifying, "waiting for the donor's word");
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
        handle.command(Command::DataEnded).await;
        let _ = running.tell.send(SstEvent::Judged(judgement)).await;
    }

    fn conversation_end(
        &self,
        ended: Result<Result<Evidence, TransferError>, tokio::task::JoinError>,
    ) -> Result<Result<Evidence, Failure>, Error> {
        match ended {
            Ok(Ok(evidence)) => Ok(Ok(evidence)),
            Ok(Err(TransferError::Failed(failure))) => Ok(Err(failure)),
            Ok(Err(TransferError::Cancelled)) | Err(_) => Err(Error::Stopped),
        }
    }

    /// Hears the witnesses. Without a complete backup the sink is aborted.
    async fn judge<S: Sink>(
        &mut self,
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
        let has_begun = self.record.has_begun();
        match (ended, failure) {
            (Some(error), _) => error,
            (None, Some(failure)) => Error::Verdict { failure, cause, has_begun },
            (None, None) => Error::Stopped,
        }
    }

    /// The commit does not need the group, and the group does not need the commit.
    async fn commit_and_leave<S: Sink>(
        &mut self,
        handle: Handle,
        arrived: Arrived<S>,
    ) -> Result<Backup, Error> {
        let Arrived { sink, summary, evidence, complete } = arrived;
        self.reporter.enter(Phase::Committing, format!("{} files", complete.files()));
        let manifest = self.record.manifest(&summary, &evidence);
        let committing = sink.commit(manifest.clone());
        let (committed, ()) = tokio::join!(committing, self.leave(handle));
        let receipt = committed.map_err(Error::Commit)?;
        Ok(Backup { manifest, receipt })
    }

    async fn leave(&self, handle: Handle) {
        if self.ended.is_none() {
            self.reporter.enter(Phase::Leaving, "");
        }
        handle.leave(|_| {}).await;
    }

    /// The group's next event, with what concerns links noted; an error if we are to stop.
    async fn next_event(&mut self, handle: &mut Handle) -> Result<Event, Error> {
        let event = tokio::select! {
            biased;
            () = self.stop.cancelled() => return Err(Error::Stopped),
            event = handle.next_event() => event.unwrap_or(Event::Ended(EndReason::Abandoned)),
        };
        if let Event::Link(link) = &event {
            self.note_link(link);
        }
        Ok(event)
    }

    fn note_link(&mut self, event: &galera_protocol::gmcast::Event) {
        if let Some(trouble) = self.troubles.hear(event) {
            self.remark_once(&trouble.to_string());
        }
    }

    /// A trouble that stays is told once.
    fn remark_once(&mut self, text: &str) {
        if self.last_remark.as_deref() != Some(text) {
            self.reporter.remark(text);
            self.last_remark = Some(text.to_owned());
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

fn outcome_of<S>(
    received: Result<Result<Received<S>, PipelineError>, tokio::task::JoinError>,
) -> Outcome<S> {
    match received {
        Ok(Ok(received)) => Outcome::Received(Box::new(received)),
        Ok(Err(error)) => Outcome::Failed(error),
        Err(_) => Outcome::Failed(PipelineError::ParserLost),
    }
}

/// Waits for the task, or for ever if there is none.
async fn join<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, tokio::task::JoinError> {
    match task {
        Some(task) => task.await,
        None => std::future::pending().await,
    }
}
