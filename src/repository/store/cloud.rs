//! Connections to object stores, with the credentials that their own tools would use.
//!
//! | store | credentials, the first that is there |
//! |---|---|
//! | S3 | `AWS_ACCESS_KEY_ID` and its sisters; web identity (`AWS_WEB_IDENTITY_TOKEN_FILE`); the container's (`AWS_CONTAINER_CREDENTIALS_…`); `~/.aws/credentials`, profile `AWS_PROFILE`; instance metadata |
//! | Google | `GOOGLE_SERVICE_ACCOUNT(_KEY)`, `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's own file, instance metadata |
//! | Azure | `AZURE_STORAGE_ACCOUNT_KEY`, a shared access signature, a client secret, a federated token, managed identity |
//!
//! None of them is ever an argument of the command, and no error or log shows one.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::HttpConnector;
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Certificate, ClientOptions, Error, ObjectStore, Result, RetryConfig};

use super::contact::Connector;
use super::profile::Profile;
use super::uploads::{Identity, Uploads};
use crate::repository::url::{Cloud, CloudKind};
use crate::throttle::Limit;

/// How to reach an object store; what is not given here comes from the environment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreOptions {
    /// URL of the service, for stores of one's own.
    pub endpoint: Option<String>,
    /// Region of the bucket.
    pub region: Option<String>,
    /// Where the bucket's name stands in S3's URLs.
    pub addressing: Addressing,
    /// Certificates to trust besides the system's, in PEM.
    pub ca_file: Option<PathBuf>,
    /// Limit for one request; a part that does not get through in this time is sent again.
    pub request_limit: Duration,
    /// How long a request is tried again where the store does not answer or is busy.
    pub retry_limit: Duration,
    /// How often a request is repeated within that time.
    pub retries_max: usize,
    /// Limit for the bytes of uploads; those that share it are slow together.
    pub upload_limit: Option<Limit>,
    /// Where credentials and further settings are looked for.
    pub environment: Environment,
}

/// Variables by name; among them are secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// The environment of this process.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// A variable's value.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Those that begin with a prefix, in lower case, as builders of clients know them.
    fn settings(&self, prefix: &str) -> impl Iterator<Item = (String, &str)> {
        let ours = self.0.iter().filter(move |(name, _)| name.starts_with(prefix));
        ours.map(|(name, value)| (name.to_ascii_lowercase(), value.as_str()))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} variables", self.0.len())
    }
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            addressing: Addressing::default(),
            ca_file: None,
            request_limit: Duration::from_secs(30),
            retry_limit: Duration::from_secs(120),
            retries_max: RETRIES_MAX,
            upload_limit: None,
            environment: Environment::of_process(),
        }
    }
}

/// Where the bucket's name stands in S3's URLs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Addressing {
    /// In the host's name at Amazon, in the path elsewhere.
    #[default]
    Auto,
    /// In the path.
    Path,
    /// In the host's name.
    Virtual,
}

/// Limit for a connection.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);

/// Requests are repeated until the time limit; this only keeps a fast refusal from going on for ever.
const RETRIES_MAX: usize = 60;

/// An opened object store.
pub(super) struct Connected {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) uploads: Option<Uploads>,
}

/// Opens an object store. No request is made yet.
pub(super) fn connect(cloud: &Cloud, options: &StoreOptions) -> Result<Connected> {
    let (objects, uploads) = match cloud.kind {
        CloudKind::S3 => s3(cloud, options)?,
        CloudKind::Google => google(cloud, options)?,
        CloudKind::Azure => (azure(cloud, options)?, None),
    };
    let objects: Arc<dyn ObjectStore> = if cloud.prefix.is_empty() {
        objects
    } else {
        Arc::new(PrefixStore::new(objects, Path::parse(&cloud.prefix)?))
    };
    Ok(Connected { objects, uploads })
}

fn s3(cloud: &Cloud, options: &StoreOptions) -> Result<(Arc<dyn ObjectStore>, Option<Uploads>)> {
    let environment = &options.environment;
    let mut builder = AmazonS3Builder::new().with_bucket_name(&cloud.bucket);
    for (name, value) in environment.settings("AWS_") {
        if let Ok(key) = name.parse() {
            builder = builder.with_config(key, value);
        }
    }
    let profile = Profile::read(environment);
    let is_set = |name: &str| environment.get(name).is_some();
    let has_better = is_set("AWS_ACCESS_KEY_ID")
        || is_set("AWS_WEB_IDENTITY_TOKEN_FILE")
        || is_set("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI")
        || is_set("AWS_CONTAINER_CREDENTIALS_FULL_URI");
    if let (false, Some(key_id), Some(secret)) = (has_better, &profile.key_id, &profile.secret_key)
    {
        builder = builder.with_access_key_id(key_id).with_secret_access_key(secret);
        if let Some(token) = &profile.token {
            builder = builder.with_token(token);
        }
    }
    let region = options
        .region
        .clone()
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::Region))
        .or_else(|| builder.get_config_value(&AmazonS3ConfigKey::DefaultRegion))
        .or(profile.region)
        .unwrap_or_else(|| "us-east-1".to_owned());
    let service = S3Service::new(cloud, options, &region);
    let client_options = client_options(options, &service.bucket_url)?;
    let store = builder
        .with_region(&region)
        .with_endpoint(&service.endpoint)
        .with_virtual_hosted_style_request(service.is_virtual)
        .with_allow_http(service.bucket_url.starts_with("http://"))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_client_options(client_options.clone())
        .with_http_connector(Connector::default())
        .with_retry(retry(options))
        .build()?;
    let credentials = Arc::clone(store.credentials());
    let uploads = Uploads {
        client: Connector::default().connect(&client_options)?,
        bucket_url: service.bucket_url,
        prefix: slashed(&cloud.prefix),
        identity: Identity::Aws { credentials, region },
    };
    Ok((Arc::new(store), Some(uploads)))
}

/// Where a bucket of S3 is.
struct S3Service {
    endpoint: String,
    bucket_url: String,
    is_virtual: bool,
}

impl S3Service {
    fn new(cloud: &Cloud, options: &StoreOptions, region: &str) -> Self {
        let named = options.endpoint.clone().or_else(|| {
            ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"]
                .iter()
                .find_map(|name| options.environment.get(name).map(str::to_owned))
        });
        let is_amazon = named.is_none();
        let service = named.unwrap_or_else(|| format!("https://s3.{region}.amazonaws.com"));
        let service = service.trim_end_matches('/').to_owned();
        let is_virtual = match options.addressing {
            // A name with dots matches no certificate of `*.s3.…`.
            Addressing::Auto => is_amazon && !cloud.bucket.contains('.'),
            Addressing::Path => false,
            Addressing::Virtual => true,
        };
        let bucket = &cloud.bucket;
        match service.split_once("://").filter(|_| is_virtual) {
            Some((scheme, host)) => {
                let endpoint = format!("{scheme}://{bucket}.{host}");
                Self { bucket_url: endpoint.clone(), endpoint, is_virtual }
            }
            None => {
                let bucket_url = format!("{service}/{bucket}");
                Self { endpoint: service, bucket_url, is_virtual: false }
            }
        }
    }
}

fn google(
    cloud: &Cloud,
    options: &StoreOptions,
) -> Result<(Arc<dyn ObjectStore>, Option<Uploads>)> {
    let environment = &options.environment;
    let mut builder = GoogleCloudStorageBuilder::new().with_bucket_name(&cloud.bucket);
    for (name, value) in environment.settings("GOOGLE_") {
        if let Ok(key) = name.parse() {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_base_url(endpoint);
    }
    let service = builder
        .get_config_value(&GoogleConfigKey::BaseUrl)
        .unwrap_or_else(|| "https://storage.googleapis.com".to_owned());
    let service = service.trim_end_matches('/').to_owned();
    let is_nobody = builder
        .get_config_value(&GoogleConfigKey::SkipSignature)
        .is_some_and(|value| value == "true");
    let client_options = client_options(options, &service)?;
    let store = builder
        .with_client_options(client_options.clone())
        .with_http_connector(Connector::default())
        .with_retry(retry(options))
        .build()?;
    let identity = if is_nobody {
        Identity::Nobody
    } else {
        Identity::Google { credentials: Arc::clone(store.credentials()) }
    };
    let uploads = Uploads {
        client: Connector::default().connect(&client_options)?,
        bucket_url: format!("{service}/{}", cloud.bucket),
        prefix: slashed(&cloud.prefix),
        identity,
    };
    Ok((Arc::new(store), Some(uploads)))
}

fn azure(cloud: &Cloud, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    let mut builder = MicrosoftAzureBuilder::new().with_container_name(&cloud.bucket);
    for (name, value) in options.environment.settings("AZURE_") {
        if let Ok(key) = name.parse() {
            builder = builder.with_config(key, value);
        }
    }
    if let Some(endpoint) = options.environment.get("IDENTITY_ENDPOINT") {
        builder = builder.with_msi_endpoint(endpoint);
    }
    if let Some(endpoint) = &options.endpoint {
        builder = builder.with_endpoint(endpoint.trim_end_matches('/').to_owned());
    }
    let named = ["AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"];
    let named = named.iter().find_map(|name| options.environment.get(name));
    let service = options.endpoint.as_deref().or(named).unwrap_or("https://");
    let client_options = client_options(options, service)?;
    let is_plain = service.starts_with("http://");
    let store = builder
        .with_client_options(client_options)
        .with_http_connector(Connector::default())
        .with_allow_http(is_plain)
        .with_retry(retry(options))
        .build()?;
    Ok(Arc::new(store))
}

fn client_options(options: &StoreOptions, service: &str) -> Result<ClientOptions> {
    let mut client = ClientOptions::new()
        .with_timeout(options.request_limit)
        .with_connect_timeout(CONNECT_LIMIT)
        .with_allow_http(service.starts_with("http://"));
    let bundle = options.environment.get("AWS_CA_BUNDLE").map(PathBuf::from);
    if let Some(file) = options.ca_file.clone().or(bundle) {
        let pem = std::fs::read(&file).map_err(|source| unreadable(&file, source))?;
        for certificate in Certificate::from_pem_bundle(&pem)? {
            client = client.with_root_certificate(certificate);
        }
    }
    Ok(client)
}

fn unreadable(file: &std::path::Path, source: std::io::Error) -> Error {
    let text = format!("read certificates in {}: {source}", file.display());
    Error::Generic { store: "certificates", source: text.into() }
}

fn retry(options: &StoreOptions) -> RetryConfig {
    RetryConfig {
        max_retries: options.retries_max,
        retry_timeout: options.retry_limit,
        ..RetryConfig::default()
    }
}

fn slashed(prefix: &str) -> String {
    if prefix.is_empty() { String::new() } else { format!("{prefix}/") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(bucket: &str, endpoint: Option<&str>, addressing: Addressing) -> String {
        let cloud = Cloud { kind: CloudKind::S3, bucket: bucket.to_owned(), prefix: String::new() };
        let endpoint = endpoint.map(str::to_owned);
        let options = StoreOptions { endpoint, addressing, ..StoreOptions::default() };
        S3Service::new(&cloud, &options, "eu-west-1").bucket_url
    }

    #[test]
    fn a_bucket_is_addressed_as_its_service_wants_it() {
        let own = Some("http://seaweed:8333/");
        assert_eq!(service("b", own, Addressing::Auto), "http://seaweed:8333/b");
        assert_eq!(service("b", own, Addressing::Virtual), "http://b.seaweed:8333");
        let amazon = Some("https://s3.eu-west-1.amazonaws.com");
        assert_eq!(service("b", amazon, Addressing::Path), "https://s3.eu-west-1.amazonaws.com/b");
    }
}
