//! The `grastate.dat` of a restored directory: its position, and what the node is to be.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;

use super::position::Position;
use crate::sink::datadir::Grastate;

/// The file's name in a data directory.
pub(crate) const NAME: &str = Grastate::NAME;

/// What a restored node is to be in the new cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A node that joins, by IST if it can.
    Join,
    /// The node that starts the cluster.
    Bootstrap,
    /// One of several restored from the same backup: 0 starts the cluster, the others join by IST.
    Ordinal(u32),
}

impl Role {
    /// True for the one node that may start the cluster.
    pub const fn is_safe_to_bootstrap(self) -> bool {
        matches!(self, Self::Bootstrap | Self::Ordinal(0))
    }
}

/// Writes the file. It is the last one of a data directory: with it a server believes the rest.
pub(crate) fn write(directory: &Path, position: &Position, role: Role) -> io::Result<()> {
    let Position { uuid, seqno, .. } = *position;
    let grastate = Grastate { uuid, seqno, safe_to_bootstrap: role.is_safe_to_bootstrap() };
    let mut file = OpenOptions::new().write(true).create_new(true).open(directory.join(NAME))?;
    file.write_all(grastate.to_string().as_bytes())?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::restore::position::PositionSource;

    fn position(seqno: i64) -> Position {
        Position {
            uuid: "3ae18adc-e690-11f1-aa68-dbedcff0437f".parse().expect("valid UUID"),
            seqno,
            source: PositionSource::Prepared,
        }
    }

    #[test]
    fn the_file_is_what_a_server_writes() {
        let directory = tempfile::tempdir().expect("a directory");
        write(directory.path(), &position(108), Role::Bootstrap).expect("writes");
        let text = std::fs::read_to_string(directory.path().join(NAME)).expect("reads");
        assert_eq!(
            text,
            "# GALERA saved state\nversion: 2.1\nuuid:    3ae18adc-e690-11f1-aa68-dbedcff0437f\n\
             seqno:   108\nsafe_to_bootstrap: 1\n"
        );
        assert_eq!(text.len(), 114);
    }

    #[test]
    fn only_the_first_ordinal_may_bootstrap() {
        assert!(Role::Ordinal(0).is_safe_to_bootstrap());
        assert!(!Role::Ordinal(1).is_safe_to_bootstrap());
        let Position { uuid, seqno, .. } = position(-1);
        let grastate = Grastate { uuid, seqno, safe_to_bootstrap: false };
        assert!(grastate.to_string().ends_with("seqno:   -1\nsafe_to_bootstrap: 0\n"));
    }

    #[test]
    fn an_existing_file_is_never_replaced() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join(NAME), b"").expect("writes");
        assert!(write(directory.path(), &position(1), Role::Bootstrap).is_err());
    }
}
