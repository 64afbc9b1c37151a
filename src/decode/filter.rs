//! Which records are shown.

use galera_protocol::describe::Layer;

use super::{Follow, Record, What};
use crate::capture::Timestamp;

/// All conditions have to hold; an empty list holds always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Layers, by the innermost or any around it: `gmcast`, `evs`, `pc`, `gcs`, `link`, `sst`.
    pub layers: Vec<String>,
    /// Types of messages, in any layer.
    pub types: Vec<String>,
    /// Names, beginnings of UUIDs, or addresses, of sender or receiver.
    pub members: Vec<String>,
    /// The earliest time.
    pub since: Option<Timestamp>,
    /// The latest time.
    pub until: Option<Timestamp>,
    /// Seqnos of EVS or the group, both ends included.
    pub seqnos: Option<(i64, i64)>,
    /// Only what is wrong.
    pub only_faults: bool,
}

impl Filter {
    /// Whether a record is shown.
    pub fn shows(&self, record: &Record, follow: &Follow) -> bool {
        self.since.is_none_or(|since| record.time >= since)
            && self.until.is_none_or(|until| record.time <= until)
            && (self.layers.is_empty() || self.has_layer(record))
            && (self.types.is_empty() || self.has_type(record))
            && (self.members.is_empty() || self.has_member(record, follow))
            && self.seqnos.is_none_or(|range| has_seqno(record, range))
            && (!self.only_faults || is_wrong(record))
    }

    fn has_layer(&self, record: &Record) -> bool {
        let is_wanted =
            |name: &str| self.layers.iter().any(|layer| layer.eq_ignore_ascii_case(name));
        match &record.what {
            What::Frame { description, .. } => {
                let mut layers = description.sections.iter().map(|section| section.layer);
                // A carrier counts only if it carries nothing, or every message would be of gmcast.
                let inner = description.sections.last().map_or(Layer::Frame, |last| last.layer);
                is_wanted(inner.name())
                    || layers.any(|layer| layer > Layer::Gmcast && is_wanted(layer.name()))
            }
            What::Link(_) | What::Sst(_) => is_wanted(record.layer()),
        }
    }

    fn has_type(&self, record: &Record) -> bool {
        let is_wanted = |name: &str| self.types.iter().any(|kind| kind.eq_ignore_ascii_case(name));
        match &record.what {
            What::Frame { description, .. } => {
                let carries = description.sections.len() > 2;
                let sections = description.sections.iter();
                // `USER` means that of EVS and PC, not the envelope of everything.
                sections
                    .filter(|section| !(carries && section.layer <= Layer::Gmcast))
                    .any(|section| is_wanted(section.kind) || is_wanted(super::text::kind(section)))
            }
            What::Link(_) | What::Sst(_) => is_wanted(record.kind()),
        }
    }

    fn has_member(&self, record: &Record, follow: &Follow) -> bool {
        let is_wanted = |text: &str| self.members.iter().any(|wanted| text.starts_with(wanted));
        [&record.from, &record.to].into_iter().any(|address| {
            let node = follow.node_at(address);
            is_wanted(&address.to_string())
                || node.is_some_and(|node| {
                    let name = follow.name(&node);
                    is_wanted(&node.to_string()) || self.members.contains(&name)
                })
        })
    }
}

fn has_seqno(record: &Record, (first, last): (i64, i64)) -> bool {
    let What::Frame { description, .. } = &record.what else { return false };
    let sections = description.sections.iter();
    sections.filter_map(|section| section.signed("seqno")).any(|n| (first..=last).contains(&n))
}

fn is_wrong(record: &Record) -> bool {
    match &record.what {
        What::Frame { description, .. } => description.fault.is_some(),
        What::Link(event) => matches!(
            event,
            super::LinkEvent::Gap(_) | super::LinkEvent::Unreadable(_) | super::LinkEvent::Reset
        ),
        What::Sst(event) => matches!(event, super::SstEvent::Damaged(_)),
    }
}
