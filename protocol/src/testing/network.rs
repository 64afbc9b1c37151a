//! A network in virtual time: delay, loss, cut links, all from one seed.
//!
//! Every pair of nodes has a link in each direction. A link keeps the order of what it carries, as
//! TCP does; what is in flight when it is cut is lost.

use std::collections::{BTreeMap, BTreeSet};

use super::Random;
use crate::id::NodeId;
use crate::time::{Duration, Instant};

/// How bad the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Faults {
    /// Shortest time on the way.
    pub delay_min: Duration,
    /// Longest time on the way.
    pub delay_max: Duration,
    /// Share of messages that get lost, in percent.
    pub loss_percent: u64,
}

impl Default for Faults {
    /// A local network without loss.
    fn default() -> Self {
        let (delay_min, delay_max) = (Duration::from_micros(100), Duration::from_millis(3));
        Self { delay_min, delay_max, loss_percent: 0 }
    }
}

/// Something that arrives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival<M> {
    /// Who sent it.
    pub from: NodeId,
    /// Where it arrives.
    pub to: NodeId,
    /// What it is.
    pub message: M,
}

type Link = (NodeId, NodeId);

/// All links, and what is on them.
#[derive(Clone, Debug)]
pub struct Network<M> {
    random: Random,
    faults: Faults,
    cut: BTreeSet<Link>,
    in_flight: BTreeMap<(Instant, u64), Arrival<M>>,
    last_arrival: BTreeMap<Link, Instant>,
    sent: u64,
}

impl<M> Network<M> {
    /// A network where everybody reaches everybody.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            random: Random::new(seed),
            faults,
            cut: BTreeSet::new(),
            in_flight: BTreeMap::new(),
            last_arrival: BTreeMap::new(),
            sent: 0,
        }
    }

    /// Changes how bad the network is, for what is sent from now on.
    pub fn set_faults(&mut self, faults: Faults) {
        self.faults = faults;
    }

    /// Sends a message; it may get lost.
    pub fn send(&mut self, now: Instant, from: NodeId, to: NodeId, message: M) {
        let (low, high) = (micros(self.faults.delay_min), micros(self.faults.delay_max));
        let delay = Duration::from_micros(self.random.between(low, high));
        if self.random.percent(self.faults.loss_percent) || !self.reaches(from, to) {
            return;
        }
        let last = self.last_arrival.entry((from, to)).or_default();
        let at = (*last).max(now + delay);
        *last = at;
        self.sent += 1;
        self.in_flight.insert((at, self.sent), Arrival { from, to, message });
    }

    /// When the next message arrives.
    pub fn next_arrival(&self) -> Option<Instant> {
        self.in_flight.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes a message that has arrived by now.
    pub fn receive(&mut self, now: Instant) -> Option<Arrival<M>> {
        if self.next_arrival()? > now {
            return None;
        }
        self.in_flight.pop_first().map(|(_, arrival)| arrival)
    }

    /// Is there a working link in this direction?
    pub fn reaches(&self, from: NodeId, to: NodeId) -> bool {
        !self.cut.contains(&(from, to))
    }

    /// Cuts the link in this direction; what is on it is lost.
    pub fn cut(&mut self, from: NodeId, to: NodeId) {
        self.cut.insert((from, to));
        self.in_flight.retain(|_, arrival| (arrival.from, arrival.to) != (from, to));
    }

    /// Cuts both directions between every node of one side and every node of the other.
    pub fn split(&mut self, one: &[NodeId], other: &[NodeId]) {
        for a in one {
            for b in other {
                self.cut(*a, *b);
                self.cut(*b, *a);
            }
        }
    }

    /// Loses everything that is on the way to or from a node.
    pub fn lose_all_of(&mut self, node: NodeId) {
        self.in_flight.retain(|_, arrival| arrival.from != node && arrival.to != node);
    }

    /// Repairs one direction.
    pub fn mend(&mut self, from: NodeId, to: NodeId) {
        self.cut.remove(&(from, to));
    }

    /// Repairs everything.
    pub fn heal(&mut self) {
        self.cut.clear();
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(n: u64) -> NodeId {
        NodeId::version1(n, 0, [0; 6])
    }

    fn drain(network: &mut Network<u32>) -> Vec<u32> {
        let end = Instant::from_micros(u64::MAX);
        core::iter::from_fn(|| network.receive(end)).map(|arrival| arrival.message).collect()
    }

    #[test]
    fn a_link_keeps_the_order_and_takes_time() {
        let mut network = Network::new(1, Faults::default());
        for message in 0..50 {
            network.send(Instant::ZERO, node(1), node(2), message);
        }
        assert_eq!(network.receive(Instant::from_micros(99)), None);
        assert_eq!(drain(&mut network), (0..50).collect::<Vec<_>>());
    }

    #[test]
    fn a_cut_link_loses_what_is_on_it_in_one_direction() {
        let mut network = Network::new(1, Faults::default());
        network.send(Instant::ZERO, node(1), node(2), 1);
        network.send(Instant::ZERO, node(2), node(1), 2);
        network.cut(node(1), node(2));
        network.send(Instant::ZERO, node(1), node(2), 3);
        assert_eq!(drain(&mut network), [2]);
        network.heal();
        network.send(Instant::ZERO, node(1), node(2), 4);
        assert_eq!(drain(&mut network), [4]);
    }

    #[test]
    fn loss_takes_about_the_share_it_is_set_to() {
        let mut network = Network::new(1, Faults { loss_percent: 15, ..Faults::default() });
        for message in 0..1000 {
            network.send(Instant::ZERO, node(1), node(2), message);
        }
        let arrived = drain(&mut network).len();
        assert!((800..900).contains(&arrived), "{arrived}");
    }
}
