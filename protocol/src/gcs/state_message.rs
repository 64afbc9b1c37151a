//! STATE_UUID and STATE_MSG: what members tell each other when a configuration begins.

use core::fmt;

use bytes::{BufMut, Bytes};
use nom::Parser;
use nom::bytes::complete::{tag, take_while};
use nom::error::context;
use nom::number::complete::{le_i16, le_i32, le_i64, le_u8};
use nom::sequence::terminated;

use super::name::Name;
use super::number::{ConfigurationId, Protocols, Seqno};
use super::status::Status;
use crate::decode::{DecodeError, Parsed, bytes16, whole};
use crate::id::StateId;

/// The layout that this implementation sends.
pub const STATE_MESSAGE_VERSION: u8 = 6;

/// Identifies one state exchange: the 16 bytes of a STATE_UUID message. Not the group's state UUID.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId([u8; 16]);

impl ExchangeId {
    /// No exchange.
    pub const NIL: Self = Self([0; 16]);

    /// Takes the 16 bytes as they stand on the wire.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Decodes the body of a STATE_UUID message.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        whole("STATE_UUID", payload, exchange_id)
    }

    /// The body of a STATE_UUID message.
    pub fn encode(&self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

fn exchange_id(input: &[u8]) -> Parsed<'_, ExchangeId> {
    let (input, bytes) = context("exchange UUID", bytes16).parse(input)?;
    Ok((input, ExchangeId(bytes)))
}

impl fmt::Display for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        StateId::from_bytes(self.0).fmt(f)
    }
}

impl fmt::Debug for ExchangeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The flag byte of a state message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StateFlags(pub u8);

impl StateFlags {
    /// The sender has index 0.
    pub const REPRESENTATIVE: Self = Self(0x01);
    /// The sender's last applied seqno counts in the commit cut.
    pub const COUNTS_LAST_APPLIED: Self = Self(0x02);
    /// The sender was started to form a new group: sent by the founder of a group of our own only.
    pub const BOOTSTRAP: Self = Self(0x04);
    /// The sender has no data: an arbitrator.
    pub const STATELESS: Self = Self(0x08);

    /// Are all bits of `other` set?
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These bits and those of `other`.
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// What a node says about itself in a state exchange (STATE_MSG). Version 6:
///
/// | offset | size | field                 | encoding                                          |
/// |-------:|-----:|-----------------------|---------------------------------------------------|
/// |      0 |    1 | version               |                                                   |
/// |      1 |    1 | flags                 | [`StateFlags`]                                    |
/// |      2 |    1 | gcs protocol          | highest that the sender supports                  |
/// |      3 |    1 | repl protocol         | the same; 127 without a replicator                |
/// |      4 |    1 | previous status       | in the last primary component                     |
/// |      5 |    1 | current status        |                                                   |
/// |      6 |    2 | previous joined       | i16, members with state then                      |
/// |      8 |   16 | exchange UUID         | as in STATE_UUID                                  |
/// |     24 |   16 | group UUID            | nil without history                               |
/// |     40 |   16 | previous exchange     | of the last primary component                     |
/// |     56 |    8 | received              | i64, last global seqno, −1 none                   |
/// |     64 |    8 | previous configuration | i64, −1 none                                     |
/// |     72 |    a | name                  | NUL-terminated                                    |
/// |   72+a |    b | incoming address      | NUL-terminated                                    |
/// |  c = 72+a+b | 1 | appl protocol       | from version 1                                    |
/// |    c+1 |    8 | cached                | i64, lowest seqno in the cache; from version 3    |
/// |    c+9 |    4 | desync count          | i32; from version 4                               |
/// |   c+13 |    8 | last applied          | i64; from version 5                               |
/// |   c+21 |    8 | vote seqno            | i64; from version 5                               |
/// |   c+29 |    8 | vote result           | i64; from version 5                               |
/// |   c+37 |    1 | vote policy           | from version 5                                    |
/// |   c+38 |    3 | previous protocols    | gcs, repl, appl; from version 6                   |
///
/// Integers are little-endian. Galera 3 leaves the block of version 5 uninitialised, so it is used
/// only if the sender's gcs protocol is at least 2. Bytes behind the last known field are ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateMessage {
    /// Layout of the message.
    pub version: u8,
    /// Representative, counted, bootstrap, stateless.
    pub flags: StateFlags,
    /// Highest protocols that the sender supports.
    pub protocols: Protocols,
    /// Its status in its last primary component.
    pub previous_status: Status,
    /// Its status now.
    pub current_status: Status,
    /// Members with state in its last primary component.
    pub previous_joined: i16,
    /// The exchange that this answers.
    pub exchange: ExchangeId,
    /// Its history.
    pub group: StateId,
    /// The exchange of its last primary component.
    pub previous_exchange: ExchangeId,
    /// The last global seqno that it received.
    pub received: Seqno,
    /// The number of its last primary configuration.
    pub previous_configuration: ConfigurationId,
    /// Its name.
    pub name: Name,
    /// Where clients reach it; empty for arbitrators.
    pub incoming_address: Name,
    /// The lowest seqno in its write-set cache.
    pub cached: Seqno,
    /// How many reasons it has to be DONOR.
    pub desync_count: i32,
    /// The commit cut that it knows, and votes.
    pub votes: Votes,
    /// The highest protocols of its past primary components.
    pub previous_protocols: Protocols,
}

/// The block of a state message that came with version 5.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Votes {
    /// The commit cut of the group that the sender knows.
    pub last_applied: Seqno,
    /// The seqno last voted on.
    pub seqno: Seqno,
    /// The result of that vote.
    pub result: i64,
    /// 0: plurality; n: success wins with n votes.
    pub policy: u8,
}

impl Votes {
    /// What the rules assume of senders that do not say.
    const ABSENT: Self = Self { last_applied: Seqno(0), seqno: Seqno(0), result: 0, policy: 1 };

    /// What a member without data says.
    const NONE: Self =
        Self { last_applied: Seqno::UNDEFINED, seqno: Seqno::UNDEFINED, result: 0, policy: 0 };

    fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, last_applied) = context("last applied", le_i64).parse(input)?;
        let (input, seqno) = context("vote seqno", le_i64).parse(input)?;
        let (input, result) = context("vote result", le_i64).parse(input)?;
        let (input, policy) = context("vote policy", le_u8).parse(input)?;
        let (last_applied, seqno) = (Seqno(last_applied), Seqno(seqno));
        Ok((input, Self { last_applied, seqno, result, policy }))
    }

    fn encode(&self, out: &mut impl BufMut) {
        out.put_i64_le(self.last_applied.0);
        out.put_i64_le(self.seqno.0);
        out.put_i64_le(self.result);
        out.put_u8(self.policy);
    }
}

impl StateMessage {
    /// What a member without data says in *every* exchange: that it knows nothing (spec 04 §9.1,
    /// policy N). So it is never the reference, never lowers or keeps alive a protocol, never
    /// counts.
    pub fn null(exchange: ExchangeId, is_first: bool, name: Name, protocols: Protocols) -> Self {
        let first = if is_first { StateFlags::REPRESENTATIVE } else { StateFlags(0) };
        Self {
            version: STATE_MESSAGE_VERSION,
            flags: StateFlags::STATELESS.with(first),
            protocols,
            previous_status: Status::NonPrimary,
            current_status: Status::NonPrimary,
            previous_joined: 0,
            exchange,
            group: StateId::NIL,
            previous_exchange: ExchangeId::NIL,
            received: Seqno::UNDEFINED,
            previous_configuration: ConfigurationId::UNDEFINED,
            name,
            incoming_address: Name::default(),
            cached: Seqno::UNDEFINED,
            desync_count: 0,
            votes: Votes::NONE,
            previous_protocols: Protocols::default(),
        }
    }

    /// Decodes the body of a STATE_MSG message of any version.
    pub fn decode(payload: &[u8]) -> Result<Self, DecodeError> {
        whole("STATE_MSG", payload, |input| {
            let (_, message) = Self::parse(input)?;
            Ok((&[], message))
        })
    }

    fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, head) = Head::parse(input)?;
        let (input, exchange) = context("exchange UUID", bytes16).parse(input)?;
        let (input, group) = context("group UUID", StateId::parse).parse(input)?;
        let (input, previous_exchange) = context("previous exchange", bytes16).parse(input)?;
        let (input, received) = context("received", le_i64).parse(input)?;
        let (input, configuration) = context("previous configuration", le_i64).parse(input)?;
        let (input, name) = context("name", text).parse(input)?;
        let (input, incoming_address) = context("incoming address", text).parse(input)?;
        let (input, tail) = Tail::parse(input, head.version, head.gcs)?;
        let message = Self {
            version: head.version,
            flags: StateFlags(head.flags),
            protocols: Protocols { gcs: head.gcs, repl: head.repl, appl: tail.appl },
            previous_status: Status::from_number(head.previous_status),
            current_status: Status::from_number(head.current_status),
            previous_joined: head.previous_joined,
            exchange: ExchangeId(exchange),
            group,
            previous_exchange: ExchangeId(previous_exchange),
            received: Seqno(received),
            previous_configuration: ConfigurationId(configuration),
            name,
            incoming_address,
            cached: Seqno(tail.cached),
            desync_count: tail.desync_count,
            votes: tail.votes,
            previous_protocols: tail.previous_protocols,
        };
        Ok((input, message))
    }

    /// The body of the message, in the layout of its version.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(160);
        out.put_slice(&[self.version, self.flags.0, self.protocols.gcs, self.protocols.repl]);
        out.put_slice(&[self.previous_status.number(), self.current_status.number()]);
        out.put_i16_le(self.previous_joined);
        out.put_slice(&self.exchange.0);
        self.group.encode(&mut out);
        out.put_slice(&self.previous_exchange.0);
        out.put_i64_le(self.received.0);
        out.put_i64_le(self.previous_configuration.0);
        for text in [&self.name, &self.incoming_address] {
            out.put_slice(text.as_bytes());
            out.put_u8(0);
        }
        self.encode_tail(&mut out);
        out.into()
    }

    fn encode_tail(&self, out: &mut impl BufMut) {
        if self.version >= 1 {
            out.put_u8(self.protocols.appl);
        }
        if self.version >= 3 {
            out.put_i64_le(self.cached.0);
        }
        if self.version >= 4 {
            out.put_i32_le(self.desync_count);
        }
        if self.version >= 5 {
            self.votes.encode(out);
        }
        if self.version >= 6 {
            let previous = self.previous_protocols;
            out.put_slice(&[previous.gcs, previous.repl, previous.appl]);
        }
    }
}

fn text(input: &[u8]) -> Parsed<'_, Name> {
    let (input, bytes) = terminated(take_while(|byte| byte != 0), tag(&[0][..])).parse(input)?;
    Ok((input, Name::copy_from(bytes)))
}

/// The eight bytes in front.
struct Head {
    version: u8,
    flags: u8,
    gcs: u8,
    repl: u8,
    previous_status: u8,
    current_status: u8,
    previous_joined: i16,
}

impl Head {
    fn parse(input: &[u8]) -> Parsed<'_, Self> {
        let (input, version) = context("version", le_u8).parse(input)?;
        let (input, flags) = context("flags", le_u8).parse(input)?;
        let (input, gcs) = context("gcs protocol", le_u8).parse(input)?;
        let (input, repl) = context("repl protocol", le_u8).parse(input)?;
        let (input, previous_status) = context("previous status", le_u8).parse(input)?;
        let (input, current_status) = context("current status", le_u8).parse(input)?;
        let (input, previous_joined) = context("previous joined", le_i16).parse(input)?;
        let head =
            Self { version, flags, gcs, repl, previous_status, current_status, previous_joined };
        Ok((input, head))
    }
}

/// The fields that came with later versions.
struct Tail {
    appl: u8,
    cached: i64,
    desync_count: i32,
    votes: Votes,
    previous_protocols: Protocols,
}

impl Tail {
    fn parse(input: &[u8], version: u8, gcs: u8) -> Parsed<'_, Self> {
        let (input, appl) = since(1, version, "appl protocol", le_u8, 0, input)?;
        let (input, cached) = since(3, version, "cached", le_i64, -1, input)?;
        let (input, desync_count) = since(4, version, "desync count", le_i32, 0, input)?;
        let absent = Votes::ABSENT;
        let (input, votes) = since(5, version, "votes", Votes::parse, absent, input)?;
        let none = Protocols::default();
        let (input, previous_protocols) =
            since(6, version, "previous protocols", previous_protocols, none, input)?;
        // Galera 3 sends whatever was in memory there.
        let votes = if gcs >= 2 { votes } else { absent };
        Ok((input, Self { appl, cached, desync_count, votes, previous_protocols }))
    }
}

/// Reads a field that exists from version `first` on; before, it has the value `absent`.
fn since<'a, T>(
    first: u8,
    version: u8,
    field: &'static str,
    parser: impl Fn(&'a [u8]) -> Parsed<'a, T>,
    absent: T,
    input: &'a [u8],
) -> Parsed<'a, T> {
    if version >= first { context(field, parser).parse(input) } else { Ok((input, absent)) }
}

fn previous_protocols(input: &[u8]) -> Parsed<'_, Protocols> {
    let (input, (gcs, repl, appl)) = (le_u8, le_u8, le_u8).parse(input)?;
    Ok((input, Protocols { gcs, repl, appl }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn null() -> StateMessage {
        let protocols = Protocols { gcs: 6, repl: 127, appl: 127 };
        StateMessage::null(ExchangeId([7; 16]), true, Name::from("garb"), protocols)
    }

    #[test]
    fn older_versions_read_with_the_defaults_that_the_rules_assume() {
        for version in 0..6 {
            let sent = StateMessage { version, desync_count: 3, ..null() };
            let read = StateMessage::decode(&sent.encode()).expect("older layout");
            assert_eq!(read.protocols.appl, if version < 1 { 0 } else { 127 });
            assert_eq!(read.cached, Seqno::UNDEFINED);
            assert_eq!(read.desync_count, if version < 4 { 0 } else { 3 });
            assert_eq!(read.votes, if version < 5 { Votes::ABSENT } else { Votes::NONE });
            assert_eq!(read.previous_protocols, Protocols::default());
        }
    }

    #[test]
    fn garbage_that_galera_3_leaves_in_the_vote_block_is_not_used() {
        let garbage = Votes { last_applied: Seqno(77), seqno: Seqno(5), result: 9, policy: 200 };
        let protocols = Protocols { gcs: 0, repl: 9, appl: 3 };
        let sent = StateMessage { votes: garbage, protocols, ..null() };
        let read = StateMessage::decode(&sent.encode()).expect("version 6");
        assert_eq!(read.votes, Votes::ABSENT);
        assert_eq!(read.previous_protocols, sent.previous_protocols);
    }

    #[test]
    fn fields_of_future_versions_are_ignored() {
        let sent = StateMessage { version: 9, ..null() };
        let mut bytes = sent.encode().to_vec();
        bytes.extend_from_slice(b"whatever comes");
        assert_eq!(StateMessage::decode(&bytes), Ok(sent));
    }

    #[test]
    fn every_shorter_message_is_refused() {
        let bytes = null().encode();
        for length in 0..bytes.len() {
            assert!(StateMessage::decode(&bytes[..length]).is_err(), "{length} bytes");
        }
    }

    #[test]
    fn the_null_state_never_says_counted_or_bootstrap() {
        for is_first in [false, true] {
            let name = Name::from("n");
            let message = StateMessage::null(ExchangeId::NIL, is_first, name, Protocols::default());
            assert!(message.flags.has(StateFlags::STATELESS));
            assert_eq!(message.flags.has(StateFlags::REPRESENTATIVE), is_first);
            assert!(!message.flags.has(StateFlags::BOOTSTRAP));
            assert!(!message.flags.has(StateFlags::COUNTS_LAST_APPLIED));
        }
    }
}
