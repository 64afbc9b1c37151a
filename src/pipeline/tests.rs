use std::io::{self, Cursor};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use galera_protocol::xbstream::chunk::{Body, ChunkHeader, Extent, Flags};
use galera_protocol::xbstream::{ClosingFile, EntryPath, Fault, Flavour, Gap};
use tokio::io::{AsyncReadExt, ReadBuf};
use tokio::sync::Semaphore;

use super::manifest::Manifest;
use super::*;
use crate::sink::discard::Discard;
use crate::sink::{Entry, Needs, Piece, Receipt, SinkError, SinkFile};

fn path(name: &str) -> EntryPath {
    EntryPath::parse(name.as_bytes()).expect("valid name")
}

fn payload(name: &str, offset: u64, bytes: &[u8]) -> BytesMut {
    let length = bytes.len() as u64;
    let extent = Extent { length, offset, checksum: crc32fast::hash(bytes) };
    let mut chunk = header(name, Body::Payload(extent));
    chunk.put_slice(bytes);
    chunk
}

fn header(name: &str, body: Body) -> BytesMut {
    let mut chunk = BytesMut::new();
    let path = name.as_bytes().into();
    ChunkHeader { flags: Flags::default(), path, body }.encode(&mut chunk);
    chunk
}

fn file(name: &str, content: &[u8]) -> Vec<u8> {
    [payload(name, 0, content), header(name, Body::End)].concat()
}

fn backup(info: &str) -> Vec<u8> {
    [
        file("ibdata1", &[1; 300_000]),
        file("ib_logfile0", &[2; 3000]),
        file("xtrabackup_checkpoints", b"to_lsn = 5\n"),
        file("backup-my.cnf", b"[mysqld]\n"),
        file("xtrabackup_info", info.as_bytes()),
    ]
    .concat()
}

async fn receive<S: Sink>(
    source: impl AsyncRead + Unpin + Send + 'static,
    sink: S,
) -> Result<Received<S>, PipelineError> {
    let cancel = CancellationToken::new();
    run(source, sink, &Options::default(), &Progress::default(), &cancel).await
}

const INFO: &str = "tool_name = mariadb-backup\nend_time = 2026-11-22 16:32:20\n";

#[tokio::test]
async fn a_whole_backup_is_summed_up() {
    let stream = backup(INFO);
    let length = stream.len() as u64;
    let received = receive(Cursor::new(stream), Discard).await.expect("good stream");
    let summary = received.summary;
    assert_eq!((summary.stream_bytes, summary.files.len()), (length, 5));
    assert_eq!(summary.data_bytes, summary.file_bytes());
    let ibdata = FileSummary { size: 300_000, hash: Some(blake3::hash(&[1; 300_000])) };
    assert_eq!(summary.files[&path("ibdata1")], ibdata);
    assert_eq!(summary.completeness.flavour, Some(Flavour::MariaDb));
    assert!(summary.completeness.is_complete());
    assert_eq!(summary.about.len(), 3);
    assert_eq!(summary.about[&path("xtrabackup_info")], INFO);
}

#[tokio::test]
async fn without_hashes_sizes_are_still_known() {
    let options = Options { hash_files: false, ..Options::default() };
    let (progress, cancel) = (Progress::default(), CancellationToken::new());
    let received = run(Cursor::new(backup(INFO)), Discard, &options, &progress, &cancel).await;
    let summary = received.expect("good stream").summary;
    assert_eq!(summary.files[&path("ibdata1")], FileSummary { size: 300_000, hash: None });
}

#[tokio::test]
async fn a_backup_that_did_not_end_arrives_but_is_not_complete() {
    let received = receive(Cursor::new(backup("tool_name = mariadb-backup\n")), Discard).await;
    assert_eq!(received.expect("good stream").summary.completeness.gaps, [Gap::NoEndTime]);
    let cut = [file("ib_logfile0", b"x"), file("xtrabackup_info", INFO.as_bytes())].concat();
    let gaps = receive(Cursor::new(cut), Discard).await.expect("good stream").summary;
    let missing = [ClosingFile::Checkpoints, ClosingFile::ServerOptions].map(Gap::Missing);
    assert_eq!(gaps.completeness.gaps, missing);
}

#[tokio::test]
async fn an_info_file_too_large_to_keep_cannot_prove_anything() {
    let info = format!("{INFO}tool_command = {}\n", "x".repeat(70_000));
    let received = receive(Cursor::new(backup(&info)), Discard).await.expect("good stream");
    assert_eq!(received.summary.completeness.gaps, [Gap::UnreadableInfo]);
}

#[tokio::test]
async fn a_blocking_source_gives_the_same() {
    let (options, progress) = (Options::default(), Progress::default());
    let cancel = CancellationToken::new();
    let source = Cursor::new(backup(INFO));
    let received = run_blocking(source, Discard, &options, &progress, &cancel).await;
    assert!(received.expect("good stream").summary.completeness.is_complete());
}

#[tokio::test]
async fn progress_names_the_file_under_way_and_the_last_complete_one() {
    let stream = [file("a", b"done"), payload("b", 0, b"under way").to_vec()].concat();
    let progress = Progress::default();
    let mut changes = progress.subscribe();
    let (mut donor, source) = tokio::io::duplex(1024);
    let (watched, cancel) = (progress.clone(), CancellationToken::new());
    let stopper = cancel.clone();
    let running =
        tokio::spawn(
            async move { run(source, Discard, &Options::default(), &watched, &stopper).await },
        );
    tokio::io::AsyncWriteExt::write_all(&mut donor, &stream).await.expect("room");
    let length = stream.len() as u64;
    let snapshot = changes.wait_for(|now| now.stream_bytes == length).await.expect("alive").clone();
    let expected = Snapshot {
        stream_bytes: length,
        data_bytes: 13,
        files_complete: 1,
        files_open: 1,
        current: Some(path("b")),
        last_complete: Some(path("a")),
    };
    assert_eq!(snapshot, expected);
    cancel.cancel();
    let error = running.await.expect("no panic").expect_err("cancelled");
    assert_eq!(error.side(), Side::Stopped);
}

#[tokio::test]
async fn damage_is_the_streams_fault() {
    let mut stream = backup(INFO);
    stream[200] ^= 1;
    let error = receive(Cursor::new(stream), Discard).await.expect_err("damaged");
    assert_eq!(error.side(), Side::Stream);
    assert!(matches!(error, PipelineError::Stream(e) if matches!(e.fault, Fault::Checksum { .. })));
}

#[tokio::test]
async fn a_broken_connection_is_the_transports_fault_even_between_chunks() {
    let reset = io::Error::from(io::ErrorKind::ConnectionReset);
    let source = AsyncReadExt::chain(Cursor::new(backup(INFO)), Broken(Some(reset)));
    let error = receive(source, Discard).await.expect_err("reset");
    assert_eq!(error.side(), Side::Transport);
}

#[tokio::test(start_paused = true)]
async fn silence_is_the_transports_fault() {
    let (_donor, source) = tokio::io::duplex(1024);
    let running = tokio::spawn(receive(source, Discard));
    // The clock does not run by itself while the parser's thread lives.
    tokio::task::yield_now().await;
    tokio::time::advance(Duration::from_secs(601)).await;
    let error = running.await.expect("no panic").expect_err("idle");
    assert_eq!(error.side(), Side::Transport);
    assert_eq!(error.to_string(), "nothing arrived for 600 s");
}

#[tokio::test]
async fn a_sink_that_takes_nothing_is_given_up_and_aborted() {
    let gate = Gate::closed();
    let options = Options { stall_limit: Duration::from_millis(1), ..Options::default() };
    let (progress, cancel) = (Progress::default(), CancellationToken::new());
    let stream = Cursor::new(file("a", b"x"));
    let error = run(stream, gate.clone(), &options, &progress, &cancel).await.expect_err("stalled");
    assert!(matches!(error, PipelineError::SinkStalled { .. }));
    assert_eq!((error.side(), gate.aborts.load(Ordering::Relaxed)), (Side::Sink, 1));
}

#[tokio::test]
async fn cancelling_aborts_a_sink_in_the_middle_of_a_write() {
    let gate = Gate::closed();
    let (progress, cancel) = (Progress::default(), CancellationToken::new());
    let (stopper, sink, arrivals) = (cancel.clone(), gate.clone(), Arc::clone(&gate.arrivals));
    let running = tokio::spawn(async move {
        let stream = Cursor::new(file("a", b"x"));
        run(stream, sink, &Options::default(), &progress, &stopper).await
    });
    let _arrived = arrivals.acquire().await.expect("open");
    cancel.cancel();
    let error = running.await.expect("no panic").expect_err("cancelled");
    assert_eq!((error.side(), gate.aborts.load(Ordering::Relaxed)), (Side::Stopped, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_sink_stops_the_source() {
    let taken = Arc::new(AtomicUsize::new(0));
    let source =
        Counted { inner: Cursor::new(file("a", &vec![5; 64 << 20])), taken: Arc::clone(&taken) };
    receive(source, Slow { taken, written: 0 }).await.expect("good stream");
}

#[test]
fn buffers_are_used_again_once_nobody_holds_their_bytes() {
    let stream = Cursor::new(vec![0; 8 << 20]);
    let (to, mut buffers) = mpsc::channel(1);
    let reading = std::thread::spawn(move || source::read_blocking(stream, &to));
    let mut places = std::collections::BTreeSet::new();
    while let Some(input) = buffers.blocking_recv() {
        if let source::Input::Bytes(bytes) = input {
            places.insert(bytes.as_ptr() as usize);
        }
    }
    reading.join().expect("no panic");
    assert!(places.len() <= 4, "{} buffers for 8 reads", places.len());
}

/// Fails instead of ending.
struct Broken(Option<io::Error>);

impl AsyncRead for Broken {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(self.0.take().map_or(Ok(()), Err))
    }
}

/// Counts what is read.
struct Counted {
    inner: Cursor<Vec<u8>>,
    taken: Arc<AtomicUsize>,
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(context, buffer);
        self.taken.fetch_add(buffer.filled().len() - before, Ordering::Relaxed);
        polled
    }
}

/// A sink whose writes wait until they may pass.
#[derive(Clone, Debug)]
struct Gate {
    arrivals: Arc<Semaphore>,
    passes: Arc<Semaphore>,
    aborts: Arc<AtomicUsize>,
}

impl Gate {
    fn closed() -> Self {
        let semaphore = || Arc::new(Semaphore::new(0));
        Self { arrivals: semaphore(), passes: semaphore(), aborts: Arc::default() }
    }
}

impl Sink for Gate {
    type File = Self;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    async fn create(&mut self, _: &Entry) -> Result<Self, SinkError> {
        Ok(self.clone())
    }

    async fn rename(&mut self, _: &EntryPath, _: &EntryPath) -> Result<(), SinkError> {
        Ok(())
    }

    async fn remove(&mut self, _: &EntryPath) -> Result<(), SinkError> {
        Ok(())
    }

    async fn stream(&mut self, _: Bytes) -> Result<(), SinkError> {
        Ok(())
    }

    async fn commit(self, _: Manifest) -> Result<Receipt, SinkError> {
        Ok(Receipt::new("gate", 0))
    }

    async fn abort(self) {
        self.aborts.fetch_add(1, Ordering::Relaxed);
    }
}

impl SinkFile for Gate {
    async fn write(&mut self, _: Piece) -> Result<(), SinkError> {
        self.arrivals.add_permits(1);
        self.passes.acquire().await.expect("open").forget();
        Ok(())
    }

    async fn finish(self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// A sink that lets the source run ahead before each write, and looks how far it came.
struct Slow {
    taken: Arc<AtomicUsize>,
    written: usize,
}

impl Sink for Slow {
    type File = Self;

    fn needs(&self) -> Needs {
        Needs::default()
    }

    async fn create(&mut self, _: &Entry) -> Result<Self, SinkError> {
        Ok(Self { taken: Arc::clone(&self.taken), written: 0 })
    }

    async fn rename(&mut self, _: &EntryPath, _: &EntryPath) -> Result<(), SinkError> {
        Ok(())
    }

    async fn remove(&mut self, _: &EntryPath) -> Result<(), SinkError> {
        Ok(())
    }

    async fn commit(self, _: Manifest) -> Result<Receipt, SinkError> {
        Ok(Receipt::new("slow", 0))
    }

    async fn abort(self) {}
}

impl SinkFile for Slow {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        // The queues, and one buffer in the hands of each of the three.
        let limit = (BUFFERS_QUEUED + BATCHES_QUEUED + 3) * source::BUFFER_BYTES;
        let ahead = self.taken.load(Ordering::Relaxed) - self.written;
        assert!(ahead <= limit, "{ahead} bytes ahead");
        if let Piece::Data(bytes) = piece {
            self.written += bytes.len();
        }
        Ok(())
    }

    async fn finish(self) -> Result<(), SinkError> {
        Ok(())
    }
}
