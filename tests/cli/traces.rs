//! Spans for a collector: a small one of ours listens.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use crate::{code, lonely_backup, run, stderr};

const NOTHING: [&str; 9] =
    ["dump", "--to", "null:", "--allow-empty", "--closing-line", "ignore", "--", "echo", "nothing"];

/// Takes one request; gives its head and its body.
fn collector() -> (String, JoinHandle<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("bound"));
    let taken = thread::spawn(move || {
        let (mut client, _) = listener.accept().expect("a request");
        let request = read_request(&mut client);
        client.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("answered");
        request
    });
    (url, taken)
}

fn read_request(client: &mut TcpStream) -> (String, Vec<u8>) {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        if let Some(end) = end {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.and_then(|text| text.trim().parse().ok()).unwrap_or(0);
            if bytes.len() >= end + 4 + length {
                return (head, bytes[end + 4..].to_vec());
            }
        }
        let read = client.read(&mut buffer).expect("readable");
        assert!(read > 0, "a request cut short");
        bytes.extend_from_slice(&buffer[..read]);
    }
}

fn has(body: &[u8], text: &str) -> bool {
    body.windows(text.len()).any(|part| part == text.as_bytes())
}

#[test]
fn a_collector_that_the_environment_names_is_told_of_the_job_and_its_phases() {
    let (url, taken) = collector();
    let arguments = lonely_backup(&["--address", crate::NOBODY, "--group", "g", "--to", "null:"]);
    let output = run(arguments, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url)]);
    assert_eq!(code(&output), 69, "{}", stderr(&output));
    let (head, body) = taken.join().expect("a request came");
    assert!(head.starts_with("post /v1/traces "), "{head}");
    assert!(head.contains("content-type: application/x-protobuf"), "{head}");
    for text in ["service.name", "galera-sst", "backup", "joining"] {
        assert!(has(&body, text), "{text} is missing");
    }
}

#[test]
fn a_name_of_the_users_choice_is_kept() {
    let (url, taken) = collector();
    let service = ("OTEL_SERVICE_NAME", "nightly-of-shop");
    let output = run(NOTHING, &[("OTEL_EXPORTER_OTLP_ENDPOINT", &url), service]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let (_, body) = taken.join().expect("a request came");
    assert!(has(&body, "nightly-of-shop") && has(&body, "dump"));
}

#[test]
fn a_collector_that_is_not_there_or_speaks_otherwise_costs_nothing() {
    let nobody = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9");
    let output = run(NOTHING, &[nobody]);
    assert_eq!(code(&output), 0, "{}", stderr(&output));
    let output = run(NOTHING, &[nobody, ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    assert_eq!(code(&output), 0);
    assert!(stderr(&output).contains("http/protobuf"), "{}", stderr(&output));
}
