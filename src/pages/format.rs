//! How a tablespace's pages are laid out, from the flags in its first page.
//!
//! | bits | before `full_crc32` | with it (MariaDB 10.5, bit 4) |
//! |---|---|---|
//! | 0–3 | 0: not the oldest format; 1–4: size of compressed pages | size of pages |
//! | 5–7 | 5: not the second oldest | compression |
//! | 6–9 | size of pages, 0 for 16 KiB | |

/// Where the flags stand in the first page, big-endian.
pub(super) const FLAGS_AT: usize = 54;

/// Bytes of a file's beginning that tell its format.
pub(super) const HEAD_BYTES: usize = FLAGS_AT + 4;

/// The smallest page that there is; nothing is known before one of these has come.
pub(super) const PAGE_BYTES_MIN: usize = 4 << 10;

/// The layout of a tablespace's pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Format {
    /// Size of a page as it lies in the file.
    pub page_bytes: usize,
    /// Checksum at the end, of everything before it.
    pub is_full_crc32: bool,
    /// Pages are compressed one by one (`ROW_FORMAT=COMPRESSED`) and have another layout.
    pub is_row_compressed: bool,
}

impl Format {
    /// Reads the flags in the beginning of a tablespace.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let flags = head.get(FLAGS_AT..HEAD_BYTES)?.try_into().ok()?;
        Self::from_flags(u32::from_be_bytes(flags))
    }

    fn from_flags(flags: u32) -> Option<Self> {
        let is_full_crc32 = flags & 0x10 != 0 && flags & 0xf >= 3;
        // Bit 4 is the highest of the size of compressed pages, which is at most 5.
        if is_full_crc32 {
            let page_bytes = page_bytes(flags & 0xf)?;
            return Some(Self { page_bytes, is_full_crc32, is_row_compressed: false });
        }
        let page_bytes = match flags >> 6 & 0xf {
            0 => 16 << 10,
            size => page_bytes(size)?,
        };
        match flags >> 1 & 0xf {
            0 => Some(Self { page_bytes, is_full_crc32, is_row_compressed: false }),
            // 1 KiB to 16 KiB, which is what lies in the file.
            size @ 1..=5 => {
                Some(Self { page_bytes: 512 << size, is_full_crc32, is_row_compressed: true })
            }
            _ => None,
        }
    }
}

/// 3 for 4 KiB to 7 for 64 KiB.
fn page_bytes(size: u32) -> Option<usize> {
    (3..=7).contains(&size).then(|| 512 << size)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full_crc32(page_bytes: usize) -> Option<Format> {
        Some(Format { page_bytes, is_full_crc32: true, is_row_compressed: false })
    }

    fn original(page_bytes: usize) -> Option<Format> {
        Some(Format { page_bytes, is_full_crc32: false, is_row_compressed: false })
    }

    #[test]
    fn flags_of_real_tablespaces_are_understood() {
        assert_eq!(Format::from_flags(0x15), full_crc32(16 << 10));
        assert_eq!(Format::from_flags(0x13), full_crc32(4 << 10));
        assert_eq!(Format::from_flags(0x17), full_crc32(64 << 10));
        assert_eq!(Format::from_flags(0x21), original(16 << 10));
        assert_eq!(Format::from_flags(0), original(16 << 10));
        assert_eq!(Format::from_flags(0x21 | 3 << 6), original(4 << 10));
        assert_eq!(Format::from_flags(0x4021), original(16 << 10));
        let compressed = Format { is_row_compressed: true, ..original(8 << 10).expect("some") };
        assert_eq!(Format::from_flags(0x21 | 4 << 1), Some(compressed));
    }

    #[test]
    fn impossible_flags_are_no_format() {
        for flags in [0x18, 0x1f, 0x21 | 1 << 6, 0x21 | 8 << 6, 6 << 1] {
            assert_eq!(Format::from_flags(flags), None, "{flags:#x}");
        }
    }
}
