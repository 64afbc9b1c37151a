//! Donors that do everything right, under circumstances that are not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use galera_protocol::sst::conversation::{self, Evidence};
use galera_protocol::sst::metadata::Flavour;
use galera_protocol::sst::peers::AllowFrom;
use galera_sst::sst::{Config, Event, Listen, Notice, SstListener};

use crate::donor::{self, DIALECTS, Dialect, Donor, Ending};
use crate::receiver::{Outcome, Receiver, accepted, short_limits};

pub(crate) fn assert_complete(outcome: &Outcome, backup: &[u8]) {
    let archive = outcome.archive.as_deref().expect("an archive");
    assert_eq!(archive.len(), backup.len());
    assert!(archive == backup, "the archive is not what the donor sent");
    let archive_bytes = u64::try_from(backup.len()).expect("small");
    let evidence = Evidence { archive_bytes, join_code: Some(0) };
    assert_eq!(outcome.result.as_ref().expect("a complete transfer"), &evidence);
    assert_eq!(outcome.donor_status, 0);
    let metadata = outcome.metadata.as_ref().expect("metadata");
    assert_eq!(metadata.position.state.to_string(), donor::STATE);
    assert_eq!(metadata.position.seqno, donor::SEQNO);
}

#[tokio::test]
async fn every_generation_of_donor_is_received_whole() {
    for dialect in DIALECTS {
        let receiver = Receiver::accepted(short_limits()).await;
        let outcome = receiver.serve(Donor::new(dialect)).await;
        assert_complete(&outcome, &donor::backup(dialect));
        let metadata = outcome.metadata.expect("metadata");
        let percona = matches!(dialect, Dialect::Pxc57 | Dialect::Pxc80 | Dialect::Pxc84);
        let is_percona = metadata.flavour == Some(Flavour::PerconaXtraDbCluster);
        assert_eq!(is_percona, percona, "{dialect:?}");
        assert_eq!(metadata.transition_key.is_some(), dialect == Dialect::Pxc84);
    }
}

#[tokio::test]
async fn small_pieces_change_nothing() {
    for size in [1, 7, 1000] {
        let receiver = Receiver::accepted(conversation::Config::default()).await;
        let outcome = receiver.serve(Donor::new(Dialect::Pxc80).in_pieces(size)).await;
        assert_complete(&outcome, &donor::backup(Dialect::Pxc80));
    }
}

#[tokio::test]
async fn strangers_before_the_donor_do_not_matter() {
    let strangers: [(&[u8], Ending); 4] = [
        (b"", Ending::Fin),
        (b"", Ending::Reset),
        (b"GET /metrics HTTP/1.1\r\n\r\n", Ending::Fin),
        (b"XBSTCK01\0P", Ending::Reset),
    ];
    for (bytes, ending) in strangers {
        let receiver = Receiver::accepted(short_limits()).await;
        let donor = Donor::new(Dialect::MariaDb).after_a_stranger(bytes, ending);
        assert_complete(&receiver.serve(donor).await, &donor::backup(Dialect::MariaDb));
    }
}

#[tokio::test]
async fn a_stranger_that_holds_its_connection_open_does_not_block_the_donor() {
    let receiver = Receiver::accepted(short_limits()).await;
    let silent = tokio::net::TcpStream::connect(receiver.address).await.expect("connect");
    let outcome = receiver.serve(Donor::new(Dialect::MariaDb)).await;
    assert_complete(&outcome, &donor::backup(Dialect::MariaDb));
    drop(silent);
}

#[tokio::test]
async fn metadata_that_broke_may_be_sent_again() {
    let receiver = Receiver::accepted(short_limits()).await;
    let broken = donor::metadata(Dialect::Pxc84)[..60].to_vec();
    let donor = Donor::new(Dialect::Pxc84).after_a_stranger(&broken, Ending::Fin);
    assert_complete(&receiver.serve(donor).await, &donor::backup(Dialect::Pxc84));
}

#[tokio::test]
async fn a_keyring_connection_of_an_old_donor_is_kept() {
    let mut receiver = Receiver::accepted(short_limits()).await;
    let steps = vec![
        donor::connection(donor::metadata(Dialect::Pxc57), 32),
        donor::connection(donor::file("donor-keyring", b"key"), 32),
    ];
    let donor = tokio::spawn(Donor::scripted(steps).run(receiver.address));
    assert!(matches!(receiver.next_notice().await, Some(Notice::Metadata(_))));
    let Some(Notice::Keyring(files)) = receiver.next_notice().await else { panic!("no keyring") };
    assert_eq!(files[0].bytes, "key");
    assert_eq!(donor.await.expect("no panic"), 0);
}

#[tokio::test]
async fn a_donor_that_is_faster_than_the_groups_news_is_held() {
    let receiver = Receiver::listening(conversation::Config::default());
    let events = receiver.events.clone();
    let serving = tokio::spawn(receiver.serve(Donor::new(Dialect::MariaDb)));
    tokio::task::yield_now().await;
    events.send(accepted()).await.expect("the receiver listens");
    let outcome = serving.await.expect("no panic");
    assert_complete(&outcome, &donor::backup(Dialect::MariaDb));
}

#[tokio::test]
async fn both_address_families_share_a_port() {
    let listen = Listen::Everywhere { port: 0 };
    let listener = SstListener::bind(Config { listen, ..Config::default() }).expect("bind");
    let addresses = listener.local_addresses();
    assert!(addresses.iter().all(|address| address.port() == addresses[0].port()));
    assert!(addresses[0].is_ipv4());
    drop(listener);

    if addresses.len() == 2 {
        let listen = Listen::On(vec![(Ipv6Addr::LOCALHOST, 0).into()]);
        let receiver = Receiver::with(Config { listen, ..Config::default() });
        let donor = vec![IpAddr::V6(Ipv6Addr::LOCALHOST)];
        receiver.tell(Event::RequestAccepted { donor }).await;
        let outcome = receiver.serve(Donor::new(Dialect::MariaDb)).await;
        assert_complete(&outcome, &donor::backup(Dialect::MariaDb));
    }
}

#[tokio::test]
async fn with_the_door_open_the_content_decides() {
    let allow_from = AllowFrom::Anyone;
    let receiver = Receiver::listening(conversation::Config { allow_from, ..short_limits() });
    receiver.tell(Event::RequestAccepted { donor: vec![] }).await;
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01];
    let donor = Donor::new(Dialect::MariaDb).after_a_stranger(&hello, Ending::Fin);
    assert_complete(&receiver.serve(donor).await, &donor::backup(Dialect::MariaDb));
}

#[tokio::test]
async fn a_slow_reader_slows_the_donor_and_loses_nothing() {
    use tokio::io::AsyncReadExt;

    let mut receiver = Receiver::accepted(conversation::Config::default()).await;
    let content: Vec<u8> = vec![7; 24 << 20];
    let backup = [donor::file("ibdata1", &content), donor::file("xtrabackup_info", b"x")].concat();
    let donor = Donor::sending(donor::metadata(Dialect::MariaDb), backup.clone());
    let mut donor = tokio::spawn(donor.run(receiver.address));
    receiver.next_notice().await;
    let Some(Notice::Archive(mut archive)) = receiver.next_notice().await else {
        panic!("no archive")
    };
    let mut first = vec![0; 1000];
    archive.read_exact(&mut first).await.expect("the first bytes");
    let early = tokio::time::timeout(std::time::Duration::from_millis(200), &mut donor).await;
    assert!(early.is_err(), "24 MiB cannot fit into socket buffers: the donor must wait");
    let mut rest = Vec::new();
    archive.read_to_end(&mut rest).await.expect("the rest");
    assert!([first, rest].concat() == backup, "bytes were lost");
    assert_eq!(donor.await.expect("no panic"), 0);
}

#[test]
fn the_unspecified_address_brings_its_twin() {
    let everywhere: std::net::SocketAddr = (Ipv4Addr::UNSPECIFIED, 4444).into();
    assert_eq!(Listen::from(everywhere), Listen::default());
    let one: std::net::SocketAddr = (Ipv4Addr::LOCALHOST, 4444).into();
    assert_eq!(Listen::from(one), Listen::On(vec![one]));
}
