//! Parallel work whose results come in the order of the jobs, without a buffer to sort them.
//!
//! Job `n` goes to worker `n mod workers` and its result is taken from there, so order is kept by
//! turn. Each lane holds at most one job waiting, one at work and one result: that bounds memory.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::error::RepositoryError;

const WAITING_MAX: usize = 1;

/// Where jobs go in. Dropped without [`Feeder::finish`], the results end in an error.
pub(crate) struct Feeder<Job> {
    lanes: Vec<SyncSender<Turn<Job>>>,
    turn: usize,
}

/// Where results come out, in the order of their jobs.
pub(crate) struct Collector<Done> {
    lanes: Vec<Receiver<Turn<Done>>>,
    turn: usize,
}

/// A worker is gone: it failed, or the other side was dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Broken;

impl From<Broken> for RepositoryError {
    fn from(_: Broken) -> Self {
        Self::WorkerLost
    }
}

enum Turn<T> {
    Next(T),
    End,
}

/// Starts workers on blocking threads of the current runtime; `worker` is made once for each.
pub(crate) fn start<Job, Done, Worker>(
    workers: usize,
    worker: impl Fn() -> Worker,
) -> (Feeder<Job>, Collector<Done>)
where
    Job: Send + 'static,
    Done: Send + 'static,
    Worker: FnMut(Job) -> Done + Send + 'static,
{
    let (mut feeder, mut collector) = (Vec::new(), Vec::new());
    for _ in 0..workers.max(1) {
        let (jobs_in, jobs) = sync_channel(WAITING_MAX);
        let (results, results_out) = sync_channel(WAITING_MAX);
        let work = worker();
        tokio::task::spawn_blocking(move || run_lane(&jobs, &results, work));
        feeder.push(jobs_in);
        collector.push(results_out);
    }
    (Feeder { lanes: feeder, turn: 0 }, Collector { lanes: collector, turn: 0 })
}

fn run_lane<Job, Done>(
    jobs: &Receiver<Turn<Job>>,
    results: &SyncSender<Turn<Done>>,
    mut work: impl FnMut(Job) -> Done,
) {
    while let Ok(turn) = jobs.recv() {
        let done = match turn {
            Turn::Next(job) => Turn::Next(work(job)),
            Turn::End => Turn::End,
        };
        if results.send(done).is_err() {
            return;
        }
    }
}

impl<Job> Feeder<Job> {
    /// Hands over a job; waits while its lane is full.
    pub(crate) fn send(&mut self, job: Job) -> Result<(), Broken> {
        let lane = self.turn;
        self.turn = (lane + 1) % self.lanes.len();
        self.lanes[lane].send(Turn::Next(job)).map_err(|_| Broken)
    }

    /// Says that no job follows.
    pub(crate) fn finish(self) -> Result<(), Broken> {
        self.lanes[self.turn].send(Turn::End).map_err(|_| Broken)
    }
}

impl<Done> Collector<Done> {
    /// The next result; `None` after the last.
    pub(crate) fn next(&mut self) -> Result<Option<Done>, Broken> {
        let lane = self.turn;
        self.turn = (lane + 1) % self.lanes.len();
        match self.lanes[lane].recv() {
            Ok(Turn::Next(done)) => Ok(Some(done)),
            Ok(Turn::End) => Ok(None),
            Err(_) => Err(Broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn results_come_in_the_order_of_the_jobs() {
        let (mut feeder, mut collector) = start(3, || |job: u32| job * 2);
        let fed = tokio::task::spawn_blocking(move || {
            (0..100).try_for_each(|job| feeder.send(job))?;
            feeder.finish()
        });
        let collected = tokio::task::spawn_blocking(move || {
            let results = std::iter::from_fn(|| collector.next().transpose());
            results.collect::<Result<Vec<_>, _>>()
        });
        assert_eq!(fed.await.expect("no panic"), Ok(()));
        let expected = (0..100).map(|job| job * 2).collect();
        assert_eq!(collected.await.expect("no panic"), Ok(expected));
    }

    #[tokio::test]
    async fn a_feeder_that_gives_up_is_not_an_end() {
        let (mut feeder, mut collector) = start(2, || |job: u32| job);
        feeder.send(7).expect("a free lane");
        drop(feeder);
        let ends = tokio::task::spawn_blocking(move || (collector.next(), collector.next()));
        assert_eq!(ends.await.expect("no panic"), (Ok(Some(7)), Err(Broken)));
    }

    #[tokio::test]
    async fn a_dropped_collector_stops_the_feeder() {
        let (mut feeder, collector) = start(1, || |job: u32| job);
        drop(collector);
        let fed = tokio::task::spawn_blocking(move || (0..10).try_for_each(|job| feeder.send(job)));
        assert_eq!(fed.await.expect("no panic"), Err(Broken));
    }
}
