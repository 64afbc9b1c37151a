//! A proxy before an object store that spoils chosen requests.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::message::Message;

/// Between two bytes of a slow answer, whose last one never comes.
const BYTE_PERIOD: Duration = Duration::from_millis(100);

/// Which requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// The beginning of a multipart upload.
    Begin,
    /// A part of one.
    Part,
    /// Its completion.
    Complete,
    /// A small object: the start mark, the manifest.
    Manifest,
    /// A read of an object.
    Read,
}

impl What {
    fn is(self, head: &str) -> bool {
        let line = head.lines().next().unwrap_or_default();
        let mut words = line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        match self {
            Self::Begin => method == "POST" && target.contains("uploads"),
            Self::Part => method == "PUT" && target.contains("partNumber="),
            Self::Complete => method == "POST" && target.contains("uploadId="),
            Self::Manifest => method == "PUT" && target.ends_with("manifest.json"),
            Self::Read => method == "GET" && target.contains("/packs/"),
        }
    }
}

/// What happens to them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The connection closes before the store hears of it.
    CutBefore,
    /// The store does it, and the answer is lost.
    CutAfter,
    /// The store does it, and only half of the answer arrives.
    Truncated,
    /// Nothing happens, for ever.
    Stall,
    /// The answer comes byte by byte, and takes longer than any request may.
    Slow,
    /// The store does it, and the answer never comes.
    Held,
    /// The store is broken or busy.
    Status(u16),
    /// The answer's ETag is another one.
    WrongEtag,
    /// Success is said, and nothing was done.
    Lie,
}

/// A running proxy.
pub(crate) struct Proxy {
    address: SocketAddr,
    spoiled: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
    slowest: Arc<AtomicU64>,
    _tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Rule {
    upstream: u16,
    what: What,
    fault: Fault,
    times: usize,
    spoiled: Arc<AtomicUsize>,
    held: Arc<AtomicUsize>,
    slowest: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts one that spoils the first so many of these requests.
    pub(crate) async fn start(upstream: u16, what: What, fault: Fault, times: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let spoiled = Arc::new(AtomicUsize::new(0));
        let held = Arc::new(AtomicUsize::new(0));
        let slowest = Arc::new(AtomicU64::new(0));
        let rule = Rule {
            upstream,
            what,
            fault,
            times,
            spoiled: Arc::clone(&spoiled),
            held: Arc::clone(&held),
            slowest: Arc::clone(&slowest),
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let rule = rule.clone();
                connections.spawn(async move { drop(rule.serve(client).await) });
            }
        });
        Self { address, spoiled, held, slowest, _tasks: tasks }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    /// Waits until a request is held for ever.
    pub(crate) async fn wait_held(&self) {
        while self.held.load(Ordering::Relaxed) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// How long the slowest request took that was not spoiled.
    pub(crate) fn slowest(&self) -> Duration {
        Duration::from_millis(self.slowest.load(Ordering::Relaxed))
    }

    /// How many requests were spoiled.
    pub(crate) fn spoiled(&self) -> usize {
        self.spoiled.load(Ordering::Relaxed)
    }
}

impl Rule {
    /// One request for each connection: simple, and a client cannot tell.
    async fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        let accepted = Instant::now();
        let Some(message) = Message::read(&mut client).await? else { return Ok(()) };
        let request = message.closing();
        let fault = self.what.is(&message.head).then(|| self.take()).flatten();
        match fault {
            None => {
                let answer = self.forward(&request).await?;
                let written = client.write_all(&answer).await;
                let took = u64::try_from(accepted.elapsed().as_millis()).unwrap_or(u64::MAX);
                self.slowest.fetch_max(took, Ordering::Relaxed);
                written?;
            }
            Some(Fault::CutBefore) => {}
            Some(Fault::CutAfter) => drop(self.forward(&request).await?),
            Some(Fault::Truncated) => {
                let answer = self.forward(&request).await?;
                client
                    .write_all(&answer[..answer.len() - body_length(&answer).div_ceil(2)])
                    .await?;
            }
            Some(Fault::Stall) => self.hold().await,
            Some(Fault::Held) => {
                drop(self.forward(&request).await?);
                self.hold().await;
            }
            Some(Fault::Slow) => {
                let answer = self.forward(&request).await?;
                for byte in answer[..answer.len() - 1].chunks(1) {
                    client.write_all(byte).await?;
                    tokio::time::sleep(BYTE_PERIOD).await;
                }
                self.hold().await;
            }
            Some(Fault::Status(status)) => {
                let answer = format!(
                    "HTTP/1.1 {status} Spoiled\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
                client.write_all(answer.as_bytes()).await?;
            }
            Some(Fault::WrongEtag) => {
                let answer = with_other_etag(&self.forward(&request).await?);
                client.write_all(&answer).await?;
            }
            Some(Fault::Lie) => {
                let body = "<CompleteMultipartUploadResult><ETag>\"0\"</ETag></CompleteMultipartUploadResult>";
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nETag: \"0\"\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
                client.write_all(answer.as_bytes()).await?;
            }
        }
        client.shutdown().await
    }

    async fn hold(&self) {
        self.held.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }

    fn take(&self) -> Option<Fault> {
        let one_more = |spoiled: usize| (spoiled < self.times).then_some(spoiled + 1);
        let taken = self.spoiled.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        taken.ok().map(|_| self.fault)
    }

    async fn forward(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut store = TcpStream::connect(("127.0.0.1", self.upstream)).await?;
        store.write_all(request).await?;
        let mut answer = Vec::new();
        store.read_to_end(&mut answer).await?;
        Ok(answer)
    }
}

fn body_length(answer: &[u8]) -> usize {
    let end =
        answer.windows(4).position(|four| four == b"\r\n\r\n").map_or(answer.len(), |at| at + 4);
    answer.len() - end
}

fn with_other_etag(answer: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(answer);
    let lines = text.split_inclusive("\r\n").map(|line| {
        if line.to_ascii_lowercase().starts_with("etag:") {
            "ETag: \"00000000000000000000000000000000\"\r\n".to_owned()
        } else {
            line.to_owned()
        }
    });
    lines.collect::<String>().into_bytes()
}
