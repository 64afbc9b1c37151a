//! Members of a stream that the backup tool compressed or encrypted, back to what the server wrote
//! (spec 06 §4 and §5).
//!
//! ```text
//!  db/t.ibd.zst.xbcrypt ── Bytes ──▶ decrypt ──▶ decompress ── Bytes ──▶ db/t.ibd
//! ```
//!
//! The suffixes of a member's name say what was done to it, the last one last. A unit of compression
//! may straddle any number of pieces; memory is bounded by one unit, whatever a header claims.
//!
//! Not here: files and names on disk ([`crate::sink::unpacked`]), and writing these formats.

mod error;
mod gather;
mod gzip;
mod lz4;
mod qpress;
mod quicklz;
mod xbcrypt;
mod zstandard;

use std::sync::Arc;

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;

pub use error::{Fault, UnpackError};
pub(crate) use xbcrypt::Decryption;
pub use xbcrypt::{Key, KeyError};

/// What a member's suffix says was done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.lz4`: concatenated LZ4 frames.
    Lz4,
    /// `.zst`: concatenated zstd frames.
    Zstd,
    /// `.qp`: a qpress archive of one file.
    Qpress,
    /// `.xbcrypt`: chunks of AES in counter mode.
    Xbcrypt,
    /// `gzip` or `pigz` around a whole stream; no member is packed so.
    Gzip,
}

impl Format {
    /// What it appends to a name.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Lz4 => ".lz4",
            Self::Zstd => ".zst",
            Self::Qpress => ".qp",
            Self::Xbcrypt => ".xbcrypt",
            Self::Gzip => ".gz",
        }
    }
}

/// Which members are unpacked.
#[derive(Clone, Debug, Default)]
pub struct Unpack {
    /// Whether to decompress.
    pub decompress: bool,
    /// The key to decrypt with; none: encrypted members stay as they are.
    pub key: Option<Arc<Key>>,
}

impl Unpack {
    /// Whether any member would be changed.
    pub fn is_wanted(&self) -> bool {
        self.decompress || self.key.is_some()
    }

    /// The member's plain name, and what takes its content there; none if it stays as it is.
    pub fn member(&self, path: &EntryPath) -> Option<(EntryPath, Unpacker)> {
        let mut name = path.as_bytes();
        let mut stages = Vec::new();
        if let (Some(key), Some(plain)) = (&self.key, strip(name, Format::Xbcrypt)) {
            stages.push(Stage::Xbcrypt(Box::new(xbcrypt::Decryption::new(Arc::clone(key)))));
            name = plain;
        }
        let compressed = [Format::Zstd, Format::Lz4, Format::Qpress];
        let format = compressed.into_iter().filter(|_| self.decompress);
        let found = format.filter_map(|format| Some((format, strip(name, format)?))).next();
        if let Some((format, plain)) = found {
            stages.push(Stage::new(format));
            name = plain;
        }
        let path = EntryPath::parse(name).ok().filter(|_| !stages.is_empty())?;
        Some((path, Unpacker::new(stages)))
    }
}

/// A name without its suffix; a name that is nothing but the suffix is left alone.
fn strip(name: &[u8], format: Format) -> Option<&[u8]> {
    let plain = name.strip_suffix(format.suffix().as_bytes())?;
    if plain.is_empty() || plain.ends_with(b"/") { None } else { Some(plain) }
}

/// The way of one member's bytes.
#[derive(Debug)]
pub struct Unpacker {
    steps: Vec<Step>,
}

#[derive(Debug)]
struct Step {
    stage: Stage,
    /// What the step before gave and this one has not taken yet.
    pending: Bytes,
}

#[derive(Debug)]
enum Stage {
    Lz4(Box<lz4::Decompression>),
    Zstd(Box<zstandard::Decompression>),
    Qpress(Box<qpress::Decompression>),
    Xbcrypt(Box<xbcrypt::Decryption>),
    Gzip(Box<gzip::Decompression>),
}

impl Stage {
    fn new(format: Format) -> Self {
        match format {
            Format::Lz4 => Self::Lz4(Box::default()),
            Format::Zstd => Self::Zstd(Box::default()),
            Format::Gzip => Self::Gzip(Box::default()),
            Format::Qpress | Format::Xbcrypt => Self::Qpress(Box::default()),
        }
    }

    fn format(&self) -> Format {
        match self {
            Self::Lz4(_) => Format::Lz4,
            Self::Zstd(_) => Format::Zstd,
            Self::Qpress(_) => Format::Qpress,
            Self::Xbcrypt(_) => Format::Xbcrypt,
            Self::Gzip(_) => Format::Gzip,
        }
    }

    fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, Fault> {
        match self {
            Self::Lz4(stage) => stage.next(input),
            Self::Zstd(stage) => stage.next(input),
            Self::Qpress(stage) => stage.next(input),
            Self::Xbcrypt(stage) => stage.next(input),
            Self::Gzip(stage) => stage.next(input),
        }
    }

    /// Whether the member may end here.
    fn is_complete(&mut self) -> bool {
        match self {
            Self::Lz4(stage) => stage.is_complete(),
            Self::Zstd(stage) => stage.is_complete(),
            Self::Qpress(stage) => stage.is_complete(),
            Self::Xbcrypt(stage) => stage.is_complete(),
            Self::Gzip(stage) => stage.is_complete(),
        }
    }
}

impl Unpacker {
    /// The way of a whole stream that was compressed in this format.
    pub fn of(format: Format) -> Self {
        Self::new(vec![Stage::new(format)])
    }

    fn new(stages: Vec<Stage>) -> Self {
        let step = |stage| Step { stage, pending: Bytes::new() };
        Self { steps: stages.into_iter().map(step).collect() }
    }

    /// Takes bytes off the front of `input` up to the next piece of plain content; none when `input` is
    /// used up.
    pub fn next(&mut self, input: &mut Bytes) -> Result<Option<Bytes>, UnpackError> {
        pull(&mut self.steps, input)
    }

    /// The member ended: whether it may end here.
    pub fn end(&mut self) -> Result<(), UnpackError> {
        let cut = self.steps.iter_mut().find_map(|step| {
            let is_complete = step.stage.is_complete();
            (!is_complete).then_some(step)
        });
        cut.map_or(Ok(()), |step| Err(UnpackError::new(step.stage.format(), Fault::Truncated)))
    }
}

/// The next piece that comes out of the last step.
fn pull(steps: &mut [Step], input: &mut Bytes) -> Result<Option<Bytes>, UnpackError> {
    let Some((last, before)) = steps.split_last_mut() else {
        let piece = core::mem::take(input);
        return Ok(Some(piece).filter(|piece| !piece.is_empty()));
    };
    loop {
        let piece = last.stage.next(&mut last.pending);
        if let Some(piece) = piece.map_err(|fault| UnpackError::new(last.stage.format(), fault))? {
            return Ok(Some(piece));
        }
        match pull(before, input)? {
            Some(bytes) => last.pending = bytes,
            None => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests;
