//! The regular round: silent links, keepalives, look-ups and dials (spec 01 §4.5, 4.7).

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;

use super::address::HostPort;
use super::config::{CHECK_PERIOD, DIALS_MAX};
use super::event::{Event, Phase, Reason};
use super::link::{Link, StateKind};
use super::message::Body;
use super::{Gmcast, LinkId, Output};
use crate::planted::Bug;
use crate::time::Instant;

impl Gmcast {
    /// Runs what is due, whichever input notices it.
    pub(super) fn run_timers(&mut self, now: Instant) {
        if let Some(due) = self.next_check.filter(|due| *due <= now) {
            self.next_check = Some(now + CHECK_PERIOD);
            self.run_round(now, now - due);
        }
        self.look_up(now);
        self.dial_due(now);
    }

    fn run_round(&mut self, now: Instant, delay: Duration) {
        self.book.expire(now);
        // Whoever was not running cannot tell silence from what it has not read yet: one round's
        // grace.
        let has_overslept = delay > CHECK_PERIOD;
        if !has_overslept || self.has_overslept {
            self.close_silent_links(now);
        }
        self.has_overslept = has_overslept;
        self.send_keepalives(now);
        self.seek(now);
        self.report_relaying();
        self.links.begin_round();
        self.is_topology_stale |= self.has_held_back;
    }

    /// The next moment at which something is due.
    pub(super) fn next_timer(&self) -> Option<Instant> {
        let check = self.next_check?;
        let dials = self.due_dials().map(|(_, due)| due);
        let lookup = self.book.next_lookup().filter(|_| self.is_seeking());
        dials.chain(lookup).filter(|due| *due > self.now).chain([check]).min()
    }

    fn close_silent_links(&mut self, now: Instant) {
        let limit = self.config.peer_timeout;
        let is_silent = |link: &Link| link.silent_since() + limit < now;
        for id in self.links.numbers(is_silent) {
            self.fail_link(now, id, Reason::TimedOut);
        }
    }

    fn send_keepalives(&mut self, now: Instant) {
        let (receive, send) = keepalive_limits(self.config.peer_timeout);
        let is_idle = |link: &Link| {
            let is_quiet = link.last_received + receive < now || link.last_sent + send < now;
            link.established().is_some() && is_quiet
        };
        for id in self.links.numbers(is_idle) {
            self.send(now, id, Body::Keepalive);
        }
    }

    /// While members are missing the initial addresses are in the book, afterwards not.
    pub(super) fn seek(&mut self, now: Instant) {
        if self.is_seeking() {
            self.book.seed(now);
        } else {
            self.book.clear_pending();
        }
    }

    /// True while we are in no primary component, or lack the link to one of its members.
    fn is_seeking(&self) -> bool {
        self.primary.members().is_none_or(|members| {
            let linked = self.links.nodes();
            members.iter().any(|node| *node != self.me && !linked.contains(node))
        })
    }

    fn look_up(&mut self, now: Instant) {
        if self.next_check.is_none() || !self.is_seeking() {
            return;
        }
        for target in self.book.due_lookups(now, |address| self.is_linked(address)) {
            self.book.asked(&target);
            let HostPort { host, port } = target;
            self.outputs.push_back(Output::Resolve { host, port });
        }
    }

    pub(super) fn on_resolved(&mut self, now: Instant, target: HostPort, addresses: &[IpAddr]) {
        if self.book.resolved(now, &target, addresses) {
            let HostPort { host, port } = target;
            let addresses: BTreeSet<_> = addresses.iter().copied().collect();
            self.event(if addresses.is_empty() {
                Event::ResolveFailed { host, port }
            } else {
                Event::Resolved { host, port, addresses }
            });
        }
        self.seek(now);
    }

    /// Addresses that are to be dialled, and when: no link leads there, nor to the node that is
    /// there.
    fn due_dials(&self) -> impl Iterator<Item = (SocketAddr, Instant)> {
        let all = self.book.pending().chain(self.book.remote());
        let due = all.filter(|(address, entry)| {
            let is_possible = address.port() != 0 && !self.book.is_own(*address);
            let is_unwelcome = entry.node.is_some_and(|node| self.is_evicted(node))
                || (self.config.planted.is(Bug::NeverRedials) && entry.failures > 0);
            is_possible && !entry.is_in_time_wait && !is_unwelcome && !self.is_linked(*address)
        });
        due.map(|(address, entry)| (address, entry.next_dial))
    }

    /// True if a link leads to this address, or to the node that is there.
    fn is_linked(&self, address: SocketAddr) -> bool {
        let node = self.book.node_at(address);
        self.links.has_address(address) || node.is_some_and(|node| self.links.has_peer(node))
    }

    fn dial_due(&mut self, now: Instant) {
        if self.next_check.is_none() {
            return;
        }
        let is_ours = |id: LinkId, link: &Link| {
            matches!(id, LinkId::Dialled(_)) && link.kind().phase() != Phase::Established
        };
        let room = DIALS_MAX.saturating_sub(self.links.count(is_ours));
        let mut due: Vec<_> = self.due_dials().filter(|(_, due)| *due <= now).collect();
        // Who has waited longest comes first, or addresses that never answer could take every
        // place.
        due.sort_by_key(|(address, due)| (*due, *address));
        for (address, _) in due.into_iter().take(room) {
            self.dial(now, address);
        }
    }

    fn dial(&mut self, now: Instant, remote: SocketAddr) {
        let link = LinkId::Dialled(self.next_link);
        self.next_link = self.next_link.wrapping_add(1);
        let is_initial = self.book.is_pending(remote);
        self.links.insert(link, Link::dialled(now, remote, is_initial));
        let tls = self.config.tls;
        self.outputs.push_back(Output::Dial { link, remote, bind: self.bind_for(remote), tls });
    }

    /// Peers can only call back the address that we call from, so it should be the one we listen
    /// on.
    fn bind_for(&self, remote: SocketAddr) -> Option<IpAddr> {
        let listen = self.config.listen.ip();
        (!listen.is_unspecified() && listen.is_ipv4() == remote.is_ipv4()).then_some(listen)
    }

    pub(super) fn on_keepalive(&mut self, now: Instant, id: LinkId) {
        // Before both sides are sure to be established an OK would say something else, and end the
        // peer.
        if self.links.link(id).map(Link::kind) == Some(StateKind::Established) {
            self.send(now, id, Body::Ok);
        }
    }
}

/// How long a link may be without something received, and without a USER sent, before a KEEPALIVE.
fn keepalive_limits(peer_timeout: Duration) -> (Duration, Duration) {
    (peer_timeout * 2 / 3, peer_timeout / 3)
}

#[cfg(test)]
mod tests;
