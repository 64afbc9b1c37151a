//! The suite. Each function takes a way to make fresh subjects.

use std::io::Cursor;

use galera_sst::pipeline::{self, Options, PipelineError, Progress, Received};
use galera_sst::sink::Sink;
use tokio_util::sync::CancellationToken;

use crate::faulty::Faulty;
use crate::model::{Driver, Files, expected, files_of_stream, mariadb, percona};
use crate::streams;
use crate::subjects::{Subject, manifest};

async fn assert_committed<T: Subject>(subject: &T, files: Files) {
    let visible = subject.visible().await;
    assert_eq!(visible, subject.keeps().then_some(files));
}

async fn assert_nothing<T: Subject>(subject: &T, when: &str) {
    assert_eq!(subject.visible().await, None, "{when}");
    assert!(subject.is_untouched(), "leftovers: {when}");
}

pub(crate) async fn commits<T: Subject>(new: impl Fn() -> T) {
    for steps in [percona(), mariadb(), Vec::new()] {
        let subject = new();
        let mut driver = Driver::new(subject.sink().await.expect("sink"));
        driver.all(&steps).await.expect("steps");
        driver.sink.commit(manifest()).await.expect("commit");
        assert_committed(&subject, expected(&steps)).await;
    }
}

pub(crate) async fn aborts_at_every_step<T: Subject>(new: impl Fn() -> T) {
    for steps in [percona(), mariadb()] {
        for count in 0..=steps.len() {
            let subject = new();
            let mut driver = Driver::new(subject.sink().await.expect("sink"));
            driver.all(&steps[..count]).await.expect("steps");
            driver.sink.abort().await;
            assert_nothing(&subject, &format!("aborted after {count} steps")).await;
        }
    }
}

pub(crate) async fn fails_at_every_step<T: Subject>(new: impl Fn() -> T) {
    for steps in [percona(), mariadb()] {
        // The last call is the commit.
        for calls in 0..=steps.len() {
            let subject = new();
            let sink = Faulty::new(subject.sink().await.expect("sink"), calls);
            let mut driver = Driver::new(sink);
            match driver.all(&steps).await {
                Ok(()) => drop(driver.sink.commit(manifest()).await.expect_err("fault")),
                Err(_) => driver.sink.abort().await,
            }
            assert_nothing(&subject, &format!("fault after {calls} calls")).await;
        }
    }
}

pub(crate) async fn is_dropped_at_every_step<T: Subject>(new: impl Fn() -> T) {
    let steps = mariadb();
    for count in 0..=steps.len() {
        let subject = new();
        let mut driver = Driver::new(subject.sink().await.expect("sink"));
        driver.all(&steps[..count]).await.expect("steps");
        drop(driver);
        assert_eq!(subject.visible().await, None, "dropped after {count} steps");
    }
}

pub(crate) async fn works_after_failures<T: Subject>(new: impl Fn() -> T) {
    let steps = percona();
    let subject = new();
    let mut driver = Driver::new(subject.sink().await.expect("sink"));
    driver.all(&steps[..3]).await.expect("steps");
    driver.sink.abort().await;
    let mut driver = Driver::new(subject.sink().await.expect("sink after abort"));
    driver.all(&steps[..5]).await.expect("steps");
    drop(driver);
    let mut driver = Driver::new(subject.sink().await.expect("sink after a crash"));
    driver.all(&steps).await.expect("steps");
    driver.sink.commit(manifest()).await.expect("commit");
    assert_committed(&subject, expected(&steps)).await;
}

pub(crate) async fn shows_nothing_of_bad_streams<T: Subject>(new: impl Fn() -> T) {
    let stream = streams::chunks().concat();
    // Every byte of a header, and some of the payloads.
    for cut in (1..stream.len()).filter(|cut| cut % 97 < 40) {
        let subject = new();
        match receive(&subject, stream[..cut].to_vec(), usize::MAX).await {
            // Cut between files, and only what is missing tells.
            Ok(received) => {
                assert!(!received.summary.completeness.is_complete());
                received.sink.abort().await;
            }
            Err(error) => assert!(matches!(error, PipelineError::Stream(_)), "{error}"),
        }
        assert_nothing(&subject, &format!("cut at {cut}")).await;
        let mut damaged = stream.clone();
        damaged[cut] ^= 0x10;
        let subject = new();
        match receive(&subject, damaged.clone(), usize::MAX).await {
            // Headers have no checksum: a damaged name is another name.
            Ok(received) => {
                files_of_stream(&damaged).expect("still a stream");
                received.sink.abort().await;
            }
            Err(error) => assert!(matches!(error, PipelineError::Stream(_)), "{error}"),
        }
        assert_nothing(&subject, &format!("damaged at {cut}")).await;
    }
}

pub(crate) async fn fails_under_the_pipeline<T: Subject>(new: impl Fn() -> T) {
    let stream = streams::chunks().concat();
    let mut calls = 0;
    loop {
        let subject = new();
        let received = receive(&subject, stream.clone(), calls).await;
        let is_enough = received.is_ok();
        match received {
            Ok(received) => drop(received.sink.commit(manifest()).await.expect_err("fault")),
            Err(error) => assert!(matches!(error, PipelineError::Sink(_)), "{error}"),
        }
        assert_nothing(&subject, &format!("fault after {calls} calls")).await;
        if is_enough {
            break;
        }
        calls += 1;
    }
    let subject = new();
    let received = receive(&subject, stream.clone(), usize::MAX).await.expect("good stream");
    assert_eq!(received.summary.stream_bytes, stream.len() as u64);
    received.sink.commit(manifest()).await.expect("commit");
    assert_committed(&subject, files_of_stream(&stream).expect("good stream")).await;
}

async fn receive<T: Subject>(
    subject: &T,
    stream: Vec<u8>,
    calls: usize,
) -> Result<Received<Faulty<T::Sink>>, PipelineError> {
    let sink = Faulty::new(subject.sink().await.expect("sink"), calls);
    let (options, progress) = (Options::default(), Progress::default());
    pipeline::run(Cursor::new(stream), sink, &options, &progress, &CancellationToken::new()).await
}
