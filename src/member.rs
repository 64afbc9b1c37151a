//! The driver task that owns the protocol core and the connections to peers.
//!
//! It moves bytes, deadlines and commands in and actions out; it decides nothing. Others hold a
//! [`Handle`]: commands go in over a bounded channel, events come out in order.
//!
//! ```text
//!  sockets, all read ─┐                       ┌─ sockets, all written
//!  listener ──────────┤                       │
//!  commands ──────────┼─► Member (core) ──────┼─► dial, resolve, persist
//!  deadline ──────────┘                       └─► events ──► Handle
//! ```

mod alarm;
mod driver;
mod end;
mod identity;
mod link;
mod links;
mod outbox;
mod picture;
mod watchdog;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use galera_protocol::member::{Command, Event, Status};
use galera_protocol::pc::SavedView;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use crate::net::stream::Security;

pub use end::{NotJoined, Troubles};
pub use identity::{IdentityError, StateDirectory};
pub use picture::{Picture, Traffic};

/// Events that may wait for their reader. The driver never waits for it: beyond this limit the
/// member leaves the group, because whoever should act on events no longer does.
const EVENTS_MAX: usize = 16 * 1024;

/// Commands that may wait for the driver.
const COMMANDS_MAX: usize = 16;

/// What a member needs to know to join.
#[derive(Clone, Debug)]
pub struct Config {
    /// The core's configuration: addresses, group, timers, weight, names.
    pub core: galera_protocol::member::Config,
    /// Where the identity survives a restart; `None` keeps it in memory only.
    pub state_directory: Option<PathBuf>,
    /// The identity to come back with if the state directory holds none.
    pub saved: Option<SavedView>,
    /// How long a graceful leave may take before links are dropped (`pc.linger`).
    pub linger: Duration,
    /// Whether links run inside TLS.
    pub security: Security,
}

/// Why a member could not be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The port for group traffic cannot be bound.
    #[error("listen for group traffic on {address}")]
    Listen {
        /// What was to be bound.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// A running member, as the rest of the program sees it.
pub struct Handle {
    commands: mpsc::Sender<Command>,
    events: mpsc::Receiver<Event>,
    picture: watch::Receiver<Picture>,
    task: JoinHandle<()>,
}

impl Handle {
    /// The next event, in order; `None` once the member has ended.
    pub async fn next_event(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The latest picture of the member and its group; as new as the last event.
    pub fn status(&self) -> Status {
        self.picture.borrow().status.clone()
    }

    /// The picture as it changes, for whoever shows it; at most a second old while nothing happens.
    pub fn pictures(&self) -> watch::Receiver<Picture> {
        self.picture.clone()
    }

    /// The identity to come back with, should this member have ended without leaving.
    pub fn saved(&self) -> Option<SavedView> {
        self.picture.borrow().saved.clone()
    }

    /// Gives the member something to do; ignored once it has ended.
    pub async fn command(&self, command: Command) {
        let _ = self.commands.send(command).await;
    }

    /// Leaves the group gracefully and waits for it; bounded by the configured linger.
    ///
    /// Events that arrive meanwhile are given to `on_event`.
    pub async fn leave(mut self, mut on_event: impl FnMut(Event)) {
        self.command(Command::Leave).await;
        while let Some(event) = self.events.recv().await {
            on_event(event);
        }
        let _ = self.task.await;
    }
}

/// Binds the listener and starts the driver task.
///
/// Must be called within a Tokio runtime.
pub fn start(config: Config) -> Result<Handle, StartError> {
    let (commands, command_receiver) = mpsc::channel(COMMANDS_MAX);
    let (event_sender, events) = mpsc::channel(EVENTS_MAX);
    let (driver, picture) = driver::Driver::new(config, command_receiver, event_sender)?;
    let task = tokio::spawn(driver.run());
    Ok(Handle { commands, events, picture, task })
}
