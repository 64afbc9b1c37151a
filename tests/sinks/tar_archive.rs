//! What only an archive promises: sizes that are right, a bounded spool, and tools that read it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use bytes::Bytes;
use galera_protocol::xbstream::EntryPath;
use galera_sst::repository::ReadConfig;
use galera_sst::restore::{
    FinishConfig, RestoreConfig, RestoreError, StreamSource, restore_stream,
};
use galera_sst::sink::raw::RawTarget;
use galera_sst::sink::tar::{Tar, TarOptions};
use galera_sst::sink::{Entry, Piece, Sink, SinkError, SinkFile};
use tempfile::TempDir;

use crate::model::{Driver, expected, mariadb, percona};
use crate::subjects::{files_of_archive, gather, manifest};

fn options(directory: &TempDir) -> TarOptions {
    let target = RawTarget::File(directory.path().join("backup.tar"));
    TarOptions { target, spool: None, spool_bytes_max: 1 << 20, sync: false }
}

async fn archive_of(options: TarOptions, steps: &[crate::model::Step]) {
    let mut driver = Driver::new(Tar::create(options).await.expect("sink"));
    driver.all(steps).await.expect("steps");
    driver.sink.commit(manifest()).await.expect("commit");
}

fn entry(name: &str) -> Entry {
    Entry { path: EntryPath::parse(name.as_bytes()).expect("valid name"), size: None }
}

async fn write(sink: &mut Tar, name: &str, content: &[u8]) -> Result<(), SinkError> {
    let mut file = sink.create(&entry(name)).await?;
    file.write(Piece::Data(Bytes::copy_from_slice(content))).await?;
    file.finish().await
}

#[tokio::test]
async fn gnu_tar_and_b3sum_read_it_and_long_names_survive() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut sink = Tar::create(options(&directory)).await.expect("sink");
    let long = format!("db/{}.ibd", "n".repeat(200));
    write(&mut sink, &long, b"long").await.expect("written");
    write(&mut sink, "db/t.frm", b"frm").await.expect("written");
    sink.commit(manifest()).await.expect("commit");
    let out = directory.path().join("out");
    fs::create_dir(&out).expect("made");
    let mut command = Command::new("tar");
    command.arg("-xf").arg(directory.path().join("backup.tar")).arg("-C").arg(&out);
    assert!(command.status().expect("tar runs").success());
    assert_eq!(fs::read(out.join(&long)).expect("there"), b"long");
    let sums = fs::read_to_string(out.join("galera-sst.b3sum")).expect("there");
    assert!(sums.contains(&format!("{}  db/t.frm\n", blake3::hash(b"frm").to_hex())), "{sums}");
}

#[tokio::test]
async fn a_pipe_gets_the_same_files_as_a_file() {
    for steps in [percona(), mariadb()] {
        let directory = tempfile::tempdir().expect("temporary directory");
        let pipe = directory.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, 0o600.into()).expect("pipe");
        let reading = std::thread::spawn({
            let pipe = pipe.clone();
            move || fs::read(pipe).expect("read")
        });
        let spool = Some(directory.path().join("spool"));
        let options = TarOptions { target: RawTarget::File(pipe), spool, ..options(&directory) };
        archive_of(options, &steps).await;
        let archive = reading.join().expect("no panic");
        assert_eq!(files_of_archive(&archive), expected(&steps));
    }
}

#[tokio::test]
async fn a_large_file_alone_does_not_wait_and_too_much_waiting_is_an_error() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut sink = Tar::create(options(&directory)).await.expect("sink");
    let large = vec![3; 2 << 20];
    write(&mut sink, "db/large.ibd", &large).await.expect("more than the spool takes");
    let written = write(&mut sink, "db/large.MYD", &large).await;
    let error = written.and(sink.commit(manifest()).await.map(drop)).expect_err("spool is full");
    let SinkError::Write { source, .. } = error else { panic!("{error}") };
    assert!(source.to_string().contains("--spool-max"), "{source}");
    assert_eq!(fs::read_dir(directory.path()).expect("readable").count(), 0);
}

#[tokio::test]
async fn holes_take_no_space_in_the_archive() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let mut sink = Tar::create(options(&directory)).await.expect("sink");
    let mut file = sink.create(&entry("db/t.ibd")).await.expect("created");
    file.write(Piece::Hole(64 << 20)).await.expect("written");
    file.finish().await.expect("finished");
    sink.commit(manifest()).await.expect("commit");
    let metadata = fs::metadata(directory.path().join("backup.tar")).expect("there");
    assert!(metadata.len() > 64 << 20);
    assert!(metadata.blocks() * 512 < 1 << 20);
}

fn config(target: &Path) -> RestoreConfig {
    RestoreConfig {
        target: target.to_path_buf(),
        force: false,
        finish: FinishConfig::default(),
        read: ReadConfig::default(),
    }
}

#[tokio::test]
async fn an_archive_is_restored_only_if_it_is_whole_and_undamaged() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let steps = percona();
    archive_of(options(&directory), &steps).await;
    let archive = fs::read(directory.path().join("backup.tar")).expect("there");
    let (file, target) = (directory.path().join("copy.tar"), directory.path().join("mysql"));
    let source = StreamSource::Tar(file.clone());
    for cut in [0, 600, archive.len() / 2, archive.len() - 2048] {
        fs::write(&file, &archive[..cut]).expect("written");
        let error = restore_stream(&source, &config(&target)).await.expect_err("cut");
        assert_eq!(error.exit_code(), 65, "{error}");
        assert!(!target.exists());
    }
    let mut damaged = archive.clone();
    damaged[520] ^= 1;
    fs::write(&file, &damaged).expect("written");
    let error = restore_stream(&source, &config(&target)).await.expect_err("damaged");
    assert!(matches!(error, RestoreError::DamagedMember { .. }), "{error}");
    fs::write(&file, &archive).expect("written");
    restore_stream(&source, &config(&target)).await.expect("restored");
    let mut files = crate::model::Files::new();
    gather(&target, "", &mut files);
    files.remove("galera-sst-manifest.json").expect("manifest");
    assert_eq!(files, expected(&steps));
}
