//! Streams for the pipeline: written here, or captured.

use std::path::PathBuf;

use bytes::{BufMut, BytesMut};
use galera_protocol::xbstream::chunk::{Body, ChunkHeader, Extent, Flags};

/// Where the captured ones are.
pub(crate) fn vectors() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "protocol/tests/vectors/xbstream"].iter().collect()
}

/// Chunks of a small stream, one by one, so that it can be cut between them.
pub(crate) fn chunks() -> Vec<BytesMut> {
    vec![
        payload("ibdata1", 0, b"system "),
        payload("db/t.ibd", 0, &[7; 3000]),
        payload("ibdata1", 7, b"tablespace"),
        end("ibdata1"),
        payload("db/t.ibd", 3000, &[8; 3000]),
        end("db/t.ibd"),
        end("db/empty.frm"),
    ]
}

fn payload(path: &str, offset: u64, bytes: &[u8]) -> BytesMut {
    let length = bytes.len() as u64;
    let extent = Extent { length, offset, checksum: crc32fast::hash(bytes) };
    let mut chunk = header(path, Body::Payload(extent));
    chunk.put_slice(bytes);
    chunk
}

fn end(path: &str) -> BytesMut {
    header(path, Body::End)
}

fn header(path: &str, body: Body) -> BytesMut {
    let mut chunk = BytesMut::new();
    ChunkHeader { flags: Flags::default(), path: path.as_bytes().into(), body }.encode(&mut chunk);
    chunk
}
