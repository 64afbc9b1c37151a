//! The two messages that a session is named and described by.

use super::key_log::Random;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const SUPPORTED_VERSIONS: [u8; 2] = [0, 43];
const TLS_1_3: [u8; 2] = [3, 4];

/// The random of a ServerHello that only asks for another ClientHello (RFC 8446 §4.1.3).
const RETRY: Random = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// What the client begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ClientHello {
    pub(super) random: Random,
}

/// What the server chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServerHello {
    pub(super) random: Random,
    pub(super) suite: u16,
    pub(super) is_1_3: bool,
}

impl ClientHello {
    /// Reads the start of a handshake record.
    pub(super) fn parse(record: &[u8]) -> Option<Self> {
        let (random, _) = hello(record, CLIENT_HELLO)?;
        Some(Self { random })
    }
}

impl ServerHello {
    /// Reads the start of a handshake record; none also for a request to begin again.
    pub(super) fn parse(record: &[u8]) -> Option<Self> {
        let (random, mut rest) = hello(record, SERVER_HELLO)?;
        rest.counted::<1>()?;
        let suite = u16::from_be_bytes(*rest.take(2)?.first_chunk()?);
        rest.take(1)?;
        let is_1_3 = match rest.counted::<2>() {
            Some(extensions) => chooses_1_3(Input(extensions)),
            None => false,
        };
        (random != RETRY).then_some(Self { random, suite, is_1_3 })
    }
}

/// The random of such a message, and what follows it in the message.
fn hello(record: &[u8], kind: u8) -> Option<(Random, Input<'_>)> {
    let mut input = Input(record);
    let is_kind = input.take(1)? == [kind];
    let mut body = Input(input.counted::<3>()?);
    body.take(2)?;
    let random = Random::try_from(body.take(32)?).ok()?;
    is_kind.then_some((random, body))
}

fn chooses_1_3(mut extensions: Input<'_>) -> bool {
    while let Some(kind) = extensions.take(2) {
        let Some(data) = extensions.counted::<2>() else { return false };
        if kind == SUPPORTED_VERSIONS {
            return data == TLS_1_3;
        }
    }
    false
}

/// What is left of a message.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Bytes behind their number, which has `N` bytes.
    fn counted<const N: usize>(&mut self) -> Option<&'a [u8]> {
        let length = self.take(N)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
        self.take(length)
    }
}
