//! Frames into packs, packs into the store.

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::PackConfig;
use crate::pipeline::manifest::{BackupId, Digest};
use crate::repository::compress::Frame;
use crate::repository::error::RepositoryError;
use crate::repository::index::PackRecord;
use crate::repository::lanes::Collector;
use crate::repository::object_name;
use crate::repository::pack::{self, BlockRecord};
use crate::repository::store::Store;
use crate::repository::upload::{Upload, UploadConfig};

/// A pack also ends after this many blocks, for highly compressible ones are tiny.
const PACK_BLOCKS_MAX: usize = 1 << 14;

/// Writes packs one after the other. Lives on a blocking thread, for it hashes what it sends.
pub(super) struct Appender {
    store: Store,
    runtime: Handle,
    id: BackupId,
    pack_bytes_max: u64,
    upload: UploadConfig,
    frames: Collector<std::io::Result<Frame>>,
    open: Option<OpenPack>,
    done: Vec<PackRecord>,
    reply: Option<oneshot::Sender<Vec<PackRecord>>>,
}

struct OpenPack {
    name: String,
    upload: Upload,
    hasher: blake3::Hasher,
    bytes: u64,
    raw_offset: u64,
    raw_bytes: u64,
    blocks: Vec<BlockRecord>,
}

impl Appender {
    pub(super) fn new(
        store: Store,
        id: &BackupId,
        config: &PackConfig,
        frames: Collector<std::io::Result<Frame>>,
        reply: oneshot::Sender<Vec<PackRecord>>,
    ) -> Self {
        Self {
            store,
            runtime: Handle::current(),
            id: id.clone(),
            pack_bytes_max: config.pack_bytes,
            upload: config.upload,
            frames,
            open: None,
            done: Vec::new(),
            reply: Some(reply),
        }
    }

    /// Works until the last frame; takes back the open pack on failure.
    pub(super) fn run(&mut self) -> Result<(), RepositoryError> {
        let appended = self.append_all();
        if let (Err(_), Some(pack)) = (&appended, self.open.take()) {
            self.runtime.block_on(pack.upload.abort());
        }
        appended?;
        if let Some(reply) = self.reply.take() {
            // A dropped receiver means that the sink is being aborted.
            drop(reply.send(std::mem::take(&mut self.done)));
        }
        Ok(())
    }

    fn append_all(&mut self) -> Result<(), RepositoryError> {
        while let Some(frame) = self.frames.next()? {
            self.append(frame.map_err(RepositoryError::Compress)?)?;
        }
        self.close_pack()
    }

    fn append(&mut self, frame: Frame) -> Result<(), RepositoryError> {
        let pack = match &mut self.open {
            Some(pack) => pack,
            None => {
                let pack = self.open_pack()?;
                self.open.insert(pack)
            }
        };
        pack.raw_bytes += u64::from(frame.record.raw_bytes);
        pack.blocks.push(frame.record);
        self.runtime.block_on(pack.write(frame.bytes))?;
        if pack.bytes >= self.pack_bytes_max || pack.blocks.len() >= PACK_BLOCKS_MAX {
            self.close_pack()?;
        }
        Ok(())
    }

    fn open_pack(&self) -> Result<OpenPack, RepositoryError> {
        let name = format!("packs/{:06}.zst", self.done.len());
        let object = object_name(&self.id, &name);
        self.runtime.block_on(async {
            let upload = self.store.upload(&object, self.upload).await?;
            let mut pack = OpenPack {
                name,
                upload,
                hasher: blake3::Hasher::new(),
                bytes: 0,
                raw_offset: self.done.last().map_or(0, PackRecord::raw_end),
                raw_bytes: 0,
                blocks: Vec::new(),
            };
            pack.write(pack::encode_header().into()).await?;
            Ok(pack)
        })
    }

    fn close_pack(&mut self) -> Result<(), RepositoryError> {
        if let Some(pack) = self.open.take() {
            let record = self.runtime.block_on(pack.close())?;
            tracing::debug!(pack = record.name, bytes = record.bytes, "pack stored");
            self.done.push(record);
        }
        Ok(())
    }
}

impl OpenPack {
    async fn write(&mut self, bytes: bytes::Bytes) -> Result<(), RepositoryError> {
        self.hasher.update(&bytes);
        self.bytes += bytes.len() as u64;
        self.upload.write(bytes).await
    }

    async fn close(mut self) -> Result<PackRecord, RepositoryError> {
        let table = pack::encode_table(&self.blocks);
        let table_hash = Digest::of(&table);
        self.write(table.into()).await?;
        self.upload.finish().await?;
        Ok(PackRecord {
            name: self.name,
            bytes: self.bytes,
            hash: self.hasher.finalize().into(),
            raw_offset: self.raw_offset,
            raw_bytes: self.raw_bytes,
            blocks: self.blocks.len() as u64,
            table_hash,
        })
    }
}
