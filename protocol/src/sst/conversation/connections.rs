//! The connections that are open, and what is known about each.

use core::net::IpAddr;
use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::ConnectionId;
use crate::sst::sniff::{Container, Content};

/// Connections kept at a time. A donor needs two; the rest is room for probes. The newest is
/// refused beyond it.
pub(super) const CONNECTIONS_MAX: usize = 16;

/// One open connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) peer: IpAddr,
    pub(super) role: Role,
}

/// Which layers were taken off a connection. Each comes once, so that nobody can nest them without
/// end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Peeled(u8);

impl Peeled {
    pub(super) const TLS: Self = Self(1);
    pub(super) const COMPRESSOR: Self = Self(2);
    pub(super) const CIPHER: Self = Self(4);
    pub(super) const TAR: Self = Self(8);

    pub(super) const fn has(self, layer: Self) -> bool {
        self.0 & layer.0 != 0
    }

    pub(super) const fn with(self, layer: Self) -> Self {
        Self(self.0 | layer.0)
    }
}

/// What a connection is, as far as its bytes have told.
#[derive(Debug)]
pub(super) enum Role {
    /// Not read: the group has not chosen a donor.
    Held,
    /// Being read, not recognised.
    Undecided { head: BytesMut, peeled: Peeled },
    /// A small archive, collected to its end.
    Collecting { container: Container, content: Content, bytes: BytesMut },
    /// The backup, recognised before conn 1 was read to its end.
    Early { head: Bytes },
    /// The backup; the pipeline has it.
    Archive,
}

impl Role {
    pub(super) fn undecided() -> Self {
        Self::Undecided { head: BytesMut::new(), peeled: Peeled::default() }
    }

    /// True if it may yet turn out to be, or is, conn 1.
    const fn may_be_metadata(&self) -> bool {
        match self {
            Self::Held | Self::Undecided { .. } => true,
            Self::Collecting { content, .. } => matches!(content, Content::Metadata),
            Self::Early { .. } | Self::Archive => false,
        }
    }

    const fn is_undecided(&self) -> bool {
        matches!(self, Self::Undecided { .. })
    }
}

/// All open connections.
#[derive(Debug, Default)]
pub(super) struct Connections(BTreeMap<ConnectionId, Connection>);

impl Connections {
    pub(super) fn is_over_full(&self) -> bool {
        self.0.len() > CONNECTIONS_MAX
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn insert(&mut self, id: ConnectionId, connection: Connection) {
        self.0.insert(id, connection);
    }

    pub(super) fn remove(&mut self, id: ConnectionId) -> Option<Connection> {
        self.0.remove(&id)
    }

    pub(super) fn role_mut(&mut self, id: ConnectionId) -> Option<&mut Role> {
        self.0.get_mut(&id).map(|connection| &mut connection.role)
    }

    pub(super) fn held(&self) -> Vec<(ConnectionId, IpAddr)> {
        let held = self.0.iter().filter(|(_, open)| matches!(open.role, Role::Held));
        held.map(|(id, open)| (*id, open.peer)).collect()
    }

    pub(super) fn undecided(&self) -> Vec<ConnectionId> {
        let undecided = self.0.iter().filter(|(_, open)| open.role.is_undecided());
        undecided.map(|(id, _)| *id).collect()
    }

    /// True if conn 1 may still come out of one of them.
    pub(super) fn any_may_be_metadata(&self) -> bool {
        self.0.values().any(|open| open.role.may_be_metadata())
    }

    /// The backup that came before its metadata was read.
    pub(super) fn early(&self) -> Option<(ConnectionId, Bytes)> {
        self.0.iter().find_map(|(id, open)| match &open.role {
            Role::Early { head } => Some((*id, head.clone())),
            Role::Held | Role::Undecided { .. } | Role::Collecting { .. } | Role::Archive => None,
        })
    }

    pub(super) fn take_all(&mut self) -> Vec<ConnectionId> {
        core::mem::take(&mut self.0).into_keys().collect()
    }
}
