use core::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::connections::CONNECTIONS_MAX;
use super::*;
use crate::sst::metadata::{Metadata, MetadataError};
use crate::sst::peers::{AllowFrom, Network};
use crate::sst::sniff::Layer;

const DONOR: &str = "10.0.0.5";
const STRANGER: &str = "192.0.2.9";
const UUID: &str = "3ae18adc-e690-11f1-aa68-dbedcff0437f";

/// A conversation in virtual time: every step returns exactly what the machine wants done.
struct Scene {
    machine: Conversation,
    now: Instant,
}

impl Scene {
    fn new(config: Config) -> Self {
        Self { machine: Conversation::new(config), now: Instant::from_micros(1_000_000) }
    }

    /// The group has chosen the donor.
    fn accepted(config: Config) -> Self {
        let mut scene = Self::new(config);
        assert_eq!(scene.event(accepted()), []);
        scene
    }

    /// Conn 1 was read.
    fn awaiting_archive(config: Config) -> Self {
        let mut scene = Self::accepted(config);
        scene.connect(1, DONOR);
        scene.receive(1, &metadata());
        scene.end(1, End::Clean);
        assert_eq!(scene.machine.phase(), Phase::AwaitingArchive);
        scene
    }

    /// Conn 2 runs as connection 2.
    fn receiving(config: Config) -> Self {
        let mut scene = Self::awaiting_archive(config);
        scene.connect(2, DONOR);
        let outputs = scene.receive(2, &backup());
        let head = Bytes::from(backup());
        assert_eq!(outputs, [Output::StartArchive { connection: ConnectionId(2), head }]);
        scene
    }

    fn input(&mut self, input: Input) -> Vec<Output> {
        self.machine.handle_input(self.now, input);
        core::iter::from_fn(|| self.machine.poll_output()).collect()
    }

    fn connect(&mut self, connection: u32, peer: &str) -> Vec<Output> {
        let peer = peer.parse().expect("an address");
        self.input(Input::Accepted { connection: ConnectionId(connection), peer })
    }

    fn receive(&mut self, connection: u32, bytes: &[u8]) -> Vec<Output> {
        let bytes = Bytes::copy_from_slice(bytes);
        self.input(Input::Received { connection: ConnectionId(connection), bytes })
    }

    fn end(&mut self, connection: u32, end: End) -> Vec<Output> {
        self.input(Input::Ended { connection: ConnectionId(connection), end })
    }

    fn event(&mut self, event: Event) -> Vec<Output> {
        self.input(Input::Event(event))
    }

    fn judge(&mut self, judgement: Judgement) -> Vec<Output> {
        self.event(Event::Judged(judgement))
    }

    fn join(&mut self, code: i64) -> Vec<Output> {
        self.event(Event::DonorJoined { code })
    }

    fn progress(&mut self, bytes: u64, waiting: Waiting) -> Vec<Output> {
        let since = self.now;
        self.input(Input::ArchiveProgress(Progress { bytes, waiting, since }))
    }

    /// Lets time pass, waking the machine at each of its deadlines.
    fn pass(&mut self, seconds: u64) -> Vec<Output> {
        let until = self.now + Duration::from_secs(seconds);
        let mut outputs = Vec::new();
        while let Some(at) = self.machine.next_deadline().filter(|at| *at <= until) {
            self.now = at;
            outputs.extend(self.input(Input::Timeout));
        }
        self.now = until;
        outputs
    }
}

fn accepted() -> Event {
    Event::RequestAccepted { donor: vec![DONOR.parse().expect("an address")] }
}

fn chunk(chunk_type: u8, name: &str, payload: Option<&[u8]>) -> Vec<u8> {
    let length = u32::try_from(name.len()).expect("short").to_le_bytes();
    let mut out = [b"XBSTCK01\0", &[chunk_type][..], &length, name.as_bytes()].concat();
    if let Some(payload) = payload {
        out.extend(u64::try_from(payload.len()).expect("short").to_le_bytes());
        out.extend(0_u64.to_le_bytes());
        out.extend(crc32fast::hash(payload).to_le_bytes());
        out.extend(payload);
    }
    out
}

fn file(name: &str, content: &str) -> Vec<u8> {
    [chunk(b'P', name, Some(content.as_bytes())), chunk(b'E', name, None)].concat()
}

fn metadata() -> Vec<u8> {
    file("sst_info", &format!("[sst]\ngalera-gtid={UUID}:7\n"))
}

fn backup() -> Vec<u8> {
    file("ibdata1", "data")
}

fn read(connection: u32) -> Output {
    Output::Read { connection: ConnectionId(connection) }
}

fn close(connection: u32, reason: CloseReason) -> Output {
    Output::Close { connection: ConnectionId(connection), reason }
}

fn failed(failure: Failure) -> Output {
    Output::Ended(Err(failure))
}

fn over(connection: u32) -> Output {
    close(connection, CloseReason::TransferOver)
}

fn refusal(peer: &str, reason: CloseReason) -> Option<Refusal> {
    Some(Refusal { peer: peer.parse().expect("an address"), reason })
}

fn anyone() -> Config {
    Config { allow_from: AllowFrom::Anyone, ..Config::default() }
}

#[test]
fn a_transfer_is_complete_after_clean_end_judgement_and_join() {
    let mut scene = Scene::accepted(Config::default());
    assert_eq!(scene.connect(1, DONOR), [read(1)]);
    assert_eq!(scene.receive(1, &metadata()), [read(1)]);
    let decoded = Metadata::decode(crate::sst::sniff::Container::Xbstream, metadata().into());
    let decoded = Box::new(decoded.expect("valid metadata"));
    assert_eq!(scene.end(1, End::Clean), [Output::Metadata(decoded), close(1, CloseReason::Done)]);
    assert_eq!(scene.pass(10), []);
    assert_eq!(scene.connect(2, DONOR), [read(2)]);
    let head = Bytes::from(backup());
    let start = Output::StartArchive { connection: ConnectionId(2), head };
    assert_eq!(scene.receive(2, &backup()), [start]);
    assert_eq!(scene.progress(4711, Waiting::ForDonor), []);
    assert_eq!(scene.end(2, End::Clean), []);
    assert_eq!(scene.judge(Judgement::Whole), []);
    let evidence = Evidence { archive_bytes: 4711, join_code: Some(0) };
    assert_eq!(scene.join(0), [Output::Ended(Ok(evidence))]);
    assert_eq!(scene.machine.phase(), Phase::Ended);
    assert_eq!(scene.machine.next_deadline(), None);
}

#[test]
fn the_last_three_witnesses_may_come_in_any_order() {
    type Step = fn(&mut Scene) -> Vec<Output>;
    let end: Step = |scene| scene.end(2, End::Clean);
    let judged: Step = |scene| scene.judge(Judgement::Whole);
    let join: Step = |scene| scene.join(108);
    let orders = [
        [end, judged, join],
        [end, join, judged],
        [judged, end, join],
        [judged, join, end],
        [join, end, judged],
        [join, judged, end],
    ];
    for [first, second, third] in orders {
        let mut scene = Scene::receiving(Config::default());
        assert_eq!(first(&mut scene), []);
        assert_eq!(second(&mut scene), []);
        let evidence = Evidence { archive_bytes: 0, join_code: Some(108) };
        assert_eq!(third(&mut scene), [Output::Ended(Ok(evidence))]);
    }
}

#[test]
fn no_two_witnesses_are_enough() {
    type Step = fn(&mut Scene) -> Vec<Output>;
    let end: Step = |scene| scene.end(2, End::Clean);
    let judged: Step = |scene| scene.judge(Judgement::Whole);
    let join: Step = |scene| scene.join(0);
    let limit = Duration::from_secs(120);
    let idle = Failure::Idle { limit: Duration::from_secs(600), bytes: 5 };
    let cases = [
        ([end, judged], Some(vec![failed(Failure::NoVerdict { limit })])),
        // The judgement has no limit here: it is the caller's own pipeline.
        ([end, join], None),
        ([judged, join], Some(vec![over(2), failed(idle)])),
    ];
    for ([first, second], expected) in cases {
        let mut scene = Scene::receiving(Config::default());
        scene.progress(5, Waiting::ForDonor);
        first(&mut scene);
        second(&mut scene);
        assert_eq!(scene.pass(100_000), expected.unwrap_or_default());
    }
}

#[test]
fn without_a_member_of_our_own_the_join_is_not_waited_for() {
    let config = Config { group: GroupWitness::Unavailable, ..Config::default() };
    let mut scene = Scene::receiving(config.clone());
    scene.end(2, End::Clean);
    let evidence = Evidence { archive_bytes: 0, join_code: None };
    assert_eq!(scene.judge(Judgement::Whole), [Output::Ended(Ok(evidence))]);

    let mut scene = Scene::receiving(config);
    let cut = failed(Failure::Interrupted { end: End::Reset, bytes: 0 });
    assert_eq!(scene.end(2, End::Reset), [cut]);
}

#[test]
fn a_negative_join_is_final_in_every_phase() {
    for code in [-2, -3, -21, -22, -32, -42, -93, -114, -125, -99, -113, -11] {
        let failure = |refusal| failed(Failure::DonorFailed { code, refusal });
        let mut scene = Scene::accepted(Config::default());
        // A donor whose first connection failed, and of which nothing came, did not find us.
        let unseen = if code == -32 { failed(Failure::NotReached { code }) } else { failure(None) };
        assert_eq!(scene.join(code), [unseen]);
        let mut scene = Scene::awaiting_archive(Config::default());
        assert_eq!(scene.join(code), [failure(None)]);
        let mut scene = Scene::receiving(Config::default());
        assert_eq!(scene.join(code), [over(2), failure(None)]);
        let mut scene = Scene::receiving(Config::default());
        scene.end(2, End::Clean);
        scene.judge(Judgement::Whole);
        assert_eq!(scene.join(code), [failure(None)]);
    }
}

#[test]
fn a_killed_backup_program_looks_complete_until_the_donor_speaks() {
    let mut scene = Scene::receiving(Config::default());
    assert_eq!(scene.end(2, End::Clean), []);
    assert_eq!(scene.judge(Judgement::Incomplete), []);
    assert_eq!(scene.pass(1), []);
    let failure = Failure::DonorFailed { code: -22, refusal: None };
    assert_eq!(scene.join(-22), [failed(failure)]);
}

#[test]
fn an_incomplete_stream_fails_even_if_the_donor_is_content() {
    let mut scene = Scene::receiving(Config::default());
    scene.join(0);
    scene.end(2, End::Clean);
    assert_eq!(scene.judge(Judgement::Incomplete), [failed(Failure::Incomplete)]);
}

#[test]
fn an_incomplete_stream_without_a_word_fails_soon() {
    let mut scene = Scene::receiving(Config::default());
    scene.end(2, End::Clean);
    scene.judge(Judgement::Incomplete);
    assert_eq!(scene.pass(14), []);
    assert_eq!(scene.pass(1), [failed(Failure::Incomplete)]);
}

#[test]
fn a_broken_stream_fails_whatever_else_is_said() {
    for end in [End::Reset, End::TimedOut, End::Truncated, End::Failed, End::Abandoned] {
        let failure = || failed(Failure::Interrupted { end, bytes: 9 });
        let scene = || {
            let mut scene = Scene::receiving(Config::default());
            scene.progress(9, Waiting::ForDonor);
            scene
        };
        let mut alone = scene();
        assert_eq!(alone.end(2, end), []);
        assert_eq!(alone.pass(15), [failure()]);

        let mut with_word = scene();
        with_word.judge(Judgement::Whole);
        with_word.join(0);
        assert_eq!(with_word.end(2, end), [failure()]);

        let mut lost = scene();
        lost.end(2, end);
        assert_eq!(lost.event(Event::DonorGone), [failed(Failure::DonorGone)]);
    }
}

#[test]
fn damage_and_a_failed_sink_end_the_transfer_at_once() {
    let cases =
        [(Judgement::Damaged, Failure::Damaged), (Judgement::NotStored, Failure::NotStored)];
    for (judgement, failure) in cases {
        let mut scene = Scene::receiving(Config::default());
        assert_eq!(scene.judge(judgement), [over(2), failed(failure.clone())]);
        let mut scene = Scene::receiving(Config::default());
        scene.join(0);
        scene.end(2, End::Clean);
        assert_eq!(scene.judge(judgement), [failed(failure)]);
    }
}

#[test]
fn a_lost_donor_ends_the_transfer_unless_it_has_given_its_word() {
    let events =
        [(Event::DonorGone, Failure::DonorGone), (Event::TransferUnknown, Failure::OutcomeUnknown)];
    for (event, failure) in events {
        let mut scene = Scene::accepted(Config::default());
        assert_eq!(scene.event(event.clone()), [failed(failure.clone())]);
        let mut scene = Scene::receiving(Config::default());
        assert_eq!(scene.event(event.clone()), [over(2), failed(failure.clone())]);
        let mut scene = Scene::receiving(Config::default());
        scene.end(2, End::Clean);
        assert_eq!(scene.event(event.clone()), [failed(failure)]);
        let mut scene = Scene::receiving(Config::default());
        scene.join(0);
        assert_eq!(scene.event(event), []);
    }
}

#[test]
fn group_events_before_the_request_was_accepted_are_not_ours() {
    for event in [
        Event::DonorGone,
        Event::TransferUnknown,
        Event::DonorJoined { code: -22 },
        Event::DonorJoined { code: 0 },
    ] {
        let mut scene = Scene::new(Config::default());
        assert_eq!(scene.event(event), []);
        assert_eq!(scene.machine.phase(), Phase::Listening);
    }
}

#[test]
fn only_the_donor_may_connect() {
    let mut scene = Scene::accepted(Config::default());
    assert_eq!(scene.connect(1, STRANGER), [close(1, CloseReason::NotTheDonor)]);
    assert_eq!(scene.connect(2, "::ffff:10.0.0.5"), [read(2)]);
    let networks = vec!["192.0.2.0/24".parse::<Network>().expect("a network")];
    let allow_from = AllowFrom::DonorAnd(networks);
    let mut scene = Scene::accepted(Config { allow_from, ..Config::default() });
    assert_eq!(scene.connect(1, STRANGER), [read(1)]);
    assert_eq!(scene.connect(2, "198.51.100.1"), [close(2, CloseReason::NotTheDonor)]);
    let mut scene = Scene::accepted(anyone());
    assert_eq!(scene.connect(1, "198.51.100.1"), [read(1)]);
}

#[test]
fn connections_before_the_choice_are_held_and_sorted_by_it() {
    let mut scene = Scene::new(Config::default());
    assert_eq!(scene.connect(1, STRANGER), []);
    assert_eq!(scene.connect(2, DONOR), []);
    assert_eq!(scene.event(accepted()), [close(1, CloseReason::NotTheDonor), read(2)]);
}

#[test]
fn a_held_connection_does_not_wait_for_ever() {
    let mut scene = Scene::new(Config::default());
    scene.connect(1, DONOR);
    assert_eq!(scene.pass(10), [close(1, CloseReason::HeldTooLong)]);
}

#[test]
fn the_number_of_connections_is_bounded() {
    for mut scene in [Scene::new(anyone()), Scene::accepted(anyone())] {
        let limit = u32::try_from(CONNECTIONS_MAX).expect("small");
        for id in 0..limit {
            assert!(!scene.connect(id, DONOR).contains(&close(id, CloseReason::TooMany)));
        }
        assert_eq!(scene.connect(limit, DONOR), [close(limit, CloseReason::TooMany)]);
    }
}

#[test]
fn without_the_donors_address_nobody_may_connect() {
    let unknown = || Event::RequestAccepted { donor: vec![] };
    let mut scene = Scene::new(Config::default());
    assert_eq!(scene.event(unknown()), [failed(Failure::DonorAddressUnknown)]);
    let mut scene = Scene::new(anyone());
    assert_eq!(scene.event(unknown()), []);
    assert_eq!(scene.connect(1, STRANGER), [read(1)]);
}

#[test]
fn strangers_and_empty_connections_are_not_counted() {
    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, DONOR);
    assert_eq!(scene.end(1, End::Clean), [close(1, CloseReason::Empty)]);
    scene.connect(2, DONOR);
    let outputs = scene.receive(2, b"GET / HTTP/1.1\r\n");
    assert!(
        matches!(outputs[..], [Output::Close { reason: CloseReason::Foreign(_), .. }]),
        "{outputs:?}"
    );
    scene.connect(3, DONOR);
    assert_eq!(scene.end(3, End::Reset), [close(3, CloseReason::Broken)]);
    scene.connect(4, DONOR);
    assert_eq!(scene.pass(30), [close(4, CloseReason::Silent)]);
    scene.connect(5, DONOR);
    scene.receive(5, &metadata());
    scene.end(5, End::Clean);
    assert_eq!(scene.machine.phase(), Phase::AwaitingArchive);
}

#[test]
fn an_empty_connection_after_the_metadata_leaves_the_decision_to_the_donor() {
    let mut scene = Scene::awaiting_archive(Config::default());
    scene.connect(2, DONOR);
    assert_eq!(scene.end(2, End::Clean), [close(2, CloseReason::Empty)]);
    assert_eq!(scene.machine.phase(), Phase::AwaitingArchive);
    let refusal = refusal(DONOR, CloseReason::Empty);
    assert_eq!(scene.join(-22), [failed(Failure::DonorFailed { code: -22, refusal })]);
}

#[test]
fn metadata_may_come_byte_by_byte() {
    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, DONOR);
    for byte in metadata() {
        assert_eq!(scene.receive(1, &[byte]), [read(1)]);
        assert_eq!(scene.pass(1), []);
    }
    let outputs = scene.end(1, End::Clean);
    assert!(matches!(outputs[..], [Output::Metadata(_), Output::Close { .. }]), "{outputs:?}");
}

#[test]
fn metadata_that_is_cut_or_broken_may_be_sent_again() {
    let whole = metadata();
    for (cut, end, reason) in [
        (60, End::Clean, CloseReason::Truncated),
        (60, End::Reset, CloseReason::Broken),
        (whole.len(), End::Reset, CloseReason::Broken),
    ] {
        let mut scene = Scene::accepted(Config::default());
        scene.connect(1, DONOR);
        scene.receive(1, &whole[..cut]);
        assert_eq!(scene.end(1, end), [close(1, reason)]);
        scene.connect(2, DONOR);
        scene.receive(2, &whole);
        scene.end(2, End::Clean);
        assert_eq!(scene.machine.phase(), Phase::AwaitingArchive);
    }
}

#[test]
fn damaged_metadata_and_incremental_transfers_end_the_conversation() {
    let mut corrupt = metadata();
    let last = corrupt.len() - 40;
    corrupt[last] ^= 1;
    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, DONOR);
    scene.receive(1, &corrupt);
    let outputs = scene.end(1, End::Clean);
    assert!(
        matches!(
            outputs[..],
            [
                Output::Close { .. },
                Output::Ended(Err(Failure::Metadata(MetadataError::Archive(_))))
            ]
        ),
        "{outputs:?}"
    );

    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, DONOR);
    scene.receive(1, &[metadata(), file("xtrabackup_ist", "1\n")].concat());
    let bypass = failed(MetadataError::Bypass.into());
    assert_eq!(scene.end(1, End::Clean), [over(1), bypass]);
}

#[test]
fn metadata_without_end_is_refused_at_its_limit() {
    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, DONOR);
    scene.receive(1, &metadata());
    let limit = crate::sst::metadata::METADATA_BYTES_MAX;
    let outputs = scene.receive(1, &vec![0; limit]);
    assert_eq!(outputs, [over(1), failed(Failure::MetadataTooLong { limit })]);
}

#[test]
fn nobody_connecting_fails_at_the_limit_and_names_who_was_turned_away() {
    let limit = Duration::from_secs(300);
    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, STRANGER);
    assert_eq!(scene.pass(299), []);
    let refusal = refusal(STRANGER, CloseReason::NotTheDonor);
    let failure = Failure::NoFirstConnection { limit, refusal };
    assert!(failure.to_string().contains("192.0.2.9, not the donor's address"));
    assert_eq!(scene.pass(1), [failed(failure)]);
}

#[test]
fn ten_seconds_of_silence_after_the_metadata_are_normal_and_two_minutes_are_not() {
    let mut scene = Scene::awaiting_archive(Config::default());
    assert_eq!(scene.pass(119), []);
    let limit = Duration::from_secs(120);
    let failure = Failure::NoSecondConnection { limit, refusal: None };
    assert_eq!(scene.pass(1), [failed(failure)]);
}

#[test]
fn a_silent_second_connection_may_wait_for_a_backup_lock() {
    let mut scene = Scene::awaiting_archive(Config::default());
    scene.pass(10);
    scene.connect(2, DONOR);
    assert_eq!(scene.pass(599), []);
    let limit = Duration::from_secs(120);
    let refusal = refusal(DONOR, CloseReason::Silent);
    let failure = Failure::NoSecondConnection { limit, refusal };
    assert_eq!(scene.pass(1), [close(2, CloseReason::Silent), failed(failure)]);
}

#[test]
fn a_backup_before_its_metadata_is_held_while_they_may_still_come() {
    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, DONOR);
    scene.receive(1, &metadata());
    scene.connect(2, DONOR);
    assert_eq!(scene.receive(2, &backup()), []);
    let outputs = scene.end(1, End::Clean);
    assert!(
        matches!(
            outputs[..],
            [Output::Metadata(_), Output::Close { .. }, Output::StartArchive { .. }]
        ),
        "{outputs:?}"
    );
    assert_eq!(scene.machine.phase(), Phase::Receiving);
}

#[test]
fn a_backup_without_metadata_is_refused() {
    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, DONOR);
    let failure = failed(Failure::NoMetadata { refusal: None });
    assert_eq!(scene.receive(1, &backup()), [over(1), failure]);

    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, DONOR);
    scene.connect(2, DONOR);
    assert_eq!(scene.receive(2, &backup()), []);
    let refusal = refusal(DONOR, CloseReason::Empty);
    let failure = failed(Failure::NoMetadata { refusal });
    assert_eq!(scene.end(1, End::Clean), [close(1, CloseReason::Empty), over(2), failure]);
}

#[test]
fn second_archives_are_turned_away() {
    let mut scene = Scene::awaiting_archive(Config::default());
    scene.connect(2, DONOR);
    assert_eq!(scene.receive(2, &metadata()), [close(2, CloseReason::SecondMetadata)]);
    let mut scene = Scene::receiving(Config::default());
    scene.connect(3, DONOR);
    assert_eq!(scene.receive(3, &backup()), [close(3, CloseReason::SecondArchive)]);
    scene.connect(4, DONOR);
    assert_eq!(scene.receive(4, &metadata()), [close(4, CloseReason::SecondMetadata)]);
    scene.end(2, End::Clean);
    assert_eq!(scene.connect(5, DONOR), [over(5)]);
}

#[test]
fn two_metadata_connections_at_once_count_once() {
    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, DONOR);
    scene.connect(2, DONOR);
    scene.receive(1, &metadata());
    scene.receive(2, &metadata());
    scene.end(1, End::Clean);
    assert_eq!(scene.end(2, End::Clean), [close(2, CloseReason::SecondMetadata)]);
}

#[test]
fn a_keyring_connection_between_the_two_is_kept_and_the_wait_starts_again() {
    let mut scene = Scene::awaiting_archive(Config::default());
    scene.pass(100);
    scene.connect(2, DONOR);
    scene.receive(2, &file("donor-keyring", "key"));
    let outputs = scene.end(2, End::Clean);
    assert!(matches!(outputs[..], [Output::Keyring(_), Output::Close { .. }]), "{outputs:?}");
    assert_eq!(scene.pass(119), []);
    scene.connect(4, DONOR);
    let second = scene.receive(4, &file("donor-keyring", "key"));
    assert_eq!(second, [close(4, CloseReason::SecondMetadata)]);
    scene.connect(3, DONOR);
    let outputs = scene.receive(3, &backup());
    assert!(matches!(outputs[..], [Output::StartArchive { .. }]), "{outputs:?}");
}

#[test]
fn a_layer_that_cannot_be_taken_off_ends_the_transfer_with_its_name() {
    let cases: [(&[u8], Layer); 4] = [
        (&[0x16, 0x03, 0x01, 0x02], Layer::Tls),
        (&[0xfd, b'7', b'z', b'X', b'Z', 0], Layer::Xz),
        (b"Salted__", Layer::OpensslEnc),
        (b"XBCRYP03", Layer::Xbcrypt),
    ];
    for (head, layer) in cases {
        let mut scene = Scene::accepted(Config::default());
        scene.connect(1, DONOR);
        let closed = close(1, CloseReason::Wrapped(layer));
        assert_eq!(scene.receive(1, head), [closed.clone(), failed(Failure::Wrapped { layer })]);

        // Whoever may connect must not be able to end the transfer by a few bytes.
        let mut scene = Scene::accepted(anyone());
        scene.connect(1, DONOR);
        assert_eq!(scene.receive(1, head), [closed]);
        assert_eq!(scene.machine.phase(), Phase::AwaitingMetadata);
    }
}

const GZIP: &[u8] = &[0x1f, 0x8b, 0x08];

fn unwrap(id: u32, wrapper: Wrapper, head: &[u8]) -> Output {
    Output::Unwrap { connection: ConnectionId(id), wrapper, head: Bytes::copy_from_slice(head) }
}

#[test]
fn a_compressor_is_taken_off_once_and_what_is_inside_is_read_like_a_new_connection() {
    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, DONOR);
    let known = Wrapper::Known(Layer::Gzip);
    assert_eq!(scene.receive(1, GZIP), [unwrap(1, known, GZIP), read(1)]);
    scene.receive(1, &metadata());
    let outputs = scene.end(1, End::Clean);
    assert!(matches!(outputs[..], [Output::Metadata(_), Output::Close { .. }]), "{outputs:?}");

    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, DONOR);
    scene.receive(1, GZIP);
    let layer = Layer::Gzip;
    let nested = [close(1, CloseReason::Wrapped(layer)), failed(Failure::Wrapped { layer })];
    assert_eq!(scene.receive(1, GZIP), nested);
}

#[test]
fn a_cipher_may_stand_inside_a_compressor() {
    let mut scene = Scene::accepted(Config { deciphers: true, ..Config::default() });
    scene.connect(1, DONOR);
    scene.receive(1, GZIP);
    let known = Wrapper::Known(Layer::Xbcrypt);
    assert_eq!(scene.receive(1, b"XBCRYP03"), [unwrap(1, known, b"XBCRYP03"), read(1)]);
}

#[test]
fn with_a_command_unknown_bytes_are_its_business() {
    let mut scene = Scene::accepted(Config { decompresses_all: true, ..Config::default() });
    for (id, head) in [(1, &b"BZh91AY&SY"[..]), (2, &[0xff; 20][..])] {
        scene.connect(id, DONOR);
        assert_eq!(scene.receive(id, head), [unwrap(id, Wrapper::Command, head), read(id)]);
    }
    let outputs = scene.end(2, End::Unpackable);
    assert_eq!(outputs.last(), Some(&failed(Failure::Unpackable)));
}

#[test]
fn a_tar_of_the_backup_is_changed_into_chunks() {
    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, DONOR);
    scene.receive(1, &metadata());
    scene.end(1, End::Clean);
    scene.connect(2, DONOR);
    let mut head = vec![0; 512];
    head[..7].copy_from_slice(b"ibdata1");
    head[257..262].copy_from_slice(b"ustar");
    let known = Wrapper::Known(Layer::Tar);
    assert_eq!(scene.receive(2, &head), [unwrap(2, known, &head), read(2)]);
    let outputs = scene.receive(2, &backup());
    assert!(matches!(outputs[..], [Output::StartArchive { .. }]), "{outputs:?}");
}

#[test]
fn with_tls_required_plain_text_is_refused_and_tls_is_read_inside() {
    let config = Config { tls: TlsPolicy::Required, ..Config::default() };
    let mut scene = Scene::accepted(config.clone());
    scene.connect(1, DONOR);
    let closed = close(1, CloseReason::NotEncrypted);
    assert_eq!(scene.receive(1, &metadata()), [closed, failed(Failure::NotEncrypted)]);

    let mut scene = Scene::accepted(config);
    scene.connect(1, DONOR);
    let hello = [0x16, 0x03, 0x01, 0x02];
    let head = Bytes::copy_from_slice(&hello);
    let start = Output::StartTls { connection: ConnectionId(1), head };
    assert_eq!(scene.receive(1, &hello), [start, read(1)]);
    assert_eq!(scene.receive(1, &metadata()), [read(1)]);
    scene.end(1, End::Clean);
    assert_eq!(scene.machine.phase(), Phase::AwaitingArchive);
}

#[test]
fn a_donor_that_says_it_is_done_before_it_connected_sent_its_backup_elsewhere() {
    let mut scene = Scene::accepted(Config::default());
    scene.connect(1, STRANGER);
    assert_eq!(scene.join(0), []);
    let refusal = refusal(STRANGER, CloseReason::NotTheDonor);
    assert_eq!(scene.pass(15), [failed(Failure::SentElsewhere { refusal })]);

    let mut scene = Scene::awaiting_archive(Config::default());
    scene.join(0);
    scene.connect(2, DONOR);
    scene.receive(2, &backup());
    assert_eq!(scene.pass(15), [], "a tiny backup may be in our hands after its JOIN");
}

#[test]
fn a_silent_donor_and_a_slow_sink_have_limits_of_their_own() {
    let mut scene = Scene::receiving(Config::default());
    scene.pass(1);
    scene.progress(100, Waiting::ForUs);
    assert_eq!(scene.pass(59), []);
    scene.progress(200, Waiting::ForDonor);
    assert_eq!(scene.pass(599), []);
    let idle = Failure::Idle { limit: Duration::from_secs(600), bytes: 200 };
    assert_eq!(scene.pass(1), [over(2), failed(idle)]);

    let mut scene = Scene::receiving(Config::default());
    scene.progress(100, Waiting::ForUs);
    let slow = Failure::TooSlow { limit: Duration::from_secs(60), bytes: 100 };
    assert_eq!(scene.pass(60), [over(2), failed(slow)]);
}

#[test]
fn a_fresh_sample_moves_the_deadline_before_it_strikes() {
    let mut scene = Scene::receiving(Config::default());
    scene.progress(1, Waiting::ForDonor);
    let begin = scene.now;
    scene.now = begin + Duration::from_secs(600);
    let since = begin + Duration::from_secs(500);
    let sample = Progress { bytes: 9, waiting: Waiting::ForDonor, since };
    assert_eq!(scene.input(Input::ArchiveProgress(sample)), []);
    assert_eq!(scene.input(Input::Timeout), []);
    assert_eq!(scene.machine.next_deadline(), Some(since + Duration::from_secs(600)));
}

#[test]
fn nothing_is_done_after_the_end() {
    let mut scene = Scene::accepted(Config::default());
    scene.join(-32);
    assert_eq!(scene.connect(1, DONOR), [over(1)]);
    assert_eq!(scene.receive(1, &metadata()), []);
    for event in [accepted(), Event::DonorGone, Event::DonorJoined { code: 0 }] {
        assert_eq!(scene.event(event), []);
    }
    assert_eq!(scene.judge(Judgement::Damaged), []);
    assert_eq!(scene.pass(1_000), []);
}

#[test]
fn phases_follow_each_other_in_one_direction_only() {
    let phases = [
        Phase::Listening,
        Phase::AwaitingMetadata,
        Phase::AwaitingArchive,
        Phase::Receiving,
        Phase::Concluding,
        Phase::Ended,
    ];
    for (at, from) in phases.into_iter().enumerate() {
        for (to_at, to) in phases.into_iter().enumerate() {
            let next = to_at == at + 1 || (to == Phase::Ended && from != Phase::Ended);
            assert_eq!(from.may_become(to), next, "{from:?} -> {to:?}");
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Input(Input),
    Pass(u64),
}

fn any_step() -> impl Strategy<Value = Step> {
    let connection = || (0_u32..6).prop_map(ConnectionId);
    let peer = prop_oneof![Just(DONOR), Just(STRANGER)]
        .prop_map(|peer| peer.parse::<IpAddr>().expect("an address"));
    let bytes = prop_oneof![
        Just(metadata()),
        Just(backup()),
        Just(file("donor-keyring", "x")),
        Just(b"GET / HTTP/1.1\r\n".to_vec()),
        Just(vec![0x16, 3, 1, 0]),
        proptest::collection::vec(any::<u8>(), 1..40),
    ];
    let end = prop_oneof![3 => Just(End::Clean), 1 => Just(End::Reset)];
    let event = prop_oneof![
        4 => Just(accepted()),
        1 => Just(Event::DonorJoined { code: 0 }),
        1 => Just(Event::DonorJoined { code: -22 }),
        1 => Just(Event::DonorGone),
        1 => Just(Event::TransferUnknown),
        1 => Just(Event::Judged(Judgement::Whole)),
        1 => Just(Event::Judged(Judgement::Incomplete)),
    ];
    prop_oneof![
        4 => (connection(), peer)
            .prop_map(|(connection, peer)| Step::Input(Input::Accepted { connection, peer })),
        6 => (connection(), bytes).prop_map(|(connection, bytes)| {
            Step::Input(Input::Received { connection, bytes: bytes.into() })
        }),
        3 => (connection(), end)
            .prop_map(|(connection, end)| Step::Input(Input::Ended { connection, end })),
        2 => event.prop_map(|event| Step::Input(Input::Event(event))),
        1 => (0_u64..200).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn any_order_of_inputs_ends_at_most_once_and_never_without_all_witnesses(
        steps in proptest::collection::vec(any_step(), 0..60),
    ) {
        let mut scene = Scene::new(Config::default());
        let mut ends = 0;
        let mut whole = false;
        let mut joined = false;
        for step in steps {
            let outputs = match step {
                Step::Input(input) => {
                    whole |= input == Input::Event(Event::Judged(Judgement::Whole));
                    joined |= input == Input::Event(Event::DonorJoined { code: 0 });
                    scene.input(input)
                }
                Step::Pass(seconds) => scene.pass(seconds),
            };
            for output in outputs {
                if let Output::Ended(result) = output {
                    ends += 1;
                    prop_assert!(result.is_err() || (whole && joined));
                }
            }
        }
        prop_assert!(ends <= 1);
        prop_assert_eq!(ends == 1, scene.machine.phase() == Phase::Ended);
    }

    #[test]
    fn a_transfer_that_nobody_feeds_always_ends(
        steps in proptest::collection::vec(any_step(), 0..30),
    ) {
        let mut scene = Scene::new(Config::default());
        scene.event(accepted());
        for step in steps {
            if let Step::Input(input) = step {
                scene.input(input);
            }
        }
        scene.pass(100_000);
        let waits_for_judgement = scene.machine.phase() == Phase::Concluding;
        prop_assert!(scene.machine.phase() == Phase::Ended || waits_for_judgement);
    }
}
