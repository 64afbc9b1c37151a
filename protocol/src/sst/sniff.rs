//! Tells the donor's connections apart by their first bytes (spec 05 §2.7, 3.2).
//!
//! The donor's configuration is unknown and may wrap each connection in TLS, a compressor or a
//! cipher, so [`sniff`] names the outermost layer. Inside, the first file's name says what the
//! archive is: [`classify`]. Nothing is consumed; the caller replays the bytes.

use core::fmt;

/// Bytes after which every connection has been recognised: the longest archive header, rounded up.
pub const HEAD_BYTES_MAX: usize = 1024;

/// First bytes that are reported of a connection nobody understands.
const FOREIGN_BYTES_SHOWN: usize = 16;

const XBSTREAM_MAGIC: &[u8] = b"XBSTCK01";
const XBSTREAM_PREFIX_BYTES: usize = 14;
const XBSTREAM_PATH_BYTES_MAX: usize = 512;
const TAR_NAME_BYTES: usize = 100;
const TAR_MAGIC: &[u8] = b"ustar";
const TAR_MAGIC_OFFSET: usize = 257;

/// The outermost format of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// A TLS ClientHello: the donor is the TLS client, so it speaks first.
    Tls,
    /// A plain xbstream or mbstream archive.
    Xbstream,
    /// A plain tar archive (`streamfmt=tar`).
    Tar,
    /// MariaDB's `encrypt=1`: the output of `openssl enc`.
    OpensslEnc,
    /// `encrypt=1` through `xbcrypt`.
    Xbcrypt,
    /// The donor's `compressor` is gzip.
    Gzip,
    /// The donor's `compressor` is zstd.
    Zstd,
    /// The donor's `compressor` is lz4.
    Lz4,
    /// The donor's `compressor` is bzip2.
    Bzip2,
    /// The donor's `compressor` is xz.
    Xz,
    /// The donor's `compressor` is qpress.
    Qpress,
}

/// First bytes of each layer but tar, in the order in which they are tried.
const MAGICS: [(&[u8], Layer); 13] = [
    (&[0x16, 0x03, 0x01], Layer::Tls),
    (&[0x16, 0x03, 0x03], Layer::Tls),
    (&[0x16, 0x03, 0x02], Layer::Tls),
    (&[0x16, 0x03, 0x00], Layer::Tls),
    (XBSTREAM_MAGIC, Layer::Xbstream),
    (b"Salted__", Layer::OpensslEnc),
    (b"XBCRYP", Layer::Xbcrypt),
    (&[0x1f, 0x8b], Layer::Gzip),
    (&[0x28, 0xb5, 0x2f, 0xfd], Layer::Zstd),
    (&[0x04, 0x22, 0x4d, 0x18], Layer::Lz4),
    (b"BZh", Layer::Bzip2),
    (&[0xfd, b'7', b'z', b'X', b'Z', 0x00], Layer::Xz),
    (b"qpress10", Layer::Qpress),
];

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tls => "TLS",
            Self::Xbstream => "xbstream",
            Self::Tar => "tar",
            Self::OpensslEnc => "openssl enc (encrypt=1)",
            Self::Xbcrypt => "xbcrypt (encrypt=1)",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Qpress => "qpress",
        })
    }
}

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sniffed {
    /// More bytes are needed.
    Undecided,
    /// It ended without a byte: a probe, or a donor whose backup failed at once.
    Empty,
    /// A known format.
    Layer(Layer),
    /// Nothing that a donor sends.
    Foreign(ForeignHead),
}

/// The first bytes of a connection that is in no known format, for people.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ForeignHead {
    bytes: [u8; FOREIGN_BYTES_SHOWN],
    length: usize,
}

impl ForeignHead {
    fn of(head: &[u8]) -> Self {
        let length = head.len().min(FOREIGN_BYTES_SHOWN);
        let mut bytes = [0; FOREIGN_BYTES_SHOWN];
        bytes[..length].copy_from_slice(&head[..length]);
        Self { bytes, length }
    }
}

impl fmt::Display for ForeignHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.bytes[..self.length].iter().enumerate() {
            let space = if at == 0 { "" } else { " " };
            write!(f, "{space}{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for ForeignHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{self}]")
    }
}

/// Names the outermost layer of a connection that starts with `head`. `ended` says that no more
/// bytes will come; without it the answer may be [`Sniffed::Undecided`].
pub fn sniff(head: &[u8], ended: bool) -> Sniffed {
    if let Some((_, layer)) = MAGICS.iter().find(|(magic, _)| head.starts_with(magic)) {
        return Sniffed::Layer(*layer);
    }
    if is_tar(head) {
        return Sniffed::Layer(Layer::Tar);
    }
    let may_become = MAGICS.iter().any(|(magic, _)| magic.starts_with(head)) || may_be_tar(head);
    match (ended, may_become) {
        (false, true) => Sniffed::Undecided,
        (true, _) if head.is_empty() => Sniffed::Empty,
        (true, _) | (false, false) => Sniffed::Foreign(ForeignHead::of(head)),
    }
}

fn is_tar(head: &[u8]) -> bool {
    let magic = head.get(TAR_MAGIC_OFFSET..TAR_MAGIC_OFFSET + TAR_MAGIC.len());
    magic == Some(TAR_MAGIC) && starts_with_tar_name(head)
}

fn may_be_tar(head: &[u8]) -> bool {
    head.len() < TAR_MAGIC_OFFSET + TAR_MAGIC.len() && starts_with_tar_name(head)
}

/// A tar header opens with a name in 100 bytes, padded with NUL. Only ASCII names are taken for
/// one, so that most strangers are known at their first byte.
fn starts_with_tar_name(head: &[u8]) -> bool {
    let field = &head[..head.len().min(TAR_NAME_BYTES)];
    let name_bytes = tar_name(field).len();
    let (name, padding) = field.split_at(name_bytes);
    (name_bytes > 0 || field.is_empty())
        && name.iter().all(|&byte| byte == b' ' || byte.is_ascii_graphic())
        && padding.iter().all(|&byte| byte == 0)
}

fn tar_name(field: &[u8]) -> &[u8] {
    let end = field.iter().position(|&byte| byte == 0).unwrap_or(field.len());
    &field[..end]
}

/// The container of an archive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// xbstream and mbstream.
    Xbstream,
    /// tar.
    Tar,
}

/// What an archive is for, by the name of its first file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Conn 1: `sst_info`, `*_galera_info`, or the mark of an incremental transfer.
    Metadata,
    /// The extra connection of PXC before 5.7.22 with `keyring_file`.
    Keyring,
    /// Conn 2: anything else.
    Backup,
}

/// What a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// More bytes are needed.
    Undecided,
    /// It ended without a byte.
    Empty,
    /// It ended within the head of an archive.
    Truncated,
    /// An archive, and what it is for.
    Archive(Container, Content),
    /// Another layer around the archive.
    Wrapped(Layer),
    /// Nothing that a donor sends.
    Foreign(ForeignHead),
}

/// Says what a connection that starts with `head` is; `ended` as for [`sniff`]. Always decided
/// once `head` has [`HEAD_BYTES_MAX`] bytes.
pub fn classify(head: &[u8], ended: bool) -> Kind {
    match sniff(head, ended) {
        Sniffed::Undecided => Kind::Undecided,
        Sniffed::Empty => Kind::Empty,
        Sniffed::Foreign(head) => Kind::Foreign(head),
        Sniffed::Layer(Layer::Tar) => {
            let name = tar_name(&head[..head.len().min(TAR_NAME_BYTES)]);
            Kind::Archive(Container::Tar, content_of(name))
        }
        Sniffed::Layer(Layer::Xbstream) => classify_xbstream(head, ended),
        Sniffed::Layer(layer) => Kind::Wrapped(layer),
    }
}

fn classify_xbstream(head: &[u8], ended: bool) -> Kind {
    let Some(length) = xbstream_path_length(head) else {
        return undecided_or_truncated(ended);
    };
    if length == 0 || length > XBSTREAM_PATH_BYTES_MAX {
        return Kind::Foreign(ForeignHead::of(head));
    }
    match head.get(XBSTREAM_PREFIX_BYTES..XBSTREAM_PREFIX_BYTES + length) {
        Some(path) => Kind::Archive(Container::Xbstream, content_of(path)),
        None => undecided_or_truncated(ended),
    }
}

fn xbstream_path_length(head: &[u8]) -> Option<usize> {
    let bytes = head.get(10..XBSTREAM_PREFIX_BYTES)?;
    let length = u32::from_le_bytes(bytes.try_into().ok()?);
    usize::try_from(length).ok()
}

const fn undecided_or_truncated(ended: bool) -> Kind {
    if ended { Kind::Truncated } else { Kind::Undecided }
}

fn content_of(name: &[u8]) -> Content {
    match base_name(name) {
        b"sst_info"
        | b"xtrabackup_galera_info"
        | b"mariadb_backup_galera_info"
        | b"donor_galera_info"
        | b"xtrabackup_ist" => Content::Metadata,
        b"donor-keyring" => Content::Keyring,
        _ => Content::Backup,
    }
}

/// A file's name without `./` and without the suffixes of per-file compression and encryption,
/// which the donor's tools also put on metadata files.
pub fn base_name(name: &[u8]) -> &[u8] {
    const SUFFIXES: [&[u8]; 4] = [b".qp", b".lz4", b".zst", b".xbcrypt"];
    let mut name = name.strip_prefix(b"./").unwrap_or(name);
    while let Some(shorter) = SUFFIXES.iter().find_map(|suffix| name.strip_suffix(*suffix)) {
        name = shorter;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn xbstream_head(name: &[u8]) -> Vec<u8> {
        let length = u32::try_from(name.len()).expect("short name").to_le_bytes();
        [XBSTREAM_MAGIC, b"\0P", &length, name].concat()
    }

    fn tar_head(name: &[u8]) -> Vec<u8> {
        let mut head = vec![0; 512];
        head[..name.len()].copy_from_slice(name);
        head[257..263].copy_from_slice(b"ustar\0");
        head
    }

    #[test]
    fn every_layer_is_recognised_by_its_magic() {
        let cases: [(&[u8], Layer); 12] = [
            (&[0x16, 0x03, 0x01, 0x02, 0x00], Layer::Tls),
            (&[0x16, 0x03, 0x03, 0x00], Layer::Tls),
            (b"XBSTCK01", Layer::Xbstream),
            (b"Salted__12345678", Layer::OpensslEnc),
            (b"XBCRYP03", Layer::Xbcrypt),
            (b"XBCRYP01", Layer::Xbcrypt),
            (&[0x1f, 0x8b, 0x08, 0, 0, 0, 0, 0], Layer::Gzip),
            (&[0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0, 0], Layer::Zstd),
            (&[0x04, 0x22, 0x4d, 0x18, 0, 0, 0, 0], Layer::Lz4),
            (b"BZh91AY&", Layer::Bzip2),
            (&[0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00, 0, 0], Layer::Xz),
            (b"qpress10", Layer::Qpress),
        ];
        for (head, layer) in cases {
            assert_eq!(sniff(head, false), Sniffed::Layer(layer), "{layer}");
            assert_eq!(sniff(head, true), Sniffed::Layer(layer), "{layer}");
        }
        assert_eq!(sniff(&tar_head(b"sst_info"), false), Sniffed::Layer(Layer::Tar));
    }

    #[test]
    fn a_prefix_of_a_magic_waits_and_is_foreign_when_the_connection_ends() {
        for head in [&b"XBSTCK0"[..], &b"Salted"[..], &[0x16][..], &[0x28, 0xb5][..]] {
            assert_eq!(sniff(head, false), Sniffed::Undecided);
            assert_eq!(sniff(head, true), Sniffed::Foreign(ForeignHead::of(head)));
        }
    }

    #[test]
    fn no_bytes_wait_and_are_empty_at_the_end() {
        assert_eq!(sniff(b"", false), Sniffed::Undecided);
        assert_eq!(sniff(b"", true), Sniffed::Empty);
    }

    #[test]
    fn a_possible_tar_name_waits_for_the_tar_magic() {
        let head = tar_head(b"xtrabackup_galera_info");
        assert_eq!(sniff(&head[..261], false), Sniffed::Undecided);
        assert_eq!(sniff(&head[..262], false), Sniffed::Layer(Layer::Tar));
        assert!(matches!(sniff(&[b'a'; 262], false), Sniffed::Foreign(_)));
    }

    #[test]
    fn strangers_are_foreign_at_once_and_shown_in_hexadecimal() {
        for head in [&b"GET / HTTP/1.1\r\n"[..], &[0xff; 20][..], &[0; 40][..]] {
            assert!(matches!(sniff(head, false), Sniffed::Foreign(_)), "{head:?}");
        }
        let Sniffed::Foreign(head) = sniff(b"\x01\x02\xff", false) else { panic!("not foreign") };
        assert_eq!(head.to_string(), "01 02 ff");
        let Sniffed::Foreign(head) = sniff(&[0xab; 40], false) else { panic!("not foreign") };
        assert_eq!(head.to_string().len(), 16 * 3 - 1);
    }

    #[test]
    fn the_first_name_tells_metadata_from_backup() {
        let cases: [(&[u8], Content); 11] = [
            (b"sst_info", Content::Metadata),
            (b"./sst_info", Content::Metadata),
            (b"xtrabackup_galera_info", Content::Metadata),
            (b"xtrabackup_galera_info.qp", Content::Metadata),
            (b"mariadb_backup_galera_info", Content::Metadata),
            (b"donor_galera_info", Content::Metadata),
            (b"xtrabackup_ist", Content::Metadata),
            (b"donor-keyring", Content::Keyring),
            (b"aria_log_control", Content::Backup),
            (b"ibdata1.lz4.xbcrypt", Content::Backup),
            (b"lab/sst_info", Content::Backup),
        ];
        for (name, content) in cases {
            let xbstream = classify(&xbstream_head(name), false);
            assert_eq!(xbstream, Kind::Archive(Container::Xbstream, content), "{name:?}");
            let tar = classify(&tar_head(name), false);
            assert_eq!(tar, Kind::Archive(Container::Tar, content), "{name:?}");
        }
    }

    #[test]
    fn an_archive_waits_for_its_whole_first_name() {
        let head = xbstream_head(b"sst_info");
        for cut in 0..head.len() {
            assert_eq!(classify(&head[..cut], false), Kind::Undecided, "{cut}");
        }
        assert_eq!(classify(&head[..20], true), Kind::Truncated);
    }

    #[test]
    fn an_impossible_path_length_is_foreign() {
        for length in [0_u32, 513, u32::MAX] {
            let head = [XBSTREAM_MAGIC, b"\0P", &length.to_le_bytes()].concat();
            assert!(matches!(classify(&head, false), Kind::Foreign(_)), "{length}");
        }
    }

    proptest! {
        #[test]
        fn a_full_head_is_always_decided(head in proptest::collection::vec(any::<u8>(), HEAD_BYTES_MAX)) {
            prop_assert_ne!(classify(&head, false), Kind::Undecided);
        }

        #[test]
        fn a_full_head_behind_a_magic_is_always_decided(
            head in proptest::collection::vec(any::<u8>(), HEAD_BYTES_MAX),
        ) {
            let head = [XBSTREAM_MAGIC, &head[..]].concat();
            prop_assert_ne!(classify(&head, false), Kind::Undecided);
        }

        #[test]
        fn an_ended_connection_is_always_decided(head in proptest::collection::vec(any::<u8>(), 0..600)) {
            prop_assert_ne!(classify(&head, true), Kind::Undecided);
        }

        #[test]
        fn a_decision_never_changes_when_more_bytes_come(
            name in "[a-z_]{1,100}", cut in 0_usize..700, tail in proptest::collection::vec(any::<u8>(), 600),
        ) {
            let whole = [xbstream_head(name.as_bytes()), tail].concat();
            let early = classify(&whole[..cut.min(whole.len())], false);
            if early != Kind::Undecided {
                prop_assert_eq!(early, classify(&whole, false));
            }
        }
    }
}
