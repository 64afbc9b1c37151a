//! What several copies promise: one stream, each copy whole or absent, and the policy kept.

use std::io::Cursor;

use galera_sst::pipeline::{self, Options, PipelineError, Progress, Received};
use galera_sst::sink::copies::{Copies, Policy};
use galera_sst::sink::{Sink, SinkError};
use tokio_util::sync::CancellationToken;

use crate::faulty::Faulty;
use crate::model::files_of_stream;
use crate::streams;
use crate::subjects::{CopiesSubject, DatadirSubject, Subject, manifest};

async fn receive<S: Sink>(sink: S) -> Result<Received<S>, PipelineError> {
    let source = Cursor::new(streams::chunks().concat());
    let (options, progress) = (Options::default(), Progress::default());
    pipeline::run(source, sink, &options, &progress, &CancellationToken::new()).await
}

#[tokio::test]
async fn a_stream_and_its_files_reach_every_copy() {
    let subject = CopiesSubject::new();
    let received = receive(subject.sink().await.expect("sinks")).await.expect("good stream");
    let receipt = received.sink.commit(manifest()).await.expect("commit");
    assert_eq!(receipt.copies.len(), 3);
    assert!(receipt.copies.iter().all(|copy| copy.failure.is_none() && copy.stored_bytes > 0));
    let expected = files_of_stream(&streams::chunks().concat()).expect("good stream");
    assert_eq!(subject.visible().await, Some(expected));
}

#[tokio::test]
async fn an_abort_at_any_step_leaves_nothing_of_any_copy() {
    crate::suite::aborts_at_every_step(CopiesSubject::new).await;
}

type Pair = Copies<Faulty<<DatadirSubject as Subject>::Sink>>;

/// Two data directories, the second of which fails after so many calls.
async fn pair(
    good: &DatadirSubject,
    bad: &DatadirSubject,
    calls: usize,
    policy: Policy,
) -> Result<Pair, SinkError> {
    let good = good.sink().await.map(|sink| Faulty::new(sink, usize::MAX));
    let bad = bad.sink().await.map(|sink| Faulty::new(sink, calls));
    Copies::new(vec![("good".to_owned(), good), ("bad".to_owned(), bad)], policy).await
}

#[tokio::test]
async fn with_policy_any_the_good_copy_stands_whenever_the_other_fails() {
    let expected = files_of_stream(&streams::chunks().concat()).expect("good stream");
    for calls in 0.. {
        let (good, bad) = (DatadirSubject::new(), DatadirSubject::new());
        let sink = pair(&good, &bad, calls, Policy::Any).await.expect("sinks");
        let received = receive(sink).await.expect("one copy goes on");
        let receipt = received.sink.commit(manifest()).await.expect("one copy stands");
        assert_eq!(good.visible().await.as_ref(), Some(&expected), "fault after {calls} calls");
        if receipt.copies.iter().all(|copy| copy.failure.is_none()) {
            break;
        }
        assert!(bad.is_untouched(), "fault after {calls} calls");
        let failure = receipt.copies[1].failure.as_deref().expect("the second failed");
        assert!(receipt.copies[0].failure.is_none() && !failure.is_empty());
    }
}

#[tokio::test]
async fn with_policy_all_a_fault_during_the_stream_leaves_nothing() {
    for calls in 0.. {
        let (good, bad) = (DatadirSubject::new(), DatadirSubject::new());
        let sink = pair(&good, &bad, calls, Policy::All).await.expect("sinks");
        match receive(sink).await {
            Err(error) => assert!(matches!(error, PipelineError::Sink(_)), "{error}"),
            Ok(received) => {
                let error = received.sink.commit(manifest()).await.expect_err("fault at commit");
                let SinkError::Copies { failures: 1, copies: 2, made, .. } = error else {
                    panic!("{error}")
                };
                assert_eq!(made.len(), 1);
                assert!(good.visible().await.is_some() && bad.is_untouched());
                break;
            }
        }
        assert!(good.is_untouched() && bad.is_untouched(), "fault after {calls} calls");
    }
}

#[tokio::test]
async fn a_copy_that_cannot_be_opened_counts_as_the_policy_says() {
    for (policy, stands) in [(Policy::All, false), (Policy::Any, true)] {
        let good = DatadirSubject::new();
        let refused = || Err(SinkError::Occupied { target: "bad".to_owned() });
        let opened = vec![("bad".to_owned(), refused()), ("good".to_owned(), good.sink().await)];
        let copies = Copies::new(opened, policy).await;
        assert_eq!(copies.is_ok(), stands);
        match copies {
            Ok(copies) => copies.abort().await,
            Err(error) => assert!(matches!(error, SinkError::Occupied { .. }), "{error}"),
        }
        assert!(good.is_untouched());
    }
}
