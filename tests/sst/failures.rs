//! One test for each way in which a transfer goes wrong: never a success, always the right reason.

use std::net::Ipv4Addr;
use std::time::Duration;

use galera_protocol::sst::conversation::{self, CloseReason, End, Failure, TlsPolicy};
use galera_protocol::sst::metadata::MetadataError;
use galera_protocol::sst::sniff::Layer;
use galera_sst::sst::{Config, Event, Judgement, Listen, Notice, SstListener, TransferError};
use tokio::io::AsyncReadExt;

use crate::donor::{self, BACKUP_FAILED, CONN_1_FAILED, Dialect, Donor, Ending, Step};
use crate::receiver::{Outcome, Receiver, read_all, short_limits};

async fn outcome_of(donor: Donor) -> Outcome {
    Receiver::accepted(short_limits()).await.serve(donor).await
}

fn failure(outcome: &Outcome) -> &Failure {
    match &outcome.result {
        Err(TransferError::Failed(failure)) => failure,
        other => panic!("expected a failure, got {other:?}"),
    }
}

fn good() -> Donor {
    Donor::new(Dialect::MariaDb)
}

#[tokio::test]
async fn a_backup_cut_at_any_chunk_or_elsewhere_is_never_complete() {
    let backup = donor::backup(Dialect::MariaDb);
    let boundaries: Vec<usize> =
        (1..backup.len()).filter(|at| backup[*at..].starts_with(b"XBSTCK01")).collect();
    let cuts = boundaries.iter().copied().chain([30, 1_000, 100_000, backup.len() - 1]);
    for cut in cuts {
        // The donor knows: this is what a killed backup program looks like.
        let donor = good().ending_connection(1, cut, Ending::Fin).exiting(BACKUP_FAILED);
        let outcome = outcome_of(donor).await;
        let refused = Failure::DonorFailed { code: -BACKUP_FAILED, refusal: None };
        assert_eq!(failure(&outcome), &refused, "cut at {cut}");
        // The donor does not notice: a transport that gave up with status 0.
        let outcome = outcome_of(good().ending_connection(1, cut, Ending::Fin)).await;
        assert_eq!(failure(&outcome), &Failure::Incomplete, "cut at {cut}");
    }
}

#[tokio::test]
async fn a_reset_is_not_an_end() {
    for cut in [30_000, donor::backup(Dialect::MariaDb).len()] {
        let outcome = outcome_of(good().ending_connection(1, cut, Ending::Reset)).await;
        let bytes = u64::try_from(cut).expect("small");
        assert_eq!(failure(&outcome), &Failure::Interrupted { end: End::Reset, bytes });
    }
}

#[tokio::test]
async fn a_donor_that_falls_silent_is_given_up_and_freed() {
    let outcome = outcome_of(good().ending_connection(1, 30_000, Ending::Stall)).await;
    let limit = Duration::from_millis(500);
    assert_eq!(failure(&outcome), &Failure::Idle { limit, bytes: 30_000 });
    assert_eq!(outcome.donor_status, BACKUP_FAILED, "the donor must see its connection break");
}

#[tokio::test]
async fn a_damaged_backup_ends_the_transfer() {
    let outcome = outcome_of(good().corrupting_connection(1, 1_000)).await;
    assert_eq!(failure(&outcome), &Failure::Damaged);
}

#[tokio::test]
async fn damaged_metadata_end_the_transfer() {
    let outcome = outcome_of(good().corrupting_connection(0, 70)).await;
    assert!(matches!(failure(&outcome), Failure::Metadata(MetadataError::Archive(_))));
}

#[tokio::test]
async fn an_incremental_transfer_is_no_backup() {
    for dialect in donor::DIALECTS {
        let steps = vec![donor::connection(donor::bypass_metadata(dialect), CONN_1_FAILED)];
        let outcome = outcome_of(Donor::scripted(steps)).await;
        assert_eq!(failure(&outcome), &Failure::Metadata(MetadataError::Bypass));
    }
}

#[tokio::test]
async fn a_donor_that_never_comes_is_given_up() {
    let mut receiver = Receiver::accepted(short_limits()).await;
    let limit = Duration::from_millis(1_500);
    let expected = Failure::NoFirstConnection { limit, refusal: None };
    let result = receiver.result().await;
    assert!(matches!(result, Err(TransferError::Failed(failure)) if failure == expected));
}

#[tokio::test]
async fn a_donor_that_stops_after_its_metadata_is_given_up() {
    let mut receiver = Receiver::accepted(short_limits()).await;
    let steps = vec![donor::connection(donor::metadata(Dialect::MariaDb), CONN_1_FAILED)];
    let donor = tokio::spawn(Donor::scripted(steps).run(receiver.address));
    let limit = Duration::from_millis(1_500);
    let expected = Failure::NoSecondConnection { limit, refusal: None };
    let result = receiver.result().await;
    assert!(matches!(result, Err(TransferError::Failed(failure)) if failure == expected));
    assert_eq!(donor.await.expect("no panic"), 0);
}

#[tokio::test]
async fn a_backup_without_metadata_is_refused() {
    let steps = vec![donor::connection(donor::backup(Dialect::MariaDb), BACKUP_FAILED)];
    let outcome = outcome_of(Donor::scripted(steps)).await;
    assert_eq!(failure(&outcome), &Failure::NoMetadata { refusal: None });
}

#[tokio::test]
async fn connections_in_the_wrong_order_are_refused() {
    let steps = vec![
        donor::connection(donor::backup(Dialect::MariaDb), BACKUP_FAILED),
        Step::Pause(Duration::from_millis(20)),
        donor::connection(donor::metadata(Dialect::MariaDb), CONN_1_FAILED),
    ];
    let outcome = outcome_of(Donor::scripted(steps)).await;
    assert_eq!(failure(&outcome), &Failure::NoMetadata { refusal: None });
}

#[tokio::test]
async fn a_donor_whose_backup_failed_at_once_is_believed() {
    let donor = good().ending_connection(1, 0, Ending::Fin).exiting(BACKUP_FAILED);
    let outcome = outcome_of(donor).await;
    let Failure::DonorFailed { code, .. } = failure(&outcome) else { panic!("{outcome:?}") };
    assert_eq!(*code, -BACKUP_FAILED);
}

#[tokio::test]
async fn a_backup_cut_within_its_first_name_is_named_as_cut() {
    let outcome = outcome_of(good().ending_connection(1, 20, Ending::Fin)).await;
    let Failure::SentElsewhere { refusal: Some(refusal) } = failure(&outcome) else {
        panic!("{outcome:?}")
    };
    assert_eq!(refusal.reason, CloseReason::Truncated);
}

#[tokio::test]
async fn every_status_of_a_donor_script_fails_a_stream_that_looks_complete() {
    for status in [2, 3, 11, 21, 22, 32, 42, 93, 99, 113, 114, 125] {
        let outcome = outcome_of(good().exiting(status)).await;
        let expected = Failure::DonorFailed { code: -status, refusal: None };
        assert_eq!(failure(&outcome), &expected);
    }
}

#[tokio::test]
async fn layers_that_are_not_supported_are_named() {
    let cases: [(&[u8], Layer); 4] = [
        (&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01], Layer::Tls),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0x00, 0x00, 0x00], Layer::Xz),
        (b"Salted__\x01\x02\x03\x04\x05\x06\x07\x08", Layer::OpensslEnc),
        (b"XBCRYP03", Layer::Xbcrypt),
    ];
    for (bytes, layer) in cases {
        let outcome =
            outcome_of(Donor::scripted(vec![donor::connection(bytes.to_vec(), CONN_1_FAILED)]))
                .await;
        assert_eq!(failure(&outcome), &Failure::Wrapped { layer });
    }
}

#[tokio::test]
async fn plain_text_is_refused_where_tls_is_required() {
    let limits = conversation::Config { tls: TlsPolicy::Required, ..short_limits() };
    let outcome = Receiver::accepted(limits).await.serve(good()).await;
    assert_eq!(failure(&outcome), &Failure::NotEncrypted);
}

#[tokio::test]
async fn a_donor_from_another_address_is_refused_and_named() {
    let receiver = Receiver::listening(short_limits());
    let elsewhere = "192.0.2.1".parse().expect("an address");
    receiver.tell(Event::RequestAccepted { donor: vec![elsewhere] }).await;
    let outcome = receiver.serve(good()).await;
    let (Failure::DonorFailed { refusal: Some(refusal), .. }
    | Failure::SentElsewhere { refusal: Some(refusal) }) = failure(&outcome)
    else {
        panic!("{outcome:?}")
    };
    assert_eq!(refusal.reason, CloseReason::NotTheDonor);
    assert_eq!(refusal.peer, Ipv4Addr::LOCALHOST);
}

/// A transfer whose conn 2 has begun and does not end by itself.
async fn receiving() -> (Receiver, galera_sst::sst::ArchiveReader, tokio::task::JoinHandle<i64>) {
    let mut receiver = Receiver::accepted(short_limits()).await;
    let donor = good().ending_connection(1, 30_000, Ending::Stall);
    let donor = tokio::spawn(donor.run(receiver.address));
    assert!(matches!(receiver.next_notice().await, Some(Notice::Metadata(_))));
    let Some(Notice::Archive(archive)) = receiver.next_notice().await else { panic!("no archive") };
    (receiver, archive, donor)
}

#[tokio::test]
async fn a_donor_that_leaves_the_group_ends_the_transfer() {
    for (event, expected) in
        [(Event::DonorGone, Failure::DonorGone), (Event::TransferUnknown, Failure::OutcomeUnknown)]
    {
        let (mut receiver, archive, donor) = receiving().await;
        let reading = tokio::spawn(read_all(archive));
        receiver.tell(event).await;
        let result = receiver.result().await;
        assert!(matches!(result, Err(TransferError::Failed(failure)) if failure == expected));
        let (_, end) = reading.await.expect("no panic");
        assert!(end.is_err(), "a stopped transfer must not look like an end of file");
        assert_eq!(donor.await.expect("no panic"), BACKUP_FAILED);
    }
}

#[tokio::test]
async fn a_sink_that_takes_nothing_fails_and_frees_the_donor() {
    let (mut receiver, mut archive, donor) = receiving().await;
    archive.read_exact(&mut [0; 100]).await.expect("the first bytes");
    let result = receiver.result().await;
    let limit = Duration::from_millis(500);
    assert!(matches!(
        result,
        Err(TransferError::Failed(Failure::TooSlow { limit: at, bytes: 100 })) if at == limit
    ));
    assert_eq!(donor.await.expect("no panic"), BACKUP_FAILED, "although the reader still exists");
    assert!(archive.read(&mut [0; 100]).await.is_err());
}

#[tokio::test]
async fn a_sink_that_fails_ends_the_transfer() {
    let (mut receiver, archive, donor) = receiving().await;
    receiver.tell(Event::Judged(Judgement::NotStored)).await;
    let result = receiver.result().await;
    assert!(matches!(result, Err(TransferError::Failed(Failure::NotStored))));
    assert_eq!(donor.await.expect("no panic"), BACKUP_FAILED);
    drop(archive);
}

#[tokio::test]
async fn an_abandoned_archive_is_not_complete() {
    let (mut receiver, archive, donor) = receiving().await;
    drop(archive);
    receiver.tell(Event::Judged(Judgement::Whole)).await;
    receiver.tell(Event::DonorJoined { code: 0 }).await;
    let result = receiver.result().await;
    assert!(matches!(
        result,
        Err(TransferError::Failed(Failure::Interrupted { end: End::Abandoned, .. }))
    ));
    assert_eq!(donor.await.expect("no panic"), BACKUP_FAILED);
}

#[tokio::test]
async fn cancelling_closes_everything() {
    let (mut receiver, archive, donor) = receiving().await;
    let reading = tokio::spawn(read_all(archive));
    receiver.cancel.cancel();
    assert!(matches!(receiver.result().await, Err(TransferError::Cancelled)));
    assert!(reading.await.expect("no panic").1.is_err());
    assert_eq!(donor.await.expect("no panic"), BACKUP_FAILED);
    let refused = tokio::net::TcpStream::connect(receiver.address).await;
    assert!(refused.is_err(), "the port must be closed");
}

#[tokio::test]
async fn a_donor_that_says_nothing_after_its_stream_is_no_witness() {
    let mut receiver = Receiver::accepted(short_limits()).await;
    let donor = tokio::spawn(good().run(receiver.address));
    receiver.consume().await;
    let limit = Duration::from_millis(500);
    let result = receiver.result().await;
    let expected = Failure::NoVerdict { limit };
    assert!(matches!(result, Err(TransferError::Failed(failure)) if failure == expected));
    assert_eq!(donor.await.expect("no panic"), 0);
}

#[tokio::test]
async fn a_port_that_is_taken_is_named_with_a_remedy() {
    let listen = Listen::On(vec![(Ipv4Addr::LOCALHOST, 0).into()]);
    let first = SstListener::bind(Config { listen, ..Config::default() }).expect("bind");
    let address = first.local_addresses()[0];
    let listen = Listen::On(vec![address]);
    let error = SstListener::bind(Config { listen, ..Config::default() }).expect_err("taken");
    assert_eq!(error.address, address);
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("--listen"), "{text}");
}
