use core::time::Duration;

use super::*;
use crate::sst::conversation::{CloseReason, End, Refusal};
use crate::sst::metadata::MetadataError;
use crate::sst::sniff::Layer;
use crate::tls::TlsFailure;
use crate::xbstream::{ClosingFile, EntryPath, Fault};

fn no_handshake() -> Option<Refusal> {
    let peer = core::net::Ipv4Addr::LOCALHOST.into();
    Some(Refusal { peer, reason: CloseReason::NoHandshake(TlsFailure::Other) })
}

fn faulty(fault: Fault) -> Files {
    let path = Some(EntryPath::parse(b"shop/orders.ibd").expect("a name"));
    Files::Faulty(StreamError { chunk_offset: 7, path, fault })
}

fn bad() -> Files {
    faulty(Fault::Checksum { expected: 1, found: 2 })
}

const fn missing() -> ClosingFiles {
    ClosingFiles::Lacking(Gap::Missing(ClosingFile::Info))
}

fn all_agree() -> Witnesses {
    Witnesses {
        files: Files::Whole { count: 220 },
        closing_files: ClosingFiles::Present,
        transport: Transport::Clean,
        group: GroupWord::Joined { code: 0 },
        sink: SinkEnd::Committed,
    }
}

fn limit() -> Duration {
    Duration::from_secs(120)
}

#[test]
fn five_witnesses_that_agree_make_a_backup() {
    let complete = decide(&all_agree()).expect("complete");
    assert_eq!(complete.files(), 220);
    assert_eq!(complete.join_code(), Some(0));
}

#[test]
fn somebody_elses_member_may_stand_for_the_group() {
    let complete = decide(&Witnesses { group: GroupWord::Unavailable, ..all_agree() });
    assert_eq!(complete.expect("complete").join_code(), None);
}

#[test]
fn nothing_heard_is_no_backup() {
    assert_eq!(decide(&Witnesses::NONE), Err(Failure::NotEnded));
}

/// One row per way in which one witness disagrees while the other four agree.
#[test]
fn each_witness_alone_can_refuse() {
    let files = |files| Witnesses { files, ..all_agree() };
    let closing = |closing_files| Witnesses { closing_files, ..all_agree() };
    let transport = |failure| Witnesses { transport: Transport::Failed(failure), ..all_agree() };
    let group = |failure| Witnesses { group: GroupWord::Failed(failure), ..all_agree() };
    let sink = |sink| Witnesses { sink, ..all_agree() };
    let cut = TransferFailure::Interrupted { end: End::Reset, bytes: 30_000_000 };
    let idle = TransferFailure::Idle { limit: limit(), bytes: 5 };
    let slow = TransferFailure::TooSlow { limit: limit(), bytes: 5 };
    let failed = TransferFailure::DonorFailed { code: -22, refusal: None };
    let silent = TransferFailure::NoVerdict { limit: limit() };
    let rows = [
        (files(Files::Unread), Witness::Files, 100, "not read to its end"),
        (files(faulty(Fault::Truncated)), Witness::Files, 65, "the stream ends inside"),
        (files(faulty(Fault::OpenAtEnd { count: 3 })), Witness::Files, 65, "3 files incomplete"),
        (files(bad()), Witness::Files, 65, "damaged: xbstream chunk at byte 7"),
        (files(faulty(Fault::Duplicate)), Witness::Files, 65, "(file shop/orders.ibd)"),
        (files(faulty(Fault::SparseMap)), Witness::Files, 65, "sparse map"),
        (closing(ClosingFiles::Unread), Witness::Files, 100, "not read to its end"),
        (closing(missing()), Witness::ClosingFiles, 65, "the info file is missing"),
        (closing(ClosingFiles::Lacking(Gap::NoEndTime)), Witness::ClosingFiles, 65, "no end_time"),
        (
            Witnesses { transport: Transport::NotEnded, ..all_agree() },
            Witness::Transport,
            75,
            "did not come to its end",
        ),
        (transport(cut), Witness::Transport, 75, "was reset after 30000000 bytes"),
        (transport(idle), Witness::Transport, 75, "sent nothing for 120 s"),
        (transport(slow), Witness::Transport, 74, "took no data for 120 s"),
        (
            Witnesses { group: GroupWord::NotHeard, ..all_agree() },
            Witness::Group,
            75,
            "word about the transfer was not heard",
        ),
        (
            Witnesses { group: GroupWord::Joined { code: -32 }, ..all_agree() },
            Witness::Group,
            101,
            "code -32",
        ),
        (group(failed), Witness::Group, 101, "failed, code -22"),
        (group(TransferFailure::DonorGone), Witness::Group, 101, "disappeared"),
        (group(TransferFailure::OutcomeUnknown), Witness::Group, 75, "was not seen"),
        (group(silent), Witness::Group, 75, "no word from the donor"),
        (sink(SinkEnd::NotCommitted), Witness::Sink, 100, "did not commit"),
        (sink(SinkEnd::NotCreated), Witness::Sink, 73, "cannot be created"),
        (sink(SinkEnd::Failed), Witness::Sink, 74, "target of the backup failed"),
    ];
    for (witnesses, witness, code, text) in rows {
        let failure = decide(&witnesses).expect_err(text);
        assert_eq!(failure.witness(), witness, "{failure:?}");
        assert_eq!(failure.exit_class().code(), code, "{failure:?}");
        assert!(failure.to_string().contains(text), "{failure} / {text}");
    }
}

/// Rows of spec 05 §6.5 and §2.9, where several witnesses disagree: the cause is named.
#[test]
fn of_several_failures_the_cause_is_named() {
    let failed = || GroupWord::Failed(TransferFailure::DonorFailed { code: -22, refusal: None });
    let reset = || Transport::Failed(TransferFailure::Interrupted { end: End::Reset, bytes: 9 });
    let half = || faulty(Fault::OpenAtEnd { count: 3 });
    let rows = [
        (
            "backup program killed: clean end, half a stream, the donor knows",
            Witnesses { files: half(), closing_files: missing(), group: failed(), ..all_agree() },
            101,
        ),
        (
            "socat -T on the donor: clean end, half a stream, the donor is content",
            Witnesses { files: half(), closing_files: missing(), ..all_agree() },
            65,
        ),
        (
            "cut at a chunk boundary: all files whole, the last ones missing",
            Witnesses { closing_files: missing(), ..all_agree() },
            65,
        ),
        (
            "connection reset, donor content",
            Witnesses { files: half(), transport: reset(), ..all_agree() },
            75,
        ),
        (
            "connection reset because the donor died",
            Witnesses {
                files: half(),
                transport: reset(),
                group: GroupWord::Failed(TransferFailure::DonorGone),
                ..all_agree()
            },
            101,
        ),
        (
            "our sink failed, so we broke the connection, so the donor failed",
            Witnesses {
                files: half(),
                transport: reset(),
                group: failed(),
                sink: SinkEnd::Failed,
                ..all_agree()
            },
            74,
        ),
        (
            "a bad checksum made us break the connection",
            Witnesses {
                files: bad(),
                transport: Transport::NotEnded,
                group: failed(),
                sink: SinkEnd::NotCommitted,
                closing_files: ClosingFiles::Unread,
            },
            65,
        ),
        (
            "everything good, and the sink failed to commit",
            Witnesses { sink: SinkEnd::Failed, ..all_agree() },
            74,
        ),
    ];
    for (situation, witnesses, code) in rows {
        let failure = decide(&witnesses).expect_err(situation);
        assert_eq!(failure.exit_class().code(), code, "{situation}: {failure:?}");
    }
}

#[test]
fn the_conversation_speaks_for_two_witnesses() {
    let mut witnesses = Witnesses::NONE;
    witnesses.hear_transfer(&Ok(Evidence { archive_bytes: 5, join_code: Some(7) }));
    assert_eq!(witnesses.transport, Transport::Clean);
    assert_eq!(witnesses.group, GroupWord::Joined { code: 7 });

    let mut witnesses = Witnesses::NONE;
    witnesses.hear_transfer(&Err(TransferFailure::DonorGone));
    assert_eq!(witnesses.group, GroupWord::Failed(TransferFailure::DonorGone));

    let mut witnesses = Witnesses::NONE;
    witnesses.hear_transfer(&Err(TransferFailure::NotEncrypted));
    assert_eq!(witnesses.transport, Transport::Failed(TransferFailure::NotEncrypted));

    for echo in [TransferFailure::Damaged, TransferFailure::NotStored] {
        let mut witnesses = Witnesses::NONE;
        witnesses.hear_transfer(&Err(echo));
        assert_eq!(witnesses, Witnesses::NONE, "the pipeline itself says it better");
    }
}

#[test]
fn an_incomplete_stream_is_described_by_the_pipeline() {
    let files = faulty(Fault::Truncated);
    let mut witnesses = Witnesses { files, ..Witnesses::NONE };
    witnesses.hear_transfer(&Err(TransferFailure::Incomplete));
    let failure = decide(&witnesses).expect_err("incomplete");
    assert!(matches!(failure, Failure::Unfinished(_)), "{failure:?}");
}

#[test]
fn every_failure_of_the_conversation_has_its_exit_class() {
    let limit = limit();
    let rows = [
        (TransferFailure::DonorAddressUnknown, 78),
        (TransferFailure::NoFirstConnection { limit, refusal: None }, 75),
        (TransferFailure::NoSecondConnection { limit, refusal: None }, 75),
        (TransferFailure::NoMetadata { refusal: None }, 65),
        (TransferFailure::Metadata(MetadataError::Bypass), 102),
        (TransferFailure::Metadata(MetadataError::NoKnownFile), 65),
        (TransferFailure::MetadataTooLong { limit: 1 }, 65),
        (TransferFailure::Wrapped { layer: Layer::Tls }, 77),
        (TransferFailure::Wrapped { layer: Layer::Gzip }, 78),
        (TransferFailure::NotEncrypted, 77),
        (TransferFailure::Interrupted { end: End::TimedOut, bytes: 0 }, 75),
        (TransferFailure::Idle { limit, bytes: 0 }, 75),
        (TransferFailure::TooSlow { limit, bytes: 0 }, 74),
        (TransferFailure::DonorFailed { code: -2, refusal: None }, 101),
        (TransferFailure::DonorFailed { code: -32, refusal: no_handshake() }, 77),
        (TransferFailure::SentElsewhere { refusal: no_handshake() }, 77),
        (TransferFailure::DonorGone, 101),
        (TransferFailure::OutcomeUnknown, 75),
        (TransferFailure::NoVerdict { limit }, 75),
        (TransferFailure::SentElsewhere { refusal: None }, 75),
        (TransferFailure::Incomplete, 65),
        (TransferFailure::Damaged, 65),
        (TransferFailure::NotStored, 74),
    ];
    for (failure, code) in rows {
        assert_eq!(class_of(&failure).code(), code, "{failure:?}");
        let text = failure.to_string();
        assert!(!text.contains('\n') && !text.ends_with('.'), "{text}");
    }
}
