//! Donors that speak TLS: who is let in, and what counts as an end.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use galera_protocol::sst::conversation::{CloseReason, End, Evidence, Failure};
use galera_protocol::tls::{Objection, TlsFailure};
use galera_sst::net::tls::{KeyFiles, Keys as OwnKeys};
use galera_sst::sst::{
    Config, DonorCheck, Listen, Notice, SstListener, TlsAcceptor, TransferError,
};
use openssl::ssl::{SslContext, SslFiletype, SslMethod, SslVerifyMode, SslVersion};
use tempfile::TempDir;

use crate::certificates::{Authority, Identity, Version};
use crate::donor::{self, BACKUP_FAILED, CONN_1_FAILED, Dialect, Donor, Ending};
use crate::receiver::{Outcome, Receiver, accepted, short_limits};

/// Keys of one cluster on disk.
pub(crate) struct Keys {
    directory: TempDir,
    authority: Authority,
    pub(crate) ca: PathBuf,
}

impl Keys {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::new("ca");
        let ca = directory.path().join("ca.crt");
        authority.write(&ca);
        Self { directory, authority, ca }
    }

    pub(crate) fn issue(&self, name: &str, version: Version) -> Identity {
        self.authority.issue(self.directory.path(), name, version)
    }

    /// Ours, with or without a CA to check donors.
    pub(crate) fn receiver(&self, checks_donors: bool) -> TlsAcceptor {
        let check = if checks_donors { DonorCheck::Authority } else { DonorCheck::Nothing };
        TlsAcceptor::new(OwnKeys::open(self.files()).expect("usable keys"), check)
    }

    fn files(&self) -> KeyFiles {
        let Identity { certificate, key } = self.issue("receiver", Version::V1);
        KeyFiles { certificate, key, ca: Some(self.ca.clone()), ..KeyFiles::default() }
    }
}

/// A donor's side: `socat openssl-connect` with a certificate, a CA, no check of the name.
fn donor_context(identity: Option<&Identity>, ca: &Path, newest: SslVersion) -> SslContext {
    let mut context = SslContext::builder(SslMethod::tls_client()).expect("a context");
    context.set_max_proto_version(Some(newest)).expect("a version");
    context.set_ca_file(ca).expect("a CA");
    context.set_verify(SslVerifyMode::PEER);
    if let Some(identity) = identity {
        context.set_certificate_chain_file(&identity.certificate).expect("a certificate");
        context.set_private_key_file(&identity.key, SslFiletype::PEM).expect("a key");
    }
    context.build()
}

async fn serve(acceptor: &TlsAcceptor, donor: Donor) -> Outcome {
    let receiver = receiver(acceptor);
    receiver.tell(accepted()).await;
    receiver.serve(donor).await
}

pub(crate) fn receiver(acceptor: &TlsAcceptor) -> Receiver {
    let listen = Listen::On(vec![(Ipv4Addr::LOCALHOST, 0).into()]);
    let config = Config { listen, conversation: short_limits(), ..Config::default() };
    let listener = SstListener::bind(config).expect("bind to loopback");
    Receiver::run(listener.with_tls(acceptor.clone()))
}

fn assert_complete(outcome: &Outcome, backup: &[u8]) {
    assert!(outcome.archive.as_deref() == Some(backup), "{:?}", outcome.result);
    let archive_bytes = u64::try_from(backup.len()).expect("small");
    let evidence = Evidence { archive_bytes, join_code: Some(0) };
    assert_eq!(outcome.result.as_ref().expect("a complete transfer"), &evidence);
}

#[tokio::test]
async fn donors_with_a_certificate_of_the_ca_are_received_in_every_version() {
    let keys = Keys::new();
    for newest in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
        for version in [Version::V1, Version::V3] {
            let identity = keys.issue("donor", version);
            let context = donor_context(Some(&identity), &keys.ca, newest);
            let donor = Donor::new(Dialect::Pxc80).over_tls(context);
            let outcome = serve(&keys.receiver(true), donor).await;
            assert_complete(&outcome, &donor::backup(Dialect::Pxc80));
        }
    }
}

#[tokio::test]
async fn large_streams_survive_their_records() {
    let keys = Keys::new();
    let content: Vec<u8> = (0..9_000_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    let backup = [donor::file("ibdata1", &content), donor::file("xtrabackup_info", b"x")].concat();
    let identity = keys.issue("donor", Version::V3);
    let context = donor_context(Some(&identity), &keys.ca, SslVersion::TLS1_3);
    let donor = Donor::sending(donor::metadata(Dialect::Pxc80), backup.clone());
    let outcome = serve(&keys.receiver(true), donor.over_tls(context)).await;
    assert_complete(&outcome, &backup);
}

#[tokio::test]
async fn without_a_ca_of_ours_a_donor_needs_no_certificate() {
    let keys = Keys::new();
    let context = donor_context(None, &keys.ca, SslVersion::TLS1_3);
    let donor = Donor::new(Dialect::MariaDb).over_tls(context);
    let outcome = serve(&keys.receiver(false), donor).await;
    assert_complete(&outcome, &donor::backup(Dialect::MariaDb));
}

#[tokio::test]
async fn donors_that_the_ca_does_not_know_are_refused() {
    let (keys, others) = (Keys::new(), Keys::new());
    let stranger = others.issue("donor", Version::V3);
    for identity in [None, Some(&stranger)] {
        for newest in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let context = donor_context(identity, &keys.ca, newest);
            let donor = Donor::new(Dialect::Pxc80).over_tls(context);
            let outcome = serve(&keys.receiver(true), donor).await;
            assert!(outcome.metadata.is_none() && outcome.archive.is_none());
            let Err(TransferError::Failed(failure)) = &outcome.result else {
                panic!("{outcome:?}")
            };
            // With TLS 1.3 a donor learns too late, or never, that its certificate was refused.
            let (Failure::DonorFailed { refusal: Some(refusal), .. }
            | Failure::SentElsewhere { refusal: Some(refusal) }) = failure
            else {
                panic!("{failure:?}")
            };
            let objection = match identity {
                None => Objection::Missing,
                Some(_) => Objection::UnknownAuthority,
            };
            let failure = TlsFailure::UntrustedPeer(objection);
            assert_eq!(refusal.reason, CloseReason::NoHandshake(failure));
        }
    }
}

#[tokio::test]
async fn a_donor_that_does_not_trust_us_is_named() {
    let (keys, others) = (Keys::new(), Keys::new());
    let identity = keys.issue("donor", Version::V3);
    let context = donor_context(Some(&identity), &others.ca, SslVersion::TLS1_3);
    let donor = Donor::new(Dialect::Pxc80).over_tls(context);
    let outcome = serve(&keys.receiver(true), donor).await;
    assert_eq!(outcome.donor_status, CONN_1_FAILED);
    let Err(TransferError::Failed(failure)) = &outcome.result else { panic!("{outcome:?}") };
    assert!(matches!(failure, Failure::DonorFailed { .. }), "{failure:?}");
}

#[tokio::test]
async fn an_end_without_close_notify_is_a_cut() {
    let keys = Keys::new();
    let backup = donor::backup(Dialect::MariaDb);
    for (cut, ending, end) in [
        (30_000, Ending::Cut, End::Truncated),
        (backup.len(), Ending::Cut, End::Truncated),
        (30_000, Ending::Reset, End::Reset),
    ] {
        for newest in [SslVersion::TLS1_2, SslVersion::TLS1_3] {
            let identity = keys.issue("donor", Version::V3);
            let context = donor_context(Some(&identity), &keys.ca, newest);
            let donor = Donor::new(Dialect::MariaDb).ending_connection(1, cut, ending);
            let outcome = serve(&keys.receiver(true), donor.over_tls(context)).await;
            let bytes = u64::try_from(cut).expect("small");
            let expected = Failure::Interrupted { end, bytes };
            let Err(TransferError::Failed(failure)) = outcome.result else { panic!("success") };
            assert_eq!(failure, expected);
        }
    }
}

#[tokio::test]
async fn plain_text_is_refused() {
    let keys = Keys::new();
    let outcome = serve(&keys.receiver(true), Donor::new(Dialect::MariaDb)).await;
    assert!(matches!(outcome.result, Err(TransferError::Failed(Failure::NotEncrypted))));
}

#[tokio::test]
async fn a_handshake_that_is_never_finished_does_not_block_the_donor() {
    use tokio::io::AsyncWriteExt;

    let keys = Keys::new();
    let receiver = receiver(&keys.receiver(true));
    receiver.tell(accepted()).await;
    let mut silent = tokio::net::TcpStream::connect(receiver.address).await.expect("connect");
    silent.write_all(&[0x16, 0x03, 0x01, 0x02, 0x00]).await.expect("write");
    let identity = keys.issue("donor", Version::V3);
    let context = donor_context(Some(&identity), &keys.ca, SslVersion::TLS1_3);
    let donor = Donor::new(Dialect::MariaDb).over_tls(context);
    assert_complete(&receiver.serve(donor).await, &donor::backup(Dialect::MariaDb));
}

#[tokio::test]
async fn a_stalled_donor_is_freed_and_the_version_is_known() {
    let keys = Keys::new();
    let mut receiver = receiver(&keys.receiver(true));
    receiver.tell(accepted()).await;
    let identity = keys.issue("donor", Version::V3);
    let context = donor_context(Some(&identity), &keys.ca, SslVersion::TLS1_2);
    let donor = Donor::new(Dialect::MariaDb).ending_connection(1, 30_000, Ending::Stall);
    let donor = tokio::spawn(donor.over_tls(context).run(receiver.address));
    assert!(matches!(receiver.next_notice().await, Some(Notice::Metadata(_))));
    let Some(Notice::Archive(archive)) = receiver.next_notice().await else { panic!("no archive") };
    assert_eq!(archive.tls_version(), Some("TLSv1.2"));
    let result = receiver.result().await;
    assert!(matches!(result, Err(TransferError::Failed(Failure::TooSlow { .. }))));
    assert_eq!(donor.await.expect("no panic"), BACKUP_FAILED);
    drop(archive);
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    let keys = Keys::new();
    let other = keys.issue("other", Version::V3);
    let good = keys.files();
    let missing = KeyFiles { certificate: "/nonexistent.crt".into(), ..good.clone() };
    let mismatched = KeyFiles { key: other.key.clone(), ..good.clone() };
    let no_ca = KeyFiles { ca: Some("/nonexistent-ca.crt".into()), ..good };
    for (files, name) in
        [(missing, "nonexistent.crt"), (mismatched, "other.key"), (no_ca, "nonexistent-ca.crt")]
    {
        let error = OwnKeys::open(files).expect_err(name);
        assert!(error.to_string().contains(name), "{error}");
    }
}
