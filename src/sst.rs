//! The listener for the donor's two connections.
//!
//! It is bound before the group is asked, because a MariaDB donor that finds the port closed gives
//! up at once, and the same sockets stay open until the transfer is over. What a connection is,
//! who may connect and whether the transfer is complete is decided by
//! [`Conversation`](galera_protocol::sst::conversation::Conversation); this module moves bytes and
//! time into it and carries out what it says.
//!
//! ```text
//! SstListener::bind(config)?            before the member joins the group
//! listener.run(events, notices, cancel) one future for the whole transfer
//!    events  -> RequestAccepted, DonorJoined, DonorGone, TransferUnknown, Judged
//!    notices <- Metadata, then Archive(ArchiveReader)
//!    result  =  Evidence, or the one reason why there is no backup
//! ```
//!
//! Whoever stops reading the archive slows the donor down: nothing is buffered here.

mod archive;
mod clock;
mod decipher;
mod filter;
mod run;
mod socket;
mod stream;
mod tar;
mod tls;
mod unwrap;

use std::net::SocketAddr;

use galera_protocol::sst::conversation::{self, Evidence, Failure, TlsPolicy};
use galera_protocol::sst::metadata::{Metadata, MetadataFile};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use archive::ArchiveReader;
pub use conversation::{Event, Judgement};
pub use decipher::{Algorithm, DecryptionKey};
pub use socket::{BindError, Listen, SocketOptions};
pub use tls::{DonorCheck, TlsAcceptor};

/// Notices that are on their way at most: one of each kind, and one to spare.
pub const NOTICES_MAX: usize = 4;

/// Everything about one listener.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where donors connect.
    pub listen: Listen,
    /// Options of the sockets.
    pub socket: SocketOptions,
    /// Who may connect, and the time limits.
    pub conversation: conversation::Config,
    /// Shell command that undoes the donor's `compressor`, for those that are not known here.
    pub decompressor: Option<String>,
}

/// What comes out of a running transfer, in this order.
#[derive(Debug)]
pub enum Notice {
    /// Conn 1 was read.
    Metadata(Box<Metadata>),
    /// Some old donors send their keyring, before the archive.
    Keyring(Vec<MetadataFile>),
    /// Conn 2 has begun. Read it to its end, then send [`Event::Judged`].
    Archive(ArchiveReader),
}

/// Why a transfer ended without a backup.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The conversation failed.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// We were asked to stop, or nobody wanted the result any more.
    #[error("the transfer was stopped")]
    Cancelled,
}

/// Sockets on which a donor may connect.
#[derive(Debug)]
pub struct SstListener {
    sockets: Vec<tokio::net::TcpListener>,
    config: Config,
    tls: Option<TlsAcceptor>,
    key: Option<DecryptionKey>,
}

impl SstListener {
    /// Opens the sockets. From here on donors are queued, and held until [`Self::run`] hears which
    /// one the group chose. Must be called within a Tokio runtime.
    pub fn bind(config: Config) -> Result<Self, BindError> {
        let sockets = socket::bind(&config.listen, &config.socket)?;
        let mut config = config;
        config.conversation.decompresses_all = config.decompressor.is_some();
        Ok(Self { sockets, config, tls: None, key: None })
    }

    /// Takes connections inside TLS only: from here on plain text is refused.
    #[must_use]
    pub fn with_tls(mut self, acceptor: TlsAcceptor) -> Self {
        self.config.conversation.tls = TlsPolicy::Required;
        self.tls = Some(acceptor);
        self
    }

    /// Opens `encrypt=1` connections with this key.
    #[must_use]
    pub fn with_key(mut self, key: DecryptionKey) -> Self {
        self.config.conversation.deciphers = true;
        self.key = Some(key);
        self
    }

    /// The addresses that were bound; with port 0 asked for, the ports that the system chose.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| socket.local_addr().ok()).collect()
    }

    /// Waits for any connection and closes it: for a look at whether the listener can be reached.
    pub async fn called(&self) {
        run::accept(&self.sockets).await;
    }

    /// Carries one transfer from its beginning to its end.
    ///
    /// `events` tells what the group says and what the pipeline found. `notices` should have room
    /// for [`NOTICES_MAX`]: time limits rest while one cannot be delivered. On any failure and on
    /// `cancel` the archive's reader fails too, and its socket is shut down even if nobody reads
    /// it, so that the donor is freed.
    pub async fn run(
        self,
        events: mpsc::Receiver<Event>,
        notices: mpsc::Sender<Notice>,
        cancel: CancellationToken,
    ) -> Result<Evidence, TransferError> {
        let decompressor = self.config.decompressor;
        let locks = run::Locks { tls: self.tls, key: self.key, decompressor };
        run::Driver::new(self.sockets, self.config.conversation, locks, notices)
            .run(events, cancel)
            .await
    }
}
