use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::donate::fault::Verdict;

fn position() -> Position {
    Position { state: "3ae18adc-e690-11f1-aa68-dbedcff0437f".parse().expect("valid"), seqno: 39 }
}

fn script(bytes: u64, faults: &[&str]) -> Script {
    let faults = faults.iter().map(|text| text.parse().expect("a fault")).collect();
    let content = Arc::new(Content::generated(bytes, 7));
    Script { content, keys: None, pause: Duration::ZERO, faults }
}

/// Somebody who takes a number of connections to their ends.
async fn joiner(connections: usize) -> (SocketAddr, tokio::task::JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address");
    let taken = tokio::spawn(async move {
        let mut all = Vec::new();
        for _ in 0..connections {
            let (mut stream, _) = listener.accept().await.expect("accept");
            let mut bytes = Vec::new();
            // A reset ends it too.
            let _ = stream.read_to_end(&mut bytes).await;
            all.push(bytes);
        }
        all
    });
    (address, taken)
}

fn request(method: &str, address: SocketAddr) -> Result<SstRequest, Trouble> {
    let text = format!("{method}:{address}/xtrabackup_sst//1");
    Ok(text.parse().expect("a request"))
}

async fn serve(script: &Script, method: &str) -> (Served, Vec<Vec<u8>>) {
    let (address, taken) = joiner(2).await;
    let served = script.run(request(method, address), position()).await;
    (served, taken.await.expect("taken"))
}

#[tokio::test]
async fn a_mariadb_donors_first_words_are_the_captured_256_bytes() {
    let (served, connections) = serve(&script(1000, &[]), "mariabackup").await;
    assert_eq!(served.verdict, Verdict::Report(0));
    // With two more for the second digit of the seqno, as a real donor sent it.
    assert_eq!(connections[0].len(), 258);
    assert!(connections[0].ends_with(b"E\x11\0\0\0donor_galera_info"));
}

#[tokio::test]
async fn a_percona_donor_sends_one_file_of_metadata() {
    let (_, connections) = serve(&script(1000, &[]), "xtrabackup-v2").await;
    let text = String::from_utf8_lossy(&connections[0]).into_owned();
    assert!(text.contains("galera-gtid=3ae18adc-e690-11f1-aa68-dbedcff0437f:39\n"), "{text}");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_stream_but_for_the_time_in_it() {
    let (_, first) = serve(&script(3 << 20, &["omit=xtrabackup_info"]), "mariabackup").await;
    let (_, second) = serve(&script(3 << 20, &["omit=xtrabackup_info"]), "mariabackup").await;
    assert!(first[1].len() > 3 << 20);
    assert_eq!(first, second);
}

#[tokio::test]
async fn a_stream_stops_at_the_byte_that_was_asked_for() {
    for (fault, verdict) in [
        ("cut=100000", Verdict::Report(-22)),
        ("lie=100000", Verdict::Report(0)),
        ("leave=100000", Verdict::Leave),
    ] {
        let (served, connections) = serve(&script(1 << 20, &[fault]), "mariabackup").await;
        assert_eq!((served.bytes, served.verdict), (100_000, verdict), "{fault}");
        assert_eq!(connections[1].len(), 100_000, "{fault}");
    }
}

#[tokio::test]
async fn one_bit_of_one_byte_is_turned_over() {
    let (_, good) = serve(&script(1 << 20, &["omit=xtrabackup_info"]), "mariabackup").await;
    let faults = ["omit=xtrabackup_info", "corrupt=70000"];
    let (served, bad) = serve(&script(1 << 20, &faults), "mariabackup").await;
    let differ: Vec<_> = (0..good[1].len()).filter(|&at| good[1][at] != bad[1][at]).collect();
    assert_eq!((differ, served.verdict), (vec![70_000], Verdict::Report(0)));
}

#[tokio::test]
async fn a_joiner_that_is_not_there_is_a_broken_pipe_and_one_that_goes_an_invalid_argument() {
    let (nobody, taken) = joiner(0).await;
    taken.await.expect("closed");
    let served = script(10, &[]).run(request("mariabackup", nobody), position()).await;
    assert_eq!(served.verdict, Verdict::Report(-32));
    let (gone, taken) = joiner(1).await;
    let served = script(10, &[]).run(request("mariabackup", gone), position()).await;
    assert_eq!(served.verdict, Verdict::Report(-22));
    taken.await.expect("one connection");
}

#[tokio::test]
async fn a_stalled_stream_ends_when_the_receiver_closes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("listen");
    let address = listener.local_addr().expect("address");
    let receiver = tokio::spawn(async move {
        let (mut first, _) = listener.accept().await.expect("metadata");
        let _ = first.read_to_end(&mut Vec::new()).await;
        let (mut second, _) = listener.accept().await.expect("backup");
        let mut bytes = vec![0; 50_000];
        second.read_exact(&mut bytes).await.expect("what comes");
        let _ = second.shutdown().await;
    });
    let script = script(1 << 20, &["stall=50000"]);
    let served = script.run(request("mariabackup", address), position()).await;
    assert_eq!(served.verdict, Verdict::Report(-22));
    receiver.await.expect("received");
}

#[tokio::test]
async fn what_a_donors_server_refuses_is_refused_with_its_code() {
    let body = |text: &'static [u8]| read_request(&Bytes::from_static(text));
    for (text, status) in [
        (&b"rsync\0h:1/rsync_sst//1\0"[..], 2),
        (b"mariabackup\0h:1/xtrabackup_sst//\0", 93),
        (b"mariabackup\0h:0/xtrabackup_sst//1\0", 125),
        (b"STRv1\0\x02\0\0\0ab\x01\0\0\0c", 42),
        (b"\x01", 125),
    ] {
        let trouble = body(text).expect_err("no backup");
        let served = script(0, &[]).run(Err(trouble), position()).await;
        assert_eq!(served.verdict, Verdict::Report(-status), "{text:?}");
    }
    assert!(body(b"mariabackup\0h:1/xtrabackup_sst//1\0").is_ok());
}
