//! The group as a member sees it: joins without a vote, looks, leaves.
//!
//! Everything here is what the group itself says in its state exchange and since; no server is
//! logged in to, and nothing is asked of any member.

mod report;

use galera_protocol::gcs;
use galera_protocol::member::{EndReason, Event};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::exit::ExitCode;
use crate::member::{self, Handle, NotJoined, Picture, StartError, Troubles};

pub use report::{MemberReport, Report};

/// Why there is nothing to see.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// We cannot be a member.
    #[error("become a member")]
    Start(#[from] StartError),
    /// The membership ended before the group could be seen, or while it was watched.
    #[error("join the group: {0}")]
    Membership(NotJoined),
    /// We were told to stop before the group could be seen.
    #[error("stopped before the group was reached")]
    Stopped,
}

impl Error {
    /// The exit code that says it.
    pub fn exit_code(&self) -> ExitCode {
        match self {
            Self::Start(_) => ExitCode::Configuration,
            Self::Membership(why) => why.exit_code(),
            Self::Stopped => ExitCode::Other,
        }
    }

    /// What to try, where we know.
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::Start(_) => Some("choose another gmcast.listen_addr in --options"),
            Self::Membership(why) => Some(why.remedy()),
            Self::Stopped => None,
        }
    }
}

/// A membership for looking.
pub struct Visit {
    handle: Handle,
    troubles: Troubles,
}

impl Visit {
    /// Joins and waits for the first primary configuration.
    pub async fn begin(config: member::Config, stop: &CancellationToken) -> Result<Self, Error> {
        let handle = member::start(config)?;
        let mut visit = Self { handle, troubles: Troubles::default() };
        loop {
            let event = tokio::select! {
                biased;
                () = stop.cancelled() => {
                    visit.end().await;
                    return Err(Error::Stopped);
                }
                event = visit.next_event() => event?,
            };
            if let Event::Gcs(gcs::Event::ConfigurationChanged(_)) = event {
                return Ok(visit);
            }
        }
    }

    /// The picture as it changes.
    pub fn pictures(&self) -> watch::Receiver<Picture> {
        self.handle.pictures()
    }

    /// The group as it is now.
    pub fn report(&self) -> Report {
        Report::new(&self.handle.status())
    }

    /// Waits for something to happen; an error if the membership has ended.
    pub async fn next_event(&mut self) -> Result<Event, Error> {
        let event = self.handle.next_event().await;
        match event.unwrap_or(Event::Ended(EndReason::Abandoned)) {
            Event::Ended(reason) => {
                Err(Error::Membership(NotJoined::new(reason, self.troubles.take()).await))
            }
            Event::Link(event) => {
                self.troubles.hear(&event);
                Ok(Event::Link(event))
            }
            event @ (Event::Pc(_) | Event::Gcs(_) | Event::Restarted { .. }) => Ok(event),
        }
    }

    /// Leaves the group.
    pub async fn end(self) {
        self.handle.leave(|_| {}).await;
    }
}
