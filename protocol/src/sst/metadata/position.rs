//! A point in the history of a group, as the donor writes it (spec 05 §4.4).

use core::fmt;

use crate::id::{ParseUuidError, StateId};

/// `UUID:SEQNO`: a data history and the number of its last write-set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The history.
    pub state: StateId,
    /// Number of the last write-set; -1 if unknown.
    pub seqno: i64,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.state, self.seqno)
    }
}

/// Why a line holds no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParsePositionError {
    /// No `:` between UUID and seqno.
    #[error("expected UUID:SEQNO")]
    Form,
    /// The state UUID is none.
    #[error("state UUID")]
    State(#[from] ParseUuidError),
    /// The seqno is not a number of 64 bits.
    #[error("seqno is not a number")]
    Seqno,
    /// What follows the seqno is no GTID domain.
    #[error("text after the seqno")]
    Domain,
}

/// Reads `UUID:SEQNO [DOMAIN]`, the form of every file that carries a position. The domain is
/// returned as text: MariaDB writes a number, or several joined by `-`.
pub(super) fn parse_line(line: &str) -> Result<(Position, Option<&str>), ParsePositionError> {
    let line = line.trim_end();
    let (state, rest) = line.split_once(':').ok_or(ParsePositionError::Form)?;
    let state = state.parse()?;
    let (seqno, domain) = match rest.split_once([' ', '\t']) {
        Some((seqno, domain)) => (seqno, Some(domain.trim_start_matches([' ', '\t']))),
        None => (rest, None),
    };
    if domain.is_some_and(|domain| !is_domain(domain)) {
        return Err(ParsePositionError::Domain);
    }
    Ok((Position { state, seqno: parse_seqno(seqno)? }, domain))
}

fn parse_seqno(text: &str) -> Result<i64, ParsePositionError> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if !is_digits(digits) {
        return Err(ParsePositionError::Seqno);
    }
    text.parse().map_err(|_| ParsePositionError::Seqno)
}

fn is_domain(text: &str) -> bool {
    text.split('-').all(is_digits)
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "3ae18adc-e690-11f1-aa68-dbedcff0437f";

    #[test]
    fn every_form_that_donors_write_is_read() {
        let cases = [
            (":39", 39, None),
            (":39 0", 39, Some("0")),
            (":39\t0-1-7", 39, Some("0-1-7")),
            (":39  0\r", 39, Some("0")),
            (":-1", -1, None),
            (":0  ", 0, None),
        ];
        for (tail, seqno, domain) in cases {
            let line = format!("{UUID}{tail}");
            let (position, found) = parse_line(&line).expect(&line);
            assert_eq!((position.seqno, found), (seqno, domain), "{line}");
            assert_eq!(position.state.to_string(), UUID);
        }
    }

    #[test]
    fn other_forms_are_refused_with_their_reason() {
        let cases = [
            ("", ParsePositionError::Form),
            ("3ae18adc:39", ParsePositionError::State(ParseUuidError)),
            ("UUID:", ParsePositionError::Seqno),
            ("UUID:x", ParsePositionError::Seqno),
            ("UUID:+5", ParsePositionError::Seqno),
            ("UUID:--5", ParsePositionError::Seqno),
            ("UUID:99999999999999999999", ParsePositionError::Seqno),
            ("UUID:5 x", ParsePositionError::Domain),
            ("UUID:5 0-", ParsePositionError::Domain),
            ("UUID:5 0 0", ParsePositionError::Domain),
        ];
        for (line, error) in cases {
            let line = line.replace("UUID", UUID);
            assert_eq!(parse_line(&line), Err(error), "{line}");
        }
    }
}
