//! An S3 that keeps no data: of large objects it remembers the size, small ones it keeps, for the client
//! reads its manifest back. For memory: what is measured is the client alone.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Larger objects are only counted.
const KEPT_BYTES_MAX: usize = 1 << 20;

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, (u64, Bytes)>,
    upload_bytes: BTreeMap<String, u64>,
}

type Shared = Arc<Mutex<Bucket>>;

/// Starts one; gives its port.
pub(crate) async fn start() -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    let bucket = Shared::default();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let bucket = Arc::clone(&bucket);
            let service = service_fn(move |request| answer(Arc::clone(&bucket), request));
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(client), service));
        }
    });
    Ok(port)
}

async fn answer(
    bucket: Shared,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let (bytes, beginning) = count(body).await;
    let query = head.uri.query().unwrap_or_default().to_owned();
    let name = head.uri.path().to_owned();
    let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
    let is_upload = query.contains("uploadId=");
    Ok(match head.method {
        Method::POST if is_upload => {
            let size = bucket.upload_bytes.remove(&name).unwrap_or(0);
            bucket.objects.insert(name, (size, Bytes::new()));
            xml("<CompleteMultipartUploadResult><ETag>\"e\"</ETag></CompleteMultipartUploadResult>")
        }
        Method::POST => {
            bucket.upload_bytes.insert(name, 0);
            xml(
                "<InitiateMultipartUploadResult><UploadId>u</UploadId></InitiateMultipartUploadResult>",
            )
        }
        Method::PUT if is_upload => {
            *bucket.upload_bytes.entry(name).or_default() += bytes;
            with(StatusCode::OK, Bytes::new())
        }
        Method::PUT => {
            bucket.objects.insert(name, (bytes, beginning));
            with(StatusCode::OK, Bytes::new())
        }
        Method::DELETE => {
            bucket.objects.remove(&name);
            with(StatusCode::NO_CONTENT, Bytes::new())
        }
        Method::GET if query.contains("uploads") => {
            xml("<ListMultipartUploadsResult></ListMultipartUploadsResult>")
        }
        Method::GET if query.contains("list-type") => {
            xml("<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>")
        }
        _ => match bucket.objects.get(&name) {
            Some((size, content)) => stored(&head.method, *size, content.clone()),
            None => with(StatusCode::NOT_FOUND, Bytes::new()),
        },
    })
}

/// The length of a body, and all of it if it is short.
async fn count(mut body: Incoming) -> (u64, Bytes) {
    let (mut bytes, mut kept) = (0, Vec::new());
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        bytes += data.len() as u64;
        if kept.len() + data.len() <= KEPT_BYTES_MAX {
            kept.extend_from_slice(&data);
        }
    }
    (bytes, kept.into())
}

fn stored(method: &Method, size: u64, content: Bytes) -> Response<Full<Bytes>> {
    if method == Method::HEAD {
        let mut response = with(StatusCode::OK, Bytes::new());
        response.headers_mut().insert("content-length", size.into());
        return response;
    }
    with(StatusCode::OK, content)
}

fn xml(text: &'static str) -> Response<Full<Bytes>> {
    with(StatusCode::OK, Bytes::from_static(text.as_bytes()))
}

fn with(status: StatusCode, body: Bytes) -> Response<Full<Bytes>> {
    let response = Response::builder()
        .status(status)
        .header("etag", "\"e\"")
        .header("last-modified", "Sat, 31 Jan 2026 00:00:00 GMT")
        .body(Full::new(body));
    response.unwrap_or_default()
}
