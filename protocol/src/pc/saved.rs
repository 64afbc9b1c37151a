//! The saved view (`gvwstate.dat`): who we are and the last primary view, so that a restart is a
//! return. Text in, text out; the caller owns the file (spec 03 §4.4).
//!
//! ```text
//! my_uuid: c7ef0162-e690-11f1-9bab-8b39662e51d1
//! #vwbeg
//! view_id: 3 64d92ed3-e690-11f1-9268-fa455b521c00 2
//! bootstrap: 0
//! member: 64d92ed3-e690-11f1-9268-fa455b521c00 0
//! member: c7ef0162-e690-11f1-9bab-8b39662e51d1 2
//! #vwend
//! ```

use core::fmt::{self, Display};
use core::str::FromStr;
use std::collections::BTreeMap;

use super::node::{NODES_MAX, SEQ_MASK};
use crate::id::{NodeId, Segment, ViewId, ViewKind};

/// What survives a restart: our identity and the last primary view.
///
/// [`Display`] writes the file, [`FromStr`] reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SavedView {
    /// Our UUID.
    pub me: NodeId,
    /// The last primary view; its kind is always PRIM.
    pub view: ViewId,
    /// Formed by a bootstrap.
    pub is_bootstrap: bool,
    /// Its members and their segments.
    pub members: BTreeMap<NodeId, Segment>,
}

impl SavedView {
    /// The same identity in its next life, with the same view: what a restarted member *is*, and
    /// what it must write back before it says a word, so that no incarnation is used twice.
    pub fn restarted(&self) -> Self {
        Self { me: self.me.next_incarnation(), ..self.clone() }
    }

    /// The number of the pseudo view that EVS starts with after a restart.
    pub const fn first_view_seq(&self) -> u32 {
        self.view.seq.wrapping_add(1) & SEQ_MASK
    }

    /// Was this node, in whatever incarnation, in the saved view?
    pub(super) fn names(&self, node: &NodeId) -> bool {
        self.members.keys().any(|member| member.is_same_node(node))
    }
}

impl Display for SavedView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "my_uuid: {}", self.me)?;
        writeln!(f, "#vwbeg")?;
        writeln!(f, "view_id: {} {} {}", self.view.kind as u8, self.view.node, self.view.seq)?;
        writeln!(f, "bootstrap: {}", u8::from(self.is_bootstrap))?;
        for (node, segment) in &self.members {
            writeln!(f, "member: {node} {segment}")?;
        }
        writeln!(f, "#vwend")
    }
}

/// Why a saved view cannot be used. The caller starts afresh, as if there were none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseSavedViewError {
    /// A line has a known key and a value that is none.
    #[error("read saved view: line {line}: value not understood")]
    Value {
        /// Number of the line, from 1.
        line: usize,
    },
    /// Something is not there, most likely because the file was cut off.
    #[error("read saved view: {0} is missing")]
    Missing(&'static str),
    /// The view is not a primary one, or does not list this node.
    #[error("read saved view: not a primary view of this node")]
    Foreign,
    /// More members than a group can have.
    #[error("read saved view: more than {NODES_MAX} members")]
    TooManyMembers,
}

impl FromStr for SavedView {
    type Err = ParseSavedViewError;

    fn from_str(text: &str) -> Result<Self, ParseSavedViewError> {
        let mut draft = Draft::default();
        for (at, line) in text.lines().enumerate() {
            let line_error = ParseSavedViewError::Value { line: at + 1 };
            draft.read_line(line).ok_or(line_error)?;
            if draft.members.len() > NODES_MAX {
                return Err(ParseSavedViewError::TooManyMembers);
            }
        }
        draft.finish()
    }
}

#[derive(Default)]
struct Draft {
    me: Option<NodeId>,
    view: Option<ViewId>,
    is_bootstrap: bool,
    members: BTreeMap<NodeId, Segment>,
    is_ended: bool,
}

impl Draft {
    /// Unknown keys are ignored, so that a newer member's file can be read.
    fn read_line(&mut self, line: &str) -> Option<()> {
        let mut words = line.split_ascii_whitespace();
        match words.next().unwrap_or("") {
            "my_uuid:" => self.me = Some(words.next()?.parse().ok()?),
            "view_id:" => self.view = Some(view_id(&mut words)?),
            "bootstrap:" => self.is_bootstrap = words.next()?.parse::<u8>().ok()? != 0,
            "member:" => {
                let node = words.next()?.parse().ok()?;
                self.members.insert(node, Segment(words.next()?.parse().ok()?));
            }
            "#vwend" => self.is_ended = true,
            _ => {}
        }
        Some(())
    }

    fn finish(self) -> Result<SavedView, ParseSavedViewError> {
        let me = self.me.ok_or(ParseSavedViewError::Missing("my_uuid"))?;
        let view = self.view.ok_or(ParseSavedViewError::Missing("view_id"))?;
        if !self.is_ended {
            return Err(ParseSavedViewError::Missing("#vwend"));
        }
        let saved = SavedView { me, view, is_bootstrap: self.is_bootstrap, members: self.members };
        let is_ours = !me.is_nil() && !view.node.is_nil() && saved.names(&me);
        if is_ours { Ok(saved) } else { Err(ParseSavedViewError::Foreign) }
    }
}

fn view_id<'a>(words: &mut impl Iterator<Item = &'a str>) -> Option<ViewId> {
    let kind = ViewKind::from_number(words.next()?.parse().ok()?)?;
    let node = words.next()?.parse().ok()?;
    let seq: u32 = words.next()?.parse().ok()?;
    (kind == ViewKind::Primary && seq <= SEQ_MASK).then_some(ViewId::new(kind, node, seq))
}

#[cfg(test)]
mod tests;
