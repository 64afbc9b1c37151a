//! One page and its checksum.
//!
//! | offset | size | field |
//! |-------:|-----:|-------|
//! | 0 | 4 | checksum; with `full_crc32`, version of the key |
//! | 4 | 4 | number of the page |
//! | 16 | 8 | LSN |
//! | 24 | 2 | type |
//! | 26 | 8 | in older files, of encrypted pages: version of the key |
//! | 34 | 4 | id of the tablespace |
//! | end − 8 | 4 | checksum once more; with `full_crc32`, the low half of the LSN |
//! | end − 4 | 4 | the low half of the LSN; with `full_crc32`, the checksum |

use super::format::Format;
use super::report::Unchecked;

/// What is wrong with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PageFault {
    /// Its bytes do not have the checksum that it says.
    #[error("wrong checksum")]
    Checksum,
    /// Beginning and end were not written together.
    #[error("torn: beginning and end are of different writes")]
    Torn,
    /// It is another page than the one that belongs here.
    #[error("page {found} in its place")]
    Misplaced {
        /// The number that it says.
        found: u32,
    },
    /// The file ends inside of it.
    #[error("cut off")]
    Cut,
}

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Judged {
    Sound,
    /// Nothing but zeros: not used yet.
    Empty,
    Unchecked(Unchecked),
    Bad(PageFault),
}

const NUMBER_AT: usize = 4;
const LSN_LOW_AT: usize = 20;
const TYPE_AT: usize = 24;
const FLUSH_LSN_AT: usize = 26;
const HEADER_BYTES: usize = 38;

/// What a writer that makes no checksums writes.
const NO_CHECKSUM: u32 = 0xdead_beef;

/// Set in the type of a compressed page with `full_crc32`; the rest is its size in units of 256 bytes.
const COMPRESSED: u16 = 1 << 15;

/// Types of pages that are compressed or encrypted as a whole: MySQL's, then MariaDB's.
const TYPES_COMPRESSED: [u16; 2] = [14, 34354];
const TYPES_ENCRYPTED: [u16; 4] = [15, 16, 17, 37401];

const TYPE_SPATIAL: u16 = 17854;

/// Judges a page; `number` is where it lies, none where other pages' copies are kept.
pub(super) fn judge(page: &[u8], format: Format, number: Option<u32>) -> Judged {
    if page.iter().all(|&byte| byte == 0) {
        return Judged::Empty;
    }
    let judged = if format.is_full_crc32 { full_crc32(page) } else { original(page) };
    match (judged, number) {
        (Judged::Sound, Some(number)) if read(page, NUMBER_AT) != number => {
            Judged::Bad(PageFault::Misplaced { found: read(page, NUMBER_AT) })
        }
        (judged, _) => judged,
    }
}

/// Encrypted and compressed pages have their checksum over what is stored.
fn full_crc32(page: &[u8]) -> Judged {
    let kind = read_type(page);
    let is_compressed = kind & COMPRESSED != 0;
    let size = if is_compressed { usize::from(kind & !COMPRESSED) << 8 } else { page.len() };
    if size > page.len() || size < HEADER_BYTES + 8 || (is_compressed && size == page.len()) {
        return Judged::Bad(PageFault::Checksum);
    }
    let (content, checksum) = page[..size].split_at(size - 4);
    let is_encrypted = read(page, 0) != 0;
    let is_torn = read(content, size - 8) != read(page, LSN_LOW_AT);
    if !is_compressed && !is_encrypted && is_torn {
        return Judged::Bad(PageFault::Torn);
    }
    if read(checksum, 0) == crc32c::crc32c(content) {
        Judged::Sound
    } else {
        Judged::Bad(PageFault::Checksum)
    }
}

fn original(page: &[u8]) -> Judged {
    let kind = read_type(page);
    // The first page has a LSN there, and pages of spatial indexes a number of their own.
    let has_other = read(page, NUMBER_AT) == 0 || kind == TYPE_SPATIAL;
    let has_key = read(page, FLUSH_LSN_AT) != 0 && !has_other;
    if TYPES_ENCRYPTED.contains(&kind) || has_key {
        return Judged::Unchecked(Unchecked::Encrypted);
    }
    if TYPES_COMPRESSED.contains(&kind) {
        return Judged::Unchecked(Unchecked::Compressed);
    }
    if read(page, page.len() - 4) != read(page, LSN_LOW_AT) {
        return Judged::Bad(PageFault::Torn);
    }
    let stored = (read(page, 0), read(page, page.len() - 8));
    let is_right =
        stored == (NO_CHECKSUM, NO_CHECKSUM) || [crc32(page), legacy(page)].contains(&stored);
    if is_right { Judged::Sound } else { Judged::Bad(PageFault::Checksum) }
}

/// What the first checksum covers, in two parts.
fn covered(page: &[u8]) -> [&[u8]; 2] {
    [&page[NUMBER_AT..FLUSH_LSN_AT], &page[HEADER_BYTES..page.len() - 8]]
}

/// `crc32`: the same at both ends.
fn crc32(page: &[u8]) -> (u32, u32) {
    let [head, body] = covered(page);
    let checksum = crc32c::crc32c(head) ^ crc32c::crc32c(body);
    (checksum, checksum)
}

/// `innodb`, the oldest: one of the body at the beginning, one of the header at the end.
fn legacy(page: &[u8]) -> (u32, u32) {
    let [head, body] = covered(page);
    (fold(head).wrapping_add(fold(body)), fold(&page[..FLUSH_LSN_AT]))
}

fn fold(bytes: &[u8]) -> u32 {
    const MASKS: [u32; 2] = [1_463_735_687, 1_653_893_711];
    bytes.iter().fold(0_u32, |fold, &byte| {
        let byte = u32::from(byte);
        let mixed = ((fold ^ byte ^ MASKS[1]) << 8).wrapping_add(fold);
        (mixed ^ MASKS[0]).wrapping_add(byte)
    })
}

/// A number of four bytes, big-endian; 0 beyond the end, which no page has.
fn read(bytes: &[u8], at: usize) -> u32 {
    let four = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    u32::from_be_bytes(four.unwrap_or_default())
}

fn read_type(page: &[u8]) -> u16 {
    let two = page.get(TYPE_AT..TYPE_AT + 2).and_then(|bytes| bytes.try_into().ok());
    u16::from_be_bytes(two.unwrap_or_default())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::pages) const ORIGINAL: Format =
        Format { page_bytes: 4096, is_full_crc32: false, is_row_compressed: false };
    pub(in crate::pages) const FULL: Format = Format { is_full_crc32: true, ..ORIGINAL };

    fn put(page: &mut [u8], at: usize, value: u32) {
        page[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// A page with its number, a LSN at both ends and some content.
    pub(in crate::pages) fn page(number: u32, format: Format) -> Vec<u8> {
        let mut page = vec![0; format.page_bytes];
        let end = page.len();
        put(&mut page, NUMBER_AT, number);
        put(&mut page, LSN_LOW_AT, 77);
        page[100..200].fill(9);
        if format.is_full_crc32 {
            put(&mut page, end - 8, 77);
            let checksum = crc32c::crc32c(&page[..end - 4]);
            put(&mut page, end - 4, checksum);
        } else {
            put(&mut page, end - 4, 77);
            let (first, last) = crc32(&page);
            put(&mut page, 0, first);
            put(&mut page, end - 8, last);
        }
        page
    }

    #[test]
    fn a_sound_page_is_sound_and_every_changed_byte_is_seen() {
        for format in [FULL, ORIGINAL] {
            let sound = page(3, format);
            assert_eq!(judge(&sound, format, Some(3)), Judged::Sound);
            for at in (0..4096).step_by(7) {
                let mut damaged = sound.clone();
                damaged[at] ^= 0x40;
                // Nothing covers the key's version and the tablespace's id in older files.
                let is_covered = format.is_full_crc32 || !(26..38).contains(&at);
                let judged = judge(&damaged, format, Some(3));
                assert_eq!(matches!(judged, Judged::Bad(_)), is_covered, "{at} {judged:?}");
            }
        }
    }

    #[test]
    fn other_checksums_of_older_servers_are_taken() {
        let mut none = page(3, ORIGINAL);
        put(&mut none, 0, NO_CHECKSUM);
        put(&mut none, 4088, NO_CHECKSUM);
        assert_eq!(judge(&none, ORIGINAL, Some(3)), Judged::Sound);
        let mut innodb = page(3, ORIGINAL);
        let (first, _) = legacy(&innodb);
        put(&mut innodb, 0, first);
        let (_, last) = legacy(&innodb);
        put(&mut innodb, 4088, last);
        assert_eq!(judge(&innodb, ORIGINAL, Some(3)), Judged::Sound);
        put(&mut innodb, 500, 1);
        assert_eq!(judge(&innodb, ORIGINAL, Some(3)), Judged::Bad(PageFault::Checksum));
    }

    #[test]
    fn halves_of_two_writes_are_torn() {
        for format in [FULL, ORIGINAL] {
            let mut torn = page(3, format);
            put(&mut torn, LSN_LOW_AT, 76);
            assert_eq!(judge(&torn, format, Some(3)), Judged::Bad(PageFault::Torn));
        }
    }

    #[test]
    fn a_sound_page_in_a_wrong_place_is_told() {
        let sound = page(3, FULL);
        assert_eq!(judge(&sound, FULL, Some(4)), Judged::Bad(PageFault::Misplaced { found: 3 }));
        assert_eq!(judge(&sound, FULL, None), Judged::Sound);
        assert_eq!(judge(&[0; 4096], FULL, Some(4)), Judged::Empty);
    }

    #[test]
    fn what_cannot_be_checked_is_never_sound() {
        for (kind, unchecked) in [
            (14, Unchecked::Compressed),
            (34354, Unchecked::Compressed),
            (15, Unchecked::Encrypted),
            (37401, Unchecked::Encrypted),
        ] {
            let mut page = page(3, ORIGINAL);
            page[TYPE_AT..TYPE_AT + 2].copy_from_slice(&u16::to_be_bytes(kind));
            assert_eq!(judge(&page, ORIGINAL, Some(3)), Judged::Unchecked(unchecked));
        }
    }

    #[test]
    fn a_compressed_page_has_its_checksum_where_its_bytes_end() {
        let mut compressed = page(3, FULL);
        compressed[TYPE_AT..TYPE_AT + 2].copy_from_slice(&(COMPRESSED | 2).to_be_bytes());
        compressed[508..].fill(0);
        let checksum = crc32c::crc32c(&compressed[..508]);
        put(&mut compressed, 508, checksum);
        assert_eq!(judge(&compressed, FULL, Some(3)), Judged::Sound);
        for size in [0, 16, 100] {
            compressed[TYPE_AT..TYPE_AT + 2].copy_from_slice(&(COMPRESSED | size).to_be_bytes());
            assert_eq!(judge(&compressed, FULL, Some(3)), Judged::Bad(PageFault::Checksum));
        }
    }
}
