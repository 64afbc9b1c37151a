//! How a job ended, told to real services.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use galera_sst::outcome::{Announce, Hook, Outcome, announce};

/// A Pushgateway that ends with the test.
struct Pushgateway {
    process: Child,
    port: u16,
}

impl Pushgateway {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let process = Command::new("prometheus-pushgateway")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("prometheus-pushgateway runs; scripts/install-deps installs it");
        let gateway = Self { process, port };
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < deadline, "the Pushgateway does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        gateway
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("connected");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("asked");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("answered");
        text
    }
}

impl Drop for Pushgateway {
    fn drop(&mut self) {
        let ended = self.process.kill().and_then(|()| self.process.wait());
        ended.expect("the Pushgateway ended");
    }
}

fn success() -> Outcome {
    Outcome { group: "a/b".into(), stored_bytes: 42, ended: 1_700_000_000, ..Outcome::default() }
}

#[tokio::test]
async fn a_pushgateway_keeps_the_last_success_beside_a_failure() {
    let gateway = Pushgateway::start();
    let to = Announce { pushgateway: Some(gateway.url()), ..Announce::default() };
    assert_eq!(announce(&success(), &to).await, Vec::<String>::new());
    let failure = Outcome { exit_code: 74, ended: 1_700_000_100, ..success() };
    assert_eq!(announce(&failure, &to).await, Vec::<String>::new());
    let metrics = gateway.metrics();
    let has = |name: &str, value: &str| {
        metrics.lines().any(|line| {
            line.starts_with(name) && line.contains("group=\"a/b\"") && line.ends_with(value)
        })
    };
    assert!(has("galera_sst_backup_last_success_timestamp_seconds{", " 1.7e+09"), "{metrics}");
    assert!(has("galera_sst_backup_stored_bytes{", " 42"), "{metrics}");
    assert!(
        has("galera_sst_backup_last_failure_timestamp_seconds{", " 1.7000001e+09"),
        "{metrics}"
    );
}

#[tokio::test]
async fn a_heart_beats_only_after_success() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/beat", listener.local_addr().expect("bound"));
    let heard = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a beat");
        let mut request = [0; 4096];
        let length = client.read(&mut request).expect("read");
        client.write_all(b"HTTP/1.1 204 X\r\nConnection: close\r\n\r\n").expect("answered");
        String::from_utf8_lossy(&request[..length]).into_owned()
    });
    let to = Announce { heartbeat: Some(url), ..Announce::default() };
    let failure = Outcome { exit_code: 69, ..success() };
    assert_eq!(announce(&failure, &to).await, Vec::<String>::new());
    assert!(!heard.is_finished());
    assert_eq!(announce(&success(), &to).await, Vec::<String>::new());
    assert!(heard.join().expect("no panic").starts_with("GET /beat "));
}

#[tokio::test]
async fn what_cannot_be_told_is_named_and_the_rest_is_told() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let told = directory.path().join("told");
    let to = Announce {
        pushgateway: Some("http://user:hush@127.0.0.1:9/hush".into()),
        termination_log: Some(directory.path().join("missing/log")),
        after: Some(Hook {
            command: format!("touch {}", told.display()),
            limit: Duration::from_secs(20),
        }),
        ..Announce::default()
    };
    let failures = announce(&success(), &to).await;
    assert_eq!(failures.len(), 2, "{failures:?}");
    assert!(failures[0].starts_with("termination log") && failures[1].starts_with("--pushgateway"));
    assert!(fs::exists(told).expect("readable"));
    // Whoever knows such a URL could say what we say.
    assert!(!failures[1].contains("hush"), "{failures:?}");
}
