//! How fast a backup is restored from packs, against what people do with a compressed stream.
//!
//! ```sh
//! cargo bench --bench restore                    # 1 GiB in /dev/shm
//! BENCH_GIB=4 BENCH_DIR=/data cargo bench --bench restore
//! ```
//!
//! Both sides write the same files from zstd of level 3; ours checks a hash of every block and of every
//! file besides. Needs `mbstream` and `zstd`.

#![expect(clippy::print_stdout, reason = "a benchmark answers on standard output")]

#[path = "support/streams.rs"]
mod streams;
#[path = "support/table.rs"]
mod table;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, io};

use galera_sst::pipeline::manifest::{BackupId, Manifest};
use galera_sst::pipeline::{self, Options, Progress};
use galera_sst::repository::{PackConfig, PackSink, ReadConfig, Repository, RepositoryUrl};
use galera_sst::restore::{FinishConfig, RestoreConfig, restore};
use galera_sst::sink::Sink as _;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use streams::{Content, FILES};
use table::{Table, run};

const ROUNDS: usize = 5;
const REFERENCE: &str = "zstd -dc | mbstream -p 2";

fn main() -> io::Result<()> {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words.as_slice() {
        // What `cargo test --benches` passes.
        ["--test", ..] => return Ok(()),
        ["restore", repository, target] => return ours(Path::new(repository), target.into()),
        _ => {}
    }
    let gib: u64 = env::var("BENCH_GIB").ok().and_then(|gib| gib.parse().ok()).unwrap_or(1);
    let directory = env::var_os("BENCH_DIR").map_or_else(|| "/dev/shm".into(), PathBuf::from);
    let directory = directory.join("galera-sst-bench-restore");
    for (name, content) in [("rows of a table", Content::Rows), ("noise", Content::Noise)] {
        fs::create_dir_all(&directory)?;
        let compared = compare(gib, &directory, name, content);
        fs::remove_dir_all(&directory)?;
        compared?;
    }
    Ok(())
}

fn compare(gib: u64, directory: &Path, name: &str, content: Content) -> io::Result<()> {
    let (stream, packed) = (directory.join("stream"), directory.join("stream.zst"));
    let repository = directory.join("repository");
    streams::write_file(&stream, (gib << 30) / FILES, 4, content)?;
    run(Command::new("zstd").args(["-q", "-3", "-T2"]).arg(&stream).arg("-o").arg(&packed))?;
    store(&stream, &repository)?;
    fs::remove_file(&stream)?;
    let title = format!("restore {gib} GiB of {name} from zstd, level 3");
    let mut table = Table::new(&title, &[REFERENCE]);
    let target = directory.join("target");
    for _ in 0..ROUNDS {
        table.add(REFERENCE, theirs(&packed, &target)?);
        fs::remove_dir_all(&target)?;
        let mut command = Command::new(env::current_exe()?);
        let started = Instant::now();
        run(command.arg("restore").args([&repository, &target]))?;
        table.add("restore from packs", started.elapsed());
        fs::remove_dir_all(&target)?;
    }
    table.print();
    Ok(())
}

fn theirs(packed: &Path, target: &Path) -> io::Result<Duration> {
    fs::create_dir_all(target)?;
    let started = Instant::now();
    let script = "zstd -q -dc \"$0\" | mbstream -x -p 2 -C \"$1\"";
    run(Command::new("bash").args(["-o", "pipefail", "-c", script]).args([packed, target]))?;
    Ok(started.elapsed())
}

/// Makes a repository with the stream as its only backup.
fn store(stream: &Path, repository: &Path) -> io::Result<()> {
    Runtime::new()?.block_on(async {
        let url = RepositoryUrl::from_directory(repository);
        let id = BackupId::generate();
        let sink = PackSink::create(&url, id.clone(), PackConfig::default()).await;
        let options = Options { hash_files: false, ..Options::default() };
        let (progress, cancel) = (Progress::default(), CancellationToken::new());
        let sink = sink.map_err(io::Error::other)?;
        let source = File::open(stream)?;
        let received = pipeline::run_blocking(source, sink, &options, &progress, &cancel).await;
        let manifest = Manifest::decode(include_bytes!("../tests/sinks/manifest.json"));
        let manifest = Manifest { backup_id: id, ..manifest.map_err(io::Error::other)? };
        let committed = received.map_err(io::Error::other)?.sink.commit(manifest).await;
        committed.map(drop).map_err(io::Error::other)
    })
}

/// Our side, in a process of its own.
fn ours(repository: &Path, target: PathBuf) -> io::Result<()> {
    Runtime::new()?.block_on(async {
        let url = RepositoryUrl::from_directory(repository);
        let repository = Repository::open(&url).await.map_err(io::Error::other)?;
        let id = repository.latest().await.map_err(io::Error::other)?;
        let backup = repository.backup(&id).await.map_err(io::Error::other)?;
        let config = RestoreConfig {
            target,
            force: false,
            finish: FinishConfig::default(),
            read: ReadConfig::default(),
        };
        restore(&backup, &config).await.map(drop).map_err(io::Error::other)
    })
}
