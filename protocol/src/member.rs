//! A member of the group: joins the layers. Inputs in, one ordered queue of actions out.
//!
//! ```text
//!            commands                              events, persist
//!               │                                        ▲
//!               ▼                                        │
//!            ┌─────┐  component, message   ┌────┐        │
//!            │ gcs │ ◄──────────────────── │ pc │ ───────┤
//!            └──┬──┘                       └─┬──┘        │
//!               │ send ──► pc.frame ──► evs  │ ▲ view,   │
//!               ▼                            ▼ │ message │
//!            ┌────────────────────────────────────┐      │
//!            │                evs                 │ ─────┤
//!            └──────────────┬─────────────────────┘      │
//!                    send   ▼  ▲ deliver                 │
//!            ┌────────────────────────────────────┐      │
//!            │               gmcast               │ ─────┘
//!            └────────────────────────────────────┘
//! ```
//!
//! Outputs are moved from the top down: what GCS wants is done before PC's next output is looked at,
//! and so on. So a STATE that PC sends in reaction to a view leaves before anything that EVS does
//! after that view, as if it had been sent from inside the delivery.

mod config;
mod event;

use std::collections::{BTreeSet, VecDeque};

use bytes::Bytes;
use core::net::SocketAddr;

use crate::evs::{self, Evs};
use crate::gcs::{self, Gcs};
use crate::gmcast::{self, Gmcast, LinkId};
use crate::id::NodeId;
use crate::pc::{self, Pc, SavedView};
use crate::time::Instant;

pub use config::Config;
pub use event::{EndReason, Event};

/// What a member is told to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ask a donor for a state snapshot.
    RequestStateTransfer(gcs::Request),
    /// Leave gracefully; [`Event::Ended`] says when that is done.
    Leave,
    /// Drop all links now. The others see a crash.
    Abandon,
}

/// What happens to a member.
#[derive(Clone, Debug)]
pub enum Input {
    /// Begin to join.
    Start,
    /// Something happened to a link, a dial or a look-up.
    Link(gmcast::Input),
    /// Somebody wants something.
    Command(Command),
    /// A deadline has passed.
    Timeout,
}

/// What a member wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Look a name up; answer with [`gmcast::Input::Resolved`].
    Resolve {
        /// Name or numeric address.
        host: String,
        /// Port, for the answer.
        port: u16,
    },
    /// Connect; answer with [`gmcast::Input::Connected`] or [`gmcast::Input::Closed`].
    Dial {
        /// The number of the link to be.
        link: LinkId,
        /// Where.
        remote: SocketAddr,
        /// Speak TLS.
        tls: bool,
    },
    /// Send one frame body.
    SendFrame {
        /// On this link.
        link: LinkId,
        /// The gmcast message.
        body: Bytes,
        /// May be dropped if the link's queue is full: EVS repeats it.
        is_user: bool,
    },
    /// Close a link after flushing what was sent on it.
    CloseLink {
        /// This link.
        link: LinkId,
    },
    /// Save this identity durably before the actions that follow are carried out.
    Persist(SavedView),
    /// Remove the saved identity.
    Forget,
    /// A fact for people and for whoever commands the member.
    Event(Event),
}

/// One member of one group: four layers and the queue between them and the world.
#[derive(Debug)]
pub struct Member {
    config: Config,
    me: NodeId,
    gmcast: Gmcast,
    evs: Evs,
    pc: Pc,
    gcs: Gcs,
    links: BTreeSet<LinkId>,
    actions: VecDeque<Action>,
    phase: Phase,
}

/// Where the member is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Running,
    Leaving { was_primary: bool },
    Ended,
}
