//! Sessions between two ends in this process, with every suite and version that is read, whose
//! bytes are cut into pieces as a network cuts them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use openssl::asn1::Asn1Time;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{Ssl, SslContext, SslContextBuilder, SslMethod, SslVerifyMode, SslVersion};
use openssl::x509::{X509, X509NameBuilder};

use super::*;

type Lines = Arc<Mutex<Vec<String>>>;
type Wire = Arc<Mutex<Vec<(bool, Vec<u8>)>>>;

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A socket that notes what passes, and who sent it.
#[derive(Debug)]
struct Noted {
    socket: TcpStream,
    is_client: bool,
    wire: Wire,
}

impl Read for Noted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.socket.read(buffer)
    }
}

impl Write for Noted {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // Noted before it can be answered.
        let mut wire = locked(&self.wire);
        let written = self.socket.write(bytes)?;
        wire.push((self.is_client, bytes[..written].to_vec()));
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.socket.flush()
    }
}

fn identity() -> (X509, PKey<Private>) {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let mut name = X509NameBuilder::new().expect("a name");
    name.append_entry_by_text("CN", "test").expect("a name");
    let name = name.build();
    let mut builder = X509::builder().expect("a certificate");
    builder.set_subject_name(&name).expect("named");
    builder.set_issuer_name(&name).expect("named");
    builder.set_pubkey(&key).expect("a key");
    let (from, to) = (Asn1Time::days_from_now(0), Asn1Time::days_from_now(2));
    builder.set_not_before(&from.expect("a time")).expect("a time");
    builder.set_not_after(&to.expect("a time")).expect("a time");
    builder.sign(&key, MessageDigest::sha256()).expect("signed");
    (builder.build(), key)
}

fn context(
    method: SslMethod,
    version: SslVersion,
    suite: &str,
    lines: &Lines,
) -> SslContextBuilder {
    let mut context = SslContext::builder(method).expect("a context");
    context.set_min_proto_version(Some(version)).expect("a version");
    context.set_max_proto_version(Some(version)).expect("a version");
    if version == SslVersion::TLS1_3 {
        context.set_ciphersuites(suite).expect("a suite");
    } else {
        context.set_cipher_list(suite).expect("a suite");
    }
    context.set_verify(SslVerifyMode::NONE);
    let lines = Arc::clone(lines);
    context.set_keylog_callback(move |_, line| locked(&lines).push(line.to_owned()));
    context
}

const QUESTION: &[u8] = b"what the client says";

fn answer() -> Vec<u8> {
    (0..100_000_u32).map(|at| (at % 251) as u8).collect()
}

/// What passed, and the key log.
fn session(version: SslVersion, suite: &str) -> (Vec<(bool, Vec<u8>)>, Vec<String>) {
    let (lines, wire) = (Lines::default(), Wire::default());
    let listener = TcpListener::bind("127.0.0.1:0").expect("listen");
    let address = listener.local_addr().expect("address");
    let (certificate, key) = identity();
    let mut server = context(SslMethod::tls_server(), version, suite, &Lines::default());
    server.set_certificate(&certificate).expect("a certificate");
    server.set_private_key(&key).expect("a key");
    let (server, wire_of_server) = (server.build(), Arc::clone(&wire));
    let served = std::thread::spawn(move || {
        let (socket, _) = listener.accept().expect("accepted");
        let noted = Noted { socket, is_client: false, wire: wire_of_server };
        let mut stream = Ssl::new(&server).expect("a session").accept(noted).expect("a handshake");
        let mut question = vec![0; QUESTION.len()];
        stream.read_exact(&mut question).expect("the question");
        stream.write_all(&answer()).expect("the answer");
        stream.shutdown().expect("an end");
    });
    let client = context(SslMethod::tls_client(), version, suite, &lines).build();
    let socket = TcpStream::connect(address).expect("connected");
    let noted = Noted { socket, is_client: true, wire: Arc::clone(&wire) };
    let mut stream = Ssl::new(&client).expect("a session").connect(noted).expect("a handshake");
    stream.write_all(QUESTION).expect("the question");
    let mut answered = Vec::new();
    stream.read_to_end(&mut answered).expect("the answer");
    served.join().expect("served");
    assert_eq!(answered, answer());
    (core::mem::take(&mut *locked(&wire)), core::mem::take(&mut *locked(&lines)))
}

/// What the stage makes of it: bytes of the client, bytes of the server.
fn read(wire: &[(bool, Vec<u8>)], lines: &[String], piece: usize) -> (Vec<u8>, Vec<u8>) {
    let mut keys = KeyLog::default();
    lines.iter().for_each(|line| keys.add(line));
    let mut stage = TlsStage::new(keys);
    let [client, server] = [1, 2].map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    let flow = |is_client| match is_client {
        true => Flow { from: client, to: server, generation: 0 },
        false => Flow { from: server, to: client, generation: 0 },
    };
    let mut events = Vec::new();
    for is_client in [true, false] {
        events.extend(stage.take(flow(is_client), StreamEvent::Opened));
    }
    for (is_client, bytes) in wire {
        for piece in bytes.chunks(piece) {
            let data = StreamEvent::Data(Bytes::copy_from_slice(piece));
            events.extend(stage.take(flow(*is_client), data));
        }
    }
    events.extend(stage.finish());
    let (mut of_client, mut of_server) = (Vec::new(), Vec::new());
    for (flow, event) in events {
        if let StreamEvent::Data(bytes) = event {
            let to = if flow.from == client { &mut of_client } else { &mut of_server };
            to.extend_from_slice(&bytes);
        }
    }
    (of_client, of_server)
}

const SUITES: [(SslVersion, &str); 6] = [
    (SslVersion::TLS1_3, "TLS_AES_128_GCM_SHA256"),
    (SslVersion::TLS1_3, "TLS_AES_256_GCM_SHA384"),
    (SslVersion::TLS1_3, "TLS_CHACHA20_POLY1305_SHA256"),
    (SslVersion::TLS1_2, "ECDHE-ECDSA-AES128-GCM-SHA256"),
    (SslVersion::TLS1_2, "ECDHE-ECDSA-AES256-GCM-SHA384"),
    (SslVersion::TLS1_2, "ECDHE-ECDSA-CHACHA20-POLY1305"),
];

#[test]
fn both_directions_of_every_suite_are_read_however_they_are_cut() {
    for (version, suite) in SUITES {
        let (wire, lines) = session(version, suite);
        for piece in [1, 700, usize::MAX] {
            let (of_client, of_server) = read(&wire, &lines, piece);
            assert_eq!(of_client, QUESTION, "{suite} in pieces of {piece}");
            assert!(of_server == answer(), "{suite} in pieces of {piece}");
        }
    }
}

#[test]
fn without_its_keys_a_session_passes_as_it_is() {
    let (wire, lines) = session(SslVersion::TLS1_3, "TLS_AES_128_GCM_SHA256");
    assert_eq!(read(&wire, &lines, 700).0, QUESTION);
    let foreign = [format!("CLIENT_RANDOM {} {}", "07".repeat(32), "00".repeat(48))];
    let (of_client, of_server) = read(&wire, &foreign, 700);
    let sent = |by: bool| {
        let parts = wire.iter().filter(|(is_client, _)| *is_client == by);
        parts.flat_map(|(_, bytes)| bytes.clone()).collect::<Vec<_>>()
    };
    assert_eq!((of_client, of_server), (sent(true), sent(false)));
}

#[test]
fn a_damaged_record_ends_its_direction_and_nothing_else() {
    let (mut wire, lines) = session(SslVersion::TLS1_3, "TLS_AES_256_GCM_SHA384");
    let last = wire.iter_mut().rev().find(|(is_client, bytes)| !is_client && bytes.len() > 1000);
    if let Some(byte) = last.and_then(|(_, bytes)| bytes.last_mut()) {
        *byte ^= 1;
    }
    let (of_client, of_server) = read(&wire, &lines, 700);
    assert_eq!(of_client, QUESTION);
    assert!(of_server.len() < answer().len() && answer().starts_with(&of_server));
}

#[test]
fn any_bytes_behind_a_clients_hello_do_no_harm() {
    let (wire, lines) = session(SslVersion::TLS1_2, "ECDHE-ECDSA-AES128-GCM-SHA256");
    for at in 0..wire.len() {
        let mut spoiled = wire.clone();
        for (index, byte) in spoiled[at].1.iter_mut().enumerate() {
            *byte = byte.wrapping_add(u8::try_from(index % 256).unwrap_or_default());
        }
        read(&spoiled, &lines, 333);
    }
}
