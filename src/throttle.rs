//! A limit for bytes a second, for readers and for writers: a token bucket that lets a moment's worth
//! of bytes pass at once.
//!
//! What has passed is paid for afterwards: the next bytes wait. Several readers or writers can share
//! one limit.

use std::future::Future as _;
use std::io;
use std::num::NonZeroU64;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use leaky_bucket::{AcquireOwned, RateLimiter};
use tokio::io::{AsyncRead, ReadBuf};

/// Time between two refills of the bucket.
const REFILL_PERIOD: Duration = Duration::from_millis(50);

/// Refills in a second.
const REFILLS: u64 = 20;

/// Refills that may gather while nothing passes.
const REFILLS_GATHERED: usize = 5;

/// A limit for bytes a second. Clones share it.
#[derive(Clone, Debug)]
pub struct Limit(Arc<RateLimiter>);

/// Two are equal if they share one bucket.
impl PartialEq for Limit {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Eq for Limit {}

impl Limit {
    /// A limit of so many bytes a second.
    pub fn new(bytes_per_second: NonZeroU64) -> Self {
        let refill = bytes_per_second.get().div_ceil(REFILLS);
        let refill = usize::try_from(refill).unwrap_or(usize::MAX);
        let limiter = RateLimiter::builder()
            .interval(REFILL_PERIOD)
            .refill(refill)
            .initial(refill)
            .max(refill.saturating_mul(REFILLS_GATHERED))
            .build();
        Self(Arc::new(limiter))
    }

    /// Waits until so many bytes may pass.
    pub async fn pass(&self, bytes: usize) {
        self.0.acquire(bytes).await;
    }
}

/// A reader that is read no faster than its limit.
pub struct Throttled<R> {
    inner: R,
    limit: Option<Limit>,
    /// What was read and is not paid for yet.
    debt: Option<Pin<Box<AcquireOwned>>>,
}

impl<R> Throttled<R> {
    /// Without a limit it is the reader itself.
    pub fn new(inner: R, limit: Option<Limit>) -> Self {
        Self { inner, limit, debt: None }
    }
}

impl<R: AsyncRead + Unpin> AsyncRead for Throttled<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Some(debt) = &mut self.debt {
            ready!(debt.as_mut().poll(context));
            self.debt = None;
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        let read = buffer.filled().len() - before;
        if let Some(Limit(limiter)) = self.limit.as_ref().filter(|_| read > 0) {
            let limiter = Arc::clone(limiter);
            self.debt = Some(Box::pin(limiter.acquire_owned(read)));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use futures_util::FutureExt as _;
    use tokio::io::AsyncReadExt as _;
    use tokio::time::Instant;

    use super::*;

    fn limit(bytes_per_second: u64) -> Limit {
        Limit::new(NonZeroU64::new(bytes_per_second).expect("not zero"))
    }

    async fn seconds_of(work: impl Future<Output = ()>) -> f64 {
        let started = Instant::now();
        work.await;
        started.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_is_as_fast_as_its_limit() {
        let mut reader = Throttled::new(Cursor::new(vec![1; 10 << 20]), Some(limit(1 << 20)));
        let seconds = seconds_of(async {
            let mut buffer = vec![0; 64 << 10];
            while reader.read(&mut buffer).await.expect("reads") > 0 {}
        });
        let seconds = seconds.await;
        assert!((9.5..10.5).contains(&seconds), "{seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn a_look_that_is_given_up_costs_nothing_and_loses_nothing() {
        let mut reader = Throttled::new(Cursor::new(vec![1; 200 << 10]), Some(limit(100 << 10)));
        let (mut buffer, mut read) = (vec![0; 64 << 10], 0);
        let seconds = seconds_of(async {
            loop {
                // As the pipeline does: take what is there, then wait.
                let length = match reader.read(&mut buffer).now_or_never() {
                    Some(length) => length,
                    None => reader.read(&mut buffer).await,
                };
                match length.expect("reads") {
                    0 => return,
                    length => read += length,
                }
            }
        });
        let seconds = seconds.await;
        assert_eq!(read, 200 << 10);
        assert!((1.8..2.2).contains(&seconds), "{seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_share_a_limit_share_its_bytes() {
        let shared = limit(1 << 20);
        let send = async |limit: Limit| {
            for _ in 0..40 {
                limit.pass(128 << 10).await;
            }
        };
        let seconds = seconds_of(async {
            tokio::join!(send(shared.clone()), send(shared.clone()));
        });
        let seconds = seconds.await;
        assert!((9.5..10.5).contains(&seconds), "{seconds} s");
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_limit_nothing_waits() {
        let mut reader = Throttled::new(Cursor::new(vec![1; 10 << 20]), None);
        let mut all = Vec::new();
        let seconds = seconds_of(async { assert!(reader.read_to_end(&mut all).await.is_ok()) });
        assert_eq!(seconds.await, 0.0);
        assert_eq!(all.len(), 10 << 20);
    }
}
