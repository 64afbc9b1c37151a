//! How far a stream is, for people and metrics.

use galera_protocol::xbstream::EntryPath;
use tokio::sync::watch;

/// How far a stream is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Bytes of the stream that were read and found good.
    pub stream_bytes: u64,
    /// Bytes of files in them.
    pub data_bytes: u64,
    /// Files that are complete.
    pub files_complete: u64,
    /// Files that are open.
    pub files_open: u64,
    /// The file of the latest bytes.
    pub current: Option<EntryPath>,
    /// The file that was completed last.
    pub last_complete: Option<EntryPath>,
}

/// Shares a [`Snapshot`], renewed with every buffer, between the pipeline and those who watch it.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    sender: watch::Sender<Snapshot>,
}

impl Progress {
    /// The state now.
    pub fn snapshot(&self) -> Snapshot {
        self.sender.borrow().clone()
    }

    /// Tells of every change.
    pub fn subscribe(&self) -> watch::Receiver<Snapshot> {
        self.sender.subscribe()
    }

    pub(super) fn publish(&self, snapshot: Snapshot) {
        self.sender.send_replace(snapshot);
    }
}
