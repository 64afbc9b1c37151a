use proptest::prelude::*;

use super::*;

const KINDS: [Checksum; 3] = [Checksum::None, Checksum::Crc32, Checksum::Crc32c];

fn frame(kind: Checksum, body: &[u8]) -> BytesMut {
    let mut out = BytesMut::new();
    encode(kind, body, &mut out).expect("body within limits");
    out
}

fn decode_word(word: u32) -> Result<Option<Bytes>, FrameError> {
    let mut buffer = BytesMut::new();
    buffer.put_u32_le(word);
    buffer.put_u32_le(0);
    FrameDecoder::new().decode(&mut buffer)
}

#[test]
fn every_kind_of_checksum_round_trips() {
    for kind in KINDS {
        let mut buffer = frame(kind, b"body");
        assert_eq!(FrameDecoder::new().decode(&mut buffer), Ok(Some(Bytes::from_static(b"body"))));
        assert!(buffer.is_empty());
    }
}

#[test]
fn frames_arrive_byte_by_byte_and_several_at_once() {
    let mut stream = frame(Checksum::Crc32c, b"first");
    stream.extend_from_slice(&frame(Checksum::None, b"second"));
    let (mut decoder, mut buffer, mut bodies) = (FrameDecoder::new(), BytesMut::new(), Vec::new());
    for byte in &stream {
        buffer.put_u8(*byte);
        bodies.extend(decoder.decode(&mut buffer).expect("valid frames"));
    }
    assert_eq!(bodies, ["first", "second"]);

    let (mut decoder, mut bodies) = (FrameDecoder::new(), Vec::new());
    while let Some(body) = decoder.decode(&mut stream).expect("valid frames") {
        bodies.push(body);
    }
    assert_eq!(bodies, ["first", "second"]);
    assert!(decoder.is_between_frames());
}

#[test]
fn a_flipped_bit_anywhere_in_the_body_or_checksum_is_an_error() {
    for kind in [Checksum::Crc32, Checksum::Crc32c] {
        for at in 4..12 {
            let mut buffer = frame(kind, b"body");
            buffer[at] ^= 0x10;
            assert_eq!(FrameDecoder::new().decode(&mut buffer), Err(FrameError::Checksum(kind)));
        }
    }
}

#[test]
fn a_checksum_without_its_flag_is_an_error() {
    let mut buffer = frame(Checksum::None, b"body");
    buffer[7] = 1;
    let error = FrameError::Checksum(Checksum::None);
    assert_eq!(FrameDecoder::new().decode(&mut buffer), Err(error));
}

#[test]
fn both_flags_together_mean_crc32c() {
    let mut buffer = frame(Checksum::Crc32c, b"body");
    buffer[3] |= 1;
    assert_eq!(FrameDecoder::new().decode(&mut buffer), Ok(Some(Bytes::from_static(b"body"))));
}

#[test]
fn a_header_is_refused_before_its_body_arrives() {
    assert_eq!(decode_word(0x1000_0004), Err(FrameError::Version(1)));
    assert_eq!(decode_word(0x0400_0004), Err(FrameError::ReservedFlag));
    assert_eq!(decode_word(0x0800_0004), Err(FrameError::ReservedFlag));
    assert_eq!(decode_word(0), Err(FrameError::Empty));
    assert_eq!(decode_word(32_769), Err(FrameError::TooLong { length: 32_769 }));
    assert_eq!(decode_word(32_768), Ok(None));
}

#[test]
fn after_an_error_the_frames_behind_it_stay_unread() {
    let mut buffer = frame(Checksum::None, b"body");
    buffer[7] = 1;
    buffer.extend_from_slice(&frame(Checksum::None, b"good"));
    let mut decoder = FrameDecoder::new();
    let error = decoder.decode(&mut buffer);
    assert!(error.is_err());
    assert_eq!(decoder.decode(&mut buffer), error);
    assert_eq!(buffer.len(), 12);
}

#[test]
fn a_tls_peer_is_named_as_such() {
    for record in [b"\x16\x03\x01\x02\x00\x01\x00\x01", b"\x15\x03\x03\x00\x02\x02\x46\x00"] {
        let mut buffer = BytesMut::from(&record[..]);
        assert_eq!(FrameDecoder::new().decode(&mut buffer), Err(FrameError::Tls));
    }
}

#[test]
fn a_body_without_bytes_or_over_the_limit_is_never_encoded() {
    let mut out = BytesMut::new();
    assert_eq!(encode(Checksum::Crc32c, b"", &mut out), Err(FrameError::Empty));
    let long = vec![0; BODY_BYTES_MAX + 1];
    let error = FrameError::TooLong { length: long.len() };
    assert_eq!(encode(Checksum::Crc32c, &long, &mut out), Err(error));
    assert!(out.is_empty());
    assert!(encode(Checksum::Crc32c, &long[1..], &mut out).is_ok());
}

#[test]
fn a_header_alone_equals_the_head_of_the_frame() {
    let whole = frame(Checksum::Crc32, b"body");
    assert_eq!(header(Checksum::Crc32, b"body").expect("within limits"), whole[..8]);
}

#[test]
fn the_greeting_of_a_plain_member_is_recognised() {
    assert!(is_plain_greeting(b"\x24\0\0\x02\xd5\x50\xa0\xfc"));
    assert!(!is_plain_greeting(b"\x16\x03\x03\0\x7a"));
    assert!(!is_plain_greeting(b"\x24\0"));
}

proptest! {
    #[test]
    fn any_body_round_trips_in_any_pieces(
        body in prop::collection::vec(any::<u8>(), 1..2000),
        kind in prop::sample::select(&KINDS),
        cut in 1usize..64,
    ) {
        let whole = frame(kind, &body);
        let (mut decoder, mut buffer, mut found) = (FrameDecoder::new(), BytesMut::new(), None);
        for piece in whole.chunks(cut) {
            buffer.extend_from_slice(piece);
            found = found.or(decoder.decode(&mut buffer).expect("valid frame"));
        }
        prop_assert_eq!(found.as_deref(), Some(&body[..]));
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let (mut decoder, mut buffer) = (FrameDecoder::new(), BytesMut::from(&bytes[..]));
        while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
        prop_assert!(buffer.capacity() <= BODY_BYTES_MAX + 256);
    }
}
