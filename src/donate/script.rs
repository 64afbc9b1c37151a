//! The conversation with one joiner, as a donor's script has it (spec 05 §2): metadata, a pause, the
//! backup, an exit status.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use galera_protocol::gcs::state_request::RequestBody;
use galera_protocol::sst::metadata::Position;
use galera_protocol::sst::request::{Method, RequestError, SstRequest};
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::content::{Content, Entry};
use super::fault::{self, Fault, StreamFaults, Verdict};
use super::stream::{self, Chunks, ReadError};
use super::wire::{self, LineError, Sent};
use crate::net::stream::Stream;
use crate::net::tls::Keys;

/// Chunks between disk and network.
const CHUNKS_QUEUED: usize = 2;

/// Connecting again where the method's script does: times, and the wait between them.
const PERCONA_RETRIES: u32 = 30;
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Exit statuses of the scripts.
const NO_SUCH_METHOD: u8 = 2;
const METADATA_FAILED: u8 = 32;
const BACKUP_FAILED: u8 = 22;
const NO_VERSION: u8 = 93;
const REFUSED_BY_SERVER: u8 = 125;
const NO_MESSAGE: u8 = 42;

/// How a donor serves.
#[derive(Clone, Debug)]
pub struct Script {
    /// What.
    pub content: Arc<Content>,
    /// With TLS, if there are keys.
    pub keys: Option<Keys>,
    /// Between the two connections: ten seconds with every server.
    pub pause: Duration,
    /// What goes wrong.
    pub faults: Vec<Fault>,
}

/// Why a donation failed that should not have.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Nothing that a donor understands.
    #[error("the request is none for a backup: {0}")]
    Request(#[from] RequestError),
    /// A database server wants to join. It would need the write-sets too.
    #[error("the request is a database server's; only backups are served here")]
    Container,
    /// The request is no text.
    #[error("the request cannot be read")]
    Unreadable,
    /// The served backup is of the other kind.
    #[error("the data was made for {has}, and {asked} was asked for")]
    Method {
        /// What it is.
        has: Method,
        /// What was wanted.
        asked: Method,
    },
    /// The first connection.
    #[error("metadata connection: {0}")]
    Metadata(#[source] LineError),
    /// The second connection.
    #[error("backup connection: {0}")]
    Backup(#[source] LineError),
}

impl Trouble {
    /// What a donor's script, or its server, would have ended with.
    pub fn status(&self) -> u8 {
        match self {
            Self::Request(RequestError::Method) | Self::Method { .. } => NO_SUCH_METHOD,
            Self::Request(RequestError::Path) => NO_VERSION,
            Self::Request(_) | Self::Unreadable => REFUSED_BY_SERVER,
            Self::Container => NO_MESSAGE,
            Self::Metadata(_) => METADATA_FAILED,
            Self::Backup(_) => BACKUP_FAILED,
        }
    }
}

/// How a donation ended.
#[derive(Debug)]
pub struct Served {
    /// Bytes of the backup that were sent.
    pub bytes: u64,
    /// What the donor tells the group.
    pub verdict: Verdict,
    /// What went wrong unasked.
    pub trouble: Option<Trouble>,
}

/// Reads what a group's request carries.
pub fn read_request(body: &Bytes) -> Result<SstRequest, Trouble> {
    let body = RequestBody::decode(body).map_err(|_| Trouble::Unreadable)?;
    let (method, argument) = match body {
        RequestBody::Plain { method, argument } => (method, argument),
        RequestBody::Container { .. } => return Err(Trouble::Container),
        RequestBody::Other(_) => return Err(Trouble::Unreadable),
    };
    let text = [&method[..], b":", &argument[..]].concat();
    let text = String::from_utf8(text).map_err(|_| Trouble::Unreadable)?;
    Ok(text.parse::<SstRequest>()?)
}

impl Script {
    /// Serves a request; `position` is where the donor stood when it was chosen.
    pub async fn run(&self, request: Result<SstRequest, Trouble>, position: Position) -> Served {
        let refused = self.faults.iter().any(|fault| matches!(fault, Fault::Refuse(_)));
        let sent = match request {
            Ok(_) if refused => Ok(Sent { bytes: 0, is_whole: false }),
            Ok(request) => self.converse(&request, position).await,
            Err(trouble) => Err(trouble),
        };
        let (bytes, status, trouble) = match sent {
            Ok(Sent { bytes, is_whole: true }) => (bytes, 0, None),
            Ok(Sent { bytes, is_whole: false }) => (bytes, BACKUP_FAILED, None),
            Err(trouble) => (0, trouble.status(), Some(trouble)),
        };
        Served { bytes, verdict: fault::verdict(&self.faults, status), trouble }
    }

    async fn converse(&self, request: &SstRequest, position: Position) -> Result<Sent, Trouble> {
        let asked = request.method;
        if let Some(has) = self.content.method.filter(|has| *has != asked) {
            return Err(Trouble::Method { has, asked });
        }
        self.send_metadata(request, position).await.map_err(Trouble::Metadata)?;
        sleep(self.pause).await;
        self.send_backup(request, position).await.map_err(Trouble::Backup)
    }

    async fn send_metadata(
        &self,
        request: &SstRequest,
        position: Position,
    ) -> Result<(), LineError> {
        let bytes = stream::whole(metadata(request, position))?;
        let (sender, chunks) = mpsc::channel(1);
        let _ = sender.send(Ok(bytes.into())).await;
        drop(sender);
        let line = self.dial(request).await?;
        wire::send(line, chunks, StreamFaults::default()).await.map(|_| ())
    }

    async fn send_backup(
        &self,
        request: &SstRequest,
        position: Position,
    ) -> Result<Sent, LineError> {
        let omitted = fault::omitted(&self.faults);
        let entries = self.content.entries(request.method, position, &omitted);
        let line = self.dial(request).await?;
        let chunks = read_ahead(Chunks::new(entries, request.method));
        wire::send(line, chunks, StreamFaults::of(&self.faults)).await
    }

    async fn dial(&self, request: &SstRequest) -> Result<Stream, LineError> {
        let retries = match request.method {
            Method::Mariabackup => 0,
            Method::XtrabackupV2 => PERCONA_RETRIES,
        };
        for _ in 0..retries {
            match wire::dial(request, self.keys.as_ref()).await {
                Err(LineError::Connect(_) | LineError::Silent) => sleep(RETRY_PAUSE).await,
                done => return done,
            }
        }
        wire::dial(request, self.keys.as_ref()).await
    }
}

/// What the first connection carries.
fn metadata(request: &SstRequest, position: Position) -> Vec<Entry> {
    let line = format!("{position} 0\n");
    let secret =
        request.identity.as_ref().map(|identity| format!("secret {}\n", identity.secret()));
    match request.method {
        Method::Mariabackup => {
            let first = format!("{line}{}", secret.unwrap_or_default());
            let files = [("xtrabackup_galera_info", first), ("donor_galera_info", line)];
            files.into_iter().filter_map(|(name, text)| Entry::text(name, text)).collect()
        }
        Method::XtrabackupV2 => {
            let text = format!(
                "[sst]\ngalera-gtid={position}\nbinlog-name=binlog\nmysql-version=8.0.0-0\n"
            );
            Entry::text("sst_info", text).into_iter().collect()
        }
    }
}

/// Reads on a thread of its own, as far ahead as the queue allows.
fn read_ahead(mut chunks: Chunks) -> mpsc::Receiver<Result<Bytes, ReadError>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_QUEUED);
    tokio::task::spawn_blocking(move || {
        while let Some(chunk) = chunks.next_chunk().transpose() {
            let is_last = chunk.is_err();
            // Nobody listens any more once the connection is broken.
            if sender.blocking_send(chunk).is_err() || is_last {
                return;
            }
        }
    });
    receiver
}

#[cfg(test)]
mod tests;
