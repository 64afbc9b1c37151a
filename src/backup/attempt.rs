//! One try: one membership, one request, one transfer.

use std::time::Duration;

use galera_protocol::gcs::{self, Acceptance, Configuration};
use galera_protocol::member::{Command, EndReason, Event};
use galera_protocol::sst::conversation::{Event as SstEvent, Evidence, Failure};
use galera_protocol::sst::request::Method;
use jiff::Timestamp;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::record::Record;
use super::report::{Phase, Reporter};
use super::running::{Arrived, Running, TransferOptions, conversation_end, join};
use super::{Backup, Config, request};
use crate::member::{self, Handle, NotJoined, Troubles};
use crate::sink::{Sink, SinkError};
use crate::sst::SstListener;

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
    /// Donors of earlier attempts.
    failed: &'a [String],
    /// The members, and which of them we are, as of the last configuration.
    configuration: Option<Box<Configuration>>,
    /// When the donor has to be done.
    donor_until: Option<Instant>,
}

impl<'a> Attempt<'a> {
    pub(super) fn new(
        config: &'a Config,
        method: Method,
        started: Timestamp,
        failed: &'a [String],
        reporter: &'a Reporter,
        stop: &'a CancellationToken,
    ) -> Self {
        let group = config.member.core.gmcast.group.to_string();
        let record = Record::new(config.id.clone(), group, method, started);
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
            failed,
            configuration: None,
            donor_until: None,
        }
    }

    /// The donor that the group chose, if it came to that.
    pub(super) fn donor_name(&self) -> Option<String> {
        self.record.donor_name()
    }

    /// Runs to the end, and leaves the group whatever happens.
    pub(super) async fn run<S, F>(&mut self, open: &mut F) -> Result<Backup, Error>
    where
        S: Sink + 'static,
        F: AsyncFnMut() -> Result<S, SinkError>,
    {
        let listener = SstListener::bind(self.config.listener.clone())?;
        let listener = self.config.transfer_tls.protect(listener);
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
        let donors = self.donors().ok_or(Error::NoDonorLeft)?;
        let conditions = self.config.donors.conditions;
        let request = request::for_group(&request, donors, conditions);
        handle.command(Command::RequestStateTransfer(request)).await;
        Ok(())
    }

    fn donors(&self) -> Option<String> {
        let Some(configuration) = &self.configuration else {
            return Some(self.config.donors.names.clone());
        };
        let me = configuration.members.get(configuration.my_index)?.node;
        self.config.donors.list(&configuration.members, &me, self.failed)
    }

    /// Follows the transfer from the request to the last witness but the sink's own.
    async fn follow<S: Sink + 'static>(
        &mut self,
        handle: &mut Handle,
        listener: SstListener,
        sink: S,
    ) -> Result<Arrived<S>, Error> {
        let mut running = Running::start(listener, sink);
        let ended = self.drive(handle, &mut running).await;
        let outcome = running.end().await;
        self.record.judge(ended, outcome).await
    }

    /// Moves events between the group, the conversation and the pipeline until one has ended it all.
    async fn drive<S: Sink + 'static>(
        &mut self,
        handle: &mut Handle,
        running: &mut Running<S>,
    ) -> Result<Result<Evidence, Failure>, Error> {
        loop {
            let (until, limit) = (self.donor_until, self.config.donor_limit);
            tokio::select! {
                event = self.next_event(handle) => self.on_group_event(event?, handle, running).await?,
                Some(notice) = running.notices.recv() => {
                    let options = TransferOptions {
                        stream: &self.config.stream,
                        reporter: self.reporter,
                        secret: self.secret.as_deref(),
                        keys_may_be_stored: self.config.keys_may_be_stored,
                    };
                    running.on_notice(notice, &mut self.record, &options)?;
                }
                received = join(&mut running.receiving) => {
                    running.on_received(received, &mut self.record, self.reporter).await;
                    handle.command(Command::DataEnded).await;
                }
                ended = &mut running.conversation => return conversation_end(ended),
                limit = donor_time(until, limit) => {
                    return Err(Error::DonorLimit { limit });
                }
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
                Err(Error::Request { donors: self.config.donors.names.clone(), error })
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
        self.donor_until = self.config.donor_limit.map(|limit| Instant::now() + limit);
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
        self.configuration = Some(Box::new(configuration.clone()));
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

/// Resolves when the donor has been ours for too long, if there is a limit.
async fn donor_time(until: Option<Instant>, limit: Option<Duration>) -> Duration {
    match (until, limit) {
        (Some(until), Some(limit)) => {
            tokio::time::sleep_until(until).await;
            limit
        }
        (None, _) | (_, None) => std::future::pending().await,
    }
}
