//! Links: both sides of a handshake, refusals and keepalives.

use core::net::SocketAddr;

use bytes::Bytes;
use galera_protocol::gmcast::message::{Body, HandshakeId, Message};
use galera_protocol::gmcast::{Config, Gmcast, GroupName, Input, LinkId, Output};
use galera_protocol::id::{NodeId, Segment};
use galera_protocol::time::{Duration, Instant};

use crate::vectors::gmcast as vector;

const LINK: LinkId = LinkId::Accepted(0);

struct Side {
    gmcast: Gmcast,
    now: Instant,
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

fn source(body: &Bytes) -> NodeId {
    Message::decode(body).expect("readable").source
}

impl Side {
    /// The sender of a captured frame.
    fn sender_of(frame: &Bytes, listen: &str) -> Self {
        let message = Message::decode(frame).expect("readable");
        let config = Config {
            group: GroupName::new("labA").expect("short"),
            segment: message.segment,
            listen: address(listen),
            ..Config::default()
        };
        let mut gmcast = Gmcast::new(config, message.source, 1);
        let now = Instant::from_micros(1_000_000);
        gmcast.handle_input(now, Input::Start);
        Self { gmcast, now }
    }

    fn input(&mut self, input: Input) -> Vec<Bytes> {
        self.gmcast.handle_input(self.now, input);
        let outputs = core::iter::from_fn(|| self.gmcast.poll_output());
        let body = |output| match output {
            Output::SendFrame { body, .. } => Some(body),
            Output::Resolve { .. }
            | Output::Dial { .. }
            | Output::CloseLink { .. }
            | Output::Deliver { .. }
            | Output::Event(_) => None,
        };
        outputs.filter_map(body).collect()
    }

    fn hear(&mut self, body: Bytes) -> Vec<Bytes> {
        self.input(Input::Frame { link: LINK, body })
    }

    /// Somebody calls; gives the name of the connection that it is told.
    fn is_called(&mut self, local: &str) -> HandshakeId {
        let (local, remote) = (address(local), address("127.0.0.1:50000"));
        let sent = self.input(Input::Accepted { link: LINK, local, remote });
        let greeting = Message::decode(&sent[0]).expect("readable");
        let Body::Handshake { handshake } = greeting.body else { panic!("{greeting:?}") };
        let captured = Message::decode(&vector("handshake")).expect("readable");
        assert_eq!(
            (greeting.segment, sent[0].len()),
            (captured.segment, vector("handshake").len())
        );
        handshake
    }

    /// A captured answer, to our name of the connection.
    fn hear_response(&mut self, handshake: HandshakeId, group: &str) -> Vec<Bytes> {
        let mut response = Message::decode(&vector("handshake_response")).expect("readable");
        let Body::HandshakeResponse { handshake: theirs, group: name, .. } = &mut response.body
        else {
            panic!("{response:?}")
        };
        *theirs = handshake;
        *name = GroupName::new(group).expect("short");
        self.hear(response.encode())
    }

    /// Lets time pass, and gives the first frame that it makes us send.
    fn wait(&mut self, time: Duration) -> Vec<Bytes> {
        let end = self.now + time;
        while let Some(at) = self.gmcast.next_deadline().filter(|at| *at <= end) {
            self.now = at;
            let sent = self.input(Input::Timeout);
            if !sent.is_empty() {
                return sent;
            }
        }
        Vec::new()
    }
}

#[test]
fn a_caller_answers_as_the_captured_one_did() {
    let mut side = Side::sender_of(&vector("handshake_response"), "127.0.0.1:21002");
    side.gmcast = {
        let config = Config {
            group: GroupName::new("labA").expect("short"),
            listen: address("127.0.0.1:21002"),
            initial: vec![galera_protocol::gmcast::address::HostPort {
                host: "127.0.0.1".into(),
                port: 21_001,
            }],
            ..Config::default()
        };
        Gmcast::new(config, source(&vector("handshake_response")), 1)
    };
    side.input(Input::Start);
    let (link, local, remote) =
        (LinkId::Dialled(0), address("127.0.0.1:40000"), address("127.0.0.1:21001"));
    side.input(Input::Connected { link, local, remote });
    let answer = side.input(Input::Frame { link, body: vector("handshake") });
    assert_eq!(answer, [vector("handshake_response")]);
    let after = side.input(Input::Frame { link, body: vector("ok_handshake") });
    assert!(after.contains(&vector("topology_one_peer_from_initiator")), "{after:?}");
}

#[test]
fn whoever_is_called_accepts_as_the_captured_one_did() {
    let mut side = Side::sender_of(&vector("handshake"), "127.0.0.1:21001");
    let handshake = side.is_called("127.0.0.1:21001");
    let answer = side.hear_response(handshake, "labA");
    let expected = [vector("ok_handshake"), vector("topology_one_peer_from_acceptor")];
    assert_eq!(answer, expected);
}

#[test]
fn a_stranger_of_another_group_is_refused_as_by_the_captured_one() {
    let mut side = Side::sender_of(&vector("fail_invalid_group"), "127.0.0.1:21001");
    let handshake = side.is_called("127.0.0.1:21001");
    assert_eq!(side.hear_response(handshake, "labB"), [vector("fail_invalid_group")]);
}

#[test]
fn an_idle_link_is_kept_alive_as_by_the_captured_one() {
    let mut side = Side::sender_of(&vector("keepalive"), "127.0.0.1:21001");
    let segment = Message::decode(&vector("keepalive")).expect("readable").segment;
    assert_eq!(segment, Segment(1));
    let (link, local, remote) = (LINK, address("127.0.0.1:21001"), address("127.0.0.1:50000"));
    let sent = side.input(Input::Accepted { link, local, remote });
    let Body::Handshake { handshake } = Message::decode(&sent[0]).expect("readable").body else {
        panic!("{sent:?}")
    };
    side.hear_response(handshake, "labA");
    assert_eq!(side.wait(Duration::from_secs(3)), [vector("keepalive")]);
}

#[test]
fn a_keepalive_is_answered_as_by_the_captured_one() {
    let mut side = Side::sender_of(&vector("ok_keepalive_reply"), "127.0.0.1:21001");
    let handshake = side.is_called("127.0.0.1:21001");
    side.hear_response(handshake, "labA");
    let mut keepalive = Message::decode(&vector("keepalive")).expect("readable");
    keepalive.source = source(&vector("handshake_response"));
    assert_eq!(side.hear(keepalive.encode()), [vector("ok_keepalive_reply")]);
}
