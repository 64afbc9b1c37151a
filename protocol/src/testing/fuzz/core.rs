//! A whole member that hears a script: well-formed messages with any contents, in any order.
//!
//! The bytes are read as a list of steps, so that a fuzzer reaches deep states quickly. One peer has
//! shaken hands already. Behind it is a member of the order layer that means well and has founded a
//! group; when the script lets the two talk, ours joins it. In between the script says whatever it
//! likes in the name of three nodes, one of them a stranger.

use std::collections::VecDeque;

use ::core::net::SocketAddr;
use bytes::Bytes;

use crate::evs::message::{
    Body, Flags, Gap, Header, Install, Leave, Message, NodeEntry, NodeList, Proposal, User,
};
use crate::evs::{self, Evs, FifoSeqno, Range, Seqno, Start, StateKind};
use crate::gmcast::message::{Body as LinkBody, Message as LinkMessage};
use crate::gmcast::{self, GroupName, LinkEnd, LinkId, Text};
use crate::id::{NodeId, Segment, ViewId, ViewKind};
use crate::member::{Action, Command, Config, Identity, Input, Member};
use crate::message::Order;
use crate::time::{Duration, Instant};

/// Steps of one script: more find nothing new, and take long.
const STEPS_MAX: usize = 400;

/// Messages that the two exchange at a time.
const EXCHANGES_MAX: u8 = 40;

const LINK: LinkId = LinkId::Accepted(0);

/// Numbers from the script; zeros after its end.
struct Script<'a>(&'a [u8]);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// Mostly small, as real numbers are; sometimes absurd.
    fn number(&mut self) -> i64 {
        match self.byte() {
            255 => i64::MAX,
            254 => i64::MIN,
            253 => i64::from(self.byte()) << 20,
            small => i64::from(small) - 1,
        }
    }
}

struct World<'a> {
    member: Member,
    now: Instant,
    script: Script<'a>,
    peer: Evs,
    /// What ours has said, on its way to the peer.
    said: VecDeque<Bytes>,
    /// What the peer does about it.
    answers: VecDeque<evs::Output>,
}

/// Plays a script to a member.
pub fn core(data: &[u8]) {
    play(data, |_| {});
}

/// Plays a script, and shows where the member stands after each step.
fn play(data: &[u8], mut see: impl FnMut(StateKind)) {
    let mut world = World::new(Script(data));
    world.shake_hands();
    for _ in 0..STEPS_MAX {
        if world.script.0.is_empty() {
            break;
        }
        world.step();
        see(world.member.evs().state());
        assert_eq!(world.member.evs().check_invariants(), Ok(()));
    }
}

/// The member, its peer, and somebody else.
fn node(number: u8) -> NodeId {
    NodeId::version1(u64::from(number % 3) + 1, 1, [9; 6])
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, last], 4567))
}

impl<'a> World<'a> {
    fn new(mut script: Script<'a>) -> Self {
        let mut config = Config::default();
        config.gmcast.group = GroupName::new("fuzz").unwrap_or_default();
        config.gmcast.listen = address(1);
        config.pc.leave_if_not_primary = script.byte() % 2 == 0;
        config.pc.weight = script.byte() % 2;
        config.evs.auto_evict = script.byte() % 3;
        let member = Member::new(config, Identity::Fresh(node(0)), 1);
        let now = Instant::from_micros(1_000_000);
        let alone = evs::Config { start: Start::Bootstrap, ..evs::Config::default() };
        let mut peer = Evs::new(alone, node(1), None);
        peer.handle_input(now, evs::Input::Open);
        let (said, answers) = (VecDeque::new(), VecDeque::new());
        Self { member, now, script, peer, said, answers }
    }

    fn input(&mut self, input: Input) -> Vec<Action> {
        self.member.handle_input(self.now, input);
        let actions: Vec<_> = ::core::iter::from_fn(|| self.member.poll_action()).collect();
        for action in &actions {
            let Action::SendFrame { body, .. } = action else { continue };
            if let Ok(LinkMessage { body: LinkBody::User { payload, .. }, .. }) =
                LinkMessage::decode(body)
            {
                self.said.push_back(payload);
            }
        }
        actions
    }

    /// Lets the member and its peer talk until neither has more to say, or for long enough.
    fn talk(&mut self) {
        for _ in 0..self.script.byte() % EXCHANGES_MAX {
            let said = self.said.pop_front();
            if let Some(payload) = said.clone() {
                let source = node(0);
                self.peer.handle_input(self.now, evs::Input::Message { source, payload });
            }
            self.answers.extend(::core::iter::from_fn(|| self.peer.poll_output()));
            let answer = self.answers.pop_front();
            if said.is_none() && answer.is_none() {
                return;
            }
            if let Some(evs::Output::Send { payload, .. }) = answer {
                let relay = crate::gmcast::message::Relay::No;
                self.hear(node(1), LinkBody::User { relay, payload });
            }
        }
    }

    fn pass_time(&mut self) {
        self.now = self.now + Duration::from_millis(u64::from(self.script.byte()) * 20);
        self.input(Input::Timeout);
        self.peer.handle_input(self.now, evs::Input::Timeout);
    }

    fn shake_hands(&mut self) {
        self.input(Input::Start);
        let (local, remote) = (address(1), address(2));
        let accepted = gmcast::Input::Accepted { link: LINK, local, remote };
        let greeting = self.input(Input::Link(accepted)).into_iter().find_map(|action| {
            let Action::SendFrame { body, .. } = action else { return None };
            LinkMessage::decode(&body).ok()
        });
        let Some(LinkMessage { body: LinkBody::Handshake { handshake }, .. }) = greeting else {
            return;
        };
        let own = Text::new("tcp://10.0.0.2:4567").unwrap_or_default();
        let group = GroupName::new("fuzz").unwrap_or_default();
        self.hear(node(1), LinkBody::HandshakeResponse { handshake, address: own, group });
    }

    fn hear(&mut self, source: NodeId, body: LinkBody) {
        let message = LinkMessage { segment: Segment(0), source, body };
        self.input(Input::Link(gmcast::Input::Frame { link: LINK, body: message.encode() }));
    }

    fn step(&mut self) {
        match self.script.byte() % 16 {
            0 => self.pass_time(),
            1 => self.command(),
            2 => self.raw_frame(),
            3 => {
                let end = LinkEnd::Reset;
                self.input(Input::Link(gmcast::Input::Closed { link: LINK, end }));
                self.shake_hands();
            }
            4..=8 => {
                self.pass_time();
                self.talk();
            }
            _ => self.hear_evs(),
        }
    }

    fn command(&mut self) {
        let command = match self.script.byte() % 5 {
            0 => Command::Leave,
            1 => Command::ChangeWeight(self.script.byte()),
            2 => Command::Evict(node(self.script.byte())),
            3 => Command::DataEnded,
            _ => Command::CancelRequest,
        };
        self.input(Input::Command(command));
    }

    fn raw_frame(&mut self) {
        let length = usize::from(self.script.byte()).min(self.script.0.len());
        let (body, rest) = self.script.0.split_at(length);
        self.script.0 = rest;
        let body = Bytes::copy_from_slice(body);
        self.input(Input::Link(gmcast::Input::Frame { link: LINK, body }));
    }

    fn hear_evs(&mut self) {
        let source = node(self.script.byte());
        let message = self.message(source, true);
        let payload = message.encode();
        let relay = crate::gmcast::message::Relay::No;
        self.hear(source, LinkBody::User { relay, payload });
    }

    fn view(&mut self) -> ViewId {
        let current = self.member.evs().view_id();
        match self.script.byte() % 5 {
            0 | 1 => current,
            2 => ViewId::new(ViewKind::Transitional, node(self.script.byte()), 0),
            3 => ViewId::new(ViewKind::Regular, node(self.script.byte()), current.seq + 1),
            _ => ViewId::new(
                ViewKind::Regular,
                node(self.script.byte()),
                u32::from(self.script.byte()),
            ),
        }
    }

    fn message(&mut self, source: NodeId, may_wrap: bool) -> Message {
        // Without a number it passes the filter, whatever the peer has said.
        let is_numbered = self.script.byte() % 8 == 0;
        let number = if is_numbered { self.script.number() } else { FifoSeqno::NONE.0 };
        let kind = self.script.byte() % 8;
        let is_install = kind == 4;
        let order = if self.script.byte() % 2 == 0 { Order::Safe } else { Order::Drop };
        let allowed = if kind == 0 { 0x0b } else { 0x12 };
        let flags = Flags(self.script.byte() & allowed);
        let header = Header {
            order: if kind == 0 { order } else { Order::Unreliable },
            flags: if is_install { Flags::SOURCE } else { flags },
            version: 1,
            fifo_seqno: FifoSeqno(number),
            source: is_install.then_some(source),
            view: self.view(),
        };
        let body = match kind {
            0 | 1 => self.user(),
            2 => self.gap(),
            3 | 7 => Body::Join(self.proposal()),
            4 => Body::Install(Install { view: self.view(), proposal: self.proposal() }),
            5 => Body::Leave(Leave { last_sent: self.seqno(), aru: self.seqno() }),
            _ if may_wrap => self.wrapped(),
            _ => self.gap(),
        };
        Message { header, body }
    }

    fn wrapped(&mut self) -> Body {
        let source = node(self.script.byte());
        let mut inner = self.message(source, false);
        inner.header.source = Some(source);
        inner.header.flags = inner.header.flags.union(Flags::RETRANSMISSION).union(Flags::SOURCE);
        Body::Delegate(Box::new(inner))
    }

    fn seqno(&mut self) -> Seqno {
        Seqno(self.script.number())
    }

    fn user(&mut self) -> Body {
        let length = usize::from(self.script.byte() % 64).min(self.script.0.len());
        let (payload, rest) = self.script.0.split_at(length);
        let payload = Bytes::copy_from_slice(payload);
        self.script.0 = rest;
        let (user_type, seq_range) = (self.script.byte(), self.script.byte());
        Body::User(User { user_type, seq_range, seqno: self.seqno(), aru: self.seqno(), payload })
    }

    fn gap(&mut self) -> Body {
        let range_node = node(self.script.byte());
        let range = Range::new(self.seqno(), self.seqno());
        Body::Gap(Gap { seqno: self.seqno(), aru: self.seqno(), range_node, range })
    }

    fn proposal(&mut self) -> Proposal {
        let count = self.script.byte() % 4;
        let nodes: NodeList = (0..count).map(|number| (node(number), self.entry())).collect();
        Proposal { safe: self.seqno(), aru: self.seqno(), nodes }
    }

    fn entry(&mut self) -> NodeEntry {
        let bits = self.script.byte();
        NodeEntry {
            is_operational: bits & 1 == 0,
            is_suspected: bits & 2 != 0,
            is_evicted: bits & 4 != 0,
            view: self.view(),
            safe: self.seqno(),
            range: Range::new(self.seqno(), self.seqno()),
            ..NodeEntry::HEARD_OF
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::testing::Random;

    #[test]
    fn random_scripts_bring_a_member_into_the_group() {
        let mut random = Random::new(3);
        let mut seen: BTreeMap<StateKind, u32> = BTreeMap::new();
        for _ in 0..400 {
            let mut byte = || {
                let limit = if random.percent(70) { 9 } else { 256 };
                u8::try_from(random.below(limit)).unwrap_or(0)
            };
            let script: Vec<u8> = (0..600).map(|_| byte()).collect();
            play(&script, |state| *seen.entry(state).or_default() += 1);
        }
        // It cannot leave in peace: nobody here answers its quorum layer.
        let expected = StateKind::ALL.into_iter().filter(|state| *state != StateKind::Leaving);
        let missed: Vec<_> = expected.filter(|state| !seen.contains_key(state)).collect();
        assert_eq!(missed, [], "seen: {seen:?}");
    }
}
