//! Who may be donor: by name, by site, and not who failed us before.
//!
//! The group chooses among the names of a request; which names those are is decided here, from the
//! configuration that is in force when the request is made.

use galera_protocol::gcs::{Conditions, Member, Status};
use galera_protocol::id::{NodeId, Segment};

/// Which members may be donor, and what must hold before one is taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Donors {
    /// Full names of acceptable donors, divided by commas, best first; an empty entry means any.
    pub names: String,
    /// Members that are not to be donor: where the writes go, say.
    pub avoid: Vec<String>,
    /// They may be donor all the same when there is no other.
    pub avoid_if_others: bool,
    /// Only members of this segment.
    pub segment: Option<Segment>,
    /// What must hold in the group.
    pub conditions: Conditions,
}

impl Donors {
    /// The list for a request; `None` if nobody is left. `failed` are the donors of earlier attempts.
    pub(super) fn list(
        &self,
        members: &[Member],
        me: &NodeId,
        failed: &[String],
    ) -> Option<String> {
        let has_failed = |name: &&str| failed.iter().any(|out| out == name);
        let is_avoided = |name: &&str| self.avoid.iter().any(|out| out == name);
        let is_free = self.avoid.is_empty() && self.segment.is_none() && failed.is_empty();
        if is_free {
            return Some(self.names.clone());
        }
        let named: Vec<_> = self.names.split(',').filter(|name| !name.is_empty()).collect();
        let takes_any = self.names.split(',').any(str::is_empty);
        let candidates = self.candidates(members, me);
        let is_candidate = |name: &&str| candidates.iter().any(|known| known == name);
        let chosen = named.iter().copied().filter(is_candidate);
        let others =
            candidates.iter().map(String::as_str).filter(|name| takes_any && !named.contains(name));
        let able: Vec<_> = chosen.chain(others).filter(|name| !has_failed(name)).collect();
        let mut list = able.clone();
        list.retain(|name| !is_avoided(name));
        if list.is_empty() && self.avoid_if_others {
            list = able;
        }
        (!list.is_empty()).then(|| list.join(","))
    }

    /// Members with data of our segment, those first that could donate at once.
    fn candidates(&self, members: &[Member], me: &NodeId) -> Vec<String> {
        let suits = |member: &&Member| {
            let is_near = self.segment.is_none_or(|segment| member.segment == segment);
            is_near && !member.is_stateless && member.node != *me && !member.name.is_empty()
        };
        let mut members: Vec<_> = members.iter().filter(suits).collect();
        members.sort_by_key(|member| member.status != Status::Synced);
        members.into_iter().map(|member| member.name.to_string()).collect()
    }
}

#[cfg(test)]
mod tests {
    use galera_protocol::gcs::Name;

    use super::*;

    fn member(number: u8, name: &str, segment: u8, status: Status) -> Member {
        let name = Name::new(name).expect("a name");
        let node = NodeId::from_bytes([number; 16]);
        Member { name, status, ..Member::new(node, Segment(segment)) }
    }

    fn group() -> Vec<Member> {
        vec![
            member(1, "pxc-0", 0, Status::Synced),
            member(2, "pxc-1", 0, Status::Donor),
            member(3, "pxc-10", 1, Status::Synced),
            Member { is_stateless: true, ..member(4, "garb", 0, Status::Synced) },
            member(9, "us", 0, Status::Primary),
        ]
    }

    fn list(donors: &Donors, failed: &[&str]) -> Option<String> {
        let failed: Vec<_> = failed.iter().map(ToString::to_string).collect();
        donors.list(&group(), &NodeId::from_bytes([9; 16]), &failed)
    }

    #[test]
    fn without_wishes_the_group_chooses_alone() {
        assert_eq!(list(&Donors::default(), &[]).as_deref(), Some(""));
        let named = Donors { names: "pxc-1,".into(), ..Donors::default() };
        assert_eq!(list(&named, &[]).as_deref(), Some("pxc-1,"));
    }

    #[test]
    fn who_is_to_be_avoided_is_not_named_and_no_other_of_a_similar_name_is() {
        let donors = Donors { avoid: vec!["pxc-1".into()], ..Donors::default() };
        assert_eq!(list(&donors, &[]).as_deref(), Some("pxc-0,pxc-10"));
        assert_eq!(list(&donors, &["pxc-0"]).as_deref(), Some("pxc-10"));
        assert_eq!(list(&donors, &["pxc-0", "pxc-10"]), None);
        let rather_not = Donors { avoid_if_others: true, ..donors };
        assert_eq!(list(&rather_not, &[]).as_deref(), Some("pxc-0,pxc-10"));
        assert_eq!(list(&rather_not, &["pxc-0", "pxc-10"]).as_deref(), Some("pxc-1"));
    }

    #[test]
    fn a_segment_narrows_and_members_that_are_free_come_first() {
        let donors = Donors { segment: Some(Segment(0)), ..Donors::default() };
        assert_eq!(list(&donors, &[]).as_deref(), Some("pxc-0,pxc-1"));
        let far = Donors { segment: Some(Segment(7)), ..Donors::default() };
        assert_eq!(list(&far, &[]), None);
    }

    #[test]
    fn named_donors_keep_their_order_and_others_come_only_if_allowed() {
        let only = Donors { names: "pxc-10,pxc-0".into(), ..Donors::default() };
        assert_eq!(list(&only, &["pxc-10"]).as_deref(), Some("pxc-0"));
        assert_eq!(list(&only, &["pxc-10", "pxc-0"]), None);
        let any = Donors { names: "pxc-10,".into(), ..Donors::default() };
        assert_eq!(list(&any, &["pxc-10"]).as_deref(), Some("pxc-0,pxc-1"));
    }
}
