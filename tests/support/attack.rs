//! Peers that do what no member does.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use galera_protocol::{
    NodeId, Segment,
    checksum::Checksum,
    frame,
    gmcast::{
        GroupName, Text,
        message::{Body, HandshakeId, Message, Relay},
    },
};

/// Who is attacked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Where it listens for members.
    pub(crate) address: SocketAddr,
    /// The group that it belongs to.
    pub(crate) group: String,
}

/// How a peer breaks the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attack {
    /// Bytes that are no frame.
    Garbage,
    /// A frame header that announces more than any frame has.
    Oversized,
    /// A frame whose checksum is wrong.
    Checksum,
    /// An intact frame that is no message.
    Malformed,
    /// A message of a member before the handshake: dropped, and the handshake's time runs on.
    UserFirst,
    /// A second HANDSHAKE, which only an acceptor sends.
    Handshake,
    /// A HANDSHAKE_RESPONSE recorded on another connection.
    Replayed,
    /// A response of another group.
    WrongGroup,
    /// A response that names no node.
    NilNode,
    /// Nothing at all.
    Silence,
    /// One byte of a valid response now and then.
    SlowLoris,
    /// A linked peer that answers a list of links with garbage.
    LinkedGarbage,
    /// A linked peer that sends something that is no message of the layer above, which is dropped,
    /// and then nothing.
    LinkedMalformedUser,
    /// A linked peer that makes its handshake a second time.
    LinkedHandshake,
}

impl Attack {
    pub(crate) const ALL: [Self; 14] = [
        Self::Garbage,
        Self::Oversized,
        Self::Checksum,
        Self::Malformed,
        Self::UserFirst,
        Self::Handshake,
        Self::Replayed,
        Self::WrongGroup,
        Self::NilNode,
        Self::Silence,
        Self::SlowLoris,
        Self::LinkedGarbage,
        Self::LinkedMalformedUser,
        Self::LinkedHandshake,
    ];

    /// How many of them, at least, are counted as breaches of the protocol.
    pub(crate) const VIOLATIONS: u64 = 8;

    /// How long the link may be kept: `gmcast.peer_timeout` and a round of checks for whoever says
    /// nothing wrong, next to nothing for the others.
    pub(crate) fn limit(self) -> Duration {
        match self {
            Self::Silence | Self::SlowLoris | Self::UserFirst | Self::LinkedMalformedUser => {
                Duration::from_secs(6)
            }
            Self::Garbage
            | Self::Oversized
            | Self::Checksum
            | Self::Malformed
            | Self::Handshake
            | Self::Replayed
            | Self::WrongGroup
            | Self::NilNode
            | Self::LinkedGarbage
            | Self::LinkedHandshake => Duration::from_secs(2),
        }
    }

    /// Attacks, and returns how long it took until the link was gone. Fails if there was no link,
    /// for it had to give way to somebody else's.
    pub(crate) fn run(self, target: &Target) -> io::Result<Duration> {
        let took = match self {
            Self::LinkedGarbage => Peer::linked(target)?.end_with(&[0xff; 64]),
            Self::LinkedMalformedUser => {
                let user =
                    Body::User { relay: Relay::No, payload: Bytes::from_static(b"nonsense") };
                Peer::linked(target)?.end_with_message(user)
            }
            Self::LinkedHandshake => {
                let handshake = Body::Handshake { handshake: HandshakeId(node(9)) };
                Peer::linked(target)?.end_with_message(handshake)
            }
            Self::SlowLoris => Peer::greeted(target)?.trickle(&target.group),
            Self::Silence => Peer::greeted(target)?.end_with(&[]),
            Self::Garbage
            | Self::Oversized
            | Self::Checksum
            | Self::Malformed
            | Self::UserFirst
            | Self::Handshake
            | Self::Replayed
            | Self::WrongGroup
            | Self::NilNode => {
                let peer = Peer::greeted(target)?;
                let bytes = self.bytes(&peer, &target.group);
                peer.end_with(&bytes)
            }
        };
        Ok(took)
    }

    /// What is sent after the greeting.
    fn bytes(self, peer: &Peer, group: &str) -> Vec<u8> {
        match self {
            Self::Garbage => (0..200_u8).map(|n| n.wrapping_mul(37)).collect(),
            Self::Oversized => 0x00ff_ffff_u32.to_le_bytes().into_iter().chain([0; 4]).collect(),
            Self::Checksum => {
                let mut bytes = framed(&peer.response(group).encode());
                bytes[4] ^= 1;
                bytes
            }
            Self::Malformed => framed(&[0x55; 40]),
            Self::UserFirst => {
                let payload = Bytes::from_static(b"x");
                framed(&peer.message(Body::User { relay: Relay::No, payload }).encode())
            }
            Self::Handshake => {
                framed(&peer.message(Body::Handshake { handshake: HandshakeId(node(8)) }).encode())
            }
            Self::Replayed => {
                let recorded = Body::HandshakeResponse {
                    handshake: HandshakeId(node(7)),
                    address: text("tcp://127.0.0.1:4567"),
                    group: group_name(group),
                };
                framed(&peer.message(recorded).encode())
            }
            Self::WrongGroup => framed(&peer.response("another").encode()),
            Self::NilNode => {
                let response = Message { source: NodeId::NIL, ..peer.response(group) };
                framed(&response.encode())
            }
            Self::Silence
            | Self::SlowLoris
            | Self::LinkedGarbage
            | Self::LinkedMalformedUser
            | Self::LinkedHandshake => Vec::new(),
        }
    }
}

/// Whether a new caller gets the acceptor's first message.
pub(crate) fn is_greeted(target: &Target) -> bool {
    let stream = TcpStream::connect(target.address).expect("connect");
    stream.set_read_timeout(Some(Duration::from_secs(5))).expect("set a limit");
    (&stream).read(&mut [0; 8]).is_ok_and(|length| length > 0)
}

/// One end of a connection to the attacked member.
pub(crate) struct Peer {
    stream: TcpStream,
    me: NodeId,
    handshake: HandshakeId,
}

impl Peer {
    /// Connects and reads the acceptor's HANDSHAKE.
    fn greeted(target: &Target) -> io::Result<Self> {
        let mut stream = TcpStream::connect(target.address)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let port = stream.local_addr()?.port();
        let greeting = read_message(&mut stream)?;
        let Body::Handshake { handshake } = greeting.body else {
            panic!("greeted by {greeting:?}")
        };
        Ok(Self { stream, me: node(port), handshake })
    }

    /// Connects and does all that a member does to get a link.
    pub(crate) fn linked(target: &Target) -> io::Result<Self> {
        let mut peer = Self::greeted(target)?;
        let response = framed(&peer.response(&target.group).encode());
        peer.stream.write_all(&response)?;
        let answer = read_message(&mut peer.stream)?;
        assert_eq!(answer.body, Body::Ok, "the handshake was refused");
        Ok(peer)
    }

    /// Behaves from now on, in the background, as an idle member does.
    pub(crate) fn behave(self) -> Behaved {
        let stop = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&stop);
        Behaved { stop, thread: thread::spawn(move || self.stay(&told)) }
    }

    /// True if the link was there until `stop` was set.
    fn stay(mut self, stop: &AtomicBool) -> bool {
        self.stream.set_read_timeout(Some(Duration::from_millis(200))).expect("set a limit");
        let mut buffer = [0; 4096];
        while !stop.load(Ordering::Relaxed) {
            let is_gone = match self.stream.read(&mut buffer) {
                Ok(length) => length == 0,
                Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
            };
            if is_gone || !self.send_keepalives(1) {
                return false;
            }
        }
        true
    }

    /// Sends many harmless messages; false once the link is gone.
    pub(crate) fn send_keepalives(&mut self, count: usize) -> bool {
        let one = framed(&self.message(Body::Ok).encode());
        self.stream.write_all(&one.repeat(count)).is_ok()
    }

    fn message(&self, body: Body) -> Message {
        Message { segment: Segment(0), source: self.me, body }
    }

    fn response(&self, name: &str) -> Message {
        // A port where nobody listens: whoever believes it shall find that out.
        let (handshake, address) = (self.handshake, text("tcp://127.0.0.1:9"));
        self.message(Body::HandshakeResponse { handshake, address, group: group_name(name) })
    }

    fn end_with_message(self, body: Body) -> Duration {
        let bytes = framed(&self.message(body).encode());
        self.end_with(&bytes)
    }

    /// Sends this and waits until the link is gone.
    fn end_with(mut self, bytes: &[u8]) -> Duration {
        let started = Instant::now();
        // The other end may have closed before everything was sent.
        self.stream.write_all(bytes).ok();
        self.wait_end(started)
    }

    fn wait_end(&mut self, started: Instant) -> Duration {
        let mut buffer = [0; 4096];
        // A read that times out means that the link is still there.
        while self.stream.read(&mut buffer).is_ok_and(|length| length > 0) {}
        started.elapsed()
    }

    /// Sends a valid response, a byte at a time, too slowly.
    fn trickle(mut self, group: &str) -> Duration {
        let started = Instant::now();
        for byte in framed(&self.response(group).encode()) {
            if self.stream.write_all(&[byte]).is_err() {
                break;
            }
            thread::sleep(Duration::from_millis(200));
        }
        self.wait_end(started)
    }
}

fn node(number: u16) -> NodeId {
    let [high, low] = number.to_be_bytes();
    NodeId::from_bytes([high, low, 1, 1, 0, 0, 0x11, 0xee, 0, 0, 1, 1, 1, 1, 1, 1])
}

fn group_name(name: &str) -> GroupName {
    GroupName::new(name).expect("it fits")
}

fn text(text: &str) -> Text {
    Text::new(text).expect("it fits")
}

fn framed(body: &[u8]) -> Vec<u8> {
    let mut out = BytesMut::new();
    frame::encode(Checksum::Crc32c, body, &mut out).expect("a body of a valid length");
    out.to_vec()
}

fn read_message(stream: &mut TcpStream) -> io::Result<Message> {
    let mut decoder = frame::FrameDecoder::new();
    let mut buffer = BytesMut::new();
    loop {
        if let Some(body) = decoder.decode(&mut buffer).expect("intact frames") {
            return Ok(Message::decode(&body).expect("a message"));
        }
        let mut bytes = [0; 4096];
        let length = stream.read(&mut bytes)?;
        if length == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        buffer.extend_from_slice(&bytes[..length]);
    }
}

/// A peer that does no wrong.
pub(crate) struct Behaved {
    stop: Arc<AtomicBool>,
    thread: thread::JoinHandle<bool>,
}

impl Behaved {
    /// Ends it, and tells whether it had kept its link.
    pub(crate) fn kept_its_link(self) -> bool {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("a peer does not panic")
    }
}
