//! Memberships as the layers hand them upwards.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{NodeId, Segment, ViewId, ViewKind};

/// A membership that EVS delivers to PC (kinds REG and TRANS).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Kind, representative and number. The empty REG view that ends a leave has the nil node.
    pub id: ViewId,
    /// Protocol version agreed for the group: 0 or 1.
    pub version: u8,
    /// Who is in it, we included (nobody in the empty REG view).
    pub members: BTreeSet<NodeId>,
    /// Members that were not in the view before.
    pub joined: BTreeSet<NodeId>,
    /// Members of the old view that left gracefully.
    pub left: BTreeSet<NodeId>,
    /// Members of the old view that are gone in any other way.
    pub partitioned: BTreeSet<NodeId>,
}

impl View {
    /// A view with members and nothing else.
    pub fn new(id: ViewId, version: u8, members: BTreeSet<NodeId>) -> Self {
        let (joined, left, partitioned) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        Self { id, version, members, joined, left, partitioned }
    }

    /// True for the empty REG view that ends a graceful leave.
    pub fn is_end(&self) -> bool {
        self.id.kind == ViewKind::Regular && self.members.is_empty()
    }
}

/// A membership that PC delivers to GCS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Component {
    /// PRIM or NON_PRIM, with the nil node for the last one of a leave.
    pub id: ViewId,
    /// Formed by a manual or automatic bootstrap.
    pub is_bootstrap: bool,
    /// Members in index order (ascending UUID), with their segments.
    pub members: BTreeMap<NodeId, Segment>,
}

impl Component {
    /// May this component act?
    pub fn is_primary(&self) -> bool {
        self.id.kind == ViewKind::Primary
    }

    /// The index of a member: its rank by UUID. Valid in this component only.
    pub fn index_of(&self, node: &NodeId) -> Option<usize> {
        self.members.keys().position(|member| member == node)
    }

    /// The member with this index.
    pub fn member_at(&self, index: usize) -> Option<NodeId> {
        self.members.keys().nth(index).copied()
    }
}
