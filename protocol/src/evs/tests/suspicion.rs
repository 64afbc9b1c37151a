//! Who is silent, who is slow, and who is banned.

use std::collections::BTreeMap;

use super::bench::{Bench, Seen, bodies, entry, node, nodes, pseudo, regular, words};
use crate::evs::message::{Body, DelayedList, Flags, Message, NodeEntry, NodeList, Proposal};
use crate::evs::{Config, Failure, Input, Output, Seqno, StateKind};
use crate::id::NodeId;
use crate::message::Order;
use crate::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn last_proposal(seen: &[Seen]) -> Option<Proposal> {
    bodies(seen).into_iter().rev().find_map(|body| match body {
        Body::Join(proposal) => Some(proposal.clone()),
        Body::User(_)
        | Body::Delegate(_)
        | Body::Gap(_)
        | Body::Install(_)
        | Body::Leave(_)
        | Body::DelayedList(_) => None,
    })
}

fn is_operational(bench: &Bench, id: NodeId) -> bool {
    bench.evs.status().nodes.iter().any(|node| node.node == id && node.is_operational)
}

/// Passes time in which these members show progress, with numbers that only they know.
fn pass_with(bench: &mut Bench, time: Duration, alive: &[NodeId], next: &mut i64) -> Vec<Seen> {
    let mut all = Vec::new();
    for _ in 0..time.as_millis() / 500 {
        all.extend(bench.pass(MILLISECOND * 500));
        for from in alive {
            let message = bench.empty(*from, *next, -1);
            all.extend(bench.receive(*from, &message));
        }
        *next += 1;
    }
    all
}

#[test]
fn a_silent_member_is_given_up_after_the_suspect_timeout() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let mut next = 0;
    let seen = pass_with(&mut bench, SECOND * 5, &[node(2)], &mut next);
    assert_eq!(last_proposal(&seen), None);
    let seen = pass_with(&mut bench, SECOND, &[node(2)], &mut next);
    let proposal = last_proposal(&seen).expect("a JOIN");
    let silent = proposal.nodes.entry(&node(3)).copied().expect("listed");
    let view = bench.view();
    let expected = NodeEntry { is_operational: false, is_suspected: true, ..entry(view, -1) };
    assert_eq!(silent, expected);
    assert!(proposal.nodes.entry(&node(2)).is_some_and(|e| e.is_operational && !e.is_suspected));
}

#[test]
fn receiving_something_is_no_sign_of_life_only_progress_is() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    for _ in 0..12 {
        bench.pass(MILLISECOND * 500);
        let nothing_new = bench.gap(node(2), -1, -1);
        bench.receive(node(2), &nothing_new);
    }
    assert!(!is_operational(&bench, node(2)));
}

#[test]
fn after_a_pause_of_our_own_the_others_are_heard_first() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    bench.now = bench.now + SECOND * 60;
    bench.input(Input::Timeout);
    assert_eq!(bench.evs.state(), StateKind::Operational);
    assert!(is_operational(&bench, node(2)) && is_operational(&bench, node(3)));
}

#[test]
fn who_hears_nobody_is_cut_off_and_goes_on_alone() {
    let mut bench = Bench::in_group(node(2), &[node(1), node(3)]);
    let seen = bench.pass(SECOND * 7);
    let words = words(&seen);
    assert!(words.ends_with(&["trans", "stable", "reg", "install gap"]), "{words:?}");
    assert_eq!(bench.evs.status().members, [node(2)].into());
}

#[test]
fn a_member_with_a_proposal_is_suspected_but_counts_until_the_inactive_timeout() {
    let config = Config { install_timeout: SECOND * 15, ..Config::default() };
    let mut bench = Bench::in_group_with(config, node(2), &[node(1), node(3)]);
    let view = bench.view();
    let all = [node(1), node(2), node(3)].map(|id| (id, entry(view, -1)));
    let join = bench.join(node(3), view, -1, nodes(all));
    bench.receive(node(3), &join);
    // Alive as proposals that name us show.
    let mut seen = Vec::new();
    for _ in 0..7 {
        seen = bench.pass(SECOND);
        let join = bench.join(node(1), view, -1, nodes(all));
        seen.extend(bench.receive(node(1), &join));
    }
    let listed = last_proposal(&seen).expect("a JOIN").nodes.entry(&node(3)).copied();
    assert_eq!(listed, Some(NodeEntry { is_suspected: true, ..entry(view, -1) }));
}

fn suspecting(view: crate::id::ViewId, all: &[NodeId], suspect: NodeId) -> NodeList {
    let one = |id: &NodeId| (*id, NodeEntry { is_suspected: *id == suspect, ..entry(view, -1) });
    all.iter().map(one).collect()
}

#[test]
fn a_member_that_most_of_the_view_suspect_is_out() {
    let all = [node(1), node(2), node(3), node(4), node(5)];
    let mut bench = Bench::in_group(node(1), &all[1..]);
    let view = bench.view();
    for (from, goes_on) in [(node(2), true), (node(3), true), (node(4), false)] {
        let join = bench.join(from, view, -1, suspecting(view, &all, node(5)));
        bench.receive(from, &join);
        assert_eq!(is_operational(&bench, node(5)), goes_on);
    }
}

#[test]
fn who_wants_to_go_on_without_us_is_not_somebody_to_go_on_with() {
    let all = [node(1), node(2), node(3)];
    let mut bench = Bench::in_group(node(1), &all[1..]);
    let view = bench.view();
    let without_us =
        |id: &NodeId| (*id, NodeEntry { is_operational: *id != node(1), ..entry(view, -1) });
    let join = bench.join(node(2), view, -1, all.iter().map(without_us).collect());
    bench.receive(node(2), &join);
    assert!(!is_operational(&bench, node(2)));
    assert!(is_operational(&bench, node(3)));
}

#[test]
fn whoever_somebody_we_go_on_with_cannot_reach_is_out_once_the_change_drags_on() {
    let all = [node(1), node(2), node(3)];
    let mut bench = Bench::in_group(node(1), &all[1..]);
    let view = bench.view();
    let same = |bench: &mut Bench, from| {
        let join =
            bench.join(from, view, -1, all.iter().map(|id| (*id, entry(view, -1))).collect());
        bench.receive(from, &join);
    };
    let without_3 =
        |id: &NodeId| (*id, NodeEntry { is_operational: *id != node(3), ..entry(view, -1) });
    for round in 0..6 {
        same(&mut bench, node(3));
        let join = bench.join(node(2), view, -1, all.iter().map(without_3).collect());
        bench.receive(node(2), &join);
        // 7.5 s less 5 s of the install time-out have to be left at most.
        assert_eq!(is_operational(&bench, node(3)), round < 5, "round {round}");
        bench.pass(SECOND);
    }
}

#[test]
fn a_change_that_takes_too_long_goes_on_without_those_who_do_not_agree() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3), node(4)]);
    let view = bench.view();
    let silent = node(9);
    let list = nodes([(silent, entry(pseudo(silent), -1))]);
    let join = bench.join(silent, pseudo(silent), -1, list);
    bench.receive(silent, &join);
    let seen = bench.pass(MILLISECOND * 7600);
    assert_eq!(bench.evs.status().counters.install_timeouts, 1);
    assert!(!is_operational(&bench, silent));
    assert!(bench.view() != view, "{:?}", words(&seen));
}

/// Another member that answers everything and agrees to nothing.
fn never_agrees(bench: &mut Bench, time: Duration) -> Vec<Seen> {
    let mut all = Vec::new();
    for round in 0..time.as_millis() / 500 {
        all.extend(bench.pass(MILLISECOND * 500));
        let odd = regular(node(7), u32::try_from(round).unwrap_or(1) + 50);
        let mut message = bench.empty(node(7), 0, 0);
        message.header.view = odd;
        all.extend(bench.receive(node(7), &message));
    }
    all
}

#[test]
fn who_meets_strangers_without_end_goes_on_meeting_them() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    never_agrees(&mut bench, SECOND * 60);
    assert_ne!(bench.evs.state(), StateKind::Closed);
}

#[test]
fn without_any_agreement_the_member_isolates_itself_and_then_ends() {
    let config = Config { max_install_timeouts: 0, ..Config::default() };
    let mut bench = Bench::in_group_with(config, node(2), &[node(1)]);
    let view = bench.view();
    let list = nodes([(node(1), entry(view, -1)), (node(2), entry(view, -1))]);
    let decided = Proposal { safe: Seqno::NONE, aru: Seqno::NONE, nodes: list };
    let leave = bench.join(node(1), view, -1, decided.nodes.clone());
    bench.receive(node(1), &leave);
    let seen = bench.pass(SECOND * 8);
    // The first time-out is the last: everybody else is given up, and nothing is said for a while.
    assert_eq!(bench.evs.status().members, [node(2)].into(), "{:?}", words(&seen));
    let stranger = bench.empty(node(5), 0, 0);
    assert_eq!(bench.receive(node(5), &stranger), []);
    assert_eq!(words(&bench.pass(SECOND * 5)), Vec::<&str>::new());
}

#[test]
fn an_operators_ban_is_told_to_the_transport_and_in_every_join() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let seen = bench.input(Input::Evict(node(3)));
    assert_eq!(seen[0], Seen::Other(Output::Evict(node(3))));
    let listed = last_proposal(&seen).expect("a JOIN").nodes.entry(&node(3)).copied();
    assert!(listed.is_some_and(|entry| entry.is_evicted));
    assert_eq!(bench.evs.state(), StateKind::Gather);
    let message = bench.empty(node(3), 0, -1);
    assert_eq!(bench.receive(node(3), &message), []);
}

#[test]
fn a_ban_of_a_stranger_changes_no_view_and_ends_when_it_is_lifted() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    assert_eq!(words(&bench.input(Input::Evict(node(9)))), ["evict"]);
    assert_eq!(bench.evs.state(), StateKind::Operational);
    let mut message = bench.empty(node(9), 0, 0);
    message.header.view = regular(node(9), 40);
    assert_eq!(bench.receive(node(9), &message), []);
    bench.input(Input::ForgetEvicted);
    assert!(words(&bench.receive(node(9), &message)).contains(&"join"));
}

#[test]
fn we_do_not_ban_ourselves_whoever_says_so() {
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    assert_eq!(bench.input(Input::Evict(node(1))), []);
    let view = bench.view();
    let banned = NodeEntry { is_evicted: true, ..entry(view, -1) };
    let join =
        bench.join(node(2), view, -1, nodes([(node(1), banned), (node(2), entry(view, -1))]));
    assert!(!words(&bench.receive(node(2), &join)).contains(&"evict"));
}

#[test]
fn somebodys_ban_is_taken_over() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3)]);
    let view = bench.view();
    let banned = NodeEntry { is_evicted: true, ..entry(view, -1) };
    let list = nodes([(node(1), entry(view, -1)), (node(2), entry(view, -1)), (node(3), banned)]);
    let join = bench.join(node(2), view, -1, list);
    assert!(words(&bench.receive(node(2), &join)).contains(&"evict"));
    assert!(!is_operational(&bench, node(3)));
}

fn delayed_list(bench: &mut Bench, from: NodeId, slow: &[(NodeId, u8)]) -> Message {
    let header = bench.header(from, Order::Drop, Flags::NONE);
    let list = slow.iter().copied().collect::<BTreeMap<_, _>>();
    Message { header, body: Body::DelayedList(DelayedList(list)) }
}

#[test]
fn a_member_that_most_call_slow_too_often_is_banned() {
    let config = Config { auto_evict: 3, ..Config::default() };
    let mut bench = Bench::in_group_with(config, node(1), &[node(2), node(3), node(4)]);
    for (from, count, is_enough) in [(node(2), 3, false), (node(3), 2, false)] {
        let list = delayed_list(&mut bench, from, &[(node(4), count)]);
        let seen = words(&bench.receive(from, &list)).contains(&"evict");
        assert_eq!(seen, is_enough, "{from} {count}");
    }
    let list = delayed_list(&mut bench, node(4), &[(node(4), 9)]);
    assert!(words(&bench.receive(node(4), &list)).contains(&"evict"));
}

#[test]
fn complaints_of_those_who_call_us_slow_and_single_delays_do_not_count() {
    let config = Config { auto_evict: 2, ..Config::default() };
    let mut bench = Bench::in_group_with(config, node(1), &[node(2), node(3), node(4)]);
    for from in [node(2), node(3)] {
        let list = delayed_list(&mut bench, from, &[(node(1), 4), (node(4), 9)]);
        assert_eq!(bench.receive(from, &list), []);
    }
    let mut bench_of_single = Bench::in_group_with(
        Config { auto_evict: 1, ..Config::default() },
        node(1),
        &[node(2), node(3), node(4)],
    );
    for from in [node(2), node(3)] {
        let list = delayed_list(&mut bench_of_single, from, &[(node(4), 1)]);
        assert_eq!(bench_of_single.receive(from, &list), []);
    }
}

#[test]
fn without_auto_evict_complaints_are_neither_heard_nor_made() {
    let mut bench = Bench::in_group(node(1), &[node(2), node(3), node(4)]);
    for from in [node(2), node(3), node(4)] {
        let list = delayed_list(&mut bench, from, &[(node(4), 200)]);
        assert_eq!(bench.receive(from, &list), []);
    }
    assert!(!words(&bench.pass(SECOND * 4)).contains(&"delayed"));
}

#[test]
fn a_slow_member_is_reported_with_every_check_while_it_is_slow() {
    let config = Config { auto_evict: 100, ..Config::default() };
    let mut bench = Bench::in_group_with(config, node(1), &[node(2), node(3)]);
    let mut next = 0;
    let seen = pass_with(&mut bench, SECOND * 4, &[node(2)], &mut next);
    let lists: Vec<_> = bodies(&seen)
        .into_iter()
        .filter_map(|body| match body {
            Body::DelayedList(list) => Some(list.clone()),
            Body::User(_)
            | Body::Delegate(_)
            | Body::Gap(_)
            | Body::Join(_)
            | Body::Install(_)
            | Body::Leave(_) => None,
        })
        .collect();
    assert!(lists.len() >= 2, "{lists:?}");
    assert!(lists.iter().all(|list| *list == DelayedList([(node(3), 1)].into())), "{lists:?}");
}

#[test]
fn a_harmful_message_is_not_sent_but_ends_the_membership() {
    // More nodes than a JOIN may list cannot become known, so the limit is never reached from here.
    let mut bench = Bench::in_group(node(1), &[node(2)]);
    for stranger in 10..700 {
        let id = node(stranger);
        let mut message = bench.empty(id, 0, 0);
        message.header.view = regular(id, 9);
        let seen = bench.receive(id, &message);
        let failed =
            |seen: &Seen| matches!(seen, Seen::Other(Output::Failed(Failure::HarmfulMessage(_))));
        assert!(!seen.iter().any(failed));
    }
    assert_eq!(bench.evs.status().nodes.len(), crate::evs::nodes::NODES_MAX);
}
