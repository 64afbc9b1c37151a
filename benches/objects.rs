//! A donor's stream into S3: how fast, against `socat | rclone rcat`, and with how much memory.
//!
//! ```sh
//! cargo bench --bench objects              # both; 512 MiB into SeaweedFS, 1 and 8 GiB into nothing
//! cargo bench --bench objects -- speed     # GALERA_SST_TEST_STORES=/dev/shm takes the disk out of it
//! cargo bench --bench objects -- memory
//! ```
//!
//! For speed, both sides take the same stream from `socat` and store it in the same SeaweedFS, in turn. For
//! memory the stream is made on the fly, and a small S3 of our own throws it away.
//! Needs `socat`, `rclone` and SeaweedFS (`scripts/install-deps --tests`).

#![expect(clippy::print_stdout, reason = "a benchmark answers on standard output")]

#[path = "support/null_s3.rs"]
mod null_s3;
#[path = "../tests/objects/servers.rs"]
#[allow(dead_code, reason = "the tests of object stores use all of it")]
mod servers;
#[path = "support/streams.rs"]
mod streams;
#[path = "support/table.rs"]
#[expect(dead_code, reason = "nothing here is run to its end at once")]
mod table;

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use galera_sst::pipeline::manifest::{BackupId, Manifest};
use galera_sst::pipeline::{self, Options, Progress};
use galera_sst::repository::{PackConfig, PackSink, RepositoryUrl, StoreOptions, UploadConfig};
use galera_sst::sink::Sink;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use servers::{ACCESS_KEY, SECRET_KEY, rclone, seaweed};
use streams::{Content, FILES};
use table::{Table, wait};

const ROUNDS: usize = 5;
const PORT: u16 = 15_598;

/// What `backup` does unless it is told otherwise.
const UPLOAD: UploadConfig = UploadConfig { part_bytes: 8 << 20, parts_in_flight: 4 };

/// How much more than the parts under way may be in memory.
const REST_BYTES_MAX: u64 = 64 << 20;

fn main() -> io::Result<()> {
    let words: Vec<String> = env::args().skip(1).filter(|word| word != "--bench").collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match *words.as_slice() {
        // What `cargo test --benches` passes.
        ["--test", ..] => Ok(()),
        ["store", endpoint, prefix] => store(endpoint, prefix),
        ["speed"] => speed(),
        ["memory"] => memory(),
        _ => speed().and_then(|()| memory()),
    }
}

/// The side of ours, in a process of its own: takes one stream into S3 and answers with its peak memory in
/// KiB.
fn store(endpoint: &str, prefix: &str) -> io::Result<()> {
    Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(("127.0.0.1", PORT)).await?;
        let id = BackupId::generate();
        let url =
            RepositoryUrl::parse(&format!("s3://bench/{prefix}")).map_err(io::Error::other)?;
        let sink = PackSink::create(&url, id.clone(), config(endpoint)).await;
        let sink = sink.map_err(io::Error::other)?;
        let (socket, _) = listener.accept().await?;
        let options = Options { hash_files: false, ..Options::default() };
        let (progress, cancel) = (Progress::default(), CancellationToken::new());
        let received = pipeline::run(socket, sink, &options, &progress, &cancel).await;
        let received = received.map_err(io::Error::other)?;
        let committed = received.sink.commit(manifest(id)?).await;
        committed.map(drop).map_err(io::Error::other)
    })?;
    println!("{}", peak_memory()?);
    Ok(())
}

fn config(endpoint: &str) -> PackConfig {
    let variables = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let store = StoreOptions {
        endpoint: Some(endpoint.to_owned()),
        environment: variables.into_iter().collect(),
        ..StoreOptions::default()
    };
    PackConfig { upload: UPLOAD, store, ..PackConfig::default() }
}

fn manifest(backup_id: BackupId) -> io::Result<Manifest> {
    let text = include_bytes!("../tests/sinks/manifest.json");
    let manifest = Manifest::decode(text).map_err(io::Error::other)?;
    Ok(Manifest { backup_id, ..manifest })
}

/// In KiB.
fn peak_memory() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or(io::ErrorKind::InvalidData.into())
}

fn start_store(endpoint: &str, prefix: &str) -> io::Result<Child> {
    let mut command = Command::new(env::current_exe()?);
    command.args(["store", endpoint, prefix]).stdout(Stdio::piped()).spawn()
}

fn answer_of(store: Child) -> io::Result<u64> {
    let output = store.wait_with_output()?;
    String::from_utf8_lossy(&output.stdout).trim().parse().map_err(io::Error::other)
}

fn speed() -> io::Result<()> {
    let mib: u64 = env::var("BENCH_MIB").ok().and_then(|mib| mib.parse().ok()).unwrap_or(512);
    let directory = env::var_os("BENCH_DIR").map_or_else(|| "/dev/shm".into(), PathBuf::from);
    let stream = directory.join("galera-sst-bench.xb");
    for (name, content) in [("rows of a table", Content::Rows), ("noise", Content::Noise)] {
        streams::write_file(&stream, (mib << 20) / FILES, 1, content)?;
        compare(&format!("{mib} MiB of {name} into S3 (SeaweedFS)"), &stream)?;
    }
    fs::remove_file(stream)
}

fn compare(title: &str, stream: &Path) -> io::Result<()> {
    let port = seaweed();
    let endpoint = format!("http://127.0.0.1:{port}");
    let mut table = Table::new(title, &["socat | rclone rcat"]);
    let mut peak = 0;
    for _ in 0..ROUNDS {
        rclone(port, &["mkdir", "s3:bench"]);
        let elapsed = timed(|| {
            let receiver = start_rcat(port)?;
            wait(sender(stream)?)?;
            wait(receiver)
        })?;
        table.add("socat | rclone rcat", elapsed);
        let elapsed = timed(|| {
            let store = start_store(&endpoint, "ours")?;
            wait(sender(stream)?)?;
            peak = peak.max(answer_of(store)?);
            Ok(())
        })?;
        table.add("galera-sst", elapsed);
        rclone(port, &["purge", "s3:bench"]);
    }
    table.print();
    println!("  our peak memory: {} MiB", peak >> 10);
    Ok(())
}

fn timed(work: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    rustix::fs::sync();
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}

fn start_rcat(port: u16) -> io::Result<Child> {
    let script = format!(
        "unset AWS_CA_BUNDLE; socat -u TCP-LISTEN:{PORT},bind=127.0.0.1,reuseaddr - | \
         rclone --config /dev/null rcat s3:bench/theirs.xb"
    );
    Command::new("bash")
        .args(["-o", "pipefail", "-c", &script])
        .env("RCLONE_CONFIG_S3_TYPE", "s3")
        .env("RCLONE_CONFIG_S3_PROVIDER", "Other")
        .env("RCLONE_CONFIG_S3_ENDPOINT", format!("http://127.0.0.1:{port}"))
        .env("RCLONE_CONFIG_S3_ACCESS_KEY_ID", ACCESS_KEY)
        .env("RCLONE_CONFIG_S3_SECRET_ACCESS_KEY", SECRET_KEY)
        .spawn()
}

fn sender(stream: &Path) -> io::Result<Child> {
    let target = format!("TCP:127.0.0.1:{PORT},retry=1000,interval=0.01");
    let mut command = Command::new("socat");
    command.args(["-u", "-b", "1048576", "-", &target]);
    command.stdin(File::open(stream)?).spawn()
}

fn memory() -> io::Result<()> {
    let runtime = Runtime::new()?;
    let endpoint = format!("http://127.0.0.1:{}", runtime.block_on(null_s3::start())?);
    println!("\npeak memory of a stream of noise into S3");
    let mut peaks = Vec::new();
    for gib in [1_u64, 8] {
        let store = start_store(&endpoint, &format!("memory-{gib}"))?;
        streams::write(connect()?, (gib << 30) / FILES, 4, Content::Noise)?;
        let peak = answer_of(store)? << 10;
        println!("  {gib} GiB: {} MiB", peak >> 20);
        peaks.push(peak);
    }
    let in_flight = (UPLOAD.part_bytes * (UPLOAD.parts_in_flight + 1)) as u64;
    let allowed = in_flight + REST_BYTES_MAX;
    println!("  allowed are {} MiB of parts and {} MiB", in_flight >> 20, REST_BYTES_MAX >> 20);
    let (least, most) = (peaks.iter().min().copied(), peaks.iter().max().copied());
    let (least, most) = (least.unwrap_or(0), most.unwrap_or(0));
    println!("  {:.2} times as much at most", most as f64 / least as f64);
    if most > allowed || most * 10 > least * 11 {
        return Err(io::Error::other("more memory than allowed"));
    }
    Ok(())
}

/// The store listens soon.
fn connect() -> io::Result<TcpStream> {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        match TcpStream::connect(("127.0.0.1", PORT)) {
            Err(error) if Instant::now() > deadline => return Err(error),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
            connected => return connected,
        }
    }
}
