//! What only a data directory promises.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;
use galera_sst::sink::datadir::{Datadir, DatadirOptions};
use galera_sst::sink::{Entry, Piece, Sink, SinkError, SinkFile};
use tempfile::TempDir;

use crate::subjects::manifest;

fn directory() -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("temporary directory");
    let target = directory.path().join("mysql");
    (directory, target)
}

async fn create(target: &Path) -> Result<Datadir, SinkError> {
    let options = DatadirOptions { target: target.to_path_buf(), sync: true };
    Datadir::create(options).await
}

async fn write(sink: &mut Datadir, name: &str, pieces: Vec<Piece>) {
    let path = EntryPath::parse(name.as_bytes()).expect("valid name");
    let mut file = sink.create(&Entry { path, size: None }).await.expect("created");
    for piece in pieces {
        file.write(piece).await.expect("written");
    }
    file.finish().await.expect("finished");
}

#[tokio::test]
async fn the_directory_names_its_group_and_refuses_to_bootstrap_it() {
    let (_directory, target) = directory();
    let manifest = manifest();
    let uuid = manifest.state.uuid;
    let receipt = create(&target).await.expect("sink").commit(manifest).await.expect("commit");
    assert_eq!(receipt.location, format!("datadir:{}", target.display()));
    let grastate = fs::read_to_string(target.join("grastate.dat")).expect("grastate.dat");
    assert!(grastate.contains(&format!("uuid:    {uuid}\nseqno:   -1\n")));
    assert!(grastate.ends_with("safe_to_bootstrap: 0\n"));
    assert_eq!(fs::metadata(&target).expect("there").permissions().mode() & 0o7777, 0o750);
}

#[tokio::test]
async fn an_empty_directory_is_replaced() {
    let (_directory, target) = directory();
    fs::create_dir(&target).expect("made");
    create(&target).await.expect("sink").commit(manifest()).await.expect("commit");
    assert!(target.join("grastate.dat").exists());
}

#[tokio::test]
async fn a_directory_with_anything_in_it_is_refused_before_anything_is_made() {
    let (directory, target) = directory();
    fs::create_dir(&target).expect("made");
    fs::write(target.join("ibdata1"), b"someone's data").expect("written");
    let error = create(&target).await.expect_err("occupied");
    assert!(matches!(error, SinkError::Occupied { .. }));
    assert_eq!(fs::read_dir(directory.path()).expect("directory").count(), 1);
}

#[tokio::test]
async fn a_file_or_a_link_is_no_target() {
    let (directory, target) = directory();
    fs::write(&target, b"file").expect("written");
    assert!(matches!(create(&target).await, Err(SinkError::Occupied { .. })));
    fs::remove_file(&target).expect("removed");
    std::os::unix::fs::symlink(directory.path(), &target).expect("link");
    assert!(matches!(create(&target).await, Err(SinkError::Occupied { .. })));
}

#[tokio::test]
async fn what_came_to_be_at_the_target_meanwhile_is_left_alone() {
    let (directory, target) = directory();
    let mut sink = create(&target).await.expect("sink");
    write(&mut sink, "ibdata1", vec![Piece::Data(Bytes::from_static(b"ours"))]).await;
    fs::create_dir(&target).expect("made");
    fs::write(target.join("ibdata1"), b"theirs").expect("written");
    sink.commit(manifest()).await.expect_err("occupied");
    assert_eq!(fs::read(target.join("ibdata1")).expect("file"), b"theirs");
    assert_eq!(fs::read_dir(directory.path()).expect("directory").count(), 1);
}

#[tokio::test]
async fn two_at_a_time_do_not_mix() {
    let (_directory, target) = directory();
    let first = create(&target).await.expect("sink");
    let error = create(&target).await.expect_err("claimed");
    assert!(matches!(error, SinkError::Create { .. }));
    first.commit(manifest()).await.expect("commit");
    assert!(target.exists());
}

#[tokio::test]
async fn what_a_dead_process_left_is_not_part_of_the_next_backup() {
    let (_directory, target) = directory();
    let left = target.with_file_name("mysql.partial");
    fs::create_dir_all(left.join("db")).expect("made");
    fs::write(left.join("db/old.ibd"), b"old").expect("written");
    create(&target).await.expect("sink").commit(manifest()).await.expect("commit");
    assert!(!target.join("db").exists());
}

#[tokio::test]
async fn holes_take_no_space() {
    let (_directory, target) = directory();
    let mut sink = create(&target).await.expect("sink");
    let page = || Piece::Data(Bytes::from_static(&[1; 4096]));
    write(&mut sink, "t.ibd", vec![page(), Piece::Hole(64 << 20), page(), Piece::Hole(64 << 20)])
        .await;
    sink.commit(manifest()).await.expect("commit");
    let metadata = fs::metadata(target.join("t.ibd")).expect("file");
    assert_eq!(metadata.len(), (128 << 20) + 8192);
    assert!(metadata.blocks() * 512 < 1 << 20);
}

#[tokio::test]
async fn a_missing_parent_is_named() {
    let (_directory, target) = directory();
    let error = create(&target.join("deeper")).await.expect_err("no parent");
    assert!(matches!(error, SinkError::Create { .. }));
    assert!(error.to_string().ends_with("/mysql/deeper"));
}

#[tokio::test]
#[ignore = "needs SMALL_VOLUME, the mount point of an empty file system of 4 MiB"]
async fn a_volume_is_filled_in_place_and_a_full_one_is_left_empty() {
    let volume = PathBuf::from(std::env::var_os("SMALL_VOLUME").expect("SMALL_VOLUME"));
    let piece = || Piece::Data(Bytes::from(vec![1; 1 << 20]));
    let mut sink = create(&volume).await.expect("sink");
    let path = EntryPath::parse(b"db/t.ibd").expect("valid name");
    let mut file = sink.create(&Entry { path, size: None }).await.expect("created");
    let error = loop {
        if let Err(error) = file.write(piece()).await {
            break error;
        }
    };
    let SinkError::Write { target, source } = error else { panic!("{error}") };
    assert_eq!(source.kind(), std::io::ErrorKind::StorageFull);
    assert!(target.ends_with("db/t.ibd"));
    drop(file);
    sink.abort().await;
    assert_eq!(fs::read_dir(&volume).expect("volume").count(), 0);

    let mut sink = create(&volume).await.expect("sink");
    write(&mut sink, "db/t.ibd", vec![piece()]).await;
    assert!(!volume.join("db").exists());
    sink.commit(manifest()).await.expect("commit");
    assert!(volume.join("db/t.ibd").exists());
    assert!(!volume.join(".partial").exists());
}
