//! What operators watch: the member's picture as metrics, liveness and readiness over HTTP, and
//! readiness for systemd.
//!
//! It only looks. A member is followed by its [`Picture`]; nothing here can hold one up, and a
//! process without `--http` and without systemd does not notice it.

pub mod http;
mod latency;
pub mod metrics;
pub mod systemd;
pub mod traces;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::member::Picture;

/// A running member renews its picture every second; one that has not for so long stands still.
const PICTURE_AGE_MAX: Duration = Duration::from_secs(10);

/// An answer to the question how it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Well, in these words.
    Good(String),
    /// Not well, for this reason.
    Bad(String),
}

impl Health {
    /// The words.
    pub fn text(&self) -> &str {
        match self {
            Self::Good(text) | Self::Bad(text) => text,
        }
    }
}

/// Where a process's present member can be looked at. Clones look at the same.
#[derive(Clone, Debug)]
pub struct Monitor(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    member: watch::Sender<Option<watch::Receiver<Picture>>>,
    is_ready: watch::Sender<bool>,
    memberships: watch::Sender<u64>,
}

impl Default for Monitor {
    fn default() -> Self {
        Self(Arc::new(Shared {
            member: watch::Sender::new(None),
            is_ready: watch::Sender::new(false),
            memberships: watch::Sender::new(0),
        }))
    }
}

impl Monitor {
    /// A member has been started: look at this one from now on.
    pub fn follow(&self, pictures: watch::Receiver<Picture>) {
        self.0.member.send_replace(Some(pictures));
        self.0.memberships.send_modify(|count| *count += 1);
    }

    /// The primary component has been reached.
    pub fn set_ready(&self) {
        self.0.is_ready.send_replace(true);
    }

    /// Waits for [`Monitor::set_ready`].
    pub async fn ready(&self) {
        let mut is_ready = self.0.is_ready.subscribe();
        // The sender lives as long as `self`.
        let _ = is_ready.wait_for(|is_ready| *is_ready).await;
    }

    /// The present member's picture, if there has been a member.
    pub fn picture(&self) -> Option<Picture> {
        self.0.member.borrow().as_ref().map(|pictures| pictures.borrow().clone())
    }

    /// Does the member's task run? Between two memberships there is none, which is no fault.
    pub fn liveness(&self) -> Health {
        let member = self.0.member.borrow();
        let Some(pictures) = member.as_ref().filter(|pictures| pictures.has_changed().is_ok())
        else {
            return Health::Good("not a member at this moment".into());
        };
        let age = pictures.borrow().taken.elapsed();
        if age > PICTURE_AGE_MAX {
            return Health::Bad(format!("the member has stood still for {} s", age.as_secs()));
        }
        Health::Good("the member runs".into())
    }

    /// Are we in the primary component?
    pub fn readiness(&self) -> Health {
        let member = self.0.member.borrow();
        let Some(pictures) = member.as_ref().filter(|pictures| pictures.has_changed().is_ok())
        else {
            return Health::Bad("not a member of the group".into());
        };
        let picture = pictures.borrow();
        let status = &picture.status;
        match status.configuration {
            Some((id, ..)) => Health::Good(format!(
                "primary component of {} members, {} votes, configuration {id}",
                status.members.len(),
                status.pc.cluster_weight,
            )),
            None => Health::Bad(format!("no primary component ({})", status.pc.state)),
        }
    }

    /// How many members this process has started.
    pub fn memberships(&self) -> u64 {
        *self.0.memberships.borrow()
    }
}

/// How many of all votes may be lost at once: what remains must outweigh it.
pub fn quorum_margin(votes: u32) -> u32 {
    votes.saturating_sub(1) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_votes_is_one_too_many_to_lose() {
        let margins = [0, 1, 2, 3, 4, 5].map(quorum_margin);
        assert_eq!(margins, [0, 0, 0, 1, 1, 2]);
    }
}
