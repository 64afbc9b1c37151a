//! The receiving side of a test: a listener that runs, and a pipeline that only looks.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use galera_protocol::sst::conversation::{self, Evidence};
use galera_protocol::sst::metadata::Metadata;
use galera_sst::sst::{
    ArchiveReader, Config, Event, Judgement, Listen, NOTICES_MAX, Notice, SstListener,
    TransferError,
};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::donor::Donor;

/// Longest a test waits for anything; far above every limit that it sets.
const PATIENCE: Duration = Duration::from_secs(20);

/// A transfer under test.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) notices: mpsc::Receiver<Notice>,
    pub(crate) cancel: CancellationToken,
    pub(crate) task: JoinHandle<Result<Evidence, TransferError>>,
}

/// What a transfer came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) metadata: Option<Box<Metadata>>,
    pub(crate) archive: Option<Vec<u8>>,
    pub(crate) result: Result<Evidence, TransferError>,
    pub(crate) donor_status: i64,
}

/// Limits short enough for tests, long enough for a busy machine.
pub(crate) fn short_limits() -> conversation::Config {
    conversation::Config {
        first_connection: Duration::from_millis(1_500),
        second_connection: Duration::from_millis(1_500),
        idle: Duration::from_millis(500),
        drain_gap: Duration::from_millis(500),
        verdict: Duration::from_millis(500),
        held: Duration::from_millis(300),
        silent: Duration::from_millis(300),
        last_word: Duration::from_millis(400),
        ..conversation::Config::default()
    }
}

impl Receiver {
    /// Listens on loopback; the request is not accepted yet.
    pub(crate) fn listening(conversation: conversation::Config) -> Self {
        let listen = Listen::On(vec![(Ipv4Addr::LOCALHOST, 0).into()]);
        Self::with(Config { listen, conversation, ..Config::default() })
    }

    /// Listens as configured.
    pub(crate) fn with(config: Config) -> Self {
        Self::run(SstListener::bind(config).expect("bind to loopback"))
    }

    /// Runs a listener.
    pub(crate) fn run(listener: SstListener) -> Self {
        let address = listener.local_addresses()[0];
        let (events, events_in) = mpsc::channel(16);
        let (notices_out, notices) = mpsc::channel(NOTICES_MAX);
        let cancel = CancellationToken::new();
        let task = tokio::spawn(listener.run(events_in, notices_out, cancel.clone()));
        Self { address, events, notices, cancel, task }
    }

    /// Listens, and the group has chosen a donor on this host.
    pub(crate) async fn accepted(conversation: conversation::Config) -> Self {
        let receiver = Self::listening(conversation);
        receiver.tell(accepted()).await;
        receiver
    }

    pub(crate) async fn tell(&self, event: Event) {
        // The transfer may be over, which the test sees in its result.
        let _ = self.events.send(event).await;
    }

    pub(crate) async fn next_notice(&mut self) -> Option<Notice> {
        tokio::time::timeout(PATIENCE, self.notices.recv()).await.expect("a notice, or the end")
    }

    pub(crate) async fn result(&mut self) -> Result<Evidence, TransferError> {
        let ended = tokio::time::timeout(PATIENCE, &mut self.task).await;
        ended.expect("the transfer ends").expect("the task does not panic")
    }

    /// Lets a donor run against this receiver and tells it the donor's word, as a group would.
    pub(crate) async fn serve(mut self, donor: Donor) -> Outcome {
        let (address, events) = (self.address, self.events.clone());
        let donor = tokio::spawn(async move {
            let status = donor.run(address).await;
            let _ = events.send(Event::DonorJoined { code: -status }).await;
            status
        });
        let (metadata, archive) = self.consume().await;
        let result = self.result().await;
        let donor_status = tokio::time::timeout(PATIENCE, donor).await.expect("the donor ends");
        Outcome { metadata, archive, result, donor_status: donor_status.expect("no panic") }
    }

    /// Takes every notice; reads and judges the archive.
    pub(crate) async fn consume(&mut self) -> (Option<Box<Metadata>>, Option<Vec<u8>>) {
        let (mut metadata, mut archive) = (None, None);
        while let Some(notice) = self.next_notice().await {
            match notice {
                Notice::Metadata(found) => metadata = Some(found),
                Notice::Keyring(_) => {}
                Notice::Archive(reader) => {
                    let (bytes, end) = read_all(reader).await;
                    if end.is_ok() {
                        self.tell(Event::Judged(judge(&bytes))).await;
                    }
                    archive = Some(bytes);
                }
            }
        }
        (metadata, archive)
    }
}

pub(crate) fn accepted() -> Event {
    Event::RequestAccepted { donor: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] }
}

pub(crate) async fn read_all(mut reader: ArchiveReader) -> (Vec<u8>, io::Result<()>) {
    let mut bytes = Vec::new();
    let end = reader.read_to_end(&mut bytes).await.map(drop);
    (bytes, end)
}

/// The smallest pipeline that deserves the name: framing, checksums, open files, the last file.
pub(crate) fn judge(mut stream: &[u8]) -> Judgement {
    let mut open: Vec<Vec<u8>> = Vec::new();
    let mut closed_info = false;
    while !stream.is_empty() {
        let Some((chunk_type, name, rest)) = split_chunk(stream) else {
            return Judgement::Incomplete;
        };
        stream = rest;
        match chunk_type {
            b'P' if !open.contains(&name) => open.push(name),
            b'P' => {}
            b'E' => {
                closed_info |= name.ends_with(b"backup_info");
                open.retain(|other| *other != name);
            }
            _ => return Judgement::Damaged,
        }
    }
    if open.is_empty() && closed_info { Judgement::Whole } else { Judgement::Incomplete }
}

/// Type, name and the rest; `None` where the stream ends. A bad chunk gets the type 0.
fn split_chunk(stream: &[u8]) -> Option<(u8, Vec<u8>, &[u8])> {
    let damaged = Some((0, Vec::new(), &stream[..0]));
    if stream.get(..8)? != b"XBSTCK01" {
        return damaged;
    }
    let chunk_type = *stream.get(9)?;
    let length = u32::from_le_bytes(stream.get(10..14)?.try_into().ok()?);
    let (name, rest) = stream.get(14..)?.split_at_checked(usize::try_from(length).ok()?)?;
    if chunk_type != b'P' {
        return Some((chunk_type, name.to_vec(), rest));
    }
    let length = u64::from_le_bytes(rest.get(..8)?.try_into().ok()?);
    let checksum = u32::from_le_bytes(rest.get(16..20)?.try_into().ok()?);
    let (payload, rest) = rest.get(20..)?.split_at_checked(usize::try_from(length).ok()?)?;
    if crc32fast::hash(payload) != checksum {
        return damaged;
    }
    Some((chunk_type, name.to_vec(), rest))
}
