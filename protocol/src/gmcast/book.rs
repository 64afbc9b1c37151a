//! The address book: where members may be found, and when to dial them (spec 01 §4.1, 4.2, 4.5,
//! 4.6).
//!
//! | list      | holds                                           | dialled                |
//! |-----------|-------------------------------------------------|------------------------|
//! | names     | initial addresses that have to be looked up     | through `pending`      |
//! | `pending` | initial addresses nobody has answered at        | while members are missing |
//! | `remote`  | known nodes: linked once, or listed by others   | while there is no link |
//! | `own`     | addresses that turned out to be ourselves       | never                  |

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::address::{HostPort, canonical};
use super::config::{ADDRESSES_MAX, LOOKUP_ADDRESSES_MAX, REDIAL_DELAY};
use crate::id::NodeId;
use crate::time::Instant;

/// What is known about one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Who is there; nobody knows before the first handshake with an initial address.
    pub(super) node: Option<NodeId>,
    /// Not to be dialled before this. In time wait: to be forgotten then.
    pub(super) next_dial: Instant,
    /// Failures in a row.
    pub(super) failures: u32,
    /// The node left or was cut off: do not dial it, and let it in only under another UUID.
    pub(super) is_in_time_wait: bool,
}

impl Entry {
    fn new(node: Option<NodeId>, next_dial: Instant) -> Self {
        Self { node, next_dial, failures: 0, is_in_time_wait: false }
    }

    fn welcome(&mut self) {
        self.failures = 0;
        self.is_in_time_wait = false;
    }
}

/// A name among the initial addresses.
#[derive(Clone, Debug)]
struct Name {
    target: HostPort,
    /// What the last successful look-up said.
    found: BTreeSet<SocketAddr>,
    /// What the last look-up said; `None` before the first answer.
    last_answer: Option<BTreeSet<SocketAddr>>,
    is_asking: bool,
    next_lookup: Instant,
}

#[derive(Clone, Debug, Default)]
pub(super) struct AddressBook {
    numeric: BTreeSet<SocketAddr>,
    names: Vec<Name>,
    pending: BTreeMap<SocketAddr, Entry>,
    remote: BTreeMap<SocketAddr, Entry>,
    own: BTreeSet<SocketAddr>,
}

impl AddressBook {
    /// Sorts the initial addresses into numbers and names. Our own listen address is no one to
    /// call.
    pub(super) fn new(initial: &[HostPort], listen: SocketAddr) -> Self {
        let mut book = Self { own: BTreeSet::from([canonical(listen)]), ..Self::default() };
        for target in initial.iter().take(ADDRESSES_MAX) {
            match target.numeric() {
                Some(address) => drop(book.numeric.insert(address)),
                None => book.names.push(Name::new(target.clone())),
            }
        }
        book
    }

    pub(super) fn is_own(&self, address: SocketAddr) -> bool {
        self.own.contains(&address)
    }

    /// Notes that dialling this address reached ourselves.
    pub(super) fn found_own(&mut self, address: SocketAddr) {
        // A peer may list any number of addresses that lead to us. What does not fit is dialled
        // again.
        if self.own.len() < ADDRESSES_MAX {
            self.own.insert(address);
        }
        self.pending.remove(&address);
        self.remote.remove(&address);
    }

    pub(super) fn pending(&self) -> impl Iterator<Item = (SocketAddr, &Entry)> {
        self.pending.iter().map(|(address, entry)| (*address, entry))
    }

    pub(super) fn remote(&self) -> impl Iterator<Item = (SocketAddr, &Entry)> {
        self.remote.iter().map(|(address, entry)| (*address, entry))
    }

    pub(super) fn is_known(&self, address: SocketAddr) -> bool {
        self.remote.contains_key(&address)
    }

    pub(super) fn is_pending(&self, address: SocketAddr) -> bool {
        self.pending.contains_key(&address)
    }

    pub(super) fn failures(&self, address: SocketAddr) -> u32 {
        let entry = self.pending.get(&address).or_else(|| self.remote.get(&address));
        entry.map_or(0, |entry| entry.failures)
    }

    /// The known address of a node.
    pub(super) fn address_of(&self, node: NodeId) -> Option<SocketAddr> {
        self.remote().find(|(_, entry)| entry.node == Some(node)).map(|(address, _)| address)
    }

    fn is_full(&self) -> bool {
        self.pending.len() + self.remote.len() >= ADDRESSES_MAX
    }

    /// Puts the initial addresses that are not in the book (any more) back into it.
    pub(super) fn seed(&mut self, now: Instant) {
        let found = self.names.iter().flat_map(|name| &name.found);
        let wanted: BTreeSet<_> = self.numeric.iter().chain(found).copied().collect();
        self.pending.retain(|address, _| wanted.contains(address));
        for address in wanted {
            let is_new = !self.is_known(address) && !self.is_pending(address);
            if is_new && !self.is_own(address) && address.port() != 0 && !self.is_full() {
                self.pending.insert(address, Entry::new(None, now));
            }
        }
    }

    /// Gives up the initial addresses, until the next [`AddressBook::seed`].
    pub(super) fn clear_pending(&mut self) {
        self.pending.clear();
    }

    /// The names that are due for a look-up. One whose addresses are all `linked`, or on the way to
    /// it, is not.
    pub(super) fn due_lookups(
        &self,
        now: Instant,
        linked: impl Fn(SocketAddr) -> bool,
    ) -> Vec<HostPort> {
        let due = self.names.iter().filter(|name| name.is_due(now, &linked));
        due.map(|name| name.target.clone()).collect()
    }

    /// Notes that a look-up is under way.
    pub(super) fn asked(&mut self, target: &HostPort) {
        for name in self.names.iter_mut().filter(|name| name.target == *target) {
            name.is_asking = true;
        }
    }

    /// When the next name is due for a look-up.
    pub(super) fn next_lookup(&self) -> Option<Instant> {
        let idle = self.names.iter().filter(|name| !name.is_asking);
        idle.map(|name| name.next_lookup).min()
    }

    /// Takes the answer to a look-up; true if it differs from the one before.
    pub(super) fn resolved(
        &mut self,
        now: Instant,
        target: &HostPort,
        addresses: &[IpAddr],
    ) -> bool {
        let Some(name) = self.names.iter_mut().find(|name| name.target == *target) else {
            return false;
        };
        let socket = |ip: &IpAddr| canonical(SocketAddr::new(*ip, target.port));
        let found: BTreeSet<_> = addresses.iter().take(LOOKUP_ADDRESSES_MAX).map(socket).collect();
        name.is_asking = false;
        name.next_lookup = now + REDIAL_DELAY;
        // A failed look-up is no reason to forget what an earlier one said.
        if !found.is_empty() {
            name.found.clone_from(&found);
        }
        name.last_answer.replace(found.clone()) != Some(found)
    }

    /// Adds a node that a peer lists, unless the address is known already.
    pub(super) fn learn(&mut self, address: SocketAddr, node: NodeId, next_dial: Instant) {
        let is_new = !self.is_known(address) && !self.is_pending(address);
        if is_new && !self.is_own(address) && !self.is_full() {
            self.remote.insert(address, Entry::new(Some(node), next_dial));
        }
    }

    /// Notes who was met at an address. Another UUID than before makes a fresh entry, which is
    /// never in time wait. Returns the UUID that was known before, if it was another one.
    pub(super) fn met(
        &mut self,
        now: Instant,
        address: SocketAddr,
        node: NodeId,
    ) -> Option<NodeId> {
        self.pending.remove(&address);
        let before = self.remote.get(&address).and_then(|entry| entry.node);
        if before != Some(node) {
            self.remote.insert(address, Entry::new(Some(node), now));
        }
        before.filter(|before| *before != node)
    }

    pub(super) fn is_in_time_wait(&self, address: SocketAddr) -> bool {
        self.remote.get(&address).is_some_and(|entry| entry.is_in_time_wait)
    }

    /// Notes that a node which is linked at another address is found here too. While that link
    /// lives there is no need to dial this one.
    pub(super) fn identify(&mut self, address: SocketAddr, node: NodeId) {
        for list in [&mut self.pending, &mut self.remote] {
            if let Some(entry) = list.get_mut(&address).filter(|entry| !entry.is_in_time_wait) {
                entry.node = Some(node);
            }
        }
    }

    /// Who is at an address, as far as is known.
    pub(super) fn node_at(&self, address: SocketAddr) -> Option<NodeId> {
        self.pending.get(&address).or_else(|| self.remote.get(&address))?.node
    }

    /// Notes that the address was reached.
    pub(super) fn reached(&mut self, address: SocketAddr) {
        if let Some(entry) = self.remote.get_mut(&address) {
            entry.welcome();
        }
    }

    /// Notes a failure: dial again after `delay`, unless it has failed too often for an address
    /// that was only heard of.
    pub(super) fn failed(
        &mut self,
        now: Instant,
        address: SocketAddr,
        delay: Duration,
        redials_max: u32,
    ) {
        if let Some(entry) = self.pending.get_mut(&address) {
            entry.failures = entry.failures.saturating_add(1);
            entry.next_dial = now + delay;
        } else if let Some(entry) = self.remote.get_mut(&address) {
            if entry.is_in_time_wait {
                return; // a dropped attempt does not prolong the wait
            }
            entry.failures = entry.failures.saturating_add(1);
            entry.next_dial = now + delay;
            if entry.failures > redials_max {
                self.remote.remove(&address);
            }
        }
    }

    /// Lifts a node's time wait.
    pub(super) fn welcome(&mut self, node: NodeId) {
        for entry in self.remote.values_mut().filter(|entry| entry.node == Some(node)) {
            entry.welcome();
        }
    }

    /// Puts a node into time wait. Returns its addresses.
    pub(super) fn forget(&mut self, until: Instant, node: NodeId) -> Vec<SocketAddr> {
        let mut addresses = Vec::new();
        for (address, entry) in self.remote.iter_mut().filter(|(_, e)| e.node == Some(node)) {
            entry.is_in_time_wait = true;
            entry.next_dial = entry.next_dial.max(until);
            addresses.push(*address);
        }
        addresses
    }

    /// Removes entries whose time wait is over.
    pub(super) fn expire(&mut self, now: Instant) {
        self.remote.retain(|_, entry| !entry.is_in_time_wait || entry.next_dial > now);
    }
}

impl Name {
    fn new(target: HostPort) -> Self {
        let (found, next_lookup) = (BTreeSet::new(), Instant::ZERO);
        Self { target, found, last_answer: None, is_asking: false, next_lookup }
    }

    fn is_due(&self, now: Instant, linked: impl Fn(SocketAddr) -> bool) -> bool {
        let is_served = !self.found.is_empty() && self.found.iter().all(|a| linked(*a));
        !self.is_asking && self.next_lookup <= now && !is_served
    }
}

#[cfg(test)]
mod tests;
