//! `grastate.dat`: the position of a data directory, as Galera reads it (spec 05 §5.2).

use core::fmt;

use galera_protocol::StateId;

/// What `grastate.dat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grastate {
    /// Identity of the data history.
    pub uuid: StateId,
    /// Global seqno of the data; -1: unknown.
    pub seqno: i64,
    /// Whether a group may be bootstrapped from here.
    pub safe_to_bootstrap: bool,
}

impl Grastate {
    /// The file's name.
    pub const NAME: &'static str = "grastate.dat";
}

/// The file's text, byte for byte. Its last newline matters: without it Galera ignores the last line
/// and takes the directory as safe to bootstrap.
impl fmt::Display for Grastate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let safe = u8::from(self.safe_to_bootstrap);
        writeln!(f, "# GALERA saved state")?;
        writeln!(f, "version: 2.1")?;
        writeln!(f, "uuid:    {}", self.uuid)?;
        writeln!(f, "seqno:   {}", self.seqno)?;
        writeln!(f, "safe_to_bootstrap: {safe}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_what_galera_writes() {
        let uuid: StateId = "3ae18adc-c6ca-11f0-8a1d-6a6f4d8c1b5e".parse().expect("uuid");
        let text = Grastate { uuid, seqno: -1, safe_to_bootstrap: false }.to_string();
        assert_eq!(
            text,
            "# GALERA saved state\nversion: 2.1\nuuid:    3ae18adc-c6ca-11f0-8a1d-6a6f4d8c1b5e\n\
             seqno:   -1\nsafe_to_bootstrap: 0\n"
        );
        assert_eq!(text.len(), 113);
    }
}
