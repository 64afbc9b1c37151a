//! Takes the small archives of conn 1 apart, whole in memory.

use bytes::{Bytes, BytesMut};

use super::{FILES_MAX, METADATA_BYTES_MAX, MetadataError, MetadataFile, tar};
use crate::sst::sniff::Container;
use crate::xbstream::{EntryPath, Event, FileId, Reader, ReaderConfig};

pub(super) fn decode(
    container: Container,
    input: Bytes,
) -> Result<Vec<MetadataFile>, MetadataError> {
    match container {
        Container::Xbstream => decode_xbstream(input),
        Container::Tar => Ok(tar::decode(&input)?),
    }
}

/// A file of the archive, and whether its end chunk has come is the reader's to know.
struct Collected {
    file: FileId,
    name: EntryPath,
    bytes: BytesMut,
}

fn decode_xbstream(mut input: Bytes) -> Result<Vec<MetadataFile>, MetadataError> {
    let payload_max = u64::try_from(METADATA_BYTES_MAX).unwrap_or(u64::MAX);
    let mut reader = Reader::new(ReaderConfig { dialect: None, payload_max });
    let mut files = Vec::new();
    while let Some(event) = reader.read(&mut input)? {
        collect(&mut files, event)?;
    }
    reader.end()?;
    let finish = |Collected { name, bytes, .. }| MetadataFile { name, bytes: bytes.freeze() };
    Ok(files.into_iter().map(finish).collect())
}

fn collect(files: &mut Vec<Collected>, event: Event) -> Result<(), MetadataError> {
    match event {
        Event::Opened { .. } if files.len() >= FILES_MAX => Err(MetadataError::TooManyFiles),
        Event::Opened { file, path, .. } => {
            files.push(Collected { file, name: path, bytes: BytesMut::new() });
            Ok(())
        }
        Event::Data { file, bytes } => {
            if let Some(open) = files.iter_mut().find(|open| open.file == file) {
                open.bytes.extend_from_slice(&bytes);
            }
            Ok(())
        }
        Event::Closed { .. } => Ok(()),
        // Nothing that describes a handful of text files.
        Event::Hole { .. } | Event::Seek { .. } | Event::Renamed { .. } | Event::Removed { .. } => {
            Err(MetadataError::UnexpectedChunk)
        }
    }
}
