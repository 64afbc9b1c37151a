//! A small backup of several packs, written and read as the program does it.

use bytes::Bytes;
use futures_util::TryStreamExt;
use galera_protocol::xbstream::EntryPath;
use galera_sst::pipeline::manifest::{BackupId, Manifest};
use galera_sst::repository::{
    PackConfig, PackSink, PruneConfig, Pruned, ReadConfig, Repository, RepositoryError,
    UploadConfig,
};
use galera_sst::sink::{Entry, Piece, Receipt, Sink, SinkError, SinkFile};
use std::time::Duration;

use crate::servers::Place;

/// Bytes that do not compress, so that packs and parts are as large as they look.
pub(crate) fn noise(length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Two packs; the first is sent in two parts.
pub(crate) fn files() -> Vec<(&'static str, Vec<u8>)> {
    vec![("ibdata1", noise(6 << 20, 1)), ("db/t.ibd", noise(2 << 20, 2)), ("db/empty.frm", vec![])]
}

pub(crate) fn config(place: &Place) -> PackConfig {
    PackConfig {
        pack_bytes: 6 << 20,
        upload: UploadConfig { part_bytes: 5 << 20, parts_in_flight: 2 },
        store: place.options.clone(),
        ..PackConfig::default()
    }
}

pub(crate) fn manifest(id: &BackupId) -> Manifest {
    let text = include_str!("../sinks/manifest.json");
    Manifest { backup_id: id.clone(), ..Manifest::decode(text.as_bytes()).expect("valid manifest") }
}

/// Writes a backup; what fails is aborted, as the job would.
pub(crate) async fn write(place: &Place, id: &BackupId) -> Result<Receipt, SinkError> {
    let mut sink = PackSink::create(&place.url, id.clone(), config(place)).await?;
    match fill(&mut sink).await {
        Ok(()) => sink.commit(manifest(id)).await,
        Err(error) => {
            sink.abort().await;
            Err(error)
        }
    }
}

pub(crate) async fn fill(sink: &mut PackSink) -> Result<(), SinkError> {
    for (name, content) in files() {
        let path = EntryPath::parse(name.as_bytes()).expect("valid name");
        let mut file = sink.create(&Entry { path, size: None }).await?;
        for piece in Bytes::from(content).chunks(1 << 20) {
            file.write(Piece::Data(Bytes::copy_from_slice(piece))).await?;
        }
        file.finish().await?;
    }
    Ok(())
}

pub(crate) async fn open(place: &Place) -> Repository {
    Repository::open_with(&place.url, &place.options).await.expect("opens")
}

/// Checks that a backup is whole by every means.
pub(crate) async fn check(place: &Place, id: &BackupId) -> Result<(), RepositoryError> {
    let backup = open(place).await.backup(id).await?;
    let report = backup.verify(&ReadConfig::default()).await?;
    assert!(report.is_sound(), "{:?}", report.damage);
    for (name, content) in files() {
        let path = EntryPath::parse(name.as_bytes()).expect("valid name");
        let pieces: Vec<Bytes> = backup.read_file(&path)?.try_collect().await?;
        assert!(pieces.concat() == content, "{name}");
    }
    Ok(())
}

/// Sweeps everything unfinished, however young.
pub(crate) async fn sweep(place: &Place) -> Pruned {
    let config = PruneConfig {
        keep: Default::default(),
        force: false,
        incomplete_after: Duration::ZERO,
        dry_run: false,
    };
    open(place).await.prune(&config).await.expect("prunes")
}
