//! One member whose peers are played by the test.

use core::net::SocketAddr;

use bytes::Bytes;

use super::network::{address, config, node};
use crate::gmcast::message::{Body, HandshakeId, Message, Topology};
use crate::gmcast::{
    Config, Event, Gmcast, GroupName, Input, LinkClosed, LinkId, Output, Reason, Text,
};
use crate::id::{NodeId, Segment};
use crate::time::Instant;

/// Member 1, listening on `10.0.0.1:4567`, without initial addresses. Time stands still unless
/// moved.
pub(crate) struct Single {
    pub(crate) gmcast: Gmcast,
    pub(crate) now: Instant,
    accepted: u32,
}

pub(crate) const ME: u8 = 1;

pub(crate) fn uuid(number: u64) -> NodeId {
    NodeId::version1(number, 7, [3; 6])
}

pub(crate) fn text(text: &str) -> Text {
    Text::new(text).expect("fits")
}

pub(crate) fn group(name: &str) -> GroupName {
    GroupName::new(name).expect("fits")
}

impl Single {
    pub(crate) fn new() -> Self {
        Self::with(config(ME, &[]))
    }

    pub(crate) fn with(config: Config) -> Self {
        let gmcast = Gmcast::new(config, node(ME), 1);
        let mut single = Self { gmcast, now: Instant::ZERO, accepted: 0 };
        single.input(Input::Start);
        single
    }

    /// Gives one input and returns everything that follows from it.
    pub(crate) fn input(&mut self, input: Input) -> Vec<Output> {
        self.gmcast.handle_input(self.now, input);
        core::iter::from_fn(|| self.gmcast.poll_output()).collect()
    }

    /// Lets deadlines pass one by one, and returns what follows from them.
    pub(crate) fn wait(&mut self, millis: u64) -> Vec<Output> {
        let end = self.now + core::time::Duration::from_millis(millis);
        let mut outputs = Vec::new();
        while let Some(next) = self.gmcast.next_deadline().filter(|next| *next <= end) {
            self.now = next;
            outputs.extend(self.input(Input::Timeout));
        }
        self.now = end;
        outputs
    }

    pub(crate) fn receive_from(&mut self, link: LinkId, from: NodeId, body: Body) -> Vec<Output> {
        let message = Message { segment: Segment(0), source: from, body };
        self.input(Input::Frame { link, body: message.encode() })
    }

    /// A peer calls; HANDSHAKE has been sent to it.
    pub(crate) fn accept(&mut self, peer: u8) -> (LinkId, HandshakeId) {
        let link = LinkId::Accepted(self.accepted);
        self.accepted += 1;
        let remote = SocketAddr::new(address(peer).ip(), 50_000);
        let outputs = self.input(Input::Accepted { link, local: address(ME), remote });
        let handshake = outputs.iter().find_map(|output| match sent(output) {
            Some(Body::Handshake { handshake }) => Some(handshake),
            Some(_) | None => None,
        });
        (link, handshake.expect("HANDSHAKE is sent"))
    }

    /// A peer calls and is accepted.
    pub(crate) fn accept_established(&mut self, peer: u8) -> LinkId {
        let (link, handshake) = self.accept(peer);
        self.receive_from(link, node(peer), response(handshake, peer));
        link
    }

    /// A peer is dialled, through the initial address that the configuration has.
    pub(crate) fn dialled() -> (Self, LinkId) {
        let mut single = Self::with(config(ME, &[2]));
        let link = LinkId::Dialled(0);
        single.input(Input::Connected { link, local: address(ME), remote: address(2) });
        (single, link)
    }

    /// A dialled peer that has sent HANDSHAKE and got the response.
    pub(crate) fn responded() -> (Self, LinkId) {
        let (mut single, link) = Self::dialled();
        single.receive_from(link, node(2), Body::Handshake { handshake: HandshakeId(uuid(5)) });
        (single, link)
    }

    /// A dialled peer that has said OK.
    pub(crate) fn established() -> (Self, LinkId) {
        let (mut single, link) = Self::responded();
        single.receive_from(link, node(2), Body::Ok);
        (single, link)
    }

    pub(crate) fn has_link(&self, link: LinkId) -> bool {
        self.gmcast.links().any(|status| status.link == link)
    }
}

pub(crate) fn response(handshake: HandshakeId, peer: u8) -> Body {
    let address = text(&format!("tcp://{}", address(peer)));
    Body::HandshakeResponse { handshake, address, group: group("group") }
}

pub(crate) fn list(entries: &[(NodeId, &str)]) -> Body {
    let links: Topology = entries.iter().map(|(node, at)| (*node, text(at))).collect();
    Body::TopologyChange { group: group("group"), links }
}

pub(crate) fn user(payload: &'static [u8]) -> Body {
    use crate::gmcast::message::Relay;
    Body::User { relay: Relay::No, payload: Bytes::from_static(payload) }
}

/// The message in a `SendFrame`.
pub(crate) fn sent(output: &Output) -> Option<Body> {
    match output {
        Output::SendFrame { body, .. } => Some(Message::decode(body).expect("valid").body),
        Output::Resolve { .. }
        | Output::Dial { .. }
        | Output::CloseLink { .. }
        | Output::Deliver { .. }
        | Output::Event(_) => None,
    }
}

/// Everything sent, with its link.
pub(crate) fn all_sent(outputs: &[Output]) -> Vec<(LinkId, Body)> {
    let pair = |output: &Output| match output {
        Output::SendFrame { link, .. } => Some((*link, sent(output)?)),
        Output::Resolve { .. }
        | Output::Dial { .. }
        | Output::CloseLink { .. }
        | Output::Deliver { .. }
        | Output::Event(_) => None,
    };
    outputs.iter().filter_map(pair).collect()
}

/// Why a link was closed, if it was.
pub(crate) fn closed(outputs: &[Output]) -> Option<Reason> {
    outputs.iter().find_map(|output| match output {
        Output::Event(Event::LinkClosed(LinkClosed { reason, .. })) => Some(reason.clone()),
        Output::Resolve { .. }
        | Output::Dial { .. }
        | Output::SendFrame { .. }
        | Output::CloseLink { .. }
        | Output::Deliver { .. }
        | Output::Event(_) => None,
    })
}
