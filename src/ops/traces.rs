//! Spans to an OpenTelemetry collector, where the usual variables name one: OTLP over HTTP, protobuf.
//!
//! Without `OTEL_EXPORTER_OTLP_ENDPOINT` or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT` nothing is started. What
//! cannot be exported is lost after a short wait, and never changes how a job ends.

use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tokio::runtime::Handle;
use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::registry::LookupSpan;

/// What collectors know us by, unless `OTEL_SERVICE_NAME` says otherwise.
const SERVICE: &str = "galera-sst";

/// Limit for one request to the collector.
const REQUEST_LIMIT: Duration = Duration::from_secs(10);

/// How long the end of a process may wait for the last spans.
const END_LIMIT: Duration = Duration::from_secs(5);

/// Of a collector's answer only its beginning is of use.
const ANSWER_BYTES_MAX: usize = 64 << 10;

/// Why the variables cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The collector shall be spoken to in another way than ours.
    #[error("OTEL_EXPORTER_OTLP_PROTOCOL is {0:?}; only http/protobuf is spoken here")]
    Protocol(String),
    /// There is no client for it.
    #[error("prepare requests to the collector")]
    Client(#[from] reqwest::Error),
    /// The other variables make no sense.
    #[error("read the OTEL variables: {0}")]
    Variables(String),
}

/// Sends spans as long as it is there.
#[derive(Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Begins to send spans if the environment asks for it. The runtime must have threads of its own.
    pub fn of_environment(runtime: &Handle) -> Result<Option<Self>, TracesError> {
        let variable = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let is = |name, value: &str| {
            variable(name).is_some_and(|found| found.eq_ignore_ascii_case(value))
        };
        let named = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
        let is_off = is("OTEL_SDK_DISABLED", "true") || is("OTEL_TRACES_EXPORTER", "none");
        if is_off || !named.into_iter().any(|name| variable(name).is_some()) {
            return Ok(None);
        }
        let protocol = variable("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL")
            .or_else(|| variable("OTEL_EXPORTER_OTLP_PROTOCOL"));
        if let Some(other) = protocol.filter(|name| name != "http/protobuf") {
            return Err(TracesError::Protocol(other));
        }
        Self::start(runtime, variable("OTEL_SERVICE_NAME").is_none()).map(Some)
    }

    fn start(runtime: &Handle, is_unnamed: bool) -> Result<Self, TracesError> {
        let client = Client {
            client: reqwest::Client::builder().timeout(REQUEST_LIMIT).build()?,
            runtime: runtime.clone(),
        };
        let exporter = SpanExporter::builder().with_http().with_http_client(client).build();
        let exporter = exporter.map_err(|error| TracesError::Variables(error.to_string()))?;
        let mut resource = Resource::builder();
        if is_unnamed {
            resource = resource.with_service_name(SERVICE);
        }
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            .with_resource(resource.build())
            .build();
        Ok(Self { provider })
    }

    /// Turns our spans into those of OpenTelemetry.
    pub fn layer<S>(&self) -> impl Layer<S> + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let tracer = self.provider.tracer(SERVICE);
        let ours = Targets::new().with_target("galera_sst", LevelFilter::INFO);
        tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours)
    }

    /// Sends what is left. Must not be called on the runtime.
    pub fn finish(self) {
        if let Err(error) = self.provider.shutdown_with_timeout(END_LIMIT) {
            tracing::debug!(%error, "the last spans are lost");
        }
    }
}

/// The exporter runs on a thread of its own, the client on the runtime.
#[derive(Debug)]
struct Client {
    client: reqwest::Client,
    runtime: Handle,
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sending = send(self.client.clone(), request);
        self.runtime.spawn(sending).await?
    }
}

async fn send(
    client: reqwest::Client,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, HttpError> {
    let mut answer = client.execute(request.try_into()?).await?;
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await? {
        if body.len() + piece.len() > ANSWER_BYTES_MAX {
            break;
        }
        body.extend_from_slice(&piece);
    }
    let mut response = Response::new(body.freeze());
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}
