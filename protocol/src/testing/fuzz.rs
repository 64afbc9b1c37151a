//! Bodies of the fuzz targets in `fuzz/`: plain functions that take bytes and must not panic.
//!
//! The corpus is replayed by the ordinary test run (`tests/corpus`), which needs no fuzzer.

mod core;

pub use self::core::core;

use bytes::{Bytes, BytesMut};

use crate::evs::message::Message as EvsMessage;
use crate::frame::FrameDecoder;
use crate::gcs::message::Message as GcsMessage;
use crate::gmcast::message::Message as GmcastMessage;
use crate::pc::Message as PcMessage;
use crate::sst::metadata::Metadata;
use crate::sst::sniff::{self, Container};
use crate::xbstream::{Reader, ReaderConfig};

/// A target: takes whatever bytes there are.
pub type Target = fn(&[u8]);

/// Every target by the name of its folder in the corpus.
pub const TARGETS: [(&str, Target); 9] = [
    ("frame", frame),
    ("gmcast", gmcast),
    ("evs", evs),
    ("pc", pc),
    ("gcs", gcs),
    ("metadata", metadata),
    ("sniff", sniffed),
    ("xbstream", xbstream),
    ("core", core),
];

/// Frames as they come from a link, in pieces.
pub fn frame(data: &[u8]) {
    let mut decoder = FrameDecoder::new();
    let mut buffer = BytesMut::new();
    for piece in data.chunks(17) {
        buffer.extend_from_slice(piece);
        while let Ok(Some(_)) = decoder.decode(&mut buffer) {}
    }
}

/// A gmcast message; what can be read can be written and read again.
pub fn gmcast(data: &[u8]) {
    if let Ok(message) = GmcastMessage::decode(&Bytes::copy_from_slice(data)) {
        assert_eq!(GmcastMessage::decode(&message.encode()).as_ref(), Ok(&message));
    }
}

/// An EVS message.
pub fn evs(data: &[u8]) {
    if let Ok(message) = EvsMessage::decode(&Bytes::copy_from_slice(data)) {
        assert_eq!(EvsMessage::decode(&message.encode()).as_ref(), Ok(&message));
    }
}

/// A PC message.
pub fn pc(data: &[u8]) {
    if let Ok(message) = PcMessage::decode(&Bytes::copy_from_slice(data)) {
        assert_eq!(PcMessage::decode(&message.encode()).as_ref(), Ok(&message));
    }
}

/// A GCS message; the first byte is its type.
pub fn gcs(data: &[u8]) {
    let Some((number, payload)) = data.split_first() else { return };
    if let Ok(message) = GcsMessage::decode(*number, &Bytes::copy_from_slice(payload)) {
        let again = message.encode();
        assert!(GcsMessage::decode(*number, &again).is_ok());
    }
}

/// The donor's first, small archive; the first byte says how it is packed.
pub fn metadata(data: &[u8]) {
    let Some((container, input)) = data.split_first() else { return };
    let container = if container % 2 == 0 { Container::Xbstream } else { Container::Tar };
    let _whatever = Metadata::decode(container, Bytes::copy_from_slice(input));
}

/// The first bytes of a donor's connection.
pub fn sniffed(data: &[u8]) {
    for ended in [false, true] {
        let _layer = sniff::sniff(data, ended);
        let _kind = sniff::classify(data, ended);
    }
}

/// A donor's stream, in pieces. Cut anywhere, it gives the same.
pub fn xbstream(data: &[u8]) {
    let read = |pieces: usize| {
        let mut reader = Reader::new(ReaderConfig::default());
        let mut payload = 0;
        for piece in data.chunks(pieces.max(1)) {
            let mut piece = Bytes::copy_from_slice(piece);
            loop {
                match reader.read(&mut piece) {
                    Ok(Some(_)) => payload += 1,
                    Ok(None) => break,
                    Err(error) => return (Err(error), payload > 0),
                }
            }
        }
        (reader.end(), true)
    };
    assert_eq!(read(data.len()).0.is_ok(), read(7).0.is_ok());
}
