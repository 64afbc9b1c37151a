//! Sizes as people write them.

use std::str::FromStr;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// The text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no size: write bytes, or a number with K, M, G or T (powers of 1024)")]
pub struct ParseSizeError {
    text: String,
}

impl FromStr for ByteSize {
    type Err = ParseSizeError;

    fn from_str(text: &str) -> Result<Self, ParseSizeError> {
        let refuse = || ParseSizeError { text: text.to_owned() };
        let trimmed = text.strip_suffix("iB").or(text.strip_suffix('B')).unwrap_or(text);
        let unit = trimmed.chars().last().and_then(shift);
        let digits = if unit.is_some() { &trimmed[..trimmed.len() - 1] } else { trimmed };
        let number: u64 = digits.trim_end().parse().map_err(|_| refuse())?;
        let bytes = number.checked_mul(1 << unit.unwrap_or(0));
        bytes.map(Self).ok_or_else(refuse)
    }
}

fn shift(unit: char) -> Option<u32> {
    match unit.to_ascii_uppercase() {
        'K' => Some(10),
        'M' => Some(20),
        'G' => Some(30),
        'T' => Some(40),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_and_without_units() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("8M", 8 << 20), ("64 GiB", 64 << 30), ("2k", 2048)]
        {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
        }
        for text in ["", "M", "-1", "1.5G", "9x", "99999999T", "é"] {
            assert!(text.parse::<ByteSize>().is_err(), "{text}");
        }
    }
}
