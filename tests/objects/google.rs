//! A server that answers the documented XML calls of Google Cloud Storage which the client makes.
//! Objects are kept in memory; uploads count until they are completed or aborted.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::message::Message;

/// A running server.
pub(crate) struct Google {
    address: SocketAddr,
    bucket: Arc<Mutex<Bucket>>,
    _tasks: JoinSet<()>,
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<String, (String, BTreeMap<u32, Vec<u8>>)>,
    next: u64,
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    message: Message,
}

struct Answer {
    status: u16,
    headers: String,
    body: Vec<u8>,
}

impl Google {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let bucket = Arc::new(Mutex::new(Bucket::default()));
        let mut tasks = JoinSet::new();
        let served = Arc::clone(&bucket);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let served = Arc::clone(&served);
                connections.spawn(async move { drop(serve(client, &served).await) });
            }
        });
        Self { address, bucket, _tasks: tasks }
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn unfinished_uploads(&self) -> usize {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).uploads.len()
    }
}

async fn serve(mut client: TcpStream, bucket: &Mutex<Bucket>) -> io::Result<()> {
    let Some(request) = read(&mut client).await? else { return Ok(()) };
    let is_head = request.method == "HEAD";
    let answer = bucket.lock().unwrap_or_else(PoisonError::into_inner).answer(&request);
    let Answer { status, headers, body } = answer;
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
    );
    client.write_all(head.as_bytes()).await?;
    if !is_head {
        client.write_all(&body).await?;
    }
    client.shutdown().await
}

async fn read(client: &mut TcpStream) -> io::Result<Option<Request>> {
    let Some(message) = Message::read(client).await? else { return Ok(None) };
    let line = message.head.lines().next().unwrap_or_default().to_owned();
    let mut words = line.split(' ');
    let method = words.next().unwrap_or_default().to_owned();
    let target = words.next().unwrap_or_default();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    // The first component is the bucket.
    let path = decode(path.trim_start_matches('/').split_once('/').unwrap_or_default().1);
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    };
    let query = query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect();
    Ok(Some(Request { method, path, query, message }))
}

fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let hex = (byte == b'%').then(|| after.get(..2)).flatten();
        let code = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        (rest, _) = code.map_or((after, ()), |_| (&after[2..], ()));
        bytes.push(code.unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

const STAMPS: &str =
    "ETag: \"e\"\r\nx-goog-generation: 1\r\nLast-Modified: Sat, 31 Jan 2026 00:00:00 GMT\r\n";

fn empty(status: u16) -> Answer {
    Answer { status, headers: STAMPS.to_owned(), body: Vec::new() }
}

fn xml(body: String) -> Answer {
    Answer { status: 200, headers: STAMPS.to_owned(), body: body.into_bytes() }
}

impl Bucket {
    fn answer(&mut self, request: &Request) -> Answer {
        let query = |name: &str| request.query.get(name).cloned();
        match (request.method.as_str(), query("uploadId"), query("uploads")) {
            ("POST", None, Some(_)) => self.begin(request),
            ("POST", Some(id), _) => self.complete(&id),
            ("PUT", Some(id), _) => self.part(&id, request),
            ("DELETE", Some(id), _) => {
                empty(if self.uploads.remove(&id).is_some() { 204 } else { 404 })
            }
            ("GET", None, Some(_)) => self.list_uploads(&query("prefix").unwrap_or_default()),
            ("GET", ..) if request.path.is_empty() => self.list(request),
            ("GET" | "HEAD", ..) => self.get(request),
            ("PUT", ..) => self.put(request),
            ("DELETE", ..) => {
                empty(if self.objects.remove(&request.path).is_some() { 204 } else { 404 })
            }
            _ => empty(400),
        }
    }

    fn begin(&mut self, request: &Request) -> Answer {
        self.next += 1;
        let id = format!("upload-{}", self.next);
        self.uploads.insert(id.clone(), (request.path.clone(), BTreeMap::new()));
        xml(format!(
            "<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>"
        ))
    }

    fn part(&mut self, id: &str, request: &Request) -> Answer {
        let number = request.query.get("partNumber").and_then(|text| text.parse().ok());
        match (self.uploads.get_mut(id), number) {
            (Some((_, parts)), Some(number)) => {
                parts.insert(number, request.message.body().to_vec());
                empty(200)
            }
            _ => empty(404),
        }
    }

    fn complete(&mut self, id: &str) -> Answer {
        let Some((path, parts)) = self.uploads.remove(id) else { return empty(404) };
        self.objects.insert(path, parts.into_values().collect::<Vec<_>>().concat());
        xml("<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>"
            .to_owned())
    }

    fn put(&mut self, request: &Request) -> Answer {
        let create = request.message.header("x-goog-if-generation-match") == Some("0");
        if create && self.objects.contains_key(&request.path) {
            return empty(412);
        }
        self.objects.insert(request.path.clone(), request.message.body().to_vec());
        empty(200)
    }

    fn get(&self, request: &Request) -> Answer {
        let Some(object) = self.objects.get(&request.path) else { return empty(404) };
        let range = request.message.header("range").and_then(|range| {
            let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?))
        });
        match range {
            Some((from, to)) => {
                let (to, size) = (to.min(object.len() - 1), object.len());
                let headers = format!("{STAMPS}Content-Range: bytes {from}-{to}/{size}\r\n");
                Answer { status: 206, headers, body: object[from..=to].to_vec() }
            }
            None => Answer { body: object.clone(), ..empty(200) },
        }
    }

    fn list(&self, request: &Request) -> Answer {
        let prefix = request.query.get("prefix").cloned().unwrap_or_default();
        let delimiter = request.query.get("delimiter").filter(|text| !text.is_empty());
        let (mut contents, mut prefixes) = (String::new(), std::collections::BTreeSet::new());
        for (name, object) in self.objects.range(prefix.clone()..) {
            let Some(rest) = name.strip_prefix(&prefix) else { break };
            if let Some((first, _)) = delimiter.and_then(|by| rest.split_once(by.as_str())) {
                prefixes.insert(format!("{prefix}{first}/"));
                continue;
            }
            contents.push_str(&format!(
                "<Contents><Key>{name}</Key><Size>{}</Size><ETag>\"e\"</ETag>\
                 <LastModified>2026-01-31T00:00:00.000Z</LastModified></Contents>",
                object.len()
            ));
        }
        let prefixes: String = prefixes
            .iter()
            .map(|prefix| format!("<CommonPrefixes><Prefix>{prefix}</Prefix></CommonPrefixes>"))
            .collect();
        xml(format!("<ListBucketResult>{contents}{prefixes}</ListBucketResult>"))
    }

    fn list_uploads(&self, prefix: &str) -> Answer {
        let ours = self.uploads.iter().filter(|(_, (path, _))| path.starts_with(prefix));
        let uploads: String = ours
            .map(|(id, (path, _))| {
                format!("<Upload><Key>{path}</Key><UploadId>{id}</UploadId></Upload>")
            })
            .collect();
        xml(format!(
            "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>{uploads}</ListMultipartUploadsResult>"
        ))
    }
}
