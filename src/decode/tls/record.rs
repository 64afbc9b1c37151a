//! Records: how a TLS stream is cut.

use bytes::{Buf, Bytes, BytesMut};

/// Type, version and length.
pub(super) const HEADER_BYTES: usize = 5;

/// Longest body of a record that any version allows.
const BODY_BYTES_MAX: usize = (16 << 10) + 2048;

/// What a record carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ContentType(pub(super) u8);

impl ContentType {
    pub(super) const CHANGE_CIPHER_SPEC: Self = Self(20);
    pub(super) const HANDSHAKE: Self = Self(22);
    pub(super) const APPLICATION: Self = Self(23);
}

/// A whole record.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) content_type: ContentType,
    pub(super) header: [u8; HEADER_BYTES],
    pub(super) body: Bytes,
}

/// One direction of a connection on its way into records.
#[derive(Debug, Default)]
pub(super) struct Records(BytesMut);

impl Records {
    pub(super) fn push(&mut self, bytes: &Bytes) {
        self.0.extend_from_slice(bytes);
    }

    /// Whether what is there looks like a record, as far as it goes.
    pub(super) fn may_be_tls(&self) -> bool {
        let expected = [|byte: u8| (20..=23).contains(&byte), |byte| byte == 3, |byte| byte <= 4];
        let shown = self.0.iter().zip(expected);
        shown.into_iter().all(|(byte, fits)| fits(*byte))
    }

    /// The next record, once it is whole. What is no record is given as one of the rest: nothing
    /// will open it.
    pub(super) fn next_record(&mut self) -> Option<Record> {
        let header = *self.0.first_chunk::<HEADER_BYTES>()?;
        let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
        if length > BODY_BYTES_MAX {
            let content_type = ContentType(0);
            return Some(Record { content_type, header, body: self.0.split().freeze() });
        }
        if self.0.len() < HEADER_BYTES + length {
            return None;
        }
        self.0.advance(HEADER_BYTES);
        let body = self.0.split_to(length).freeze();
        Some(Record { content_type: ContentType(header[0]), header, body })
    }
}
