//! Object stores as child processes: SeaweedFS as S3, Azurite as Azure. One of each serves all tests,
//! every test in a bucket of its own, and they die with the test's process.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use std::{fs, thread};

use object_store::ClientOptions;
use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpConnector as _, HttpRequestBody, ReqwestConnector};

use galera_sst::repository::{Environment, RepositoryUrl, StoreOptions};

const START_LIMIT: Duration = Duration::from_secs(60);

pub(crate) const ACCESS_KEY: &str = "seaweedkey";
pub(crate) const SECRET_KEY: &str = "seaweedsecret";

/// Azurite's documented account, which is no secret.
pub(crate) const AZURE_ACCOUNT: &str = "devstoreaccount1";
pub(crate) const AZURE_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// A directory with what `scripts/install-deps` put there.
fn tools() -> PathBuf {
    let chosen = std::env::var_os("GALERA_SST_TEST_TOOLS").map(PathBuf::from);
    chosen.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-tools"))
}

/// Ports that nobody listens on now.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("bound").port())
}

/// Starts a server that dies with this process, and waits until it listens.
fn start(program: PathBuf, arguments: Vec<String>, directory: &Path, port: u16) {
    let log = fs::File::create(directory.join("log")).expect("log");
    let (told, started) = std::sync::mpsc::channel();
    // The signal of a parent's death is that of its thread.
    thread::spawn(move || {
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL"]).arg(&program).args(arguments);
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("log")).stderr(log);
        let child = command.spawn();
        told.send(child.is_ok()).expect("somebody waits");
        loop {
            thread::park();
        }
    });
    assert!(started.recv().expect("an answer"), "start a server; see scripts/install-deps");
    let deadline = Instant::now() + START_LIMIT;
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < deadline, "{}", log_of(directory));
        thread::sleep(Duration::from_millis(20));
    }
}

fn log_of(directory: &Path) -> String {
    fs::read_to_string(directory.join("log")).unwrap_or_default()
}

/// Where a server keeps its data: below the target directory, unless a variable says otherwise.
fn directory() -> PathBuf {
    // Removed with the target directory, not by the test: the server outlives every test.
    let parent = std::env::var_os("GALERA_SST_TEST_STORES");
    let parent = parent.unwrap_or_else(|| env!("CARGO_TARGET_TMPDIR").into());
    let directory = tempfile::Builder::new().prefix("objects-").tempdir_in(parent);
    directory.expect("temporary directory").keep()
}

/// The port of SeaweedFS's S3 gateway.
pub(crate) fn seaweed() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let [s3, s3_grpc, master, master_grpc, volume, volume_grpc, filer, filer_grpc] =
            free_ports();
        let directory = directory();
        let config = serde_json::json!({ "identities": [{
            "name": "tests",
            "credentials": [{ "accessKey": ACCESS_KEY, "secretKey": SECRET_KEY }],
            "actions": ["Admin", "Read", "Write", "List", "Tagging"],
        }]});
        fs::write(directory.join("s3.json"), config.to_string()).expect("written");
        let text = |value: &dyn std::fmt::Display| value.to_string();
        let arguments = vec![
            text(&"server"),
            format!("-dir={}", directory.display()),
            text(&"-ip=127.0.0.1"),
            text(&"-ip.bind=127.0.0.1"),
            format!("-master.port={master}"),
            format!("-master.port.grpc={master_grpc}"),
            format!("-volume.port={volume}"),
            format!("-volume.port.grpc={volume_grpc}"),
            text(&"-filer"),
            format!("-filer.port={filer}"),
            format!("-filer.port.grpc={filer_grpc}"),
            text(&"-s3"),
            format!("-s3.port={s3}"),
            format!("-s3.port.grpc={s3_grpc}"),
            text(&"-s3.port.iceberg=0"),
            text(&"-s3.port.lance=0"),
            format!("-s3.config={}/s3.json", directory.display()),
            text(&"-volume.max=400"),
            text(&"-master.volumeSizeLimitMB=64"),
        ];
        start(tools().join("seaweed/bin/weed"), arguments, &directory, s3);
        wait_for_seaweed(s3);
        s3
    })
}

/// It listens before it can store.
fn wait_for_seaweed(port: u16) {
    let deadline = Instant::now() + START_LIMIT;
    while !rclone(port, &["mkdir", "s3:ready"]).status.success() {
        assert!(Instant::now() < deadline, "SeaweedFS stores nothing");
        thread::sleep(Duration::from_millis(100));
    }
}

/// A client that is not ours.
pub(crate) fn rclone(port: u16, arguments: &[&str]) -> std::process::Output {
    Command::new("rclone")
        .args(["--config", "/dev/null", "--retries", "1", "--low-level-retries", "1"])
        .args(arguments)
        .env_remove("AWS_CA_BUNDLE")
        .env("RCLONE_CONFIG_S3_TYPE", "s3")
        .env("RCLONE_CONFIG_S3_PROVIDER", "Other")
        .env("RCLONE_CONFIG_S3_ENDPOINT", format!("http://127.0.0.1:{port}"))
        .env("RCLONE_CONFIG_S3_ACCESS_KEY_ID", ACCESS_KEY)
        .env("RCLONE_CONFIG_S3_SECRET_ACCESS_KEY", SECRET_KEY)
        .output()
        .expect("rclone runs; see scripts/install-deps")
}

/// The port of Azurite's blob service.
fn azurite() -> u16 {
    static PORT: OnceLock<u16> = OnceLock::new();
    *PORT.get_or_init(|| {
        let [port] = free_ports();
        let directory = directory();
        let arguments = vec![
            format!("--blobPort={port}"),
            format!("--location={}", directory.display()),
            "--silent".to_owned(),
            "--skipApiVersionCheck".to_owned(),
        ];
        start(tools().join("azurite/node_modules/.bin/azurite-blob"), arguments, &directory, port);
        port
    })
}

/// A repository for one test.
pub(crate) struct Place {
    pub(crate) url: RepositoryUrl,
    pub(crate) options: StoreOptions,
}

fn place(url: &str, endpoint: String, variables: &[(&str, &str)]) -> Place {
    let own = |&(name, value): &(&str, &str)| (name.to_owned(), value.to_owned());
    Place {
        url: RepositoryUrl::parse(url).expect("valid"),
        options: StoreOptions {
            endpoint: Some(endpoint),
            request_limit: Duration::from_secs(10),
            retry_limit: Duration::from_secs(20),
            environment: variables.iter().map(own).collect::<Environment>(),
            ..StoreOptions::default()
        },
    }
}

/// In S3, through whatever listens at this port.
pub(crate) fn s3_at(port: u16, bucket: &str, prefix: &str) -> Place {
    let endpoint = format!("http://127.0.0.1:{port}");
    let variables = [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY)];
    place(&format!("s3://{bucket}/{prefix}"), endpoint, &variables)
}

/// In S3, in a fresh bucket.
pub(crate) fn s3(bucket: &str) -> Place {
    let port = seaweed();
    assert!(rclone(port, &["mkdir", &format!("s3:{bucket}")]).status.success());
    s3_at(port, bucket, "a/b")
}

/// In Azure, in a fresh container.
pub(crate) async fn azure(container: &str) -> Place {
    let port = azurite();
    let endpoint = format!("http://127.0.0.1:{port}/{AZURE_ACCOUNT}");
    make_container(&endpoint, container).await;
    let variables =
        [("AZURE_STORAGE_ACCOUNT_NAME", AZURE_ACCOUNT), ("AZURE_STORAGE_ACCOUNT_KEY", AZURE_KEY)];
    place(&format!("az://{container}/a/b"), endpoint, &variables)
}

/// What no object store's client does: makes a container.
async fn make_container(endpoint: &str, container: &str) {
    let key = AzureAccessKey::try_new(AZURE_KEY).expect("valid key");
    let credential = AzureCredential::AccessKey(key);
    let uri = format!("{endpoint}/{container}?restype=container");
    let request = http::Request::builder().method("PUT").uri(uri).header("content-length", "0");
    let mut request = request.body(HttpRequestBody::empty()).expect("valid");
    AzureAuthorizer::new(&credential, AZURE_ACCOUNT).try_authorize(&mut request).expect("signs");
    let options = ClientOptions::new().with_allow_http(true);
    let client = ReqwestConnector::default().connect(&options).expect("client");
    let made = client.execute(request).await.expect("Azurite answers");
    // Another test of this process may have made it.
    let is_there = made.status().is_success() || made.status() == http::StatusCode::CONFLICT;
    assert!(is_there, "{}", made.status());
}

/// In Google's store, as the small server at this port plays it.
pub(crate) fn google_at(port: u16, bucket: &str) -> Place {
    let endpoint = format!("http://127.0.0.1:{port}");
    place(&format!("gs://{bucket}/a/b"), endpoint, &[("GOOGLE_BEARER_TOKEN", "t0ken")])
}
