//! Our own donor list, checked before it is sent: the group matches names by prefix and takes the
//! first match, so `pxc-1` may mean `pxc-10` to it. What it would take by surprise is refused.

use crate::gcs::name::Name;
use crate::gcs::roster::Member;
use crate::id::NodeId;

/// Why a donor list would not get the donor that it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// Another member comes first by the group's prefix rule.
    #[error("donor {entry:?} would be read as a prefix and select node {taken:?}")]
    Prefix {
        /// The entry of the list.
        entry: Name,
        /// The member that the group would take.
        taken: Name,
    },
    /// Several members have that name, or it is the prefix of one in a way that depends on UUIDs.
    #[error("donor {entry:?} is the name of {count} nodes")]
    Ambiguous {
        /// The entry of the list.
        entry: Name,
        /// How many members have that name.
        count: usize,
    },
    /// Our own name starts with the entry: the group would take it for us, or will after a view
    /// change.
    #[error("our own name {own:?} starts with donor {entry:?}: choose another --name")]
    OwnName {
        /// The entry of the list.
        entry: Name,
        /// Our name.
        own: Name,
    },
}

/// Checks that every entry of the list means exactly the member of that full name, or nobody.
pub fn check_donor_names(
    members: &[Member],
    me: &NodeId,
    own_name: &Name,
    donors: &[u8],
) -> Result<(), NameProblem> {
    let entries = donors.split(|&byte| byte == b',').filter(|entry| !entry.is_empty());
    for entry in entries {
        check_entry(members, me, own_name, entry)?;
    }
    Ok(())
}

fn check_entry(
    members: &[Member],
    me: &NodeId,
    own_name: &Name,
    entry: &[u8],
) -> Result<(), NameProblem> {
    let shown = || Name::copy_from(entry);
    if own_name.as_bytes().starts_with(entry) {
        return Err(NameProblem::OwnName { entry: shown(), own: own_name.clone() });
    }
    let others = || members.iter().filter(|member| member.node != *me);
    let count = others().filter(|member| member.name.as_bytes() == entry).count();
    if count > 1 {
        return Err(NameProblem::Ambiguous { entry: shown(), count });
    }
    // Stateless members count too: old releases do not pass them over.
    let first = others().find(|member| member.name.as_bytes().starts_with(entry));
    match first {
        Some(member) if member.name.as_bytes() != entry => {
            Err(NameProblem::Prefix { entry: shown(), taken: member.name.clone() })
        }
        Some(_) | None => Ok(()),
    }
}
