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
mod config;
mod connections;
mod deadlines;
mod failure;
mod input;
mod output;

use core::net::IpAddr;
use std::collections::VecDeque;

use tracing::info;

use self::connections::Connections;
use self::deadlines::{Deadlines, Timer};
use crate::time::Instant;

pub use config::{Config, GroupWitness, TlsPolicy};
pub use failure::{CloseReason, Evidence, Failure, Refusal};
pub use input::{End, Event, Input, Judgement, Progress, Waiting};
pub use output::{Output, Wrapper};

/// One connection to the listener. The driver chooses the numbers and never uses one again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u32);

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
    has_keyring: bool,
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
            has_keyring: false,
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
