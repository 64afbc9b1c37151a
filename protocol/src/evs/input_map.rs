//! The messages of one view: what has arrived, what is missing, what may be delivered.
//!
//! Messages are kept under (seqno, index of the sender); the order of these keys *is* the total
//! order. A message waits in `pending` until it may be delivered, then in `recovery` until every
//! member is known to have it, in case somebody asks for it again.
//!
//! It knows nothing of nodes, views or time, and never decides to send.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::message::User;
use super::seqno::{FifoSeqno, Range, Seqno};
use crate::message::Order;

/// How far a number may be beyond SAFE. A correct sender stays within its window plus one flushed
/// queue of 1 MiB, whose messages have at least 16 bytes.
const SEQNOS_BEYOND_SAFE_MAX: i64 = 1 << 17;

/// What one kept number costs besides its payload, roughly.
const HELD_OVERHEAD_BYTES: usize = 128;

/// One message as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) order: Order,
    pub(super) version: u8,
    pub(super) fifo_seqno: FifoSeqno,
    pub(super) is_aggregate: bool,
    pub(super) user: User,
}

impl Held {
    /// What stands at a number that another message's `seq_range` has used up.
    fn filler(&self, seqno: Seqno) -> Self {
        let user = User { seqno, seq_range: 0, payload: Bytes::new(), ..self.user.clone() };
        let (order, fifo_seqno) = (Order::Drop, FifoSeqno::NONE);
        Self { order, fifo_seqno, is_aggregate: false, version: self.version, user }
    }

    fn cost(&self) -> usize {
        HELD_OVERHEAD_BYTES + self.user.payload.len()
    }
}

/// Why a message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its number is absurdly far ahead.
    TooFar,
    /// Too much of its sender's messages is held already.
    Memory,
}

/// A member's side of the map.
#[derive(Clone, Copy, Debug)]
struct Slot {
    range: Range,
    acknowledged: Seqno,
    held_bytes: usize,
}

impl Slot {
    const START: Self = Self { range: Range::START, acknowledged: Seqno::NONE, held_bytes: 0 };
}

type Key = (Seqno, usize);

/// The messages of one view, by (seqno, index of the sender).
#[derive(Debug)]
pub(super) struct InputMap {
    slots: Vec<Slot>,
    pending: BTreeMap<Key, Held>,
    recovery: BTreeMap<Key, Held>,
    safe: Seqno,
    held_bytes_per_sender_max: usize,
}

impl InputMap {
    pub(super) fn new(members: usize, held_bytes_per_sender_max: usize) -> Self {
        Self {
            slots: vec![Slot::START; members],
            pending: BTreeMap::new(),
            recovery: BTreeMap::new(),
            safe: Seqno::NONE,
            held_bytes_per_sender_max,
        }
    }

    /// What there is of a member's messages.
    pub(super) fn range(&self, index: usize) -> Range {
        self.slots.get(index).map_or(Range::NONE, |slot| slot.range)
    }

    /// What a member has acknowledged.
    pub(super) fn acknowledged(&self, index: usize) -> Seqno {
        self.slots.get(index).map_or(Seqno::NONE, |slot| slot.acknowledged)
    }

    /// Everything from everybody is here up to this number.
    pub(super) fn aru(&self) -> Seqno {
        let lowest = self.slots.iter().map(|slot| slot.range.lowest_unseen).min();
        lowest.map_or(Seqno::NONE, Seqno::previous)
    }

    /// Everybody has everything up to this number.
    pub(super) fn safe(&self) -> Seqno {
        self.safe
    }

    /// The highest number that anybody is known to have used.
    pub(super) fn highest_seen(&self) -> Seqno {
        self.slots.iter().map(|slot| slot.range.highest_seen).max().unwrap_or(Seqno::NONE)
    }

    /// Takes in a message of a member. One that is not new changes nothing.
    ///
    /// What is refused can be asked for again; nothing is lost by it but time.
    pub(super) fn insert(&mut self, index: usize, held: Held) -> Result<(), Refusal> {
        self.admit(index, &held)?;
        self.insert_own(index, &held);
        Ok(())
    }

    /// Takes in a message without asking for its size: an own one was bounded when the send queue
    /// took it.
    pub(super) fn insert_own(&mut self, index: usize, held: &Held) {
        let (first, last) = (held.user.seqno, held.user.last_seqno());
        for seqno in (first.0..=last.0).map(Seqno) {
            if self.is_missing(index, seqno) {
                let held = if seqno == first { held.clone() } else { held.filler(seqno) };
                self.keep(index, seqno, held);
            }
        }
    }

    /// The highest number that is worth completing to: beyond it nothing is accepted.
    pub(super) fn highest_acceptable(&self) -> Seqno {
        self.safe.plus(SEQNOS_BEYOND_SAFE_MAX)
    }

    /// Notes what a member says it has. True if that is news. Lower values are stale.
    pub(super) fn acknowledge(&mut self, index: usize, aru: Seqno) -> bool {
        let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.acknowledged < aru) else {
            return false;
        };
        slot.acknowledged = aru;
        self.safe = self.slots.iter().map(|slot| slot.acknowledged).min().unwrap_or(self.safe);
        self.forget_safe();
        true
    }

    /// The next message of the total order, if its order allows to deliver it now.
    pub(super) fn next_deliverable(&mut self) -> Option<(usize, Held)> {
        let (&(seqno, index), held) = self.pending.first_key_value()?;
        let reached = match held.order {
            Order::Safe => self.safe,
            Order::Agreed => self.aru(),
            Order::Drop | Order::Unreliable | Order::Fifo => {
                self.range(index).lowest_unseen.previous()
            }
        };
        // SAFE ≤ ARU < lowest unseen, so the weaker orders are covered by one comparison each.
        if seqno > reached {
            return None;
        }
        let (key, held) = self.pending.pop_first()?;
        self.recovery.insert(key, held.clone());
        self.forget_safe();
        Some((index, held))
    }

    /// Empties the map: everything that was not delivered yet, in order, with whether it is
    /// contiguous from its sender.
    pub(super) fn take_undelivered(&mut self) -> Vec<(usize, Held, bool)> {
        let pending = core::mem::take(&mut self.pending);
        let contiguous = |(seqno, index)| seqno < self.range(index).lowest_unseen;
        pending.into_iter().map(|(key, held)| (key.1, held, contiguous(key))).collect()
    }

    /// A message that is here, delivered or not.
    pub(super) fn held(&self, index: usize, seqno: Seqno) -> Option<&Held> {
        let key = (seqno, index);
        self.pending.get(&key).or_else(|| self.recovery.get(&key))
    }

    /// The messages of a member that are here and start in `first ..= last`, in order.
    pub(super) fn held_between(&self, index: usize, first: Seqno, last: Seqno) -> Vec<&Held> {
        let mut found = Vec::new();
        let last = last.min(self.range(index).highest_seen);
        let mut seqno = first.max(self.safe.next());
        while seqno <= last {
            match self.held(index, seqno) {
                Some(held) => {
                    found.push(held);
                    seqno = held.user.last_seqno().next();
                }
                None => seqno = seqno.next(),
            }
        }
        found
    }

    /// The maximal runs of a member's numbers that are missing in `first ..= last`.
    pub(super) fn missing(&self, index: usize, first: Seqno, last: Seqno) -> Vec<Range> {
        let first = first.max(self.range(index).lowest_unseen);
        let last = last.min(self.highest_acceptable());
        let mut runs: Vec<Range> = Vec::new();
        for seqno in (first.0..=last.0).map(Seqno) {
            match runs.last_mut() {
                _ if !self.is_missing(index, seqno) => {}
                Some(run) if run.highest_seen.next() == seqno => run.highest_seen = seqno,
                Some(_) | None => runs.push(Range::new(seqno, seqno)),
            }
        }
        runs
    }

    fn admit(&self, index: usize, held: &Held) -> Result<(), Refusal> {
        let slot = self.slots.get(index).ok_or(Refusal::TooFar)?;
        if held.user.last_seqno().since(self.safe) > SEQNOS_BEYOND_SAFE_MAX {
            return Err(Refusal::TooFar);
        }
        let numbers = 1 + usize::from(held.user.seq_range);
        let cost = held.cost() + numbers * HELD_OVERHEAD_BYTES;
        if slot.held_bytes.saturating_add(cost) > self.held_bytes_per_sender_max {
            return Err(Refusal::Memory);
        }
        Ok(())
    }

    /// Everything below the lowest unseen is here or was here.
    fn is_missing(&self, index: usize, seqno: Seqno) -> bool {
        seqno >= self.range(index).lowest_unseen && !self.pending.contains_key(&(seqno, index))
    }

    fn keep(&mut self, index: usize, seqno: Seqno, held: Held) {
        let Some(slot) = self.slots.get_mut(index) else { return };
        slot.held_bytes += held.cost();
        self.pending.insert((seqno, index), held);
        slot.range.highest_seen = slot.range.highest_seen.max(seqno);
        while self.pending.contains_key(&(slot.range.lowest_unseen, index)) {
            slot.range.lowest_unseen = slot.range.lowest_unseen.next();
        }
    }

    fn forget_safe(&mut self) {
        while let Some(entry) = self.recovery.first_entry().filter(|e| e.key().0 <= self.safe) {
            let ((_, index), held) = entry.remove_entry();
            if let Some(slot) = self.slots.get_mut(index) {
                slot.held_bytes = slot.held_bytes.saturating_sub(held.cost());
            }
        }
    }

    /// What must always hold (spec 02 §11.1), or what does not.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn check_invariants(&self) -> Result<(), &'static str> {
        let all = |rule: &'static str, holds: bool| if holds { Ok(()) } else { Err(rule) };
        all("SAFE <= ARU", self.safe <= self.aru())?;
        for slot in &self.slots {
            all("0 <= LU <= HS + 1, LU != HS", slot.range.is_measurable())?;
        }
        let disjoint = self.pending.keys().all(|key| !self.recovery.contains_key(key));
        all("pending and recovery are disjoint", disjoint)?;
        let cleaned = self.recovery.keys().all(|(seqno, _)| *seqno > self.safe);
        all("recovery is beyond SAFE", cleaned)
    }
}

#[cfg(test)]
mod tests;
