//! Until the backup runs: who connects, what each connection is, conn 1.

use core::net::IpAddr;

use bytes::{Bytes, BytesMut};
use tracing::{debug, warn};

use super::connections::{Connection, Peeled, Role};
use super::deadlines::Timer;
use super::{
    CloseReason, ConnectionId, Conversation, End, Failure, Output, Progress, Refusal, State,
    TlsPolicy, Waiting, Wrapper,
};
use crate::sst::metadata::{METADATA_BYTES_MAX, Metadata, decode_keyring};
use crate::sst::sniff::{self, Container, Content, Kind, Layer};
use crate::time::Instant;

impl Conversation {
    pub(super) fn on_accepted(&mut self, now: Instant, id: ConnectionId, peer: IpAddr) {
        let held = matches!(self.state, State::Listening);
        self.connections.insert(id, Connection { peer, role: Role::Held });
        match self.objection(peer) {
            Some(reason) => self.close(id, reason),
            None if held => self.deadlines.set(Timer::Connection(id), now + self.config.held),
            None => self.admit(now, id),
        }
    }

    /// Why this peer may not connect now.
    fn objection(&self, peer: IpAddr) -> Option<CloseReason> {
        match self.state {
            State::Ended | State::Concluding { .. } => Some(CloseReason::TransferOver),
            // The newcomer has been counted already.
            _ if self.connections.is_over_full() => Some(CloseReason::TooMany),
            State::Listening => None,
            State::AwaitingMetadata | State::AwaitingArchive | State::Receiving { .. } => {
                let admitted = self.config.allow_from.admits(peer, &self.donor);
                (!admitted).then_some(CloseReason::NotTheDonor)
            }
        }
    }

    fn admit(&mut self, now: Instant, id: ConnectionId) {
        if let Some(role) = self.connections.role_mut(id) {
            *role = Role::undecided();
            self.expect_bytes(now, id);
            self.outputs.push_back(Output::Read { connection: id });
        }
    }

    /// Conn 1 speaks at once; conn 2 may wait for the donor's backup lock.
    fn expect_bytes(&mut self, now: Instant, id: ConnectionId) {
        let limit = match self.state {
            State::Listening | State::AwaitingMetadata => self.config.silent,
            State::AwaitingArchive
            | State::Receiving { .. }
            | State::Concluding { .. }
            | State::Ended => self.config.idle,
        };
        self.deadlines.set(Timer::Connection(id), now + limit);
    }

    pub(super) fn on_request_accepted(&mut self, now: Instant, donor: Vec<IpAddr>) {
        if !matches!(self.state, State::Listening) {
            return;
        }
        if donor.is_empty() && !self.config.allow_from.is_widened() {
            return self.fail(Failure::DonorAddressUnknown);
        }
        self.donor = donor;
        self.transition(State::AwaitingMetadata);
        self.deadlines.set(Timer::FirstConnection, now + self.config.first_connection);
        for (id, peer) in self.connections.held() {
            match self.objection(peer) {
                Some(reason) => self.close(id, reason),
                None => self.admit(now, id),
            }
        }
    }

    pub(super) fn on_received(&mut self, now: Instant, id: ConnectionId, bytes: &[u8]) {
        match self.connections.role_mut(id) {
            Some(Role::Undecided { head, .. }) => {
                head.extend_from_slice(bytes);
                self.recognise(now, id, false);
            }
            Some(Role::Collecting { bytes: collected, .. }) => {
                collected.extend_from_slice(bytes);
                self.collect(now, id);
            }
            // Closed in the meantime, or never asked for.
            Some(Role::Held | Role::Early { .. } | Role::Archive) | None => {}
        }
    }

    pub(super) fn on_ended(&mut self, now: Instant, id: ConnectionId, end: End) {
        match self.connections.role_mut(id) {
            Some(Role::Archive) => self.on_archive_ended(now, id, end),
            Some(Role::Undecided { .. }) if end == End::Clean => self.recognise(now, id, true),
            Some(Role::Collecting { .. }) if end == End::Clean => self.on_collected(now, id),
            Some(Role::Held) if end == End::Clean => self.close(id, CloseReason::Empty),
            Some(Role::Undecided { .. } | Role::Collecting { .. }) if end == End::Undeciphered => {
                self.refuse(id, CloseReason::Undeciphered, Failure::Undeciphered);
            }
            Some(Role::Undecided { .. } | Role::Collecting { .. }) if end == End::Unpackable => {
                self.refuse(id, CloseReason::Unpackable, Failure::Unpackable);
            }
            Some(
                Role::Held | Role::Undecided { .. } | Role::Collecting { .. } | Role::Early { .. },
            ) => self.close(id, CloseReason::of_end(end)),
            None => {}
        }
    }

    /// Looks at the head of an undecided connection.
    fn recognise(&mut self, now: Instant, id: ConnectionId, ended: bool) {
        let Some(Role::Undecided { head, peeled }) = self.connections.role_mut(id) else {
            return;
        };
        let (kind, peeled) = (sniff::classify(head, ended), *peeled);
        let (head, encrypted) = (head.split().freeze(), peeled.has(Peeled::TLS));
        if self.refuses_plain(kind, encrypted) {
            return self.refuse(id, CloseReason::NotEncrypted, Failure::NotEncrypted);
        }
        if let Some((wrapper, layer)) = self.wrapper(kind, peeled) {
            return self.unwrap(id, wrapper, layer, head);
        }
        match kind {
            Kind::Undecided => self.read_on(now, id, &head),
            Kind::Empty if encrypted => self.close(id, CloseReason::HungUp),
            Kind::Empty => self.close(id, CloseReason::Empty),
            Kind::Truncated => self.close(id, CloseReason::Truncated),
            Kind::Foreign(head) => self.close(id, CloseReason::Foreign(head)),
            Kind::Wrapped(Layer::Tls) if self.may_start_tls(encrypted) => self.start_tls(id, head),
            Kind::Wrapped(layer) => {
                self.refuse(id, CloseReason::Wrapped(layer), Failure::Wrapped { layer });
            }
            Kind::Archive(_, Content::Backup) => self.on_backup(now, id, head),
            Kind::Archive(container, content) => {
                self.on_small_archive(now, id, container, content, &head, ended);
            }
        }
    }

    fn refuses_plain(&self, kind: Kind, encrypted: bool) -> bool {
        let known = match kind {
            Kind::Archive(..) => true,
            Kind::Wrapped(layer) => layer != Layer::Tls,
            Kind::Undecided | Kind::Empty | Kind::Truncated | Kind::Foreign(_) => false,
        };
        known && !encrypted && self.config.tls == TlsPolicy::Required
    }

    fn may_start_tls(&self, encrypted: bool) -> bool {
        self.config.tls == TlsPolicy::Required && !encrypted
    }

    fn read_on(&mut self, now: Instant, id: ConnectionId, head: &[u8]) {
        if let Some(Role::Undecided { head: kept, .. }) = self.connections.role_mut(id) {
            kept.extend_from_slice(head);
        }
        // Before conn 1 was read its own limit bounds a slow talker, afterwards this timer does.
        if matches!(self.state, State::AwaitingMetadata) {
            self.expect_bytes(now, id);
        }
        self.outputs.push_back(Output::Read { connection: id });
    }

    fn start_tls(&mut self, id: ConnectionId, head: Bytes) {
        if let Some(Role::Undecided { peeled, .. }) = self.connections.role_mut(id) {
            *peeled = peeled.with(Peeled::TLS);
        }
        self.outputs.push_back(Output::StartTls { connection: id, head });
        self.outputs.push_back(Output::Read { connection: id });
    }

    /// Who takes off what this connection is wrapped in, if anybody can, and which layer that is.
    fn wrapper(&self, kind: Kind, peeled: Peeled) -> Option<(Wrapper, Peeled)> {
        let (wrapper, layer) = match kind {
            Kind::Wrapped(layer) => (self.opener(layer)?, peel_of(layer)?),
            // Its framing is changed into the other one; only conn 1 is small enough to be kept.
            Kind::Archive(Container::Tar, Content::Backup) => {
                (Wrapper::Known(Layer::Tar), Peeled::TAR)
            }
            Kind::Foreign(_) if self.config.decompresses_all => {
                (Wrapper::Command, Peeled::COMPRESSOR)
            }
            Kind::Undecided
            | Kind::Empty
            | Kind::Truncated
            | Kind::Archive(..)
            | Kind::Foreign(_) => return None,
        };
        (!peeled.has(layer)).then_some((wrapper, layer))
    }

    fn opener(&self, layer: Layer) -> Option<Wrapper> {
        match layer {
            Layer::Gzip | Layer::Zstd | Layer::Lz4 | Layer::Qpress => Some(Wrapper::Known(layer)),
            Layer::Bzip2 | Layer::Xz => self.config.decompresses_all.then_some(Wrapper::Command),
            Layer::OpensslEnc | Layer::Xbcrypt => {
                self.config.deciphers.then_some(Wrapper::Known(layer))
            }
            Layer::Tls | Layer::Xbstream | Layer::Tar => None,
        }
    }

    fn unwrap(&mut self, id: ConnectionId, wrapper: Wrapper, layer: Peeled, head: Bytes) {
        if let Some(Role::Undecided { peeled, .. }) = self.connections.role_mut(id) {
            *peeled = peeled.with(layer);
        }
        self.outputs.push_back(Output::Unwrap { connection: id, wrapper, head });
        self.outputs.push_back(Output::Read { connection: id });
    }

    /// Content that must be the donor's ends the conversation; that of a stranger only its
    /// connection.
    fn refuse(&mut self, id: ConnectionId, reason: CloseReason, failure: Failure) {
        self.close(id, reason);
        if !self.config.allow_from.is_widened() {
            self.fail(failure);
        }
    }

    fn on_backup(&mut self, now: Instant, id: ConnectionId, head: Bytes) {
        match self.state {
            State::AwaitingArchive => self.start_archive(now, id, head),
            State::AwaitingMetadata if self.connections.early().is_none() => {
                if let Some(role) = self.connections.role_mut(id) {
                    *role = Role::Early { head };
                }
                self.deadlines.cancel(Timer::Connection(id));
                self.check_early();
            }
            State::Listening
            | State::AwaitingMetadata
            | State::Receiving { .. }
            | State::Concluding { .. }
            | State::Ended => self.close(id, CloseReason::SecondArchive),
        }
    }

    /// A backup that came first waits only while conn 1 may still be among the others.
    fn check_early(&mut self) {
        let waits = matches!(self.state, State::AwaitingMetadata);
        let early = self.connections.early().is_some();
        if waits && early && !self.connections.any_may_be_metadata() {
            self.fail(Failure::NoMetadata { refusal: self.last_refusal });
        }
    }

    fn start_archive(&mut self, now: Instant, id: ConnectionId, head: Bytes) {
        if let Some(role) = self.connections.role_mut(id) {
            *role = Role::Archive;
        }
        for timer in [Timer::Connection(id), Timer::SecondConnection, Timer::LastWord] {
            self.deadlines.cancel(timer);
        }
        let progress = Progress { bytes: 0, waiting: Waiting::ForUs, since: now };
        self.transition(State::Receiving { connection: id, progress });
        self.on_progress(progress);
        self.outputs.push_back(Output::StartArchive { connection: id, head });
    }

    fn on_small_archive(
        &mut self,
        now: Instant,
        id: ConnectionId,
        container: Container,
        content: Content,
        head: &[u8],
        ended: bool,
    ) {
        let is_due = match content {
            Content::Metadata => matches!(self.state, State::AwaitingMetadata),
            Content::Keyring | Content::Backup => !self.has_keyring,
        };
        if !is_due {
            return self.close(id, CloseReason::SecondMetadata);
        }
        if let Some(role) = self.connections.role_mut(id) {
            *role = Role::Collecting { container, content, bytes: BytesMut::from(head) };
        }
        if ended { self.on_collected(now, id) } else { self.collect(now, id) }
    }

    fn collect(&mut self, now: Instant, id: ConnectionId) {
        let Some(Role::Collecting { bytes, .. }) = self.connections.role_mut(id) else { return };
        if bytes.len() > METADATA_BYTES_MAX {
            return self.fail(Failure::MetadataTooLong { limit: METADATA_BYTES_MAX });
        }
        self.expect_bytes(now, id);
        self.outputs.push_back(Output::Read { connection: id });
    }

    fn on_collected(&mut self, now: Instant, id: ConnectionId) {
        let Some(Role::Collecting { container, content, bytes }) = self.connections.role_mut(id)
        else {
            return;
        };
        let (container, content, bytes) = (*container, *content, bytes.split().freeze());
        match content {
            Content::Metadata => self.on_metadata(now, id, container, bytes),
            Content::Keyring | Content::Backup => self.on_keyring(now, id, container, bytes),
        }
    }

    fn on_metadata(&mut self, now: Instant, id: ConnectionId, container: Container, bytes: Bytes) {
        if !matches!(self.state, State::AwaitingMetadata) {
            return self.close(id, CloseReason::SecondMetadata);
        }
        match Metadata::decode(container, bytes) {
            Ok(metadata) => {
                self.outputs.push_back(Output::Metadata(Box::new(metadata)));
                self.transition(State::AwaitingArchive);
                self.deadlines.cancel(Timer::FirstConnection);
                self.expect_archive(now);
                self.close(id, CloseReason::Done);
                self.resume_early(now);
            }
            // Later PXC scripts send conn 1 again when it broke.
            Err(error) if error.is_truncated() => self.close(id, CloseReason::Truncated),
            Err(error) => self.fail(error.into()),
        }
    }

    fn expect_archive(&mut self, now: Instant) {
        self.deadlines.set(Timer::SecondConnection, now + self.config.second_connection);
        for id in self.connections.undecided() {
            self.expect_bytes(now, id);
        }
    }

    fn resume_early(&mut self, now: Instant) {
        if let Some((id, head)) = self.connections.early() {
            self.start_archive(now, id, head);
        }
    }

    fn on_keyring(&mut self, now: Instant, id: ConnectionId, container: Container, bytes: Bytes) {
        match decode_keyring(container, bytes) {
            Ok(_) if self.has_keyring => self.close(id, CloseReason::SecondMetadata),
            Ok(files) => {
                self.has_keyring = true;
                self.outputs.push_back(Output::Keyring(files));
                if matches!(self.state, State::AwaitingArchive) {
                    self.expect_archive(now);
                }
                self.close(id, CloseReason::Done);
            }
            Err(error) if error.is_truncated() => self.close(id, CloseReason::Truncated),
            Err(error) => self.fail(error.into()),
        }
    }

    pub(super) fn on_connection_silent(&mut self, id: ConnectionId) {
        match self.connections.role_mut(id) {
            Some(Role::Held) => self.close(id, CloseReason::HeldTooLong),
            Some(Role::Undecided { .. } | Role::Collecting { .. }) => {
                self.close(id, CloseReason::Silent);
            }
            Some(Role::Early { .. } | Role::Archive) | None => {}
        }
    }

    pub(super) fn on_first_connection_missing(&mut self) {
        let limit = self.config.first_connection;
        self.fail(Failure::NoFirstConnection { limit, refusal: self.last_refusal });
    }

    /// A connection that has not said what it is may be a donor waiting for its backup lock.
    pub(super) fn on_second_connection_missing(&mut self) {
        if self.connections.undecided().is_empty() {
            self.fail_without_archive();
        }
    }

    fn fail_without_archive(&mut self) {
        let limit = self.config.second_connection;
        self.fail(Failure::NoSecondConnection { limit, refusal: self.last_refusal });
    }

    /// Closes one connection and draws the conclusions.
    pub(super) fn close(&mut self, id: ConnectionId, reason: CloseReason) {
        let Some(connection) = self.connections.remove(id) else { return };
        self.deadlines.cancel(Timer::Connection(id));
        self.note(connection.peer, reason);
        self.outputs.push_back(Output::Close { connection: id, reason });
        self.check_early();
        let overdue = !self.deadlines.is_set(Timer::SecondConnection);
        if matches!(self.state, State::AwaitingArchive) && overdue {
            self.on_second_connection_missing();
        }
    }

    fn note(&mut self, peer: IpAddr, reason: CloseReason) {
        match reason {
            CloseReason::Done | CloseReason::TransferOver => debug!(%peer, %reason, "closed"),
            CloseReason::NotTheDonor
            | CloseReason::TooMany
            | CloseReason::HeldTooLong
            | CloseReason::Silent
            | CloseReason::Empty
            | CloseReason::HungUp
            | CloseReason::Undeciphered
            | CloseReason::Unpackable
            | CloseReason::Foreign(_)
            | CloseReason::Wrapped(_)
            | CloseReason::NotEncrypted
            | CloseReason::Truncated
            | CloseReason::Broken
            | CloseReason::NoHandshake(_)
            | CloseReason::SecondMetadata
            | CloseReason::SecondArchive => {
                warn!(%peer, %reason, "connection turned away");
                self.last_refusal = Some(Refusal { peer, reason });
            }
        }
    }
}

const fn peel_of(layer: Layer) -> Option<Peeled> {
    match layer {
        Layer::Tls => Some(Peeled::TLS),
        Layer::Gzip | Layer::Zstd | Layer::Lz4 | Layer::Bzip2 | Layer::Xz | Layer::Qpress => {
            Some(Peeled::COMPRESSOR)
        }
        Layer::OpensslEnc | Layer::Xbcrypt => Some(Peeled::CIPHER),
        Layer::Tar => Some(Peeled::TAR),
        Layer::Xbstream => None,
    }
}
