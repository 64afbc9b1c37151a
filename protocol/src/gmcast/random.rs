//! Random numbers and connection names, both from one seed.

use core::time::Duration;

use super::message::HandshakeId;
use crate::id::NodeId;
use crate::time::Instant;

/// SplitMix64: small, seedable, good enough to spread dials. Nothing secret depends on it.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A duration below `limit`.
    pub(super) fn below(&mut self, limit: Duration) -> Duration {
        let limit = u64::try_from(limit.as_micros()).unwrap_or(u64::MAX).max(1);
        Duration::from_micros(self.next() % limit)
    }
}

/// Makes a fresh version 1 UUID for every connection that we accept.
#[derive(Clone, Debug)]
pub(super) struct HandshakeIds {
    epoch: u64,
    last: u64,
    incarnation: u16,
    node: [u8; 6],
}

impl HandshakeIds {
    pub(super) fn new(epoch: u64, random: &mut Random) -> Self {
        let [a, b, c, d, e, f, g, h] = random.next().to_le_bytes();
        // Bit 0x02 of the first byte: a locally administered, not a hardware address.
        let node = [a | 0x02, b, c, d, e, f];
        Self { epoch, last: 0, incarnation: u16::from_le_bytes([g, h]), node }
    }

    /// Two ids never carry the same timestamp, whatever the clock does.
    pub(super) fn next(&mut self, now: Instant) -> HandshakeId {
        let clock = self.epoch.saturating_add(now.as_micros().saturating_mul(10));
        self.last = clock.max(self.last.saturating_add(1));
        HandshakeId(NodeId::version1(self.last, self.incarnation, self.node))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_seeds_give_equal_numbers_below_the_limit() {
        let (mut a, mut b) = (Random::new(7), Random::new(7));
        let limit = Duration::from_millis(100);
        for _ in 0..1000 {
            let value = a.below(limit);
            assert_eq!(value, b.below(limit));
            assert!(value < limit);
        }
        assert_eq!(Random::new(7).below(Duration::ZERO), Duration::ZERO);
    }

    #[test]
    fn connection_names_are_version_1_uuids_that_never_repeat() {
        let mut ids = HandshakeIds::new(1 << 50, &mut Random::new(1));
        let now = Instant::from_micros(5);
        let (first, second) = (ids.next(now).0, ids.next(now).0);
        assert_ne!(first, second);
        assert_eq!(first.timestamp() + 1, second.timestamp());
        assert_eq!(first.as_bytes()[6] >> 4, 1);
        assert_eq!(first.as_bytes()[8] >> 6, 0b10);
        assert_eq!(first.as_bytes()[10] & 0x02, 0x02);
    }
}
