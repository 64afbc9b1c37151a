//! Exchange UUIDs from a seed: unique, and reproducible for whoever knows the seed.

use super::state_message::ExchangeId;
use crate::id::NodeId;

/// A sequence of UUIDs. Mixes the node in, so that two nodes of one seed differ.
#[derive(Debug)]
pub(super) struct Identifiers {
    state: u64,
}

impl Identifiers {
    pub(super) fn new(node: &NodeId, seed: u64) -> Self {
        let mut identifiers = Self { state: seed };
        for part in node.as_bytes().chunks_exact(8) {
            let part = part.iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
            identifiers.state = identifiers.next_number() ^ part;
        }
        identifiers
    }

    /// The next UUID, of version 4.
    pub(super) fn next_exchange(&mut self) -> ExchangeId {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&self.next_number().to_be_bytes());
        bytes[8..].copy_from_slice(&self.next_number().to_be_bytes());
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        ExchangeId::from_bytes(bytes)
    }

    /// SplitMix64: every state occurs once, which is all that uniqueness needs.
    fn next_number(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ self.state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn nodes_seeds_and_calls_give_different_uuids() {
        let mut seen = BTreeSet::new();
        for node in 0..8 {
            for seed in 0..8 {
                let mut identifiers = Identifiers::new(&NodeId::from_bytes([node; 16]), seed);
                seen.extend((0..8).map(|_| identifiers.next_exchange()));
            }
        }
        assert_eq!(seen.len(), 512);
        assert!(!seen.contains(&ExchangeId::NIL));
    }
}
