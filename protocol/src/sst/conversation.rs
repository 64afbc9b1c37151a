//! From the accepted request to the verdict: one transfer as a state machine (spec 05 §9, 00 (c)).
//!
//! ```text
//! Listening ──request accepted──> AwaitingMetadata ──conn 1 read──> AwaitingArchive
//!                                                                        │ conn 2 recognised
//!                      Ended <──group's word, judgement── Concluding <── Receiving
//! ```
//!
//! Every state may become `Ended` with a [`Failure`]. The machine sees first bytes, ends of
//! connections and what the group says; the bytes of the backup pass it by. An end of the stream
//! proves nothing: success needs the pipeline's judgement *and* the donor's JOIN.
//!
//! The driver reads a connection once for every [`Output::Read`], and while the backup runs it
//! sends [`Input::ArchiveProgress`] before each [`Input::Timeout`].

mod arrival;
mod conclusion;
mod connections;
mod deadlines;
mod failure;

use core::net::IpAddr;
use core::time::Duration;
use std::collections::VecDeque;

use bytes::Bytes;
use tracing::info;

use self::connections::Connections;
use self::deadlines::{Deadlines, Timer};
use crate::sst::metadata::{Metadata, MetadataFile};
use crate::sst::peers::AllowFrom;
use crate::time::Instant;
use crate::xbstream::StreamError;

pub use failure::{CloseReason, Evidence, Failure, Refusal};

/// One connection to the listener. The driver chooses the numbers and never uses one again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

/// Time limits and who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who may connect besides the chosen donor.
    pub allow_from: AllowFrom,
    /// Whether a connection must begin with TLS. If so, plain text is refused.
    pub tls: TlsPolicy,
    /// Whether the donor's JOIN is needed. Only a receiver without a member of its own has none.
    pub group: GroupWitness,
    /// From the accepted request to the end of conn 1.
    pub first_connection: Duration,
    /// From the end of conn 1 to conn 2. Donors sleep 10 s in between.
    pub second_connection: Duration,
    /// Silence of the donor within conn 2. A donor may wait that long for a backup lock.
    pub idle: Duration,
    /// Longest time for which we do not read conn 2. Donors with `socat -T 120` give up silently
    /// after 120 s, which looks like a complete stream; so we fail first, and loudly.
    pub drain_gap: Duration,
    /// From the end of conn 2 to the donor's JOIN.
    pub verdict: Duration,
    /// How long a connection may wait for the group to choose a donor.
    pub held: Duration,
    /// How long a connection may stay silent before conn 1 was read.
    pub silent: Duration,
    /// How long to wait for the donor's own reason when the stream ended too early, and for late
    /// connections when the donor says that it is done.
    pub last_word: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            allow_from: AllowFrom::Donor,
            tls: TlsPolicy::Plain,
            group: GroupWitness::Required,
            first_connection: Duration::from_secs(300),
            second_connection: Duration::from_secs(120),
            idle: Duration::from_secs(600),
            drain_gap: Duration::from_secs(60),
            verdict: Duration::from_secs(120),
            held: Duration::from_secs(10),
            silent: Duration::from_secs(30),
            last_word: Duration::from_secs(15),
        }
    }
}

/// Whether the donor must speak TLS. There is no "either": that would let a stranger downgrade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPolicy {
    /// Plain TCP; a ClientHello is an error.
    Plain,
    /// TLS; anything else is an error.
    Required,
}

/// Whether the group can tell how the transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupWitness {
    /// We are a member and see the donor's JOIN.
    Required,
    /// Somebody else's member asked for the transfer; nobody tells us.
    Unavailable,
}

/// What the group and the pipeline tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The group accepted our request; these are the chosen donor's addresses.
    RequestAccepted {
        /// From gmcast: the address of its link, or of its entry in the peer list.
        donor: Vec<IpAddr>,
    },
    /// The donor's JOIN that counts for this transfer. Below zero: minus an errno.
    DonorJoined {
        /// The code.
        code: i64,
    },
    /// The donor is in no primary view any more.
    DonorGone,
    /// The donor is no longer donating, and its JOIN was not seen.
    TransferUnknown,
    /// The pipeline's judgement of conn 2.
    Judged(Judgement),
}

/// What the pipeline found in conn 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Every file ended well and the closing files are there.
    Whole,
    /// The stream ended before that.
    Incomplete,
    /// The stream is not what it should be: framing, checksum, offset, name.
    Damaged,
    /// The sink did not take it.
    NotStored,
}

impl Judgement {
    /// What an error of the stream's reader means. One that says no more than that the stream ended
    /// is what a killed backup program leaves behind: the donor knows the cause, and is waited for.
    pub const fn of_stream_error(error: &StreamError) -> Self {
        if error.fault.is_early_end() { Self::Incomplete } else { Self::Damaged }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// FIN, and with TLS a `close_notify` before it.
    Clean,
    /// The peer reset it.
    Reset,
    /// The network stopped answering.
    TimedOut,
    /// TLS ended without `close_notify`.
    Truncated,
    /// The TLS handshake was not completed.
    NoHandshake,
    /// Another error of the connection.
    Failed,
    /// We stopped reading before the end.
    Abandoned,
}

/// How far conn 2 is. A sample that the driver takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Bytes handed to the pipeline so far.
    pub bytes: u64,
    /// Who is waited for.
    pub waiting: Waiting,
    /// Since when.
    pub since: Instant,
}

/// Who is waited for while conn 2 runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// The pipeline reads, no bytes have come.
    ForDonor,
    /// The pipeline has bytes and does not read on.
    ForUs,
}

/// What happens to the conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Somebody connected.
    Accepted {
        /// The new connection.
        connection: ConnectionId,
        /// Who.
        peer: IpAddr,
    },
    /// A requested read gave bytes, at least one.
    Received {
        /// The connection.
        connection: ConnectionId,
        /// What came.
        bytes: Bytes,
    },
    /// A connection ended; for conn 2, the pipeline has got all its bytes.
    Ended {
        /// The connection.
        connection: ConnectionId,
        /// How.
        end: End,
    },
    /// How far conn 2 is.
    ArchiveProgress(Progress),
    /// What the group or the pipeline tells.
    Event(Event),
    /// A deadline has passed.
    Timeout,
}

/// What the conversation wants done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Read this connection once; answer with `Received` or `Ended`.
    Read {
        /// The connection.
        connection: ConnectionId,
    },
    /// Do the TLS handshake as the server; what it yields is read like a new connection.
    StartTls {
        /// The connection.
        connection: ConnectionId,
        /// Bytes read so far, to be replayed.
        head: Bytes,
    },
    /// Close a connection. Nothing more will be said about it.
    Close {
        /// The connection.
        connection: ConnectionId,
        /// Why, for the log.
        reason: CloseReason,
    },
    /// Conn 1 was read.
    Metadata(Box<Metadata>),
    /// The donor's keyring came in a connection of its own (PXC before 5.7.22).
    Keyring(Vec<MetadataFile>),
    /// Hand this connection to the pipeline.
    StartArchive {
        /// The connection.
        connection: ConnectionId,
        /// Bytes read so far, to be replayed.
        head: Bytes,
    },
    /// The conversation is over. Last output.
    Ended(Result<Evidence, Failure>),
}

/// Where the conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// The group has not accepted our request.
    Listening,
    /// The donor has been chosen, conn 1 has not been read.
    AwaitingMetadata,
    /// Conn 1 was read, conn 2 has not been recognised.
    AwaitingArchive,
    /// Conn 2 runs.
    Receiving,
    /// Conn 2 has ended; the judgement or the group's word is missing.
    Concluding,
    /// Over.
    Ended,
}

impl Phase {
    const fn may_become(self, to: Self) -> bool {
        match self {
            Self::Listening => matches!(to, Self::AwaitingMetadata | Self::Ended),
            Self::AwaitingMetadata => matches!(to, Self::AwaitingArchive | Self::Ended),
            Self::AwaitingArchive => matches!(to, Self::Receiving | Self::Ended),
            Self::Receiving => matches!(to, Self::Concluding | Self::Ended),
            Self::Concluding => matches!(to, Self::Ended),
            Self::Ended => false,
        }
    }
}

/// State with the data that exists only in it.
#[derive(Debug)]
enum State {
    Listening,
    AwaitingMetadata,
    AwaitingArchive,
    Receiving { connection: ConnectionId, progress: Progress },
    Concluding { bytes: u64, fault: Option<Failure> },
    Ended,
}

impl State {
    const fn phase(&self) -> Phase {
        match self {
            Self::Listening => Phase::Listening,
            Self::AwaitingMetadata => Phase::AwaitingMetadata,
            Self::AwaitingArchive => Phase::AwaitingArchive,
            Self::Receiving { .. } => Phase::Receiving,
            Self::Concluding { .. } => Phase::Concluding,
            Self::Ended => Phase::Ended,
        }
    }
}

/// One transfer, from before the request to its end.
#[derive(Debug)]
pub struct Conversation {
    config: Config,
    state: State,
    donor: Vec<IpAddr>,
    connections: Connections,
    deadlines: Deadlines,
    join_code: Option<i64>,
    judgement: Option<Judgement>,
    last_refusal: Option<Refusal>,
    outputs: VecDeque<Output>,
}

impl Conversation {
    /// Begins to listen. Connections are held until the group has chosen a donor.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            state: State::Listening,
            donor: Vec::new(),
            connections: Connections::default(),
            deadlines: Deadlines::default(),
            join_code: None,
            judgement: None,
            last_refusal: None,
            outputs: VecDeque::new(),
        }
    }

    /// Takes one input. Never fails, never waits; drain [`Conversation::poll_output`] afterwards.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Accepted { connection, peer } => self.on_accepted(now, connection, peer),
            Input::Received { connection, bytes } => self.on_received(now, connection, &bytes),
            Input::Ended { connection, end } => self.on_ended(now, connection, end),
            Input::ArchiveProgress(progress) => self.on_progress(progress),
            Input::Event(event) => self.handle_event(now, event),
            Input::Timeout => self.on_timeout(now),
        }
    }

    fn handle_event(&mut self, now: Instant, event: Event) {
        match event {
            Event::RequestAccepted { donor } => self.on_request_accepted(now, donor),
            Event::DonorJoined { code } => self.on_donor_joined(now, code),
            Event::DonorGone => self.on_donor_lost(Failure::DonorGone),
            Event::TransferUnknown => self.on_donor_lost(Failure::OutcomeUnknown),
            Event::Judged(judgement) => self.on_judged(now, judgement),
        }
    }

    fn on_timeout(&mut self, now: Instant) {
        while let Some(timer) = self.deadlines.pop_expired(now) {
            match timer {
                Timer::FirstConnection => self.on_first_connection_missing(),
                Timer::SecondConnection => self.on_second_connection_missing(),
                Timer::Idle => self.on_idle(),
                Timer::DrainGap => self.on_drain_gap(),
                Timer::Verdict => self.on_verdict_missing(),
                Timer::LastWord => self.on_last_word_missing(),
                Timer::Connection(connection) => self.on_connection_silent(connection),
            }
        }
    }

    /// The next thing to do, in order; `None` when there is nothing left.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to send [`Input::Timeout`]; a stale wake-up does nothing.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Where the conversation stands.
    pub const fn phase(&self) -> Phase {
        self.state.phase()
    }

    fn transition(&mut self, next: State) {
        let (from, to) = (self.state.phase(), next.phase());
        assert!(from.may_become(to), "sst: {from:?} -> {to:?}");
        info!(?from, ?to, "sst state");
        self.state = next;
    }

    /// Ends the conversation, whatever its state.
    fn finish(&mut self, result: Result<Evidence, Failure>) {
        if matches!(self.state, State::Ended) {
            return;
        }
        for connection in self.connections.take_all() {
            self.outputs.push_back(Output::Close { connection, reason: CloseReason::TransferOver });
        }
        self.deadlines.clear();
        self.outputs.push_back(Output::Ended(result));
        self.transition(State::Ended);
    }

    fn fail(&mut self, failure: Failure) {
        self.finish(Err(failure));
    }
}

#[cfg(test)]
mod tests;
