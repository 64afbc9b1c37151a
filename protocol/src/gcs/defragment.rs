//! Puts the fragments of actions together, per sender.
//!
//! Write-sets are only counted: a member without data never looks inside. State transfer requests
//! of *all* senders are kept, for every member must know who became whose donor.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};

use super::action::{ActionType, Fragment, FragmentHeader};
use crate::id::NodeId;

/// A request that is longer is counted and not kept. Real ones have a few hundred bytes; with one
/// per member this bounds the memory.
pub(super) const REQUEST_PAYLOAD_MAX: u32 = 1 << 20;

/// A complete action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// A write-set or something else whose content does not matter.
    Counted(ActionType),
    /// A state transfer request.
    StateRequest { action_id: u64, payload: Bytes },
    /// A request beyond [`REQUEST_PAYLOAD_MAX`].
    RequestTooLong { size: u32 },
}

/// A fragment that does not follow the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum OutOfPlace {
    #[error("fragment {found} of action {action_id} does not continue the sender's last one")]
    Order { action_id: u64, found: u32 },
    #[error("action {action_id} has more bytes than the {size} it announced")]
    TooLong { action_id: u64, size: u32 },
}

/// One context per member of the view.
#[derive(Debug, Default)]
pub(super) struct Defragmenter {
    senders: BTreeMap<NodeId, Sender>,
}

#[derive(Debug, Default)]
struct Sender {
    /// The action of which fragments are missing.
    partial: Option<Partial>,
    /// A view change may have cut an action: its remaining fragments mean nothing.
    is_reset: bool,
}

#[derive(Debug)]
struct Partial {
    head: FragmentHeader,
    last_fragment: u32,
    received: u32,
    /// The bytes of a request; `None` if they are only counted.
    kept: Option<BytesMut>,
}

impl Defragmenter {
    /// A primary view: who left is forgotten, what is incomplete is given up, except our own
    /// action, which continues where it was.
    pub(super) fn reset(&mut self, me: &NodeId, is_member: impl Fn(&NodeId) -> bool) {
        self.senders.retain(|node, _| is_member(node));
        for (node, sender) in &mut self.senders {
            sender.is_reset = true;
            if node != me {
                sender.partial = None;
            }
        }
    }

    /// Takes a fragment; returns the action if it is complete with it.
    pub(super) fn handle(
        &mut self,
        source: NodeId,
        is_mine: bool,
        fragment: &Fragment,
    ) -> Result<Option<Action>, OutOfPlace> {
        let sender = self.senders.entry(source).or_default();
        let result = sender.handle(is_mine, fragment);
        if result.is_err() {
            // Wait for the first fragment of another action.
            *sender = Sender { partial: None, is_reset: true };
        }
        result
    }
}

impl Sender {
    fn handle(&mut self, is_mine: bool, fragment: &Fragment) -> Result<Option<Action>, OutOfPlace> {
        let header = &fragment.header;
        match self.place(is_mine, header)? {
            Place::First => {
                self.is_reset = false;
                self.partial = Some(Partial::new(*header));
            }
            Place::Next => {
                if let Some(partial) = &mut self.partial {
                    partial.last_fragment = header.fragment;
                }
            }
            Place::Skip => return Ok(None),
        }
        self.append(&fragment.data)
    }

    fn place(&self, is_mine: bool, header: &FragmentHeader) -> Result<Place, OutOfPlace> {
        let found = header.fragment;
        let wrong = OutOfPlace::Order { action_id: header.action_id, found };
        let Some(partial) = &self.partial else {
            return match found {
                0 => Ok(Place::First),
                _ if self.is_reset => Ok(Place::Skip),
                _ => Err(wrong),
            };
        };
        let is_same = header.action_id == partial.head.action_id;
        if is_same && partial.last_fragment.checked_add(1) == Some(found) {
            Ok(Place::Next)
        } else if is_same && is_mine && self.is_reset && found == 0 {
            Ok(Place::First)
        } else if is_same && found <= partial.last_fragment {
            Ok(Place::Skip)
        } else {
            Err(wrong)
        }
    }

    fn append(&mut self, data: &Bytes) -> Result<Option<Action>, OutOfPlace> {
        let Some(mut partial) = self.partial.take() else {
            return Ok(None);
        };
        partial.append(data)?;
        if partial.received == partial.head.action_size {
            return Ok(Some(partial.finish()));
        }
        self.partial = Some(partial);
        Ok(None)
    }
}

enum Place {
    First,
    Next,
    Skip,
}

impl Partial {
    fn new(head: FragmentHeader) -> Self {
        let is_kept =
            head.action_type == ActionType::StateRequest && head.action_size <= REQUEST_PAYLOAD_MAX;
        // Grows as bytes arrive: the announced size is only a claim.
        let kept = is_kept.then(BytesMut::new);
        Self { head, last_fragment: head.fragment, received: 0, kept }
    }

    fn append(&mut self, data: &Bytes) -> Result<(), OutOfPlace> {
        let FragmentHeader { action_id, action_size: size, .. } = self.head;
        let received = u32::try_from(data.len()).ok().and_then(|n| self.received.checked_add(n));
        let received = received.filter(|&received| received <= size);
        self.received = received.ok_or(OutOfPlace::TooLong { action_id, size })?;
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(data);
        }
        Ok(())
    }

    fn finish(self) -> Action {
        let FragmentHeader { action_type, action_id, action_size: size, .. } = self.head;
        match (action_type, self.kept) {
            (ActionType::StateRequest, Some(kept)) => {
                Action::StateRequest { action_id, payload: kept.freeze() }
            }
            (ActionType::StateRequest, None) => Action::RequestTooLong { size },
            (ActionType::WriteSet | ActionType::Other(_), _) => Action::Counted(action_type),
        }
    }
}

#[cfg(test)]
mod tests;
