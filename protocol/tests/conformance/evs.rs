//! A join and a leave of two members: both sides, each played once by the core.

use bytes::Bytes;
use galera_protocol::evs::message::{Body, Flags, Gap, Header, Message, User};
use galera_protocol::evs::{Config, Evs, FifoSeqno, Input, Output, Seqno, Start, StateKind};
use galera_protocol::id::{NodeId, ViewId, ViewKind};
use galera_protocol::message::Order;
use galera_protocol::time::Instant;

use crate::vectors::evs as vector;

/// Offset of `fifo_seq`, and its end.
const FIFO: core::ops::Range<usize> = 4..12;

const PAYLOAD_OFFSET: usize = 52;

/// The member that was there, and the one that came.
fn existing() -> NodeId {
    "87b996f3-e690-11f1-9153-fa981b5969ec".parse().expect("a UUID")
}

fn joiner() -> NodeId {
    "94cc2629-e690-11f1-9e79-9637a842ef4d".parse().expect("a UUID")
}

fn joint_view() -> ViewId {
    ViewId::new(ViewKind::Regular, existing(), 2)
}

struct Side {
    evs: Evs,
    peer: NodeId,
    peer_fifo: i64,
}

impl Side {
    fn new(me: NodeId, peer: NodeId, start: Start) -> Self {
        let evs = Evs::new(Config { start, ..Config::default() }, me, None);
        let mut side = Self { evs, peer, peer_fifo: 1_000 };
        side.evs.handle_input(now(), Input::Open);
        side
    }

    /// Everything that is sent now.
    fn sent(&mut self) -> Vec<Bytes> {
        let outputs = core::iter::from_fn(|| self.evs.poll_output());
        let payload = |output| match output {
            Output::Send { payload, .. } => Some(payload),
            Output::Welcome(_)
            | Output::Evict(_)
            | Output::RegularView { .. }
            | Output::View(_)
            | Output::Deliver(_)
            | Output::Closed
            | Output::Failed(_) => None,
        };
        outputs.filter_map(payload).collect()
    }

    fn hear(&mut self, payload: Bytes) -> Vec<Bytes> {
        self.evs.handle_input(now(), Input::Message { source: self.peer, payload });
        self.sent()
    }

    /// A message of the peer that was not captured in this exchange.
    fn hear_also(&mut self, order: Order, flags: Flags, body: Body) -> Vec<Bytes> {
        self.peer_fifo += 1;
        let (fifo_seqno, view) = (FifoSeqno(self.peer_fifo), joint_view());
        let header = Header { order, flags, version: 1, fifo_seqno, source: None, view };
        self.hear(Message { header, body }.encode())
    }

    fn hear_gap(&mut self, flags: Flags, gap: Gap) -> Vec<Bytes> {
        self.hear_also(Order::Unreliable, flags, Body::Gap(gap))
    }

    /// The peer uses up numbers, having everything up to `aru`.
    fn hear_empty(&mut self, seqno: i64, seq_range: u8, aru: i64) -> Vec<Bytes> {
        let (seqno, aru, payload) = (Seqno(seqno), Seqno(aru), Bytes::new());
        let user = User { user_type: 0xff, seq_range, seqno, aru, payload };
        self.hear_also(Order::Drop, Flags::NONE, Body::User(user))
    }

    fn send(&mut self, payload: Bytes) -> Vec<Bytes> {
        self.evs.send(now(), Order::Safe, 0xff, payload).expect("operational");
        self.sent()
    }
}

fn now() -> Instant {
    Instant::from_micros(1_000_000)
}

/// The same but for the number of the sender's life.
fn is_captured(sent: &Bytes, name: &str) {
    let captured = vector(name);
    let mut ours = sent.to_vec();
    if ours.len() >= FIFO.end {
        ours[FIFO].copy_from_slice(&captured[FIFO]);
    }
    assert_eq!(Bytes::from(ours), captured, "{name}");
}

fn fifo_of(message: &Bytes) -> i64 {
    Message::decode(message).expect("readable").header.fifo_seqno.0
}

#[test]
fn a_joiner_says_what_the_captured_one_said() {
    let mut side = Side::new(joiner(), existing(), Start::JoinGroup);
    let first = side.sent();
    is_captured(&first[0], "join_initial");

    let answers = side.hear(vector("join_existing_answers"));
    assert_eq!(answers.len(), 1);
    is_captured(&answers[0], "join_joiner_second");

    let install = vector("install_first");
    let answers = side.hear(install.clone());
    is_captured(&answers[0], "gap_commit");
    // The captured one waited for the commit of the other; ours knows it from the INSTALL.
    is_captured(&answers[1], "gap_install");
    assert_eq!(answers.len(), 2);

    let commit = Gap { seqno: Seqno(fifo_of(&install)), ..Gap::install() };
    assert!(side.hear_gap(Flags::COMMIT, commit).is_empty());
    side.hear_gap(Flags::NONE, Gap::install());
    assert_eq!(side.evs.view_id(), joint_view());
    let first = vector("user_first_in_view");
    is_captured(&side.send(first.slice(PAYLOAD_OFFSET..))[0], "user_first_in_view");
}

/// The captured member was alone with 27 messages behind it.
fn existing_side() -> Side {
    let mut side = Side::new(existing(), joiner(), Start::Bootstrap);
    side.sent();
    for _ in 0..27 {
        side.send(Bytes::from_static(b"x"));
    }
    side
}

fn meet(side: &mut Side) -> Bytes {
    let answers = side.hear(vector("join_initial"));
    assert_eq!(answers.len(), 1);
    is_captured(&answers[0], "join_existing_answers");
    let answers = side.hear(vector("join_joiner_second"));
    is_captured(&answers[0], "install_first");
    assert_eq!(answers.len(), 2);
    answers[0].clone()
}

#[test]
fn a_member_that_meets_a_joiner_says_what_the_captured_one_said() {
    meet(&mut existing_side());
}

#[test]
fn a_member_that_loses_a_leaver_says_what_the_captured_one_said() {
    let mut side = existing_side();
    let install = meet(&mut side);
    let commit = Gap { seqno: Seqno(fifo_of(&install)), ..Gap::install() };
    side.hear_gap(Flags::COMMIT, commit);
    side.hear_gap(Flags::NONE, Gap::install());
    assert_eq!(side.evs.view_id(), joint_view());
    // The traffic of the captured view: 307 numbers, all of them acknowledged.
    side.hear_empty(0, 255, -1);
    side.hear_empty(256, 50, -1);
    side.hear_gap(Flags::NONE, Gap::acknowledgement(Seqno(306), Seqno(306)));
    side.hear_empty(307, 0, 306);
    let leave = vector("leave");
    // What we made up went before; the captured number has to be higher.
    let mut numbered = leave.to_vec();
    numbered[FIFO].copy_from_slice(&(side.peer_fifo + 1).to_le_bytes());
    side.peer_fifo += 1;
    let answers = side.hear(numbered.into());
    is_captured(answers.last().expect("a JOIN"), "join_leaving");
    let answers = side.hear_gap(Flags::NONE, Gap::acknowledgement(Seqno(307), Seqno(307)));
    let install = answers.iter().find(|message| message.first() == Some(&0x34));
    is_captured(install.expect("an INSTALL"), "install_after_leave");
    assert_eq!(side.evs.state(), StateKind::Operational);
}
