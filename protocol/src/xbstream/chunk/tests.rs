use bytes::BytesMut;
use proptest::prelude::*;

use super::*;

fn encoded(header: &ChunkHeader) -> BytesMut {
    let mut bytes = BytesMut::new();
    header.encode(&mut bytes);
    bytes
}

fn header(body: Body) -> ChunkHeader {
    ChunkHeader { flags: Flags::default(), path: (*b"a/b").into(), body }
}

fn extent() -> impl Strategy<Value = Extent> {
    any::<(u32, u64, u32)>().prop_map(|(length, offset, checksum)| Extent {
        length: length.into(),
        offset,
        checksum,
    })
}

fn name() -> impl Strategy<Value = Box<[u8]>> {
    prop::collection::vec(any::<u8>(), 0..=PATH_BYTES_MAX).prop_map(Box::from)
}

fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        extent().prop_map(Body::Payload),
        Just(Body::End),
        any::<u64>().prop_map(|offset| Body::Seek { offset }),
        (any::<u32>(), extent()).prop_map(|(entries, extent)| Body::Sparse { entries, extent }),
        name().prop_map(|to| Body::Rename { to }),
        Just(Body::Remove),
    ]
}

#[test]
fn a_payload_header_has_the_documented_layout() {
    let extent = Extent { length: 5, offset: 0x0102_0304_0506, checksum: 0xcbf4_3926 };
    assert_eq!(
        encoded(&header(Body::Payload(extent))).as_ref(),
        b"XBSTCK01\0P\x03\0\0\0a/b\x05\0\0\0\0\0\0\0\x06\x05\x04\x03\x02\x01\0\0\x26\x39\xf4\xcb"
    );
}

#[test]
fn a_sparse_header_has_the_count_before_length_and_offset() {
    let extent = Extent { length: 5, offset: 6, checksum: 7 };
    assert_eq!(
        encoded(&header(Body::Sparse { entries: 2, extent })).as_ref(),
        b"XBSTCK01\0S\x03\0\0\0a/b\x02\0\0\0\x05\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x07\0\0\0"
    );
}

#[test]
fn a_seek_is_told_from_a_sparse_chunk_by_the_magic_that_follows() {
    let seek = header(Body::Seek { offset: 37 });
    let mut bytes = encoded(&seek);
    assert!(matches!(ChunkHeader::parse(&bytes, None), Err(nom::Err::Incomplete(_))));
    bytes.extend_from_slice(MAGIC);
    let (rest, parsed) = ChunkHeader::parse(&bytes, None).expect("seek");
    assert_eq!((rest, parsed), (&MAGIC[..], seek));
}

#[test]
fn types_of_the_other_dialect_are_unknown() {
    for body in [Body::Remove, Body::Rename { to: (*b"c").into() }] {
        let bytes = encoded(&header(body));
        let (_, parsed) = ChunkHeader::parse(&bytes, Some(Dialect::Percona)).expect("header");
        assert!(matches!(parsed.body, Body::Unknown { ignorable: None, .. }));
    }
}

proptest! {
    #[test]
    fn headers_survive_the_round_trip(flags: u8, path in name(), body in body()) {
        let header = ChunkHeader { flags: Flags(flags), path, body };
        let bytes = encoded(&header);
        let dialect = header.body.dialect().unwrap_or(Dialect::MariaDb);
        let (rest, parsed) = ChunkHeader::parse(&bytes, Some(dialect)).expect("own encoding");
        prop_assert_eq!((rest.len(), parsed), (0, header));
    }

    #[test]
    fn a_part_of_a_header_asks_for_more(path in name(), body in body(), cut: prop::sample::Index) {
        let header = ChunkHeader { flags: Flags::default(), path, body };
        let bytes = encoded(&header);
        let part = &bytes[..cut.index(bytes.len())];
        let parsed = ChunkHeader::parse(part, header.body.dialect().or(Some(Dialect::MariaDb)));
        prop_assert!(matches!(parsed, Err(nom::Err::Incomplete(_))));
    }
}
