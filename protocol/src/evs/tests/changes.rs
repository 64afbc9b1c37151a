//! Membership changes, from the first doubt to the new view.

use super::bench::{
    Bench, Seen, bodies, deliveries, entry, header_with, node, nodes, pseudo, regular, user_body,
    words,
};
use crate::evs::message::{Body, Flags, Header, Install, Message, NodeEntry, NodeList, Proposal};
use crate::evs::{Config, FifoSeqno, Output, Range, Seqno, StateKind, Timer};
use crate::id::{NodeId, ViewId};
use crate::message::Order;
use crate::time::Duration;
use crate::view::View;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn proposal(nodes: &NodeList) -> Proposal {
    Proposal { safe: Seqno::NONE, aru: Seqno::NONE, nodes: nodes.clone() }
}

/// Everybody as they are when nothing was sent yet: these members of the view, and a newcomer.
fn with_newcomer(view: ViewId, members: &[NodeId], newcomer: NodeId) -> NodeList {
    let known = members.iter().map(|id| (*id, entry(view, -1)));
    known.chain([(newcomer, entry(pseudo(newcomer), -1))]).collect()
}

/// A group whose other members are scripted, in which node 9 has just said its first JOIN.
fn meeting(me: NodeId, others: &[NodeId]) -> (Bench, NodeList) {
    let mut bench = Bench::in_group(me, others);
    let newcomer = node(9);
    let first = bench.join(
        newcomer,
        pseudo(newcomer),
        -1,
        nodes([(newcomer, entry(pseudo(newcomer), -1))]),
    );
    let mut members = others.to_vec();
    members.push(me);
    let everybody = with_newcomer(bench.view(), &members, newcomer);
    let seen = bench.receive(newcomer, &first);
    assert_eq!(bodies(&seen), [&Body::Join(proposal(&everybody))]);
    assert_eq!(bench.evs.state(), StateKind::Gather);
    (bench, everybody)
}

/// The same, and node 1, which is somebody else, has decided the next view.
fn deciding(me: NodeId, others: &[NodeId]) -> (Bench, NodeList, Message) {
    let (mut bench, everybody) = meeting(me, others);
    let next = regular(node(1), bench.view().seq + 1);
    let install = bench.install(node(1), bench.view(), proposal(&everybody), next);
    (bench, everybody, install)
}

fn install_view(install: &Message) -> ViewId {
    let Body::Install(Install { view, .. }) = &install.body else { panic!("{install:?}") };
    *view
}

#[test]
fn a_newcomer_is_welcomed_and_listed_with_what_it_says_of_itself() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let newcomer = node(9);
    let list = nodes([(newcomer, entry(pseudo(newcomer), -1))]);
    let first = bench.join(newcomer, pseudo(newcomer), -1, list);
    let seen = bench.receive(newcomer, &first);
    assert_eq!(words(&seen), ["welcome", "welcome", "join"]);
    assert_eq!(seen[0], Seen::Other(Output::Welcome(node(2))));
    assert_eq!(seen[1], Seen::Other(Output::Welcome(newcomer)));
}

#[test]
fn a_node_of_another_component_is_heard_of_until_its_own_join_comes() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let view = bench.view();
    let mut keepalive = bench.empty(node(9), 40, 40);
    keepalive.header.view = regular(node(9), 7);
    let seen = bench.receive(node(9), &keepalive);
    let list = nodes([
        (node(1), entry(view, -1)),
        (node(2), entry(view, -1)),
        (node(9), NodeEntry::HEARD_OF),
    ]);
    assert_eq!(bodies(&seen), [&Body::Join(proposal(&list))]);
}

#[test]
fn a_strangers_leave_is_none_of_our_business() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let mut leave = bench.leave(node(9), 3, 3);
    leave.header.view = regular(node(9), 7);
    assert_eq!(bench.receive(node(9), &leave), []);
    assert_eq!(bench.evs.state(), StateKind::Operational);
}

#[test]
fn what_comes_from_a_past_view_changes_nothing() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let mut stale = bench.empty(node(9), 0, 0);
    stale.header.view = regular(node(2), 1);
    assert_eq!(bench.receive(node(9), &stale), []);
    let mut stale = bench.empty(node(2), 0, 0);
    stale.header.view = regular(node(1), 0);
    assert_eq!(bench.receive(node(2), &stale), []);
    assert_eq!(bench.evs.state(), StateKind::Operational);
}

#[test]
fn the_next_life_of_a_member_waits_until_the_former_is_out() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let restarted = node(2).next_incarnation();
    let list = nodes([(restarted, entry(pseudo(restarted), -1))]);
    let join = bench.join(restarted, pseudo(restarted), -1, list);
    assert_eq!(bench.receive(restarted, &join), []);
    assert_eq!(bench.evs.state(), StateKind::Operational);
}

#[test]
fn the_representative_decides_when_nobody_differs() {
    let (mut bench, everybody) = meeting(node(1), &[node(2)]);
    let view = bench.view();
    let same = bench.join(node(2), view, -1, everybody.clone());
    assert_eq!(bench.receive(node(2), &same), []);
    let same = bench.join(node(9), pseudo(node(9)), -1, everybody.clone());
    let seen = bench.receive(node(9), &same);
    assert_eq!(words(&seen), ["install", "commit"]);
    let decided = Install { view: regular(node(1), view.seq + 1), proposal: proposal(&everybody) };
    assert_eq!(bodies(&seen)[0], &Body::Install(decided));
    assert_eq!(bench.evs.state(), StateKind::Gather);
}

#[test]
fn a_member_that_is_not_the_representative_decides_nothing() {
    let (mut bench, everybody) = meeting(node(2), &[node(1)]);
    let view = bench.view();
    let same = bench.join(node(1), view, -1, everybody.clone());
    bench.receive(node(1), &same);
    let same = bench.join(node(9), pseudo(node(9)), -1, everybody);
    assert_eq!(bench.receive(node(9), &same), []);
}

#[test]
fn everybodys_commits_and_installs_lead_into_the_view() {
    let (mut bench, everybody, install) = deciding(node(2), &[node(1), node(3)]);
    let (old, next) = (bench.view(), install_view(&install));
    assert_eq!(words(&bench.receive(node(1), &install)), ["commit"]);
    let commit = bench.commit(node(3), next, &install);
    assert_eq!(bench.receive(node(3), &commit), []);
    let commit = bench.commit(node(9), next, &install);
    assert_eq!(words(&bench.receive(node(9), &commit)), ["install gap"]);
    assert_eq!(bench.evs.state(), StateKind::Install);
    for from in [node(1), node(3)] {
        let gap = bench.installed(from, next);
        assert_eq!(bench.receive(from, &gap), []);
    }
    let gap = bench.installed(node(9), next);
    let seen = bench.receive(node(9), &gap);
    assert_eq!(words(&seen), ["trans", "stable", "reg", "install gap"]);
    let came_along = [node(1), node(2), node(3)].into();
    let trans = View::new(ViewId { kind: crate::id::ViewKind::Transitional, ..old }, 1, came_along);
    assert_eq!(seen[0], Seen::Other(Output::View(trans)));
    let members = everybody.iter().map(|(id, _)| *id).collect();
    let reg = View { joined: [node(9)].into(), ..View::new(next, 1, members) };
    assert_eq!(seen[2], Seen::Other(Output::View(reg)));
    assert_eq!(bench.evs.state(), StateKind::Operational);
}

#[test]
fn a_commit_that_overtakes_its_install_counts() {
    let (mut bench, _, install) = deciding(node(2), &[node(1), node(3)]);
    let next = install_view(&install);
    for from in [node(3), node(9)] {
        let commit = bench.commit(from, next, &install);
        assert_eq!(bench.receive(from, &commit), []);
    }
    // The representative's own commit is not waited for: it commits as it decides.
    assert_eq!(words(&bench.receive(node(1), &install)), ["commit", "install gap"]);
    assert_eq!(bench.evs.state(), StateKind::Install);
}

#[test]
fn an_early_commit_to_something_else_does_not_count() {
    let (mut bench, _, install) = deciding(node(2), &[node(1), node(3)]);
    let next = install_view(&install);
    let commit = bench.commit(node(3), next, &install);
    let other_view = regular(node(1), next.seq + 1);
    let wrong = Message { header: Header { view: other_view, ..commit.header }, ..commit };
    assert_eq!(bench.receive(node(3), &wrong), []);
    let mut other = install.clone();
    other.header.fifo_seqno = FifoSeqno(install.header.fifo_seqno.0 - 1);
    let commit = bench.commit(node(9), next, &other);
    assert_eq!(bench.receive(node(9), &commit), []);
    assert_eq!(words(&bench.receive(node(1), &install)), ["commit"]);
    assert_eq!(bench.evs.state(), StateKind::Gather);
}

#[test]
fn servers_wait_for_the_repetition_of_an_early_commit() {
    let config = Config { imitates_servers: true, ..Config::default() };
    let mut bench = Bench::in_group_with(config, node(2), &[node(1)]);
    let newcomer = node(9);
    let list = nodes([(newcomer, entry(pseudo(newcomer), -1))]);
    let first = bench.join(newcomer, pseudo(newcomer), -1, list);
    bench.receive(newcomer, &first);
    let everybody = with_newcomer(bench.view(), &[node(1), node(2)], newcomer);
    let next = regular(node(1), bench.view().seq + 1);
    let install = bench.install(node(1), bench.view(), proposal(&everybody), next);
    for from in [node(1), newcomer] {
        let commit = bench.commit(from, next, &install);
        bench.receive(from, &commit);
    }
    assert_eq!(words(&bench.receive(node(1), &install)), ["commit"]);
    assert_eq!(bench.evs.state(), StateKind::Gather);
}

#[test]
fn an_install_gap_shows_that_everybody_has_committed() {
    let (mut bench, _, install) = deciding(node(2), &[node(1), node(3)]);
    let next = install_view(&install);
    bench.receive(node(1), &install);
    let commit = bench.commit(node(3), next, &install);
    bench.receive(node(3), &commit);
    let gap = bench.installed(node(3), next);
    assert_eq!(words(&bench.receive(node(3), &gap)), ["install gap"]);
    assert_eq!(bench.evs.state(), StateKind::Install);
    for from in [node(1), node(9)] {
        let gap = bench.installed(from, next);
        bench.receive(from, &gap);
    }
    assert_eq!(bench.view(), next);
}

#[test]
fn an_install_gap_of_somebody_who_did_not_commit_to_this_install_moves_nobody() {
    let (mut bench, _, install) = deciding(node(2), &[node(1), node(3)]);
    bench.receive(node(1), &install);
    let gap = bench.installed(node(3), install_view(&install));
    assert_eq!(bench.receive(node(3), &gap), []);
    assert_eq!(bench.evs.state(), StateKind::Gather);
}

#[test]
fn who_has_committed_by_the_word_of_another_is_not_given_up_at_the_time_out() {
    let (mut bench, everybody, install) = deciding(node(2), &[node(1), node(3)]);
    let (view, next) = (bench.view(), install_view(&install));
    for (from, view) in [(node(3), view), (node(9), pseudo(node(9)))] {
        let join = bench.join(from, view, -1, everybody.clone());
        bench.receive(from, &join);
    }
    bench.receive(node(1), &install);
    let commit = bench.commit(node(3), next, &install);
    bench.receive(node(3), &commit);
    let gap = bench.installed(node(3), next);
    bench.receive(node(3), &gap);
    bench.pass(SECOND + MILLISECOND);
    // The change began long before the INSTALL.
    bench.evs.arm(Timer::Install, MILLISECOND);
    bench.pass(MILLISECOND);
    assert_eq!(bench.evs.counters.install_timeouts, 1);
    let is_operational = |id| bench.evs.nodes.is_operational(&id);
    assert!(is_operational(node(3)) && is_operational(node(9)));
}

#[test]
fn a_commit_to_a_newer_install_starts_the_change_anew() {
    let (mut bench, _, install) = deciding(node(2), &[node(1), node(3)]);
    bench.receive(node(1), &install);
    let mut newer = install.clone();
    newer.header.fifo_seqno = FifoSeqno(install.header.fifo_seqno.0 + 1);
    let commit = bench.commit(node(3), install_view(&install), &newer);
    let seen = bench.receive(node(3), &commit);
    assert_eq!(words(&seen), ["welcome", "welcome", "welcome", "join"]);
    let commit = bench.commit(node(3), install_view(&install), &install);
    assert_eq!(bench.receive(node(3), &commit), []);
}

#[test]
fn commits_and_installs_are_said_again_soon_and_then_every_period() {
    let (mut bench, _, install) = deciding(node(2), &[node(1), node(3)]);
    let next = install_view(&install);
    bench.receive(node(1), &install);
    assert_eq!(words(&bench.pass(MILLISECOND * 100)), ["commit"]);
    assert_eq!(words(&bench.pass(MILLISECOND * 800)), Vec::<&str>::new());
    assert_eq!(words(&bench.pass(MILLISECOND * 101)), ["commit"]);
    for from in [node(3), node(9)] {
        let commit = bench.commit(from, next, &install);
        bench.receive(from, &commit);
    }
    assert_eq!(words(&bench.pass(MILLISECOND * 100)), ["commit", "install gap"]);
    assert_eq!(words(&bench.pass(MILLISECOND * 900)), ["commit", "install gap"]);
}

#[test]
fn an_install_without_a_member_of_our_view_is_refused() {
    let mut bench = Bench::in_group(node(2), &[node(1), node(3)]);
    let view = bench.view();
    // Node 3 is silent for so long that we agree that it is out.
    for _ in 0..12 {
        bench.pass(MILLISECOND * 500);
        let keepalive = bench.gap(node(1), -1, -1);
        bench.receive(node(1), &keepalive);
    }
    let joiner = node(0);
    let list = nodes([(node(2), entry(view, 5)), (joiner, entry(pseudo(joiner), -1))]);
    let decided = Proposal { safe: Seqno::NONE, aru: Seqno::NONE, nodes: list.clone() };
    let join = bench.join(joiner, pseudo(joiner), -1, list);
    bench.receive(joiner, &join);
    let next = regular(joiner, view.seq + 1);
    let install = bench.install(joiner, pseudo(joiner), decided, next);
    let seen = bench.receive(joiner, &install);
    assert!(!words(&seen).contains(&"commit"), "{seen:?}");
    assert_eq!(bench.evs.state(), StateKind::Gather);
}

#[test]
fn an_install_that_does_not_name_us_is_not_for_us() {
    let (mut bench, everybody, _) = deciding(node(2), &[node(1), node(3)]);
    let view = bench.view();
    let given_up = NodeEntry { is_operational: false, ..entry(view, -1) };
    let list = everybody.iter().map(|(id, e)| (*id, if *id == node(2) { given_up } else { *e }));
    let decided = proposal(&list.collect());
    let install = bench.install(node(1), view, decided, regular(node(1), view.seq + 1));
    let seen = bench.receive(node(1), &install);
    assert!(!words(&seen).contains(&"commit"), "{seen:?}");
}

#[test]
fn a_second_representative_makes_us_start_anew() {
    let (mut bench, everybody, install) = deciding(node(2), &[node(1), node(3)]);
    bench.receive(node(1), &install);
    let view = bench.view();
    let rival = bench.install(node(3), view, proposal(&everybody), regular(node(3), view.seq + 1));
    let seen = bench.receive(node(3), &rival);
    assert_eq!(words(&seen), ["welcome", "welcome", "welcome", "join"]);
    let commit = bench.commit(node(9), install_view(&install), &install);
    assert_eq!(bench.receive(node(9), &commit), []);
}

#[test]
fn the_same_install_again_changes_nothing_and_a_later_one_replaces_it() {
    let (mut bench, everybody, install) = deciding(node(2), &[node(1), node(3)]);
    bench.receive(node(1), &install);
    let mut again = install.clone();
    again.header = header_with(&install, Flags::SOURCE.union(Flags::RETRANSMISSION));
    assert_eq!(bench.receive(node(1), &again), []);
    let view = bench.view();
    let later = bench.install(node(1), view, proposal(&everybody), regular(node(1), view.seq + 2));
    let seen = bench.receive(node(1), &later);
    assert_eq!(words(&seen), ["commit"]);
    let Body::Gap(gap) = bodies(&seen)[0] else { panic!("{seen:?}") };
    assert_eq!(gap.seqno.0, later.header.fifo_seqno.0);
}

#[test]
fn an_accepted_install_freezes_the_old_view() {
    let (mut bench, _, install) = deciding(node(2), &[node(1), node(3)]);
    bench.receive(node(1), &install);
    let late = bench.user(node(3), 0, -1);
    assert_eq!(bench.receive(node(3), &late), []);
    let mut again = bench.user(node(3), 0, -1);
    again.header.flags = Flags::RETRANSMISSION;
    assert_eq!(bench.receive(node(3), &again), []);
    let stranger = node(8);
    let list = nodes([(stranger, entry(pseudo(stranger), -1))]);
    let join = bench.join(stranger, pseudo(stranger), -1, list);
    assert_eq!(bench.receive(stranger, &join), []);
}

#[test]
fn a_message_from_inside_the_new_view_takes_us_along() {
    let (mut bench, _, install) = deciding(node(2), &[node(1), node(3)]);
    let next = install_view(&install);
    bench.receive(node(1), &install);
    let mut early = bench.user(node(3), 0, -1);
    early.header.view = next;
    let seen = bench.receive(node(3), &early);
    // The message itself is handled last; its number is used up by ours.
    let expected = ["install gap", "trans", "stable", "reg", "install gap", "empty"];
    assert_eq!(words(&seen), expected);
    assert_eq!(bench.view(), next);
}

#[test]
fn an_early_message_is_not_lost_although_its_senders_install_gap_came_first() {
    let (mut bench, _, install) = deciding(node(2), &[node(1)]);
    let next = install_view(&install);
    bench.receive(node(1), &install);
    for gap in [bench.commit(node(9), next, &install), bench.installed(node(9), next)] {
        bench.receive(node(9), &gap);
    }
    let mut early = bench.user(node(9), 0, -1);
    early.header.view = next;
    let seen = bench.receive(node(9), &early);
    assert_eq!(words(&seen), ["trans", "stable", "reg", "install gap", "empty"]);
    let acknowledged = bench.empty(node(1), 0, 0);
    bench.receive(node(1), &acknowledged);
    let gap = bench.gap(node(9), 0, 0);
    assert_eq!(deliveries(&bench.receive(node(9), &gap)).len(), 1);
}

#[test]
fn a_join_that_fits_the_accepted_install_is_ignored() {
    let (mut bench, everybody, install) = deciding(node(2), &[node(1), node(3)]);
    bench.receive(node(1), &install);
    let view = bench.view();
    let same = bench.join(node(3), view, -1, everybody.clone());
    assert_eq!(bench.receive(node(3), &same), []);
    // The representative itself has begun anew.
    let anew = bench.join(node(1), view, -1, everybody);
    bench.receive(node(1), &anew);
    let commit = bench.commit(node(9), install_view(&install), &install);
    assert_eq!(bench.receive(node(9), &commit), []);
}

/// The representative of {1, 2, 3} has decided on a view with 9; then 3 gives 9 up.
fn refused(pause: Duration) -> (Bench, Vec<Seen>) {
    let (mut bench, everybody) = meeting(node(1), &[node(2), node(3)]);
    let view = bench.view();
    for (from, of) in [(node(2), view), (node(3), view), (node(9), pseudo(node(9)))] {
        let same = bench.join(from, of, -1, everybody.clone());
        bench.receive(from, &same);
    }
    bench.pass(pause);
    let given_up = NodeEntry { is_operational: false, ..NodeEntry::HEARD_OF };
    let list = everybody.iter().map(|(id, e)| (*id, if *id == node(9) { given_up } else { *e }));
    let other = bench.join(node(3), view, -1, list.collect());
    let seen = bench.receive(node(3), &other);
    (bench, seen)
}

#[test]
fn a_decision_that_somebody_refuses_is_given_up_after_a_period() {
    let (bench, seen) = refused(SECOND);
    assert_eq!(bench.evs.state(), StateKind::Gather);
    assert!(bench.evs.pending().is_none(), "{seen:?}");
}

#[test]
fn a_decision_stands_while_others_may_not_have_seen_it() {
    let (bench, seen) = refused(MILLISECOND * 500);
    assert_eq!(seen, []);
    assert!(bench.evs.pending().is_some());
}

#[test]
fn our_install_is_repeated_as_it_was_until_everybody_has_committed() {
    let (mut bench, everybody) = meeting(node(1), &[node(2)]);
    let view = bench.view();
    let same = bench.join(node(2), view, -1, everybody.clone());
    bench.receive(node(2), &same);
    let same = bench.join(node(9), pseudo(node(9)), -1, everybody);
    let first = bench.receive(node(9), &same);
    let again: Vec<_> = bench.pass(MILLISECOND * 1001);
    assert_eq!(words(&again), ["commit", "install", "commit"]);
    let (Seen::Sent(None, first), Seen::Sent(None, again)) = (&first[0], &again[1]) else {
        panic!("{again:?}")
    };
    let flags = Flags::SOURCE.union(Flags::RETRANSMISSION);
    let expected = Message { header: header_with(first, flags), body: first.body.clone() };
    assert_eq!(*again, expected);
}

#[test]
fn a_joiner_with_the_lowest_id_covers_everybody_its_peers_know() {
    let me = node(1);
    let mut bench = Bench::joining(me);
    let view = regular(node(2), 5);
    let dead = NodeEntry { is_operational: false, is_suspected: true, ..entry(view, 3) };
    let list = nodes([(me, entry(pseudo(me), -1)), (node(2), entry(view, 3)), (node(3), dead)]);
    let join = bench.join(node(2), view, 3, list.clone());
    bench.receive(node(2), &join);
    // Asked again, for we had only heard of node 3; it is out by the only vote there is.
    let join = bench.join(node(2), view, 3, list);
    let seen = bench.receive(node(2), &join);
    let install = bodies(&seen).into_iter().find_map(|body| match body {
        Body::Install(install) => Some(install.clone()),
        Body::User(_)
        | Body::Delegate(_)
        | Body::Gap(_)
        | Body::Join(_)
        | Body::Leave(_)
        | Body::DelayedList(_) => None,
    });
    let Some(install) = install else { panic!("{seen:?}") };
    let listed = install.proposal.nodes.entry(&node(3)).copied();
    assert_eq!(listed, Some(NodeEntry { is_suspected: true, ..dead }));
}

#[test]
fn members_of_another_view_have_to_finish_it_alike_before_we_decide() {
    let me = node(1);
    let mut bench = Bench::joining(me);
    let view = regular(node(2), 5);
    let list =
        nodes([(me, entry(pseudo(me), -1)), (node(2), entry(view, 3)), (node(3), entry(view, 3))]);
    let unlike = |bench: &mut Bench, from, safe| {
        let mut join = bench.join(from, view, 3, list.clone());
        if let Body::Join(proposal) = &mut join.body {
            proposal.safe = Seqno(safe);
        }
        bench.receive(from, &join)
    };
    unlike(&mut bench, node(2), 3);
    assert!(!words(&unlike(&mut bench, node(3), 2)).contains(&"install"));
    assert!(words(&unlike(&mut bench, node(3), 3)).contains(&"install"));
}

#[test]
fn late_joins_have_an_end() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    let mut late = 0;
    for stranger in 20..40 {
        let id = node(stranger);
        let list = nodes([(id, entry(pseudo(id), -1))]);
        let join = bench.join(id, pseudo(id), -1, list);
        bench.receive(id, &join);
        // Its second JOIN brings news within the period.
        let list = nodes([(id, entry(pseudo(id), i64::from(stranger == 20)))]);
        let join = bench.join(id, pseudo(id), -1, list);
        assert!(!words(&bench.receive(id, &join)).contains(&"join"));
        late += words(&bench.pass(MILLISECOND * 101)).iter().filter(|w| **w == "join").count();
    }
    // Four late ones at most; the others are the repetitions of two seconds.
    assert!((1..=6).contains(&late), "{late}");
}

#[test]
fn numbers_that_others_have_seen_used_are_used_up_before_the_view_ends() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let view = bench.view();
    let ahead = NodeEntry { range: Range::new(Seqno(0), Seqno(5)), ..entry(view, -1) };
    let list = nodes([(node(1), entry(view, -1)), (node(2), ahead), (node(3), entry(view, -1))]);
    let join = bench.join(node(3), view, -1, list);
    let seen = bench.receive(node(3), &join);
    let used = crate::evs::message::User { seq_range: 5, user_type: 0xff, ..user_body(0, -1, b"") };
    assert_eq!(bodies(&seen)[0], &Body::User(used));
}

#[test]
fn a_member_that_has_moved_on_without_us_is_given_up() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let ahead = regular(node(2), bench.view().seq + 1);
    let list = nodes([(node(2), entry(ahead, 0))]);
    let join = bench.join(node(2), ahead, 0, list);
    bench.receive(node(2), &join);
    let status = bench.evs.status();
    let operational: Vec<_> =
        status.nodes.iter().filter(|n| n.is_operational).map(|n| n.node).collect();
    assert_eq!(operational, [node(1), node(3)]);
}

#[test]
fn what_waits_to_be_sent_goes_out_before_the_change_begins() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    for _ in 0..5 {
        bench.evs.send(bench.now, Order::Safe, 1, b"x"[..].into()).expect("room");
    }
    assert_eq!(words(&bench.drain()), ["user", "user"]);
    let newcomer = node(9);
    let list = nodes([(newcomer, entry(pseudo(newcomer), -1))]);
    let join = bench.join(newcomer, pseudo(newcomer), -1, list);
    let seen = bench.receive(newcomer, &join);
    let expected = ["user", "user", "user", "welcome", "welcome", "join", "request"];
    assert_eq!(words(&seen), expected);
}
