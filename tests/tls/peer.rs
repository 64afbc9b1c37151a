//! Whatever may answer at an address of the group, made in the test: members that go as far as the
//! greeting, and everybody else whom people meet there.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use galera_protocol::checksum::Checksum;
use galera_protocol::gmcast::Text;
use galera_protocol::gmcast::config::UNIX_EPOCH_100NS;
use galera_protocol::gmcast::message::{Body, HandshakeId, Message};
use galera_protocol::{NodeId, Segment, frame};
use galera_sst::net::probe::UNUSED_PORTS;
use openssl::ssl::{Ssl, SslContext};

/// Longest that a peer waits for words that may never come.
const PATIENCE: Duration = Duration::from_secs(20);

/// Who answers.
#[derive(Clone)]
pub(crate) enum Peer {
    /// Takes connections and is silent: a proxy without the member.
    Silent,
    /// Closes each connection at once.
    Closes,
    /// Says these words and waits.
    Says(&'static [u8]),
    /// Reads something and closes.
    HangsUp,
    /// A member without TLS; answers everybody with this FAIL.
    Member(&'static str),
    /// A member inside TLS.
    Tls(SslContext),
}

impl Peer {
    /// Lets it answer on a port of the loopback interface, for as long as the process lives.
    pub(crate) fn listen(self) -> SocketAddr {
        self.listen_at(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))
    }

    /// Lets it answer on every port that somebody may try, on an address of its own.
    pub(crate) fn listen_everywhere(self) -> SocketAddr {
        let [.., high, low] = std::process::id().to_be_bytes();
        let address = Ipv4Addr::new(127, 77, high, low);
        for port in UNUSED_PORTS {
            self.clone().listen_at(SocketAddr::from((address, port)));
        }
        self.listen_at(SocketAddr::from((address, 0)))
    }

    fn listen_at(self, address: SocketAddr) -> SocketAddr {
        let listener = TcpListener::bind(address).expect("listen");
        let address = listener.local_addr().expect("address");
        thread::spawn(move || {
            for caller in listener.incoming().flatten() {
                let peer = self.clone();
                thread::spawn(move || peer.answer(caller));
            }
        });
        address
    }

    /// Callers may hang up at any time, which is not this side's failure.
    fn answer(self, mut caller: TcpStream) {
        let _ = caller.set_read_timeout(Some(PATIENCE));
        match self {
            Self::Silent => wait(&mut caller),
            Self::Closes => {}
            Self::Says(words) => {
                let _ = caller.write_all(words);
                wait(&mut caller);
            }
            Self::HangsUp => drop(caller.read(&mut [0; 16])),
            Self::Member(refusal) => meet(&mut caller, refusal),
            Self::Tls(context) => {
                let accepted = Ssl::new(&context).expect("a session").accept(caller);
                if let Ok(mut stream) = accepted {
                    meet(&mut stream, "");
                }
            }
        }
    }
}

/// Greets, and answers the response with a FAIL, or not at all.
fn meet(stream: &mut (impl Read + Write), refusal: &str) {
    let handshake = HandshakeId(node(2));
    say(stream, Body::Handshake { handshake });
    let mut response = [0; 140];
    if stream.read_exact(&mut response).is_ok() && !refusal.is_empty() {
        say(stream, Body::Fail { reason: Text::new(refusal).expect("short") });
    } else {
        wait(stream);
    }
}

fn say(stream: &mut impl Write, body: Body) {
    let message = Message { segment: Segment(0), source: node(1), body };
    let mut whole = BytesMut::new();
    frame::encode(Checksum::Crc32c, &message.encode(), &mut whole).expect("a frame");
    let _ = stream.write_all(&whole);
}

fn wait(stream: &mut impl Read) {
    let mut rest = [0; 1024];
    while stream.read(&mut rest).is_ok_and(|count| count > 0) {}
}

fn node(number: u16) -> NodeId {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let units = u64::try_from(since_1970.as_nanos() / 100).expect("before the year 60000");
    NodeId::version1(UNIX_EPOCH_100NS + units, number, [2, 0, 0, 0, 0, 1])
}
