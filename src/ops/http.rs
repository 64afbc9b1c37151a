//! `/metrics`, `/livez` and `/readyz`: HTTP/1.1, GET only, nothing else.
//!
//! Whoever connects can cost no more than [`CONNECTIONS_MAX`] sockets for [`CONNECTION_LIMIT`]
//! each.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::debug;

use super::{Health, Monitor};
use crate::net::socket::{self, Options};

/// Connections that are served at the same time; further ones wait to be accepted.
const CONNECTIONS_MAX: usize = 32;

/// How long one connection may last, requests included.
const CONNECTION_LIMIT: Duration = Duration::from_secs(30);

/// How long the head of a request may take.
const HEAD_LIMIT: Duration = Duration::from_secs(5);

/// The head of a request beyond this is refused.
const HEAD_BYTES_MAX: usize = 16 * 1024;

const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const TEXT_TYPE: &str = "text/plain; charset=utf-8";

/// The address for `--http` cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("listen for HTTP on {address}")]
pub struct HttpError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// A bound listener that does not serve yet.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    pages: Arc<Pages>,
}

#[derive(Debug)]
struct Pages {
    registry: Registry,
    monitor: Monitor,
}

impl HttpServer {
    /// Binds the address. Must be called within a Tokio runtime.
    pub fn bind(
        address: SocketAddr,
        registry: Registry,
        monitor: Monitor,
    ) -> Result<Self, HttpError> {
        let listener = socket::listen(address, Options::LINK)
            .map_err(|source| HttpError { address, source })?;
        Ok(Self { listener, pages: Arc::new(Pages { registry, monitor }) })
    }

    /// Where it listens.
    pub fn local_address(&self) -> Option<SocketAddr> {
        self.listener.local_addr().ok()
    }

    /// Serves until it is dropped.
    pub async fn run(self) {
        let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            match self.listener.accept().await {
                Ok((stream, _)) => {
                    let pages = Arc::clone(&self.pages);
                    tokio::spawn(async move {
                        serve(stream, pages).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    // Out of descriptors, most likely: others must get a chance to close theirs.
                    debug!(%error, "accept an HTTP connection");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn serve(stream: TcpStream, pages: Arc<Pages>) {
    let service = service_fn(move |request| {
        let response = pages.answer(&request);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(HEAD_BYTES_MAX);
    let connection = server.serve_connection(TokioIo::new(stream), service);
    if let Ok(Err(error)) = timeout(CONNECTION_LIMIT, connection).await {
        debug!(%error, "HTTP connection");
    }
}

impl Pages {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return page(StatusCode::METHOD_NOT_ALLOWED, TEXT_TYPE, "GET only\n".into());
        }
        match request.uri().path() {
            "/metrics" => self.metrics(),
            "/livez" => health_page(self.monitor.liveness()),
            "/readyz" => health_page(self.monitor.readiness()),
            _ => page(StatusCode::NOT_FOUND, TEXT_TYPE, "/metrics /livez /readyz\n".into()),
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        let mut out = String::new();
        match text::encode(&mut out, &self.registry) {
            Ok(()) => page(StatusCode::OK, METRICS_TYPE, out),
            Err(error) => page(StatusCode::INTERNAL_SERVER_ERROR, TEXT_TYPE, format!("{error}\n")),
        }
    }
}

fn health_page(health: Health) -> Response<Full<Bytes>> {
    match health {
        Health::Good(text) => page(StatusCode::OK, TEXT_TYPE, format!("{text}\n")),
        Health::Bad(text) => page(StatusCode::SERVICE_UNAVAILABLE, TEXT_TYPE, format!("{text}\n")),
    }
}

fn page(status: StatusCode, content_type: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let value = hyper::header::HeaderValue::from_static(content_type);
    response.headers_mut().insert(CONTENT_TYPE, value);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::ops::metrics;

    fn served() -> SocketAddr {
        let monitor = Monitor::default();
        let registry = metrics::registry(&monitor);
        let server = HttpServer::bind(SocketAddr::from(([127, 0, 0, 1], 0)), registry, monitor);
        let server = server.expect("a free port");
        let address = server.local_address().expect("it is bound");
        tokio::spawn(server.run());
        address
    }

    async fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("read");
        answer
    }

    fn get(path: &str) -> String {
        format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    }

    #[tokio::test]
    async fn every_page_is_served_and_nothing_else() {
        let address = served();
        let metrics = ask(address, &get("/metrics")).await;
        assert!(metrics.starts_with("HTTP/1.1 200"), "{metrics}");
        assert!(metrics.contains("galera_sst_reconnects_total 0"), "{metrics}");
        assert!(ask(address, &get("/livez")).await.starts_with("HTTP/1.1 200"));
        assert!(ask(address, &get("/readyz")).await.starts_with("HTTP/1.1 503"));
        assert!(ask(address, &get("/")).await.starts_with("HTTP/1.1 404"));
        let post = get("/metrics").replace("GET", "POST");
        assert!(ask(address, &post).await.starts_with("HTTP/1.1 405"));
    }

    #[tokio::test]
    async fn garbage_and_oversized_heads_cost_the_connection_only() {
        let address = served();
        let long = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(HEAD_BYTES_MAX));
        assert!(!ask(address, &long).await.contains(" 200 "));
        assert!(!ask(address, "\0\0\0\0 garbage\r\n\r\n").await.contains(" 200 "));
        assert!(ask(address, &get("/livez")).await.contains(" 200 "));
    }
}
