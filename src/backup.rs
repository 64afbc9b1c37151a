//! The main job: join, request an SST, receive, verify, store, leave.
//!
//! ```text
//! bind the listener ─► open the sink ─► join ─► request ─► conn 1 ─► conn 2 ─► the donor's word
//!                                                                                   │
//!                       exit 0 ◄── leave, confirmed ◄── commit ◄── five witnesses ◄─┘
//! ```
//!
//! Nothing in the group is disturbed before the listener is bound and the sink is open. Whatever
//! fails, the sink is aborted and the group is left gracefully, so that the donor is freed.

mod attempt;
mod donors;
mod error;
pub mod metrics;
mod receive;
mod record;
mod report;
mod request;
mod running;

use std::time::Duration;

use galera_protocol::sst::request::Method;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::member;
use crate::net::tls::Keys;
use crate::pipeline;
use crate::pipeline::manifest::{BackupId, Manifest};
use crate::sink::{Receipt, Sink, SinkError};
use crate::sst::{self, DecryptionKey, SstListener, TlsAcceptor};

pub use donors::Donors;
pub use error::Error;
pub use receive::{Receive, receive};
pub use report::{Phase, Reporter, Talk};
pub use request::{Advertise, ParseAdvertiseError, default_node_name};

/// Between two attempts: the group settles, and the donor that failed is itself again.
const ATTEMPT_PAUSE: Duration = Duration::from_secs(5);

/// Everything about one backup but its sink.
#[derive(Clone, Debug)]
pub struct Config {
    /// How to join the group.
    pub member: member::Config,
    /// Where the donor connects, who may, and how long we wait for it.
    pub listener: sst::Config,
    /// Whether the donor's connections run inside TLS.
    pub transfer_tls: TransferTls,
    /// How the stream is checked.
    pub stream: pipeline::Options,
    /// Who may be donor, and when.
    pub donors: Donors,
    /// How often to try; after the first time with another donor.
    pub attempts: u32,
    /// How long a donor may be occupied by us.
    pub donor_limit: Option<Duration>,
    /// Methods to ask for, in this order; the next is tried only if the donor lacks the one before.
    pub methods: Vec<Method>,
    /// What the donor is told to dial.
    pub advertise: Advertise,
    /// Whether the donor's keys (a transition key, a keyring) may go where the backup goes.
    pub keys_may_be_stored: bool,
    /// Limit for the whole job: a donor is not available to the group while it serves us.
    pub overall_limit: Option<Duration>,
    /// The name of the backup.
    pub id: BackupId,
}

impl Config {
    /// All keys in use, for a reload.
    pub fn keys(&self) -> Vec<Keys> {
        let transfer = self.transfer_tls.acceptor.as_ref().map(TlsAcceptor::keys);
        self.member.security.keys().into_iter().chain(transfer).cloned().collect()
    }
}

/// TLS of the donor's connections.
#[derive(Clone, Debug, Default)]
pub struct TransferTls {
    /// Takes them; `None` means plain text.
    pub acceptor: Option<TlsAcceptor>,
    /// The name in our certificate, for donors that check it (MariaDB's `VERIFY_IDENTITY`): the
    /// request carries it with a secret, by which we in turn recognise the donor.
    pub identity: Option<String>,
    /// Opens connections of donors with `encrypt=1`.
    pub key: Option<DecryptionKey>,
}

impl TransferTls {
    fn protect(&self, listener: SstListener) -> SstListener {
        let listener = match self.acceptor.clone() {
            Some(acceptor) => listener.with_tls(acceptor),
            None => listener,
        };
        match self.key.clone() {
            Some(key) => listener.with_key(key),
            None => listener,
        }
    }
}

/// A complete backup.
#[derive(Clone, Debug)]
pub struct Backup {
    /// Everything that is known about it.
    pub manifest: Manifest,
    /// What the sink made.
    pub receipt: Receipt,
}

/// Takes one backup into the sink that `open` makes.
///
/// Success means that all five witnesses held and that the sink has committed. On any failure, and
/// when `stop` is cancelled, nothing that looks like a backup stays behind.
pub async fn run<S, F>(
    config: &Config,
    mut open: F,
    reporter: &Reporter,
    stop: &CancellationToken,
) -> Result<Backup, Error>
where
    S: Sink + 'static,
    S::File: Send,
    F: AsyncFnMut() -> Result<S, SinkError>,
{
    let started = Timestamp::now();
    within(config.overall_limit, stop, async |stop| {
        attempts(config, started, &mut open, reporter, stop).await
    })
    .await
}

/// Does the work, which is told to stop at the limit and not dropped: it has to leave the group.
async fn within<T>(
    limit: Option<Duration>,
    stop: &CancellationToken,
    work: impl AsyncFnOnce(&CancellationToken) -> Result<T, Error>,
) -> Result<T, Error> {
    let Some(limit) = limit else { return work(stop).await };
    let expired = stop.child_token();
    let work = work(&expired);
    tokio::pin!(work);
    tokio::select! {
        result = &mut work => result,
        () = tokio::time::sleep(limit) => {
            expired.cancel();
            work.await.map_err(|error| error.after_overall_limit(limit))
        }
    }
}

async fn attempts<S, F>(
    config: &Config,
    started: Timestamp,
    open: &mut F,
    reporter: &Reporter,
    stop: &CancellationToken,
) -> Result<Backup, Error>
where
    S: Sink + 'static,
    F: AsyncFnMut() -> Result<S, SinkError>,
{
    let mut failed = Vec::new();
    for number in 1..=config.attempts.max(1) {
        let attempt = one_attempt(config, started, &failed, open, reporter, stop);
        let (error, donor) = match attempt.await {
            Ok(backup) => return Ok(backup),
            Err(failure) => failure,
        };
        let Some(donor) = donor.filter(|_| error.is_donors() && number < config.attempts) else {
            return Err(error);
        };
        reporter.remark(format!("{error}: trying again without {donor}"));
        failed.push(donor);
        if stop.run_until_cancelled(tokio::time::sleep(ATTEMPT_PAUSE)).await.is_none() {
            return Err(Error::Stopped);
        }
    }
    Err(Error::NoMethod)
}

/// One attempt, with the method that the donor knows; on failure also the donor that it had.
async fn one_attempt<S, F>(
    config: &Config,
    started: Timestamp,
    failed: &[String],
    open: &mut F,
    reporter: &Reporter,
    stop: &CancellationToken,
) -> Result<Backup, (Error, Option<String>)>
where
    S: Sink + 'static,
    F: AsyncFnMut() -> Result<S, SinkError>,
{
    let mut last = (Error::NoMethod, None);
    for method in &config.methods {
        let mut attempt = attempt::Attempt::new(config, *method, started, failed, reporter, stop);
        match attempt.run(open).await {
            Ok(backup) => return Ok(backup),
            Err(error) if error.is_unknown_method() => last = (error, attempt.donor_name()),
            Err(error) => return Err((error, attempt.donor_name())),
        }
    }
    Err(last)
}
