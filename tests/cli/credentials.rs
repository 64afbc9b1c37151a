//! Credentials from wherever the clouds' users have them, with a small server of ours in the part of the
//! clouds: who asks shows up with the right ones, and no secret is ever logged.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use openssl::ssl::{SslAcceptor, SslFiletype, SslMethod};

/// Part of every secret.
const SECRET: &str = "hush";

/// What the server was asked: the head of each request.
type Heads = Arc<Mutex<Vec<String>>>;

const AWS_JSON: &str = r#"{"AccessKeyId": "AKIDGIVEN", "SecretAccessKey": "hushkey", "Token": "hushtoken",
    "Expiration": "2999-01-01T00:00:00Z", "Code": "Success"}"#;

const STS_XML: &str = "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>\
    <AccessKeyId>AKIDGIVEN</AccessKeyId><SecretAccessKey>hushkey</SecretAccessKey>\
    <SessionToken>hushtoken</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>\
    </AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>";

const TOKEN_JSON: &str = r#"{"access_token": "hushbearer", "token_type": "Bearer", "expires_in": 3600,
    "expires_on": "32503680000"}"#;

const NOTHING_STORED: &str =
    "<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>";

const NO_BLOBS: &str = "<EnumerationResults><Blobs></Blobs></EnumerationResults>";

/// A certificate for 127.0.0.1 that is its own authority, in a directory.
fn certify(directory: &Path) -> SslAcceptor {
    let file = |name: &str| directory.join(name);
    let made = Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "rsa:2048",
            "-nodes",
            "-days",
            "2",
            "-subj",
            "/CN=clouds",
        ])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .arg(file("key.pem"))
        .arg("-out")
        .arg(file("ca.pem"))
        .output()
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("an acceptor");
    acceptor.set_private_key_file(file("key.pem"), SslFiletype::PEM).expect("a key");
    acceptor.set_certificate_chain_file(file("ca.pem")).expect("a certificate");
    acceptor.build()
}

/// Answers for ever; gives its port.
fn clouds(tls: Option<SslAcceptor>) -> (u16, Heads) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let heads = Heads::default();
    let asked = Arc::clone(&heads);
    thread::spawn(move || {
        for client in listener.incoming() {
            // A client that hangs up is not ours to judge.
            let _ = client.and_then(|client| match &tls {
                None => serve(client, &asked),
                Some(tls) => tls.accept(client).map_or(Ok(()), |client| serve(client, &asked)),
            });
        }
    });
    (port, heads)
}

fn serve(mut client: impl Read + Write, asked: &Heads) -> std::io::Result<()> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    let head = loop {
        let read = client.read(&mut buffer)?;
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let lower = head.to_ascii_lowercase();
        let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
        if body.len() >= length.and_then(|text| text.trim().parse().ok()).unwrap_or(0) {
            break head.to_owned();
        }
    };
    let line = head.lines().next().unwrap_or_default();
    let body = match line {
        _ if line.contains("AssumeRoleWithWebIdentity") => STS_XML,
        _ if line.contains("/latest/api/token") => "hushimds",
        _ if line.contains("/security-credentials/role") => AWS_JSON,
        _ if line.contains("/security-credentials/") => "role",
        _ if line.contains("/container") => AWS_JSON,
        _ if line.contains("/computeMetadata/") || line.contains("oauth2") => TOKEN_JSON,
        _ if line.contains("comp=list") => NO_BLOBS,
        _ => NOTHING_STORED,
    };
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    write!(
        client,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    )
}

/// `list` with nothing in the environment but these variables, as talkative as it can be.
fn list(from: &str, home: &Path, url: &str, variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_galera-sst"));
    command.env_clear().env("HOME", home);
    command.args(["list", "--from", from, "--log", "trace", "--retry-timeout", "5"]);
    command.args(["--endpoint", url]);
    if url.starts_with("https:") {
        command.arg("--store-ca").arg(home.join("ca.pem"));
    }
    command.envs(variables.iter().copied()).output().expect("the program runs")
}

/// Lists a repository and gives the head of the last request, the one to the store.
fn ask(from: &str, variables: &[(&str, &str)]) -> String {
    let home = tempfile::tempdir().expect("a directory");
    // Who hands out keys for a token of somebody else's is asked inside TLS only.
    let is_tls = variables.iter().any(|(name, _)| *name == "AWS_ENDPOINT_URL_STS");
    let (port, heads) = clouds(is_tls.then(|| certify(home.path())));
    let url = format!("{}://127.0.0.1:{port}", if is_tls { "https" } else { "http" });
    fs::write(home.path().join("token"), "hushweb").expect("written");
    let profiles = "[default]\naws_access_key_id = AKIDOTHER\naws_secret_access_key = hushother\n\
                    [night]\naws_access_key_id = AKIDGIVEN\naws_secret_access_key = hushkey\n\
                    aws_session_token = hushtoken\n";
    fs::write(home.path().join("profiles"), profiles).expect("written");
    let directory = home.path().display().to_string();
    let filled: Vec<(&str, String)> = variables
        .iter()
        .map(|&(name, value)| {
            let host = url.trim_start_matches("http://");
            (name, value.replace("URL", &url).replace("HOST", host).replace("DIR", &directory))
        })
        .collect();
    let filled: Vec<(&str, &str)> =
        filled.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output = list(from, home.path(), &url, &filled);
    let said =
        String::from_utf8_lossy(&[output.stdout.as_slice(), &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{variables:?}: {said}");
    for line in said.lines() {
        assert!(!line.contains(SECRET), "{variables:?} is logged: {line}");
    }
    assert!(said.contains("TRACE"), "nothing was logged");
    let heads = heads.lock().unwrap_or_else(PoisonError::into_inner);
    heads.last().expect("the store was asked").clone()
}

fn assert_signed(head: &str) {
    let lower = head.to_ascii_lowercase();
    assert!(head.contains("Credential=AKIDGIVEN/"), "{head}");
    assert!(lower.contains("x-amz-security-token: hushtoken"), "{head}");
    assert!(!head.contains("hushkey"), "{head}");
}

#[test]
fn amazons_users_are_recognised_wherever_their_credentials_are() {
    for variables in [
        &[
            ("AWS_ACCESS_KEY_ID", "AKIDGIVEN"),
            ("AWS_SECRET_ACCESS_KEY", "hushkey"),
            ("AWS_SESSION_TOKEN", "hushtoken"),
        ][..],
        &[("AWS_SHARED_CREDENTIALS_FILE", "DIR/profiles"), ("AWS_PROFILE", "night")],
        &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "URL/container"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "DIR/token"),
        ],
        &[
            ("AWS_WEB_IDENTITY_TOKEN_FILE", "DIR/token"),
            ("AWS_ROLE_ARN", "arn:aws:iam::1:role/backup"),
            ("AWS_ENDPOINT_URL_STS", "URL"),
        ],
        &[("AWS_METADATA_ENDPOINT", "URL")],
    ] {
        assert_signed(&ask("s3://bucket/pxc", variables));
    }
}

#[test]
fn googles_and_azures_users_are_recognised_by_the_metadata_of_their_machines_and_by_tokens() {
    let account = ("AZURE_STORAGE_ACCOUNT_NAME", "account");
    for (from, variables) in [
        ("gs://bucket/pxc", &[("GCE_METADATA_HOST", "HOST")][..]),
        ("az://blobs/pxc", &[account, ("IDENTITY_ENDPOINT", "URL/oauth2/token")]),
        (
            "az://blobs/pxc",
            &[
                account,
                ("AZURE_FEDERATED_TOKEN_FILE", "DIR/token"),
                ("AZURE_CLIENT_ID", "client"),
                ("AZURE_TENANT_ID", "tenant"),
                ("AZURE_AUTHORITY_HOST", "URL"),
            ],
        ),
        (
            "az://blobs/pxc",
            &[
                account,
                ("AZURE_CLIENT_ID", "client"),
                ("AZURE_CLIENT_SECRET", "hushclient"),
                ("AZURE_TENANT_ID", "tenant"),
                ("AZURE_AUTHORITY_HOST", "URL"),
            ],
        ),
    ] {
        let head = ask(from, variables);
        let lower = head.to_ascii_lowercase();
        assert!(lower.contains("authorization: bearer hushbearer"), "{variables:?}: {head}");
    }
}
