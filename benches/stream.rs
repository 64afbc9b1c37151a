//! How fast a stream is received, checked and written, against the tools that do parts of it.
//!
//! ```sh
//! cargo bench --bench stream                               # 1 GiB in /dev/shm
//! BENCH_GIB=4 BENCH_DIR=/data cargo bench --bench stream   # 4 GiB on a disk; needs three times that
//! ```
//!
//! In memory, because a disk's write-back and discards of earlier runs reach into later ones: on a
//! busy one the same command may take ten times as long as a minute before.
//!
//! Each round runs all sides of a comparison in turn.
//! Needs `mbstream`, `socat` and `cat`.

#![expect(clippy::print_stdout, reason = "a benchmark answers on standard output")]

#[path = "support/streams.rs"]
#[allow(dead_code, reason = "another benchmark uses all of it")]
mod streams;
#[path = "support/table.rs"]
mod table;

use std::env;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use galera_sst::pipeline::{self, Options, Progress, Received};
use galera_sst::sink::Sink;
use galera_sst::sink::datadir::{Datadir, DatadirOptions};
use galera_sst::sink::discard::Discard;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use streams::{Content, FILES};
use table::{Table, run, wait};

const ROUNDS: usize = 7;
const PORT: u16 = 15_597;

fn main() -> io::Result<()> {
    // What `cargo test --benches` passes.
    if env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    if let Some(job) = Job::from_args() {
        return job.run();
    }
    let gib: u64 = env::var("BENCH_GIB").ok().and_then(|gib| gib.parse().ok()).unwrap_or(1);
    let directory = env::var_os("BENCH_DIR").unwrap_or_else(|| "/dev/shm".into());
    let bench = Bench::new(Path::new(&directory).join("galera-sst-bench"), gib)?;
    bench.extraction("extract, files one after the other", &bench.sequential)?;
    bench.extraction("extract, four files interleaved", &bench.interleaved)?;
    bench.verification()?;
    bench.reception()?;
    fs::remove_dir_all(&bench.directory)
}

/// What a process of our own does, so that it starts as fresh as the tools that it is compared with.
#[derive(Clone)]
struct Job {
    work: Work,
    hash: bool,
    sync: bool,
}

#[derive(Clone)]
enum Work {
    Extract { stream: PathBuf, target: PathBuf },
    Verify { stream: PathBuf },
    Receive,
}

impl Job {
    fn from_args() -> Option<Self> {
        let words: Vec<String> = env::args().skip(1).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let (work, options) = match *words.as_slice() {
            ["extract", stream, target, ref options @ ..] => {
                (Work::Extract { stream: stream.into(), target: target.into() }, options)
            }
            ["verify", stream, ref options @ ..] => {
                (Work::Verify { stream: stream.into() }, options)
            }
            ["receive", ref options @ ..] => (Work::Receive, options),
            _ => return None,
        };
        Some(Self { work, hash: options.contains(&"hash"), sync: options.contains(&"sync") })
    }

    fn command(&self) -> io::Result<Command> {
        let mut command = Command::new(env::current_exe()?);
        match &self.work {
            Work::Extract { stream, target } => {
                command.arg("extract").args([stream, target]);
            }
            Work::Verify { stream } => {
                command.arg("verify").arg(stream);
            }
            Work::Receive => {
                command.arg("receive");
            }
        }
        command.args(self.hash.then_some("hash")).args(self.sync.then_some("sync"));
        Ok(command)
    }

    /// Answers with the peak memory in KiB.
    fn run(&self) -> io::Result<()> {
        Runtime::new()?.block_on(async {
            match &self.work {
                Work::Extract { stream, target } => self.extract(stream, target).await,
                Work::Verify { stream } => self.file(stream, Discard).await.map(drop),
                Work::Receive => self.receive().await,
            }
        })?;
        println!("{}", peak_memory()?);
        Ok(())
    }

    async fn extract(&self, stream: &Path, target: &Path) -> io::Result<()> {
        let options = DatadirOptions { target: target.into(), sync: self.sync };
        let sink = Datadir::create(options).await.map_err(io::Error::other)?;
        let received = self.file(stream, sink).await?;
        received.sink.flush().await.map_err(io::Error::other)
    }

    async fn file<S: Sink>(&self, stream: &Path, sink: S) -> io::Result<Received<S>> {
        let options = Options { hash_files: self.hash, ..Options::default() };
        let (progress, cancel) = (Progress::default(), CancellationToken::new());
        let source = File::open(stream)?;
        let received = pipeline::run_blocking(source, sink, &options, &progress, &cancel).await;
        received.map_err(io::Error::other)
    }

    async fn receive(&self) -> io::Result<()> {
        let options = Options { hash_files: self.hash, ..Options::default() };
        let listener = TcpListener::bind(("127.0.0.1", PORT)).await?;
        let (socket, _) = listener.accept().await?;
        let (progress, cancel) = (Progress::default(), CancellationToken::new());
        let received = pipeline::run(socket, Discard, &options, &progress, &cancel).await;
        received.map(drop).map_err(io::Error::other)
    }
}

/// In KiB.
fn peak_memory() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
    number.ok_or(io::ErrorKind::InvalidData.into())
}

struct Bench {
    directory: PathBuf,
    sequential: PathBuf,
    interleaved: PathBuf,
}

impl Bench {
    fn new(directory: PathBuf, gib: u64) -> io::Result<Self> {
        fs::create_dir_all(&directory)?;
        let sequential = directory.join("sequential.xb");
        let interleaved = directory.join("interleaved.xb");
        let file_bytes = (gib << 30) / FILES;
        streams::write_file(&sequential, file_bytes, 1, Content::Noise)?;
        streams::write_file(&interleaved, file_bytes, 4, Content::Noise)?;
        println!("{gib} GiB in {FILES} files below {}", directory.display());
        Ok(Self { directory, sequential, interleaved })
    }

    fn extraction(&self, title: &str, stream: &Path) -> io::Result<()> {
        let target = self.directory.join("out");
        let partial = self.directory.join("out.partial");
        let mut peak = Peak::default();
        let mut table = Table::new(title, &["mbstream -x -p 2", "cat to one file"]);
        for _ in 0..ROUNDS {
            let elapsed = timed(|| {
                fs::create_dir(&target)?;
                let mut command = Command::new("mbstream");
                command.args(["-x", "-p", "2", "-C"]).arg(&target);
                run(command.stdin(File::open(stream)?))
            })?;
            table.add("mbstream -x -p 2", elapsed);
            remove(&target)?;
            let elapsed = timed(|| {
                let mut command = Command::new("cat");
                run(command.stdin(File::open(stream)?).stdout(File::create(&target)?))
            })?;
            table.add("cat to one file", elapsed);
            remove(&target)?;
            for (name, hash, sync) in [
                ("CRC-32", false, false),
                ("CRC-32 and BLAKE3", true, false),
                ("CRC-32, BLAKE3, fsync", true, true),
            ] {
                let (stream, target) = (stream.to_path_buf(), target.clone());
                let job = Job { work: Work::Extract { stream, target }, hash, sync };
                table.add(name, peak.timed(&job, || Ok(()))?);
                remove(&partial)?;
            }
        }
        table.print();
        peak.print();
        Ok(())
    }

    fn verification(&self) -> io::Result<()> {
        let mut peak = Peak::default();
        let mut table = Table::new("verify in the page cache", &["cat to /dev/null"]);
        for _ in 0..ROUNDS {
            let elapsed = timed(|| {
                let mut command = Command::new("cat");
                run(command.stdin(File::open(&self.sequential)?).stdout(Stdio::null()))
            })?;
            table.add("cat to /dev/null", elapsed);
            for (name, hash) in [("CRC-32", false), ("CRC-32 and BLAKE3", true)] {
                let work = Work::Verify { stream: self.sequential.clone() };
                let job = Job { work, hash, sync: false };
                table.add(name, peak.timed(&job, || Ok(()))?);
            }
        }
        table.print();
        peak.print();
        Ok(())
    }

    fn reception(&self) -> io::Result<()> {
        let title = "receive over loopback TCP, sent by socat with 1 MiB buffers";
        let mut peak = Peak::default();
        let mut table = Table::new(title, &["socat to /dev/null", "socat -b 1048576"]);
        for _ in 0..ROUNDS {
            table.add("socat to /dev/null", timed(|| self.socat(8192))?);
            table.add("socat -b 1048576", timed(|| self.socat(1 << 20))?);
            for (name, hash) in [("CRC-32", false), ("CRC-32 and BLAKE3", true)] {
                let job = Job { work: Work::Receive, hash, sync: false };
                table.add(name, peak.timed(&job, || wait(self.sender()?))?);
            }
        }
        table.print();
        peak.print();
        Ok(())
    }

    fn socat(&self, buffer_bytes: usize) -> io::Result<()> {
        let mut receiver = Command::new("socat");
        receiver.args(["-u", "-b", &buffer_bytes.to_string()]);
        receiver.arg(format!("TCP-LISTEN:{PORT},bind=127.0.0.1,reuseaddr")).arg("/dev/null");
        let receiver = receiver.spawn()?;
        wait(self.sender()?)?;
        wait(receiver)
    }

    fn sender(&self) -> io::Result<Child> {
        let target = format!("TCP:127.0.0.1:{PORT},retry=100,interval=0.01");
        let mut command = Command::new("socat");
        command.args(["-u", "-b", "1048576", "-", &target]);
        command.stdin(File::open(&self.sequential)?).spawn()
    }
}

/// A process of our own in a comparison, and its peak memory.
#[derive(Default)]
struct Peak {
    kib: u64,
}

impl Peak {
    /// Times a process of our own, and what must happen beside it.
    fn timed(
        &mut self,
        job: &Job,
        beside: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<Duration> {
        timed(|| {
            let child = job.command()?.stdout(Stdio::piped()).spawn()?;
            beside()?;
            let output = child.wait_with_output()?;
            let answer = String::from_utf8_lossy(&output.stdout).trim().parse();
            self.kib = self.kib.max(answer.map_err(io::Error::other)?);
            Ok(())
        })
    }

    fn print(&self) {
        println!("  our peak memory: {} MiB", self.kib >> 10);
    }
}

fn timed(work: impl FnOnce() -> io::Result<()>) -> io::Result<Duration> {
    // What an earlier run left to be written or discarded is not for this one to wait for.
    rustix::fs::sync();
    let started = Instant::now();
    work()?;
    Ok(started.elapsed())
}

fn remove(path: &Path) -> io::Result<()> {
    if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
}
