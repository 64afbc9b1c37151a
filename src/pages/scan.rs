//! Cuts a file into pages as its bytes come.

use bytes::{Bytes, BytesMut};
use galera_protocol::xbstream::EntryPath;

use super::checksum::{Judged, PageFault, judge};
use super::format::{Format, PAGE_BYTES_MIN};
use super::report::{FilePages, Unchecked};
use crate::unpack::{Unpack, Unpacker};

/// Whether a file of a backup has InnoDB's pages, whatever the backup tool packed it with.
pub fn is_innodb_file(path: &EntryPath) -> bool {
    let path = plain_name(path);
    let name = path.file_name();
    let is_top = path.as_bytes().len() == name.len();
    name.ends_with(b".ibd")
        || name.ends_with(b".ibu")
        || name.ends_with(b".ibd.new")
        || (is_top && (name.starts_with(b"ibdata") || name.starts_with(b"undo")))
}

fn plain_name(path: &EntryPath) -> EntryPath {
    let name = path.as_bytes();
    let decrypted = name.strip_suffix(ENCRYPTED).and_then(|name| EntryPath::parse(name).ok());
    let path = decrypted.unwrap_or_else(|| path.clone());
    unpack().member(&path).map_or(path, |(plain, _)| plain)
}

const ENCRYPTED: &[u8] = b".xbcrypt";

/// Everything that needs no key.
fn unpack() -> Unpack {
    Unpack { decompress: true, ..Unpack::default() }
}

/// Checks one file. Memory is one page and what a packed member needs.
#[derive(Debug)]
pub struct Scan {
    unpacker: Option<Unpacker>,
    pages: Pages,
    /// It is packed in a way that cannot be undone here.
    is_lost: bool,
}

impl Scan {
    /// Begins a file.
    pub fn new(path: &EntryPath) -> Self {
        let (plain, unpacker) = match unpack().member(path) {
            Some((plain, unpacker)) => (plain, Some(unpacker)),
            None => (path.clone(), None),
        };
        let is_lost = path.as_bytes().ends_with(ENCRYPTED);
        Self { unpacker, pages: Pages::new(path.clone(), &plain), is_lost }
    }

    /// Takes the next bytes of the file.
    pub fn write(&mut self, bytes: &[u8]) {
        if self.is_lost {
            return;
        }
        let Some(unpacker) = &mut self.unpacker else { return self.pages.write(bytes) };
        let mut input = Bytes::copy_from_slice(bytes);
        loop {
            match unpacker.next(&mut input) {
                Ok(Some(plain)) => self.pages.write(&plain),
                Ok(None) => return,
                Err(_) => {
                    self.is_lost = true;
                    return;
                }
            }
        }
    }

    /// Takes zeros that nobody stored.
    pub fn skip(&mut self, mut zeros: u64) {
        const ZEROS: &[u8] = &[0; 64 << 10];
        while zeros > 0 && !self.is_lost {
            let length = usize::try_from(zeros).map_or(ZEROS.len(), |it| it.min(ZEROS.len()));
            self.write(&ZEROS[..length]);
            zeros -= length as u64;
        }
    }

    /// Ends the file.
    pub fn finish(self) -> FilePages {
        let is_cut = self.unpacker.is_some_and(|mut unpacker| unpacker.end().is_err());
        let mut found = self.pages.finish();
        if self.is_lost || is_cut {
            found.note_unchecked(Unchecked::Packed);
        }
        found
    }
}

#[derive(Debug)]
struct Pages {
    found: FilePages,
    is_system: bool,
    format: State,
    rest: BytesMut,
    next: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The first page has not come.
    Unknown,
    Known(Format),
    /// Nobody can tell pages apart.
    None,
}

/// Pages of an extent, of which the doublewrite buffer takes the second and the third.
fn extent_pages(page_bytes: usize) -> u64 {
    match page_bytes {
        4096 => 256,
        8192 => 128,
        _ => 64,
    }
}

impl Pages {
    fn new(path: EntryPath, plain: &EntryPath) -> Self {
        let is_system = plain.file_name().starts_with(b"ibdata");
        let found = FilePages::new(path);
        Self { found, is_system, format: State::Unknown, rest: BytesMut::new(), next: 0 }
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        if self.format == State::Unknown {
            let missing = PAGE_BYTES_MIN.saturating_sub(self.rest.len()).min(bytes.len());
            self.rest.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.rest.len() >= PAGE_BYTES_MIN {
                self.learn();
                let head = core::mem::take(&mut self.rest);
                if let State::Known(format) = self.format {
                    // Compressed pages may be smaller than what was waited for.
                    self.cut(format, &head);
                }
            }
        }
        match self.format {
            State::Known(format) => self.cut(format, bytes),
            State::Unknown | State::None => {}
        }
    }

    /// The first page has number 0; a later file of the system tablespace goes on counting.
    fn learn(&mut self) {
        let is_first = self.rest[4..8] == [0; 4];
        match Format::of(&self.rest).filter(|_| is_first) {
            Some(format) => {
                let id = self.rest[34..38].try_into().unwrap_or_default();
                self.found.space_id = Some(u32::from_be_bytes(id));
                self.found.page_bytes = Some(format.page_bytes);
                self.format = State::Known(format);
            }
            None => self.format = State::None,
        }
    }

    fn cut(&mut self, format: Format, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.rest.is_empty() && bytes.len() >= format.page_bytes {
                let (page, more) = bytes.split_at(format.page_bytes);
                self.page(format, page);
                bytes = more;
                continue;
            }
            let missing = (format.page_bytes - self.rest.len()).min(bytes.len());
            self.rest.extend_from_slice(&bytes[..missing]);
            bytes = &bytes[missing..];
            if self.rest.len() == format.page_bytes {
                let page = core::mem::take(&mut self.rest);
                self.page(format, &page);
                self.rest = page;
                self.rest.clear();
            }
        }
    }

    fn page(&mut self, format: Format, page: &[u8]) {
        let number = self.next;
        self.next += 1;
        let extent = extent_pages(format.page_bytes);
        let judged = if format.is_row_compressed {
            Judged::Unchecked(Unchecked::Compressed)
        } else if self.is_system && (extent..3 * extent).contains(&number) {
            Judged::Unchecked(Unchecked::Doublewrite)
        } else {
            judge(page, format, u32::try_from(number).ok())
        };
        match judged {
            Judged::Sound | Judged::Empty => self.found.sound += 1,
            Judged::Unchecked(why) => self.found.note_unchecked(why),
            Judged::Bad(fault) => self.found.note_bad(number, fault),
        }
    }

    fn finish(mut self) -> FilePages {
        match self.format {
            State::Known(_) if !self.rest.is_empty() => {
                self.found.note_bad(self.next, PageFault::Cut);
            }
            State::None => self.found.note_unchecked(Unchecked::UnknownFormat),
            State::Unknown if !self.rest.is_empty() => {
                self.found.note_unchecked(Unchecked::UnknownFormat);
            }
            State::Known(_) | State::Unknown => {}
        }
        self.found
    }
}

#[cfg(test)]
mod tests {
    use super::super::checksum::tests::{FULL, page};
    use super::*;

    fn path(name: &str) -> EntryPath {
        EntryPath::parse(name.as_bytes()).expect("valid")
    }

    /// A tablespace of pages of 4 KiB.
    fn tablespace(pages: u32) -> Vec<u8> {
        let mut file: Vec<u8> = (0..pages).flat_map(|number| page(number, FULL)).collect();
        let flags = 0x13_u32.to_be_bytes();
        file[54..58].copy_from_slice(&flags);
        file[34..38].copy_from_slice(&9_u32.to_be_bytes());
        let checksum = crc32c::crc32c(&file[..4092]);
        file[4092..4096].copy_from_slice(&checksum.to_be_bytes());
        file
    }

    fn scan(name: &str, file: &[u8], piece_bytes: usize) -> FilePages {
        let mut scan = Scan::new(&path(name));
        for piece in file.chunks(piece_bytes) {
            scan.write(piece);
        }
        scan.finish()
    }

    #[test]
    fn a_file_is_the_same_however_it_comes() {
        let mut file = tablespace(9);
        file[5 * 4096 + 300] ^= 1;
        for piece_bytes in [1, 57, 4095, 4096, 10_000, 1 << 20] {
            let found = scan("db/t.ibd", &file, piece_bytes);
            assert_eq!((found.space_id, found.page_bytes), (Some(9), Some(4096)));
            assert_eq!((found.sound, found.unchecked, found.bad), (8, 0, 1));
            let bad = super::super::BadPage { page: 5, fault: PageFault::Checksum };
            assert_eq!(found.bad_pages, [bad]);
        }
    }

    #[test]
    fn pages_smaller_than_the_head_are_counted_and_not_checked() {
        let mut file = vec![1; 11 << 10];
        file[4..8].fill(0);
        file[54..58].copy_from_slice(&(0x21_u32 | 1 << 1).to_be_bytes());
        let found = scan("db/t.ibd", &file, 300);
        assert_eq!((found.sound, found.unchecked, found.bad), (0, 11, 0));
        assert_eq!(found.why_unchecked, Some(Unchecked::Compressed));
    }

    #[test]
    fn holes_are_pages_that_are_not_used() {
        let mut scan = Scan::new(&path("db/t.ibd"));
        scan.write(&tablespace(2));
        scan.skip(3 * 4096);
        assert_eq!(scan.finish().sound, 5);
    }

    #[test]
    fn a_cut_page_is_bad_and_a_file_of_another_kind_is_not_checked() {
        let found = scan("db/t.ibd", &tablespace(3)[..3 * 4096 - 1], 4096);
        assert_eq!(found.bad_pages[0].fault, PageFault::Cut);
        let found = scan("ibdata2", &page(700, FULL), 4096);
        assert_eq!(found.why_unchecked, Some(Unchecked::UnknownFormat));
        assert_eq!(scan("db/t.ibd", b"", 1).unchecked, 0);
    }

    #[test]
    fn a_compressed_member_is_unpacked_and_a_damaged_one_is_not_sound() {
        let packed = zstd::encode_all(&tablespace(4)[..], 1).expect("compresses");
        assert_eq!(scan("db/t.ibd.zst", &packed, 100).sound, 4);
        let found = scan("db/t.ibd.zst", &packed[..packed.len() - 9], 100);
        assert_eq!(found.why_unchecked, Some(Unchecked::Packed));
        let found = scan("db/t.ibd.zst.xbcrypt", &packed, 100);
        assert_eq!((found.sound, found.why_unchecked), (0, Some(Unchecked::Packed)));
    }

    #[test]
    fn the_doublewrite_buffer_holds_other_pages() {
        let file = tablespace(1000);
        let found = scan("ibdata1", &file, 1 << 20);
        assert_eq!((found.sound, found.unchecked), (1000 - 512, 512));
        assert_eq!(found.why_unchecked, Some(Unchecked::Doublewrite));
    }

    #[test]
    fn files_with_pages_are_told_by_their_names() {
        for name in [
            "ibdata1",
            "undo001",
            "undo_001",
            "db/t.ibd",
            "db/t#P#p0.ibd.zst",
            "x.ibu",
            "mysql.ibd.qp",
            "x.ibd.xbcrypt",
        ] {
            assert!(is_innodb_file(&path(name)), "{name}");
        }
        for name in ["ib_logfile0", "db/ibdata.MYD", "db/t.frm", "xtrabackup_info"] {
            assert!(!is_innodb_file(&path(name)), "{name}");
        }
    }
}
