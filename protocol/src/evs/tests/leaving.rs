//! Leaving, and others' leaves.

use super::bench::{Bench, Seen, bodies, entry, node, nodes, regular, user_body, words};
use crate::evs::message::{Body, Flags, Leave, Message, NodeEntry, Proposal, User};
use crate::evs::{Config, Input, Output, Range, Seqno, StateKind};
use crate::id::{NodeId, ViewId, ViewKind};
use crate::time::Duration;
use crate::view::View;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn leave_body(last_sent: i64, aru: i64) -> Body {
    Body::Leave(Leave { last_sent: Seqno(last_sent), aru: Seqno(aru) })
}

fn leaving(me: NodeId, others: &[NodeId]) -> Bench {
    let mut bench = Bench::in_group(me, others);
    assert_eq!(words(&bench.input(Input::Close)), ["empty", "leave"]);
    assert_eq!(bench.evs.state(), StateKind::Leaving);
    bench
}

#[test]
fn a_leaver_gives_the_others_something_to_acknowledge_and_says_its_last_number() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let seen = bench.input(Input::Close);
    let empty = User { user_type: 0xff, ..user_body(0, -1, b"") };
    assert_eq!(bodies(&seen), [&Body::User(empty), &leave_body(0, -1)]);
}

#[test]
fn what_waits_in_the_queue_is_sent_before_the_leave() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    for _ in 0..4 {
        let order = crate::message::Order::Safe;
        bench.evs.send(bench.now, order, 1, b"x"[..].into()).expect("room");
    }
    bench.drain();
    assert_eq!(words(&bench.input(Input::Close)), ["user", "user", "empty", "leave"]);
}

#[test]
fn the_last_member_is_gone_at_once() {
    let mut bench = Bench::in_group(node(1), &[]);
    let view = bench.view();
    let seen = bench.input(Input::Close);
    assert_eq!(words(&seen), ["empty", "leave", "trans", "end", "closed"]);
    let trans = View::new(view.with_kind(ViewKind::Transitional), 1, [node(1)].into());
    assert_eq!(seen[2], Seen::Other(Output::View(trans)));
    assert_eq!(bench.evs.next_deadline(), None);
}

#[test]
fn the_install_of_the_others_ends_the_leave() {
    let mut bench = leaving(node(2), &[node(1), node(3)]);
    let view = bench.view();
    let gone = NodeEntry { is_operational: false, leave_seqno: Seqno(0), ..entry(view, 0) };
    let list = nodes([(node(1), entry(view, 0)), (node(2), gone), (node(3), entry(view, 0))]);
    let proposal = Proposal { safe: Seqno(0), aru: Seqno(0), nodes: list };
    let install = bench.install(node(1), view, proposal, regular(node(1), view.seq + 1));
    let seen = bench.receive(node(1), &install);
    assert_eq!(words(&seen), ["trans", "end", "closed"]);
    let Seen::Other(Output::View(trans)) = &seen[0] else { panic!("{seen:?}") };
    assert_eq!(trans.partitioned, [node(1), node(3)].into());
    let release = bench.evs.release().expect("confirmed");
    assert_eq!((&release.members, &release.left), (&[node(1), node(3)].into(), &[node(2)].into()));
}

#[test]
fn an_install_of_members_that_have_given_us_up_confirms_no_leave() {
    let mut bench = leaving(node(2), &[node(1), node(3)]);
    let view = bench.view();
    let lost = NodeEntry { is_operational: false, ..entry(view, 0) };
    let list = nodes([(node(1), entry(view, 0)), (node(2), lost), (node(3), entry(view, 0))]);
    let proposal = Proposal { safe: Seqno(0), aru: Seqno(0), nodes: list };
    let install = bench.install(node(1), view, proposal, regular(node(1), view.seq + 1));
    assert_eq!(words(&bench.receive(node(1), &install)), ["trans", "end", "closed"]);
    assert_eq!(bench.evs.release(), None);
}

#[test]
fn an_install_that_still_counts_on_the_leaver_does_not_end_the_leave() {
    let mut bench = leaving(node(2), &[node(1)]);
    let view = bench.view();
    let list = nodes([(node(1), entry(view, -1)), (node(2), entry(view, -1))]);
    let proposal = Proposal { safe: Seqno::NONE, aru: Seqno::NONE, nodes: list };
    let install = bench.install(node(1), view, proposal, regular(node(1), view.seq + 1));
    assert_eq!(bench.receive(node(1), &install), []);
    assert_eq!(bench.evs.state(), StateKind::Leaving);
}

#[test]
fn a_leaver_acknowledges_but_uses_up_no_more_numbers() {
    let mut bench = leaving(node(1), &[node(2)]);
    let first = bench.user(node(2), 0, 0);
    let second = bench.user(node(2), 1, 0);
    assert_eq!(words(&bench.receive(node(2), &first)), ["gap", "deliver"]);
    assert_eq!(bench.receive(node(2), &second), []);
}

#[test]
fn a_leave_is_repeated_with_a_new_number_and_what_is_missing_is_sent_again() {
    let mut bench = leaving(node(1), &[node(2)]);
    let other = bench.leave(node(2), -1, -1);
    bench.receive(node(2), &other);
    let seen = bench.pass(SECOND);
    assert_eq!(words(&seen), ["leave", "empty"]);
    let Seen::Sent(Some(target), message) = &seen[1] else { panic!("{seen:?}") };
    assert_eq!((*target, message.header.flags), (node(2), Flags::RETRANSMISSION));
}

#[test]
fn a_leaver_answers_requests() {
    let mut bench = leaving(node(1), &[node(2)]);
    let request = bench.request(node(2), node(1), 0, 0);
    assert_eq!(words(&bench.receive(node(2), &request)), ["empty"]);
    let beyond = bench.request(node(2), node(1), 1, 4);
    assert_eq!(bench.receive(node(2), &beyond), []);
}

#[test]
fn a_join_that_brings_acknowledgements_is_answered_with_another_leave() {
    let mut bench = leaving(node(1), &[node(2)]);
    let view = bench.view();
    let list = |safe| nodes([(node(1), entry(view, 0)), (node(2), entry(view, safe))]);
    let join = bench.join(node(2), view, 0, list(0));
    assert!(words(&bench.receive(node(2), &join)).contains(&"leave"));
    bench.pass(MILLISECOND * 200);
    let join = bench.join(node(2), view, 0, list(0));
    assert!(!words(&bench.receive(node(2), &join)).contains(&"leave"));
}

#[test]
fn a_leaver_that_hears_nobody_ends_by_itself() {
    let mut bench = leaving(node(1), &[node(2), node(3)]);
    let seen = bench.pass(SECOND * 30);
    assert!(words(&seen).ends_with(&["trans", "end", "closed"]), "{:?}", words(&seen));
}

#[test]
fn leaving_during_a_change_waits_for_its_end() {
    let mut bench = Bench::in_group(node(2), &[node(1), node(3)]);
    for from in [node(3), node(1)] {
        let message = bench.empty(from, 0, -1);
        bench.receive(from, &message);
    }
    let acknowledgement = bench.gap(node(1), 0, 0);
    bench.receive(node(1), &acknowledgement);
    let other = bench.leave(node(3), 0, 0);
    bench.receive(node(3), &other);
    assert_eq!(bench.input(Input::Close), []);
    let view = bench.view();
    let gone = NodeEntry { is_operational: false, leave_seqno: Seqno(0), ..entry(view, 0) };
    let list = nodes([(node(1), entry(view, 0)), (node(2), entry(view, 0)), (node(3), gone)]);
    let proposal = Proposal { safe: Seqno(0), aru: Seqno(0), nodes: list };
    let next = regular(node(1), view.seq + 1);
    let install = bench.install(node(1), view, proposal, next);
    assert_eq!(words(&bench.receive(node(1), &install)), ["commit", "install gap"]);
    let gap = bench.installed(node(1), next);
    let seen = bench.receive(node(1), &gap);
    let expected = ["trans", "stable", "reg", "install gap", "empty", "leave"];
    assert_eq!(words(&seen), expected);
}

#[test]
fn abandoning_ends_everything_without_a_word() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    assert_eq!(words(&bench.input(Input::Abandon)), ["trans", "end", "closed"]);
    assert_eq!(bench.input(Input::Abandon), []);
    assert_eq!(bench.input(Input::Open), []);
}

#[test]
fn somebodys_leave_begins_a_change_that_lists_its_last_number() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let view = bench.view();
    let message = bench.empty(node(3), 0, -1);
    bench.receive(node(3), &message);
    let leave = bench.leave(node(3), 0, -1);
    let seen = bench.receive(node(3), &leave);
    let Some(Body::Join(proposal)) = bodies(&seen).last().copied() else { panic!("{seen:?}") };
    let range = Range::new(Seqno(1), Seqno(0));
    let gone = NodeEntry { is_operational: false, leave_seqno: Seqno(0), range, ..entry(view, -1) };
    assert_eq!(proposal.nodes.entry(&node(3)), Some(&gone));
    assert_eq!(bench.evs.state(), StateKind::Gather);
}

#[test]
fn a_leave_that_a_peer_has_missed_is_passed_on_as_it_was() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let view = bench.view();
    let message = bench.empty(node(3), 0, -1);
    bench.receive(node(3), &message);
    let leave = bench.leave(node(3), 0, -1);
    bench.receive(node(3), &leave);
    let list =
        nodes([(node(1), entry(view, -1)), (node(2), entry(view, -1)), (node(3), entry(view, -1))]);
    let join = bench.join(node(2), view, -1, list);
    let seen = bench.receive(node(2), &join);
    let delegated = bodies(&seen).into_iter().find_map(|body| match body {
        Body::Delegate(inner) => Some(inner.as_ref().clone()),
        Body::User(_)
        | Body::Gap(_)
        | Body::Join(_)
        | Body::Install(_)
        | Body::Leave(_)
        | Body::DelayedList(_) => None,
    });
    let mut header = leave.header;
    header.flags = Flags::SOURCE.union(Flags::RETRANSMISSION);
    header.source = Some(node(3));
    assert_eq!(delegated, Some(Message { header, body: leave.body }));
}

#[test]
fn a_passed_on_leave_counts_like_the_leave_itself() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let leave = bench.leave(node(3), 4, -1);
    let mut inner = leave;
    inner.header.flags = Flags::SOURCE.union(Flags::RETRANSMISSION);
    inner.header.source = Some(node(3));
    let header = bench.header(node(2), crate::message::Order::Unreliable, Flags::NONE);
    let delegate = Message { header, body: Body::Delegate(Box::new(inner)) };
    let seen = bench.receive(node(2), &delegate);
    assert!(words(&seen).contains(&"join"), "{seen:?}");
    let status = bench.evs.status();
    assert!(!status.nodes.iter().any(|n| n.node == node(3) && n.is_operational));
}

#[test]
fn a_leave_from_a_view_that_we_never_saw_gives_its_sender_up() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let mut leave = bench.leave(node(3), 0, 0);
    leave.header.view = regular(node(3), bench.view().seq + 3);
    bench.receive(node(3), &leave);
    let status = bench.evs.status();
    assert!(!status.nodes.iter().any(|n| n.node == node(3) && n.is_operational));
}

/// Node 3 has left {1, 2, 3} and died before its last messages reached anybody.
fn lost_leaver(config: Config) -> Vec<Seen> {
    let mut bench = Bench::in_group_with(config, node(1), &[node(2), node(3)]);
    let view = bench.view();
    let mut message = bench.user(node(2), 0, -1);
    if let Body::User(user) = &mut message.body {
        user.seq_range = 2;
    }
    bench.receive(node(2), &message);
    let leave = bench.leave(node(3), 2, -1);
    bench.receive(node(3), &leave);
    let mut all = Vec::new();
    for round in 0..7 {
        let is_suspected = round >= 5;
        all = bench.pass(SECOND);
        let here = NodeEntry { range: Range::new(Seqno(3), Seqno(2)), ..entry(view, -1) };
        let gone = NodeEntry {
            is_operational: false,
            is_suspected,
            leave_seqno: Seqno(2),
            ..entry(view, -1)
        };
        let list = nodes([(node(1), here), (node(2), here), (node(3), gone)]);
        let join = bench.join(node(2), view, -1, list);
        all.extend(bench.receive(node(2), &join));
        if words(&all).contains(&"install") {
            break;
        }
    }
    all
}

#[test]
fn a_leaver_whose_last_messages_are_lost_does_not_hold_up_the_others() {
    assert!(words(&lost_leaver(Config::default())).contains(&"install"));
    // Servers never agree then, so agreeing cannot part us from them.
    let server = Config { imitates_servers: true, ..Config::default() };
    assert!(!words(&lost_leaver(server)).contains(&"install"));
}

#[test]
fn a_view_of_the_past_cannot_be_left() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let mut leave = bench.leave(node(2), 0, 0);
    leave.header.view = ViewId::new(ViewKind::Regular, node(2), 0);
    assert_eq!(bench.receive(node(2), &leave), []);
    assert_eq!(bench.evs.state(), StateKind::Operational);
}
