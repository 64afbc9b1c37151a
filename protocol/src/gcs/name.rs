//! Names and addresses that members give themselves: bytes without NUL, of any encoding.

use core::fmt;

use bytes::Bytes;

/// A node's name or incoming address, as it stands in its state message.
///
/// Kept as bytes, for the group compares bytes; shown as text with replacement characters.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Bytes);

/// The longest name that we give ourselves, in bytes.
const LENGTH_MAX: usize = 255;

/// A name that would not survive a state message, or a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("node name must have at most {LENGTH_MAX} bytes and no control characters")]
pub struct InvalidName;

impl Name {
    /// A name for ourselves.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let is_valid = text.len() <= LENGTH_MAX && !text.bytes().any(|b| b.is_ascii_control());
        if is_valid { Ok(Self::copy_from(text.as_bytes())) } else { Err(InvalidName) }
    }

    pub(super) const fn from_static(text: &'static str) -> Self {
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// Takes the bytes before the NUL.
    pub(super) fn copy_from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }

    /// The bytes, without the NUL.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// True for the empty name.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
impl From<&str> for Name {
    fn from(text: &str) -> Self {
        Self::copy_from(text.as_bytes())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_a_state_message_are_refused() {
        assert_eq!(Name::new("backup-0").map(|name| name.to_string()), Ok("backup-0".into()));
        assert_eq!(Name::new("a\0b"), Err(InvalidName));
        assert_eq!(Name::new("a\nb"), Err(InvalidName));
        assert_eq!(Name::new(&"x".repeat(256)), Err(InvalidName));
    }

    #[test]
    fn names_of_others_may_be_any_bytes() {
        assert_eq!(Name::copy_from(b"\xff1").to_string(), "\u{fffd}1");
    }
}
