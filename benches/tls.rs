//! How fast a donor's TLS connection is received and checked, against `socat OPENSSL-LISTEN`.
//!
//! ```sh
//! cargo bench --bench tls                # 1 GiB in /dev/shm
//! BENCH_GIB=4 cargo bench --bench tls    # 4 GiB
//! ```
//!
//! The receiver is the real one: the listener that donors meet, with the metadata connection before
//! the stream, and the pipeline into `null:`. Both sides get the same stream from the same sender
//! (`socat` with 1 MiB buffers and a certificate), in turn; timed is the stream's connection, from
//! the start of the sender to the end of the receiver. Needs `socat`, `mbstream`, `openssl`.

#![expect(clippy::print_stdout, reason = "a benchmark answers on standard output")]

#[path = "support/table.rs"]
mod table;

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use galera_sst::net::tls::{KeyFiles, Keys};
use galera_sst::pipeline::{self, Options, Progress};
use galera_sst::sink::discard::Discard;
use galera_sst::sst::{
    Config, DonorCheck, Event, Judgement, Listen, NOTICES_MAX, Notice, SstListener, TlsAcceptor,
};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use table::{Table, run, wait};

const ROUNDS: usize = 7;
const FILES: u64 = 16;
const PORT: u16 = 15_598;

/// Conn 1 of a MariaDB donor.
const POSITION: &str = "3ae18adc-e690-11f1-aa68-dbedcff0437f:39 0\n";

fn main() -> io::Result<()> {
    // What `cargo test --benches` passes.
    if env::args().any(|argument| argument == "--test") {
        return Ok(());
    }
    let words: Vec<String> = env::args().skip(1).collect();
    if let [command, directory] = words.as_slice()
        && command == "receive"
    {
        return Runtime::new()?.block_on(receive(Path::new(directory)));
    }
    let gib: u64 = env::var("BENCH_GIB").ok().and_then(|gib| gib.parse().ok()).unwrap_or(1);
    let directory = env::var_os("BENCH_DIR").unwrap_or_else(|| "/dev/shm".into());
    let bench = Bench::new(Path::new(&directory).join("galera-sst-bench-tls"), gib)?;
    bench.run()?;
    fs::remove_dir_all(&bench.directory)
}

fn files(directory: &Path) -> KeyFiles {
    let certificate = directory.join("node.pem");
    KeyFiles { certificate, key: directory.join("node.key"), ..KeyFiles::default() }
}

/// The receiver's process: one whole transfer.
async fn receive(directory: &Path) -> io::Result<()> {
    let keys = Keys::open(files(directory)).map_err(io::Error::other)?;
    let listen = Listen::On(vec![SocketAddr::from((Ipv4Addr::LOCALHOST, PORT))]);
    let listener = SstListener::bind(Config { listen, ..Config::default() })
        .map_err(io::Error::other)?
        .with_tls(TlsAcceptor::new(keys, DonorCheck::Authority));
    let (tell, events) = mpsc::channel(4);
    let (notices, mut heard) = mpsc::channel(NOTICES_MAX);
    let cancel = CancellationToken::new();
    let donor = vec![IpAddr::V4(Ipv4Addr::LOCALHOST)];
    tell.send(Event::RequestAccepted { donor }).await.map_err(io::Error::other)?;
    let transfer = tokio::spawn(listener.run(events, notices, cancel.clone()));
    while let Some(notice) = heard.recv().await {
        let Notice::Archive(archive) = notice else { continue };
        let options = Options { hash_files: false, ..Options::default() };
        let progress = Progress::default();
        let received = pipeline::run(archive, Discard, &options, &progress, &cancel).await;
        received.map_err(io::Error::other)?;
        for event in [Event::Judged(Judgement::Whole), Event::DonorJoined { code: 0 }] {
            tell.send(event).await.map_err(io::Error::other)?;
        }
    }
    transfer.await?.map(drop).map_err(io::Error::other)
}

struct Bench {
    directory: PathBuf,
    stream: PathBuf,
    metadata: PathBuf,
    gib: u64,
}

impl Bench {
    fn new(directory: PathBuf, gib: u64) -> io::Result<Self> {
        fs::create_dir_all(directory.join("data"))?;
        let key = "req -new -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=node";
        let mut openssl = Command::new("openssl");
        openssl.args(key.split(' ')).arg("-keyout").arg(directory.join("node.key"));
        run(openssl.arg("-out").arg(directory.join("node.pem")).stderr(Stdio::null()))?;
        let pair = [fs::read(directory.join("node.pem"))?, fs::read(directory.join("node.key"))?];
        fs::write(directory.join("pair.pem"), pair.concat())?;
        let (stream, metadata) = (directory.join("stream.xb"), directory.join("metadata.xb"));
        let bench = Self { directory, stream, metadata, gib };
        bench.write_streams()?;
        Ok(bench)
    }

    fn write_streams(&self) -> io::Result<()> {
        let names: Vec<String> = (0..FILES).map(|file| format!("t{file}.ibd")).collect();
        for name in &names {
            let mut noise = Command::new("head");
            noise.arg("-c").arg(((self.gib << 30) / FILES).to_string()).arg("/dev/urandom");
            run(noise.stdout(File::create(self.directory.join("data").join(name))?))?;
        }
        self.archive(&names, &self.stream)?;
        let galera = ["xtrabackup_galera_info", "donor_galera_info"].map(str::to_owned);
        for name in &galera {
            fs::write(self.directory.join("data").join(name), POSITION)?;
        }
        self.archive(&galera, &self.metadata)?;
        fs::remove_dir_all(self.directory.join("data"))
    }

    fn archive(&self, names: &[String], to: &Path) -> io::Result<()> {
        let mut command = Command::new("mbstream");
        command.arg("-c").args(names).current_dir(self.directory.join("data"));
        run(command.stdout(File::create(to)?))
    }

    fn run(&self) -> io::Result<()> {
        let title = format!(
            "receive over loopback TLS, sent by socat with 1 MiB buffers: {} GiB, {ROUNDS} rounds",
            self.gib
        );
        let mut table = Table::new(&title, &["socat OPENSSL-LISTEN", "socat -b 1048576"]);
        for _ in 0..ROUNDS {
            table.add("socat OPENSSL-LISTEN", self.socat(8192)?);
            table.add("socat -b 1048576", self.socat(1 << 20)?);
            table.add("ours, CRC-32", self.ours()?);
        }
        table.print();
        Ok(())
    }

    fn socat(&self, buffer_bytes: usize) -> io::Result<Duration> {
        let pair = self.directory.join("pair.pem");
        let (pair, ca) = (pair.display(), self.directory.join("node.pem"));
        let listen = format!(
            "OPENSSL-LISTEN:{PORT},bind=127.0.0.1,reuseaddr,cert={pair},cafile={},verify=1",
            ca.display()
        );
        let mut receiver = Command::new("socat");
        receiver.args(["-u", "-b", &buffer_bytes.to_string(), &listen, "/dev/null"]);
        let receiver = receiver.spawn()?;
        let started = Instant::now();
        wait(self.sender(&self.stream)?)?;
        wait(receiver)?;
        Ok(started.elapsed())
    }

    fn ours(&self) -> io::Result<Duration> {
        let mut receiver = Command::new(env::current_exe()?);
        let receiver = receiver.arg("receive").arg(&self.directory).spawn()?;
        wait(self.sender(&self.metadata)?)?;
        let started = Instant::now();
        wait(self.sender(&self.stream)?)?;
        wait(receiver)?;
        Ok(started.elapsed())
    }

    fn sender(&self, stream: &Path) -> io::Result<Child> {
        let pair = self.directory.join("pair.pem");
        let pair = pair.display();
        let target =
            format!("OPENSSL:127.0.0.1:{PORT},retry=200,interval=0.01,verify=0,cert={pair}");
        let mut command = Command::new("socat");
        command.args(["-u", "-b", "1048576", "-", &target]).stderr(Stdio::null());
        command.stdin(File::open(stream)?).spawn()
    }
}
