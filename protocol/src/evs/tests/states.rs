//! The table of states, and starting.

use super::bench::{Bench, Seen, bodies, entry, node, nodes, pseudo, regular, words};
use crate::evs::message::{Body, Proposal};
use crate::evs::{Config, Evs, Input, Output, Seqno, Start, StateKind};
use crate::id::{ViewId, ViewKind};
use crate::message::{Order, SendError};
use crate::time::{Duration, Instant};
use crate::view::View;

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn only_the_listed_transitions_are_legal() {
    use StateKind::{Closed, Gather, Install, Joining, Leaving, Operational};
    let legal = [
        (Closed, Joining),
        (Joining, Gather),
        (Joining, Leaving),
        (Joining, Closed),
        (Gather, Gather),
        (Gather, Install),
        (Gather, Joining),
        (Gather, Closed),
        (Install, Gather),
        (Install, Operational),
        (Install, Closed),
        (Operational, Gather),
        (Operational, Leaving),
        (Operational, Closed),
        (Leaving, Closed),
    ];
    for from in StateKind::ALL {
        for to in StateKind::ALL {
            assert_eq!(from.may_become(to), legal.contains(&(from, to)), "{from:?} -> {to:?}");
        }
    }
}

#[test]
fn a_start_sends_the_first_join_and_repeats_it_without_ever_being_alone_in_a_view() {
    let mut bench = Bench::closed(Config::default(), node(1));
    let me = node(1);
    let first = bench.input(Input::Open);
    let nodes = nodes([(me, entry(pseudo(me), -1))]);
    let expected = Body::Join(Proposal { safe: Seqno::NONE, aru: Seqno::NONE, nodes });
    assert_eq!(bodies(&first), [&expected]);
    let later = bench.pass(SECOND * 30);
    assert_eq!(bodies(&later), vec![&expected; 30]);
    assert_eq!(bench.evs.state(), StateKind::Joining);
}

#[test]
fn a_bootstrap_goes_through_to_the_first_view_in_one_call() {
    let me = node(1);
    let config = Config { start: Start::Bootstrap, ..Config::default() };
    let mut bench = Bench::closed(config, me);
    let seen = bench.input(Input::Open);
    let expected =
        ["join", "install", "commit", "install gap", "trans", "stable", "reg", "install gap"];
    assert_eq!(words(&seen), expected);
    let trans = View::new(pseudo(me), 0, [me].into());
    assert_eq!(seen[4], Seen::Other(Output::View(trans)));
    let reg = View::new(regular(me, 1), 1, [me].into());
    assert_eq!(seen[6], Seen::Other(Output::View(reg)));
}

#[test]
fn a_restored_member_starts_after_its_saved_view() {
    let saved = ViewId::new(ViewKind::Primary, node(9), 41);
    let mut evs = Evs::new(Config::default(), node(1), Some(saved));
    evs.handle_input(Instant::ZERO, Input::Open);
    assert_eq!(evs.view_id(), ViewId::new(ViewKind::Transitional, node(1), 42));
}

#[test]
fn sending_is_refused_in_every_state_but_operational() {
    let send = |bench: &mut Bench| bench.evs.send(bench.now, Order::Safe, 1, b"x"[..].into());
    let mut closed = Bench::closed(Config::default(), node(1));
    assert_eq!(send(&mut closed), Err(SendError::NotConnected));
    let mut joining = Bench::joining(node(1));
    assert_eq!(send(&mut joining), Err(SendError::NotConnected));
    let mut operational = Bench::in_group(node(1), &[node(2)]);
    assert_eq!(send(&mut operational), Ok(()));
    operational.drain();

    let mut gathering = Bench::in_group(node(2), &[node(1), node(3)]);
    let message = gathering.leave(node(3), -1, -1);
    gathering.receive(node(3), &message);
    assert_eq!(gathering.evs.state(), StateKind::Gather);
    assert_eq!(send(&mut gathering), Err(SendError::TryAgain));
    let too_long = vec![0; 32_645].into();
    let refused = gathering.evs.send(gathering.now, Order::Safe, 1, too_long);
    assert_eq!(refused, Err(SendError::Size { length: 32_645, limit: 32_644 }));
}

#[test]
fn somebody_who_does_not_name_us_does_not_end_joining() {
    let me = node(5);
    let mut bench = Bench::joining(me);
    let view = regular(node(1), 4);
    let other = bench.join(node(1), view, 3, nodes([(node(1), entry(view, 3))]));
    assert_eq!(bench.receive(node(1), &other), []);
    let user = bench.user(node(1), 4, 3);
    assert_eq!(bench.receive(node(1), &user), []);
    assert_eq!(bench.evs.state(), StateKind::Joining);
}

#[test]
fn closing_before_the_first_view_is_done_at_once() {
    let mut bench = Bench::joining(node(1));
    assert_eq!(words(&bench.input(Input::Close)), ["trans", "end", "closed"]);
    assert_eq!(bench.evs.next_deadline(), None);
    assert_eq!(bench.input(Input::Timeout), []);
}
