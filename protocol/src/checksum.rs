//! Frame checksums (spec 01 §2.4).
//!
//! Each sender chooses a kind alone, from its own `socket.checksum`; a receiver accepts all three.
//! The checksum covers the body's length (four bytes, little-endian, without the flags that share
//! the word on the wire) and then the body. xbstream's checksums are a different matter: see
//! [`crate::xbstream`].

/// How a frame's body is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Checksum {
    /// No checksum; its field is zero.
    None,
    /// CRC-32 as in IEEE 802.3.
    Crc32,
    /// CRC-32C (Castagnoli), the default of every release that is in use.
    #[default]
    Crc32c,
}

impl Checksum {
    /// The kind that a value of `socket.checksum` selects. Unknown values mean CRC-32, as in
    /// Galera.
    pub const fn from_option(value: i64) -> Self {
        match value {
            0 => Self::None,
            2 => Self::Crc32c,
            _ => Self::Crc32,
        }
    }

    /// The checksum of a body; zero for [`Checksum::None`].
    pub fn of(self, body: &[u8]) -> u32 {
        let length = (body.len() as u32).to_le_bytes();
        match self {
            Self::None => 0,
            Self::Crc32 => {
                let mut hasher = crc32fast::Hasher::new();
                hasher.update(&length);
                hasher.update(body);
                hasher.finalize()
            }
            Self::Crc32c => crc32c::crc32c_append(crc32c::crc32c(&length), body),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_polynomials_give_their_published_check_values() {
        assert_eq!(crc32fast::hash(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn the_length_is_covered_in_front_of_the_body() {
        let covered = b"\x09\x00\x00\x00123456789";
        assert_eq!(Checksum::Crc32.of(b"123456789"), crc32fast::hash(covered));
        assert_eq!(Checksum::Crc32c.of(b"123456789"), crc32c::crc32c(covered));
        assert_eq!(Checksum::None.of(b"123456789"), 0);
    }

    #[test]
    fn option_values_other_than_none_and_crc32c_mean_crc32() {
        assert_eq!(Checksum::from_option(0), Checksum::None);
        assert_eq!(Checksum::from_option(1), Checksum::Crc32);
        assert_eq!(Checksum::from_option(2), Checksum::Crc32c);
        assert_eq!(Checksum::from_option(7), Checksum::Crc32);
        assert_eq!(Checksum::default(), Checksum::Crc32c);
    }
}
