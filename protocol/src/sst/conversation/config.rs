//! What the operator may set: who may connect, whether in TLS, and how long anything may take.

use core::time::Duration;

use crate::sst::peers::AllowFrom;

/// Time limits and who may connect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Who may connect besides the chosen donor.
    pub allow_from: AllowFrom,
    /// Whether a connection must begin with TLS. If so, plain text is refused.
    pub tls: TlsPolicy,
    /// Whether the driver has a key that opens `encrypt=1` connections.
    pub deciphers: bool,
    /// Whether the driver has a command for compressors that it does not know by itself.
    pub decompresses_all: bool,
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
            deciphers: false,
            decompresses_all: false,
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
