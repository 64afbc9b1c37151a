//! How far the job is, for people and metrics.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;
use tracing::Span;

use crate::ops::Monitor;
use crate::pipeline::Progress;

/// What the job is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Nothing yet.
    Starting,
    /// Looking for the group's primary component.
    Joining,
    /// A member of the primary component.
    Joined,
    /// A donor has been asked for.
    Requesting,
    /// A donor was chosen; its connections are awaited.
    Waiting,
    /// The backup is coming in.
    Receiving,
    /// The stream has ended; the witnesses are heard.
    Verifying,
    /// All witnesses hold; the sink makes the backup visible.
    Committing,
    /// Leaving the group.
    Leaving,
}

impl Phase {
    /// All of them, in order.
    pub const ALL: [Self; 9] = [
        Self::Starting,
        Self::Joining,
        Self::Joined,
        Self::Requesting,
        Self::Waiting,
        Self::Receiving,
        Self::Verifying,
        Self::Committing,
        Self::Leaving,
    ];
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Starting => "starting",
            Self::Joining => "joining",
            Self::Joined => "joined",
            Self::Requesting => "requesting",
            Self::Waiting => "waiting",
            Self::Receiving => "receiving",
            Self::Verifying => "verifying",
            Self::Committing => "committing",
            Self::Leaving => "leaving",
        })
    }
}

/// Carries phases, remarks and the stream's progress to whoever shows them.
#[derive(Clone, Debug)]
pub struct Reporter {
    phase: watch::Sender<Phase>,
    talk: tokio::sync::mpsc::Sender<Talk>,
    /// How far the stream is.
    pub progress: Progress,
    /// The member that takes part in the group, for whoever watches it.
    pub monitor: Monitor,
    /// The donor's estimate of the stream's size in bytes.
    total: watch::Sender<Option<u64>>,
    /// The size of an earlier backup's stream.
    earlier: watch::Sender<Option<u64>>,
    /// The present phase, for traces.
    span: Arc<Mutex<Span>>,
}

/// One line for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Talk {
    /// A new phase, with what there is to say about it.
    Phase(Phase, String),
    /// A remark.
    Remark(String),
}

/// Lines that may wait to be shown; further ones are dropped, for talk must not hold the job up.
const TALK_MAX: usize = 256;

impl Reporter {
    /// A reporter, and the lines that it is given.
    pub fn new() -> (Self, tokio::sync::mpsc::Receiver<Talk>) {
        let (talk, lines) = tokio::sync::mpsc::channel(TALK_MAX);
        let (phase, total) = (watch::Sender::new(Phase::Starting), watch::Sender::new(None));
        let (earlier, span) = (watch::Sender::new(None), Arc::new(Mutex::new(Span::none())));
        let (progress, monitor) = (Progress::default(), Monitor::default());
        (Self { phase, talk, progress, monitor, total, earlier, span }, lines)
    }

    /// The phase now.
    pub fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// The expected size of the stream in bytes: the donor's estimate, or else the size of an earlier
    /// backup's stream.
    pub fn total_bytes(&self) -> Option<u64> {
        let estimate = *self.total.borrow();
        estimate.or_else(|| *self.earlier.borrow())
    }

    /// Tells how large an earlier backup's stream was.
    pub fn know_earlier(&self, stream_bytes: u64) {
        self.earlier.send_replace(Some(stream_bytes));
    }

    pub(super) fn enter(&self, phase: Phase, about: impl Into<String>) {
        let about = about.into();
        // The one before ends with it.
        let span = tracing::info_span!("phase", otel.name = %phase, about);
        *self.span.lock().unwrap_or_else(PoisonError::into_inner) = span;
        tracing::info!(%phase, about, "backup phase");
        self.phase.send_replace(phase);
        let _ = self.talk.try_send(Talk::Phase(phase, about));
    }

    pub(super) fn remark(&self, text: impl Into<String>) {
        let _ = self.talk.try_send(Talk::Remark(text.into()));
    }

    /// Ends the last phase.
    pub fn end(&self) {
        *self.span.lock().unwrap_or_else(PoisonError::into_inner) = Span::none();
    }

    pub(super) fn expect_bytes(&self, total: Option<u64>) {
        self.total.send_replace(total);
    }
}
