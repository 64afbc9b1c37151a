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
mod error;
pub mod metrics;
mod record;
mod report;
mod request;

use std::time::Duration;

use galera_protocol::sst::request::Method;
use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::member;
use crate::net::tls::Keys;
use crate::pipeline;
use crate::pipeline::manifest::{BackupId, Manifest};
use crate::sink::{Receipt, Sink, SinkError};
use crate::sst::{self, DecryptionKey, TlsAcceptor};

pub use error::Error;
pub use report::{Phase, Reporter, Talk};
pub use request::{Advertise, ParseAdvertiseError, default_node_name};

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
    /// Full names of acceptable donors, divided by commas; an empty entry means any.
    pub donors: String,
    /// Methods to ask for, in this order; the next is tried only if the donor lacks the one before.
    pub methods: Vec<Method>,
    /// What the donor is told to dial.
    pub advertise: Advertise,
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
    let Some(limit) = config.overall_limit else {
        return attempts(config, started, &mut open, reporter, stop).await;
    };
    // The attempt is told to stop and not dropped: it has to leave the group.
    let expired = stop.child_token();
    let attempts = attempts(config, started, &mut open, reporter, &expired);
    tokio::pin!(attempts);
    tokio::select! {
        result = &mut attempts => result,
        () = tokio::time::sleep(limit) => {
            expired.cancel();
            attempts.await.map_err(|error| error.after_overall_limit(limit))
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
    let mut last = Error::NoMethod;
    for method in &config.methods {
        let attempt = attempt::Attempt::new(config, *method, started, reporter, stop);
        match attempt.run(open).await {
            Ok(backup) => return Ok(backup),
            Err(error) if error.is_unknown_method() => last = error,
            Err(error) => return Err(error),
        }
    }
    Err(last)
}
