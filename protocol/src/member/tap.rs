//! What a simulation may look at inside a member.

use super::Member;
use crate::evs::{self, Evs};
use crate::gcs::{self, Gcs};
use crate::id::NodeId;
use crate::pc::{self, Pc};

/// Something that passed from one layer to the next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Passed {
    /// The next life began, under this UUID.
    Began(NodeId),
    /// Out of EVS.
    Evs(evs::Output),
    /// Out of PC.
    Pc(pc::Output),
    /// Out of GCS.
    Gcs(gcs::Output),
}

/// What has passed since somebody looked. Closed until somebody listens, so that a member that
/// nobody observes gathers nothing.
#[derive(Debug, Default)]
pub(super) struct Tap(Option<Vec<Passed>>);

impl Tap {
    pub(super) fn note(&mut self, passed: impl FnOnce() -> Passed) {
        if let Some(noted) = &mut self.0 {
            noted.push(passed());
        }
    }
}

impl Member {
    /// Everything that passed between the layers since the last call; the first call begins it.
    pub fn take_passed(&mut self) -> Vec<Passed> {
        self.tap.0.replace(Vec::new()).unwrap_or_default()
    }

    /// The order layer.
    pub fn evs(&self) -> &Evs {
        &self.layers.evs
    }

    /// The quorum layer.
    pub fn pc(&self) -> &Pc {
        &self.layers.pc
    }

    /// The group layer.
    pub fn gcs(&self) -> &Gcs {
        &self.layers.gcs
    }
}
