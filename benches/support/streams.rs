//! Streams as donors send them, of a size that a benchmark asks for.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use bytes::BytesMut;
use galera_protocol::xbstream::chunk::{Body, ChunkHeader, Extent, Flags};

/// Files of a stream.
pub(crate) const FILES: u64 = 16;

const CHUNK_BYTES: usize = 10 << 20;

/// Tools look into the first page of a tablespace.
const FIRST_PAGE_BYTES: usize = 16 << 10;

/// What the files hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// Bytes that do not compress.
    Noise,
    /// Rows of a table: a third of each is random.
    Rows,
}

/// Writes a stream into a file that is on disk afterwards.
pub(crate) fn write_file(
    path: &Path,
    file_bytes: u64,
    together: u64,
    content: Content,
) -> io::Result<()> {
    let out = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let out = write(out, file_bytes, together, content)?;
    out.into_inner()?.sync_all()
}

/// Writes a stream of [`FILES`] files, `together` of them interleaved chunk by chunk.
pub(crate) fn write<W: Write>(
    mut out: W,
    file_bytes: u64,
    together: u64,
    content: Content,
) -> io::Result<W> {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let mut chunk = vec![0; CHUNK_BYTES];
    for first in (0..FILES).step_by(together as usize) {
        let mut offset = 0;
        while offset < file_bytes {
            let length = (file_bytes - offset).min(CHUNK_BYTES as u64);
            for file in first..first + together {
                let chunk = &mut chunk[..length as usize];
                content.fill(&mut noise, chunk);
                if offset == 0 {
                    let page = chunk.len().min(FIRST_PAGE_BYTES);
                    chunk[..page].fill(0);
                }
                write_payload(&mut out, file, offset, chunk)?;
            }
            offset += length;
        }
        for file in first..first + together {
            out.write_all(&header(file, Body::End))?;
        }
    }
    Ok(out)
}

fn write_payload(out: &mut impl Write, file: u64, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let extent = Extent { length: bytes.len() as u64, offset, checksum: crc32fast::hash(bytes) };
    out.write_all(&header(file, Body::Payload(extent)))?;
    out.write_all(bytes)
}

fn header(file: u64, body: Body) -> BytesMut {
    let path = format!("db/t{file}.ibd").into_bytes().into();
    let mut header = BytesMut::new();
    ChunkHeader { flags: Flags::default(), path, body }.encode(&mut header);
    header
}

impl Content {
    fn fill(self, noise: &mut Noise, bytes: &mut [u8]) {
        match self {
            Self::Noise => noise.fill(bytes),
            Self::Rows => {
                const ROW: &[u8; 96] = b"customer_000000000000000000000000000000, Main Street 12, 10117 Berlin, ordered, paid, delivered\n";
                for row in bytes.chunks_mut(ROW.len()) {
                    row.copy_from_slice(&ROW[..row.len()]);
                    let random = row.len().min(41);
                    noise.fill(&mut row[random.min(9)..random]);
                }
            }
        }
    }
}

/// Random bytes (xorshift64).
struct Noise(u64);

impl Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        for word in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            word.copy_from_slice(&self.0.to_le_bytes()[..word.len()]);
        }
    }
}
