//! Several sinks behind one: one stream, several copies.
//!
//! Each piece goes to all copies at once, and the slowest one sets the pace. What a failed copy means is
//! the policy's to say:
//!
//! | policy | a copy fails during the stream | a copy fails at commit |
//! |---|---|---|
//! | all | the backup fails, all copies are aborted | the backup fails; complete copies stay and are named |
//! | any | that copy is aborted, the others go on | as long as one commits, the backup stands |
//!
//! A complete copy stays even if its sister fails at the last step: it has all the witnesses of a
//! backup, and to take it back would leave less than there is.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use galera_protocol::xbstream::EntryPath;
use tokio::time::timeout;

use super::{CopyReport, Entry, Needs, Piece, Receipt, Sink, SinkError, SinkFile};
use crate::causes::sentence;
use crate::pipeline::manifest::Manifest;

/// How many of the copies must succeed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Policy {
    /// Every one.
    #[default]
    All,
    /// At least one.
    Any,
}

/// Longest time that one of several copies may take for a piece before the others go on without it.
/// Shorter than the limit of the pipeline, which ends the whole backup.
const COPY_STALL_LIMIT: Duration = Duration::from_secs(45);

/// Several sinks.
#[derive(Debug)]
pub struct Copies<S> {
    copies: Vec<Copy<S>>,
    policy: Policy,
}

#[derive(Debug)]
struct Copy<S> {
    name: String,
    needs: Needs,
    sink: Option<S>,
    health: Health,
}

/// One file in every copy that takes files.
#[derive(Debug)]
pub struct CopiesFile<F> {
    files: Vec<CopyFile<F>>,
    policy: Policy,
}

#[derive(Debug)]
struct CopyFile<F> {
    name: String,
    file: Option<F>,
    health: Health,
}

/// Why a copy failed. Shared between a sink and its files.
#[derive(Clone, Debug, Default)]
struct Health(Arc<Mutex<Option<SinkError>>>);

impl Health {
    fn fail(&self, error: SinkError) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn is_good(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }

    fn take(&self) -> Option<SinkError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl<S: Sink> Copies<S> {
    /// Puts opened sinks behind one; what could not be opened is a failed copy.
    pub async fn new(
        opened: Vec<(String, Result<S, SinkError>)>,
        policy: Policy,
    ) -> Result<Self, SinkError> {
        let mut copies = Vec::new();
        for (name, sink) in opened {
            let health = Health::default();
            let sink = sink.map_err(|error| health.fail(error)).ok();
            let needs = sink.as_ref().map(Sink::needs).unwrap_or_default();
            copies.push(Copy { name, needs, sink, health });
        }
        let mut copies = Self { copies, policy };
        match copies.settle().await {
            Ok(()) => Ok(copies),
            Err(error) => {
                copies.abort().await;
                Err(error)
            }
        }
    }

    /// Ends failed copies; an error if the policy says that this is the end of the backup.
    async fn settle(&mut self) -> Result<(), SinkError> {
        if self.policy == Policy::All {
            let failed = self.copies.iter().find_map(|copy| copy.health.take());
            return failed.map_or(Ok(()), Err);
        }
        for copy in self.copies.iter_mut().filter(|copy| !copy.health.is_good()) {
            if let Some(sink) = copy.sink.take() {
                tracing::warn!(copy = copy.name, "a copy failed; the others go on");
                sink.abort().await;
            }
        }
        if self.copies.iter().any(|copy| copy.sink.is_some()) {
            return Ok(());
        }
        let failed = self.copies.iter().find_map(|copy| copy.health.take());
        failed.map_or(Ok(()), Err)
    }

    fn alive(&mut self, takes_files: bool) -> impl Iterator<Item = &mut Copy<S>> {
        self.copies
            .iter_mut()
            .filter(move |copy| copy.sink.is_some() && copy.needs.stream_as_sent != takes_files)
    }
}

/// Waits for one copy's part; what goes wrong is noted.
async fn bounded<T>(
    policy: Policy,
    name: &str,
    health: &Health,
    step: impl Future<Output = Result<T, SinkError>>,
) -> Option<T> {
    let done = match policy {
        Policy::All => step.await,
        Policy::Any => timeout(COPY_STALL_LIMIT, step).await.unwrap_or_else(|_| {
            let source = std::io::Error::from(std::io::ErrorKind::TimedOut);
            Err(SinkError::Write { target: name.to_owned(), source })
        }),
    };
    done.map_err(|error| health.fail(error)).ok()
}

impl<S: Sink> Sink for Copies<S> {
    type File = CopiesFile<S::File>;

    fn needs(&self) -> Needs {
        let stream_as_sent = self.copies.iter().any(|copy| copy.needs.stream_as_sent);
        let has_files = self.copies.iter().any(|copy| !copy.needs.stream_as_sent);
        Needs { stream_as_sent, files_as_well: has_files }
    }

    async fn create(&mut self, entry: &Entry) -> Result<Self::File, SinkError> {
        let policy = self.policy;
        let created = join_all(self.alive(true).map(async |copy| {
            let Copy { name, sink: Some(sink), health, .. } = copy else { return None };
            let file = bounded(policy, name, health, sink.create(entry)).await;
            Some(CopyFile { name: name.clone(), file, health: health.clone() })
        }));
        let files = created.await.into_iter().flatten().collect();
        self.settle().await?;
        Ok(CopiesFile { files, policy })
    }

    async fn rename(&mut self, from: &EntryPath, to: &EntryPath) -> Result<(), SinkError> {
        let policy = self.policy;
        let renamed = self.alive(true).map(async |copy| {
            let Copy { name, sink: Some(sink), health, .. } = copy else { return };
            bounded(policy, name, health, sink.rename(from, to)).await;
        });
        join_all(renamed).await;
        self.settle().await
    }

    async fn remove(&mut self, path: &EntryPath) -> Result<(), SinkError> {
        let policy = self.policy;
        let removed = self.alive(true).map(async |copy| {
            let Copy { name, sink: Some(sink), health, .. } = copy else { return };
            bounded(policy, name, health, sink.remove(path)).await;
        });
        join_all(removed).await;
        self.settle().await
    }

    async fn stream(&mut self, bytes: Bytes) -> Result<(), SinkError> {
        let policy = self.policy;
        let taken = self.alive(false).map(async |copy| {
            let Copy { name, sink: Some(sink), health, .. } = copy else { return };
            bounded(policy, name, health, sink.stream(bytes.clone())).await;
        });
        join_all(taken).await;
        self.settle().await
    }

    async fn commit(mut self, manifest: Manifest) -> Result<Receipt, SinkError> {
        if let Err(error) = self.settle().await {
            self.abort().await;
            return Err(error);
        }
        let policy = self.policy;
        let committed = join_all(self.copies.into_iter().map(async |copy| {
            let Copy { name, sink, health, .. } = copy;
            match sink {
                Some(sink) => (name, sink.commit(manifest.clone()).await),
                None => {
                    let lost = || SinkError::Occupied { target: name.clone() };
                    let failure = health.take().unwrap_or_else(lost);
                    (name, Err(failure))
                }
            }
        }));
        conclude(committed.await, policy)
    }

    async fn abort(self) {
        let sinks = self.copies.into_iter().filter_map(|copy| copy.sink);
        join_all(sinks.map(Sink::abort)).await;
    }
}

/// One answer for all copies; that of a single one is passed on as it is.
fn conclude(
    mut ended: Vec<(String, Result<Receipt, SinkError>)>,
    policy: Policy,
) -> Result<Receipt, SinkError> {
    if ended.len() == 1
        && let Some((_, only)) = ended.pop()
    {
        return only;
    }
    let failures = ended.iter().filter(|(_, ended)| ended.is_err()).count();
    let stands = match policy {
        Policy::All => failures == 0,
        Policy::Any => failures < ended.len(),
    };
    if stands { Ok(joined(ended)) } else { Err(failed(&ended, failures)) }
}

fn joined(ended: Vec<(String, Result<Receipt, SinkError>)>) -> Receipt {
    let mut all = Receipt::new("", 0);
    for (name, ended) in ended {
        let report = match ended {
            Ok(receipt) => {
                let separator = if all.location.is_empty() { "" } else { ", " };
                all.location = format!("{}{separator}{}", all.location, receipt.location);
                all.stored_bytes += receipt.stored_bytes;
                all.said = all.said.or(receipt.said);
                let (location, stored_bytes) = (receipt.location, receipt.stored_bytes);
                CopyReport { location, stored_bytes, failure: None }
            }
            Err(error) => {
                CopyReport { location: name, stored_bytes: 0, failure: Some(sentence(&error)) }
            }
        };
        all.copies.push(report);
    }
    all
}

fn failed(ended: &[(String, Result<Receipt, SinkError>)], failures: usize) -> SinkError {
    let (mut failed, mut made) = (Vec::new(), Vec::new());
    for (name, ended) in ended {
        match ended {
            Ok(receipt) => made.push(receipt.location.clone()),
            Err(error) => failed.push(format!("{name}: {}", sentence(error))),
        }
    }
    SinkError::Copies { failures, copies: ended.len(), failed: failed.join("; "), made }
}

impl<F: SinkFile> CopiesFile<F> {
    /// An error only if the policy says that this is the end of the backup.
    fn settle(&self) -> Result<(), SinkError> {
        let mut failures = self.files.iter().filter(|copy| !copy.health.is_good());
        match self.policy {
            Policy::All => failures.find_map(|copy| copy.health.take()).map_or(Ok(()), Err),
            // The sink's next step ends the failed copies.
            Policy::Any => Ok(()),
        }
    }
}

impl<F: SinkFile> SinkFile for CopiesFile<F> {
    async fn write(&mut self, piece: Piece) -> Result<(), SinkError> {
        let policy = self.policy;
        let written = self.files.iter_mut().map(async |copy| {
            let CopyFile { name, file: Some(file), health } = copy else { return };
            if health.is_good() {
                bounded(policy, name, health, file.write(piece.clone())).await;
            } else {
                copy.file = None;
            }
        });
        join_all(written).await;
        self.settle()
    }

    async fn finish(mut self) -> Result<(), SinkError> {
        let policy = self.policy;
        let finished = self.files.iter_mut().map(async |copy| {
            let CopyFile { name, file, health } = copy;
            let Some(file) = file.take().filter(|_| health.is_good()) else { return };
            bounded(policy, name, health, file.finish()).await;
        });
        join_all(finished).await;
        self.settle()
    }
}
