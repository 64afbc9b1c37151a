//! Fixed-size strings of the group protocol (spec 01 §2.1).

use core::fmt;

use bytes::{BufMut, Bytes};

use crate::decode::{Parsed, Problem, fail};

/// A string in a field of `SIZE` bytes: its bytes, then zeros. One of exactly `SIZE` bytes has no
/// terminator. No character set is implied; compare bytes.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FixedText<const SIZE: usize>(Bytes);

/// A group name.
pub type GroupName = FixedText<32>;

/// An address, or the reason of a FAIL.
pub type Text = FixedText<64>;

/// The string does not fit its field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("fixed-size string: {length} bytes, limit {limit}, no zero bytes")]
pub struct TextError {
    /// Bytes of the refused string.
    pub length: usize,
    /// Size of the field.
    pub limit: usize,
}

impl<const SIZE: usize> FixedText<SIZE> {
    /// Takes a string of at most `SIZE` bytes, none of them zero.
    pub fn new(text: impl AsRef<[u8]>) -> Result<Self, TextError> {
        let text = text.as_ref();
        if text.len() > SIZE || text.contains(&0) {
            return Err(TextError { length: text.len(), limit: SIZE });
        }
        Ok(Self(Bytes::copy_from_slice(text)))
    }

    /// The bytes in front of the padding.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// True for the empty string.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let Some((field, rest)) = input.split_at_checked(SIZE) else {
            return fail(input, "", Problem::Truncated);
        };
        let length = field.iter().position(|&byte| byte == 0).unwrap_or(SIZE);
        Ok((rest, Self(Bytes::copy_from_slice(&field[..length]))))
    }

    pub(super) fn encode(&self, out: &mut impl BufMut) {
        out.put_slice(&self.0);
        out.put_bytes(0, SIZE - self.0.len());
    }
}

/// Printable whatever a peer put into it: other bytes than printable ASCII are escaped.
impl<const SIZE: usize> fmt::Display for FixedText<SIZE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0.escape_ascii(), f)
    }
}

impl<const SIZE: usize> fmt::Debug for FixedText<SIZE> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_field_has_no_terminator() {
        let name = GroupName::new([b'g'; 32]).expect("fits");
        let mut out = Vec::new();
        name.encode(&mut out);
        assert_eq!(out, [b'g'; 32]);
        assert_eq!(GroupName::parse(&out), Ok((&[][..], name)));
    }

    #[test]
    fn bytes_behind_the_first_zero_are_ignored() {
        let mut field = [b'x'; 32];
        field[2] = 0;
        let (_, name) = GroupName::parse(&field).expect("long enough");
        assert_eq!(name.as_bytes(), b"xx");
    }

    #[test]
    fn a_string_that_does_not_fit_is_refused() {
        assert!(GroupName::new([b'g'; 33]).is_err());
        assert!(GroupName::new("a\0b").is_err());
        assert!(GroupName::parse(&[0; 31]).is_err());
    }

    #[test]
    fn a_peers_text_is_escaped_for_the_terminal() {
        let text = Text::new("evil\x1b[2J\n").expect("fits");
        assert_eq!(text.to_string(), "evil\\x1b[2J\\n");
    }
}
