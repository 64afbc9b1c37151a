//! Everything after the request, for a member that is somebody else's: `garbd --recv-script`, a joiner.
//!
//! ```text
//! bind the listener ─► open the sink ─► conn 1 ─► conn 2 ─► four witnesses ─► settle ─► commit
//! ```
//!
//! The group's word is missing: only the member that asked hears it. Garbd ends its script by SIGTERM
//! when the donor fails, and that word may come after the end of the stream; [`Receive::settle`] waits
//! for it. Whoever can use [`super::run`] should: it hears the donor itself.

use std::time::Duration;

use galera_protocol::sst::conversation::{Event as SstEvent, Evidence, Failure, GroupWitness};
use galera_protocol::sst::request::Method;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use super::error::Error;
use super::record::Record;
use super::report::{Phase, Reporter};
use super::running::{Arrived, Running, TransferOptions, conversation_end, join};
use super::{Backup, TransferTls, within};
use crate::net::tls::Keys;
use crate::pipeline;
use crate::pipeline::manifest::BackupId;
use crate::sink::{Sink, SinkError};
use crate::sst::{self, SstListener, TlsAcceptor};

/// How to receive one backup that somebody else asked for.
#[derive(Clone, Debug)]
pub struct Receive {
    /// Where the donor connects, who may, and how long we wait for it.
    pub listener: sst::Config,
    /// Whether the donor's connections run inside TLS.
    pub transfer_tls: TransferTls,
    /// How the stream is checked.
    pub stream: pipeline::Options,
    /// Name of the group, for the manifest.
    pub group: String,
    /// The method that was asked for.
    pub method: Method,
    /// Whether the donor's keys may go where the backup goes.
    pub keys_may_be_stored: bool,
    /// How long to wait for a stop between the end of the stream and the commit.
    pub settle: Duration,
    /// Limit for the whole job.
    pub overall_limit: Option<Duration>,
    /// The name of the backup.
    pub id: BackupId,
}

impl Receive {
    /// All keys in use, for a reload.
    pub fn keys(&self) -> Vec<Keys> {
        self.transfer_tls.acceptor.as_ref().map(TlsAcceptor::keys).into_iter().cloned().collect()
    }
}

/// Receives one backup into the sink that `open` makes, as [`super::run`] does but for the group.
pub async fn receive<S, F>(
    config: &Receive,
    open: F,
    reporter: &Reporter,
    stop: &CancellationToken,
) -> Result<Backup, Error>
where
    S: Sink + 'static,
    F: AsyncFnOnce() -> Result<S, SinkError>,
{
    within(config.overall_limit, stop, async |stop| {
        let mut listener = config.listener.clone();
        listener.conversation.group = GroupWitness::Unavailable;
        let listener = config.transfer_tls.protect(SstListener::bind(listener)?);
        let sink = open().await.map_err(Error::OpenSink)?;
        let record =
            Record::new(config.id.clone(), config.group.clone(), config.method, Timestamp::now());
        Receiving { config, reporter, stop, record }.run(listener, sink).await
    })
    .await
}

struct Receiving<'a> {
    config: &'a Receive,
    reporter: &'a Reporter,
    stop: &'a CancellationToken,
    record: Record,
}

impl Receiving<'_> {
    async fn run<S: Sink + 'static>(
        mut self,
        listener: SstListener,
        sink: S,
    ) -> Result<Backup, Error> {
        let addresses: Vec<_> =
            listener.local_addresses().iter().map(ToString::to_string).collect();
        self.reporter.enter(Phase::Waiting, addresses.join(", "));
        let mut running = Running::start(listener, sink);
        let ended = self.drive(&mut running).await;
        let outcome = running.end().await;
        let arrived = self.record.judge(ended, outcome).await?;
        self.commit(arrived).await
    }

    async fn drive<S: Sink + 'static>(
        &mut self,
        running: &mut Running<S>,
    ) -> Result<Result<Evidence, Failure>, Error> {
        // Who asked knows the donor, and we do not: the listener's own rules say who may connect.
        let accepted = SstEvent::RequestAccepted { donor: Vec::new() };
        let _ = running.tell.send(accepted).await;
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Error::Stopped),
                Some(notice) = running.notices.recv() => {
                    let options = TransferOptions {
                        stream: &self.config.stream,
                        reporter: self.reporter,
                        secret: None,
                        keys_may_be_stored: self.config.keys_may_be_stored,
                    };
                    running.on_notice(notice, &mut self.record, &options)?;
                }
                received = join(&mut running.receiving) => {
                    running.on_received(received, &mut self.record, self.reporter).await;
                }
                ended = &mut running.conversation => return conversation_end(ended),
            }
        }
    }

    async fn commit<S: Sink>(&mut self, arrived: Arrived<S>) -> Result<Backup, Error> {
        let Arrived { sink, summary, evidence, complete } = arrived;
        if self.stop.run_until_cancelled(tokio::time::sleep(self.config.settle)).await.is_none() {
            sink.abort().await;
            return Err(Error::Stopped);
        }
        self.reporter.enter(Phase::Committing, format!("{} files", complete.files()));
        let manifest = self.record.manifest(&summary, &evidence);
        let receipt = sink.commit(manifest.clone()).await.map_err(Error::Commit)?;
        Ok(Backup { manifest, receipt })
    }
}
