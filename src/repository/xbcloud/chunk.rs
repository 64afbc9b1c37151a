//! One chunk as an object: its header, its checksum, its sum.

use bytes::{Bytes, BytesMut};
use galera_protocol::xbstream::EntryPath;
use galera_protocol::xbstream::chunk::{Body, ChunkHeader, Extent, Flags, MAGIC};
use md5::{Digest as _, Md5};

use super::sums::Md5Sum;
use crate::repository::error::Fault;

/// What a chunk holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Data {
        offset: u64,
        bytes: Bytes,
    },
    /// Percona's sparse chunk with nothing in it; MariaDB's tools never leave holes.
    Hole {
        offset: u64,
        length: u32,
    },
    /// MariaDB's.
    Seek {
        offset: u64,
    },
    End,
}

/// A chunk that is ready to be stored.
#[derive(Clone, Debug)]
pub(super) struct Encoded {
    /// Header and payload.
    pub(super) pieces: [Bytes; 2],
    pub(super) bytes: u64,
    pub(super) sum: Md5Sum,
}

impl Encoded {
    /// Encodes; that takes time where there are bytes.
    pub(super) fn new(path: &EntryPath, content: Content) -> Self {
        let (body, tail) = body(content);
        let mut header = BytesMut::new();
        let path = path.as_bytes().into();
        ChunkHeader { flags: Flags::default(), path, body }.encode(&mut header);
        Self::of([header.freeze(), tail])
    }

    pub(super) fn of(pieces: [Bytes; 2]) -> Self {
        let mut md5 = Md5::new();
        pieces.iter().for_each(|piece| md5.update(piece));
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces, bytes, sum: md5.finalize().into() }
    }

    /// The same chunk for a file that has another name.
    pub(super) fn renamed(chunk: &Bytes, to: &EntryPath) -> Option<Self> {
        let path_bytes = path_of(chunk)?.len();
        let mut header = BytesMut::from(chunk.get(..PATH_LENGTH_AT)?);
        header.extend_from_slice(&u32::try_from(to.as_bytes().len()).ok()?.to_le_bytes());
        header.extend_from_slice(to.as_bytes());
        Some(Self::of([header.freeze(), chunk.slice(PATH_AT + path_bytes..)]))
    }
}

fn body(content: Content) -> (Body, Bytes) {
    let extent = |length: usize, offset, checksum| {
        let length = length as u64;
        Extent { length, offset, checksum }
    };
    match content {
        Content::Data { offset, bytes } => {
            let checksum = crc32fast::hash(&bytes);
            (Body::Payload(extent(bytes.len(), offset, checksum)), bytes)
        }
        Content::Hole { offset, length } => {
            let map = [length.to_le_bytes(), [0; 4]].concat();
            let extent = extent(0, offset, crc32fast::hash(&map));
            (Body::Sparse { entries: 1, extent }, map.into())
        }
        Content::Seek { offset } => (Body::Seek { offset }, Bytes::new()),
        Content::End => (Body::End, Bytes::new()),
    }
}

const TYPE_AT: usize = 9;
const PATH_LENGTH_AT: usize = 10;
const PATH_AT: usize = 14;

/// Whether the beginning of an object is that of this file's chunk. Its inside is the stream reader's.
pub(super) fn check_head(object: &[u8], path: &EntryPath, is_last: bool) -> Result<(), Fault> {
    let is_end = object.get(TYPE_AT) == Some(&b'E');
    let is_it = object.starts_with(MAGIC) && path_of(object) == Some(path.as_bytes());
    match (is_it, is_end == is_last) {
        (true, true) => Ok(()),
        (true, false) if is_last => Err(Fault::NoEnd),
        (_, _) => Err(Fault::Chunk),
    }
}

fn path_of(object: &[u8]) -> Option<&[u8]> {
    let length = object.get(PATH_LENGTH_AT..PATH_AT)?.try_into().ok()?;
    let length = usize::try_from(u32::from_le_bytes(length)).ok()?;
    object.get(PATH_AT..)?.get(..length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(name: &str) -> EntryPath {
        EntryPath::parse(name.as_bytes()).expect("valid")
    }

    fn whole(chunk: &Encoded) -> Bytes {
        Bytes::from(chunk.pieces.concat())
    }

    #[test]
    fn a_chunk_is_what_a_stream_has() {
        let chunk = Encoded::new(&path("a"), Content::Data { offset: 0, bytes: "x".into() });
        let bytes = whole(&chunk);
        assert_eq!(
            &bytes[..],
            b"XBSTCK01\0P\x01\0\0\0a\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x83\x16\xdc\x8cx"
        );
        assert_eq!(chunk.bytes, bytes.len() as u64);
        assert_eq!(chunk.sum, <Md5Sum>::from(Md5::digest(&bytes)));
        assert_eq!(check_head(&bytes, &path("a"), false), Ok(()));
    }

    #[test]
    fn a_renamed_chunk_is_the_chunk_of_the_other_file() {
        let content = Content::Data { offset: 9, bytes: "content".into() };
        let chunk = whole(&Encoded::new(&path("db/old.frm"), content.clone()));
        let renamed = Encoded::renamed(&chunk, &path("n")).expect("a chunk");
        assert_eq!(whole(&renamed), whole(&Encoded::new(&path("n"), content)));
        assert!(
            Encoded::renamed(&Bytes::from_static(b"XBSTCK01\0P\xff\0\0\0a"), &path("n")).is_none()
        );
    }

    #[test]
    fn another_files_chunk_and_a_false_end_are_told() {
        let end = whole(&Encoded::new(&path("a"), Content::End));
        let data = whole(&Encoded::new(&path("a"), Content::Seek { offset: 1 }));
        assert_eq!(check_head(&end, &path("a"), true), Ok(()));
        assert_eq!(check_head(&end, &path("b"), true), Err(Fault::Chunk));
        assert_eq!(check_head(&end, &path("a"), false), Err(Fault::Chunk));
        assert_eq!(check_head(&data, &path("a"), true), Err(Fault::NoEnd));
        assert_eq!(check_head(b"", &path("a"), true), Err(Fault::Chunk));
    }
}
