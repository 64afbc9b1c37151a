//! What a member knows at one moment: the core's status, and what only the driver sees.

use galera_protocol::member::Status;
use galera_protocol::pc::SavedView;
use tokio::time::Instant;

/// Frames and bytes since the member was started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Whole frames received.
    pub frames_received: u64,
    /// Their bodies.
    pub bytes_received: u64,
    /// Frames handed to links.
    pub frames_sent: u64,
    /// Their bodies.
    pub bytes_sent: u64,
    /// Frames that did not fit into the queue of their link.
    pub frames_dropped: u64,
    /// Connections that peers opened.
    pub links_accepted: u64,
    /// Lives under the saved identity, begun after the primary component was lost.
    pub restarts: u64,
}

/// A member at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// What the core says.
    pub status: Status,
    /// What passed the links.
    pub traffic: Traffic,
    /// When.
    pub taken: Instant,
    /// The identity to come back with, should this member end without having left.
    pub saved: Option<SavedView>,
}
