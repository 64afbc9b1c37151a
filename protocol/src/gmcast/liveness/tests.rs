use core::net::SocketAddr;

use super::*;
use crate::gmcast::tests::network::{address, config, node};
use crate::gmcast::tests::single::{ME, Single, all_sent, closed, user, uuid};
use crate::gmcast::{Config, Input, LinkEnd, message::HandshakeId, message::Topology};

const DIALLED: LinkId = LinkId::Dialled(0);

fn dials(outputs: &[Output]) -> Vec<(LinkId, SocketAddr)> {
    let dial = |output: &Output| match output {
        Output::Dial { link, remote, .. } => Some((*link, *remote)),
        Output::Resolve { .. }
        | Output::SendFrame { .. }
        | Output::CloseLink { .. }
        | Output::Deliver { .. }
        | Output::Event(_) => None,
    };
    outputs.iter().filter_map(dial).collect()
}

fn named(initial: Vec<HostPort>) -> Single {
    Single::with(Config { initial, ..config(ME, &[]) })
}

fn host(name: &str) -> HostPort {
    HostPort { host: name.to_owned(), port: 4567 }
}

fn resolve(name: &str) -> Output {
    Output::Resolve { host: name.to_owned(), port: 4567 }
}

fn resolved(name: &str, numbers: &[u8]) -> Input {
    let addresses = numbers.iter().map(|number| address(*number).ip()).collect();
    Input::Resolved { host: name.to_owned(), port: 4567, addresses }
}

#[test]
fn the_start_dials_every_initial_address_at_once() {
    let mut gmcast = Gmcast::new(config(ME, &[2, 3]), node(ME), 1);
    gmcast.handle_input(Instant::ZERO, Input::Start);
    let outputs: Vec<_> = core::iter::from_fn(|| gmcast.poll_output()).collect();
    let dial = |number, to| Output::Dial {
        link: LinkId::Dialled(number),
        remote: address(to),
        bind: Some(address(ME).ip()),
        tls: false,
    };
    assert_eq!(outputs, [dial(0, 2), dial(1, 3)]);
}

#[test]
fn nothing_is_due_before_the_start() {
    let gmcast = Gmcast::new(config(ME, &[2]), node(ME), 1);
    assert_eq!(gmcast.next_deadline(), None);
}

#[test]
fn dials_leave_from_the_listen_address_unless_it_is_a_wildcard_or_of_the_other_family() {
    for (listen, bind) in [("0.0.0.0:4567", None), ("[::1]:4567", None), ("10.0.0.1:1", Some(()))] {
        let listen = listen.parse().expect("valid");
        let mut gmcast = Gmcast::new(Config { listen, ..config(ME, &[2]) }, node(ME), 1);
        gmcast.handle_input(Instant::ZERO, Input::Start);
        let Some(Output::Dial { bind: found, .. }) = gmcast.poll_output() else {
            panic!("the initial address is dialled");
        };
        assert_eq!(found, bind.map(|()| listen.ip()));
    }
}

#[test]
fn a_failed_dial_is_repeated_after_a_second() {
    let mut single = Single::with(config(ME, &[2]));
    single.input(Input::Closed { link: DIALLED, end: LinkEnd::ConnectionRefused });
    assert_eq!(dials(&single.wait(999)), []);
    assert_eq!(dials(&single.wait(1)), [(LinkId::Dialled(1), address(2))]);
}

#[test]
fn a_refusal_for_our_configuration_slows_the_dials_down() {
    let (mut single, link) = Single::responded();
    let reason = crate::gmcast::Refusal::InvalidGroup.text();
    single.receive_from(link, node(2), Body::Fail { reason });
    assert_eq!(dials(&single.wait(4999)), []);
    assert_eq!(dials(&single.wait(1)).len(), 1);
}

#[test]
fn connecting_and_the_first_word_have_three_seconds_together() {
    let mut single = Single::with(config(ME, &[2]));
    single.wait(2000);
    single.input(Input::Connected { link: DIALLED, local: address(ME), remote: address(2) });
    assert_eq!(closed(&single.wait(1000)), None);
    let outputs = single.wait(500);
    assert_eq!(outputs[0], Output::CloseLink { link: DIALLED });
    assert_eq!(closed(&outputs), Some(Reason::TimedOut));
}

#[test]
fn the_answer_to_our_response_has_three_seconds_of_its_own() {
    let mut single = Single::with(config(ME, &[2]));
    single.input(Input::Connected { link: DIALLED, local: address(ME), remote: address(2) });
    single.wait(2900);
    let handshake = HandshakeId(uuid(5));
    single.receive_from(DIALLED, node(2), Body::Handshake { handshake });
    assert_eq!(closed(&single.wait(2900)), None);
    assert_eq!(closed(&single.wait(700)), Some(Reason::TimedOut));
}

#[test]
fn a_caller_that_keeps_talking_without_answering_is_closed_all_the_same() {
    let mut single = Single::new();
    let (link, _) = single.accept(2);
    let mut reasons = Vec::new();
    for _ in 0..40 {
        single.receive_from(link, node(2), Body::Keepalive);
        reasons.extend(closed(&single.wait(100)));
    }
    assert_eq!(reasons, [Reason::TimedOut]);
}

#[test]
fn an_established_link_lives_as_long_as_something_arrives() {
    let (mut single, link) = Single::established();
    for _ in 0..10 {
        assert_eq!(closed(&single.wait(2900)), None);
        single.receive_from(link, node(2), Body::Keepalive);
    }
    assert_eq!(closed(&single.wait(3000)), None);
    assert_eq!(closed(&single.wait(500)), Some(Reason::TimedOut));
    assert_eq!(single.gmcast.counters().timeouts, 1);
}

/// Moments, in milliseconds, at which KEEPALIVE is sent.
fn keepalives(single: &mut Single, millis: u64) -> Vec<u64> {
    let mut moments = Vec::new();
    for at in (0..millis).step_by(100) {
        let is_keepalive = |(_, body): &(LinkId, Body)| *body == Body::Keepalive;
        if all_sent(&single.wait(100)).iter().any(is_keepalive) {
            moments.push(at + 100);
        }
    }
    moments
}

#[test]
fn without_user_messages_keepalives_go_out_every_round_after_a_second() {
    let (mut single, _) = Single::established();
    assert_eq!(keepalives(&mut single, 3000), [1500, 2000, 2500, 3000]);
}

#[test]
fn own_user_messages_make_keepalives_needless_while_the_peer_talks_too() {
    let (mut single, link) = Single::established();
    for _ in 0..10 {
        let payload = bytes::Bytes::from_static(b"evs");
        single.input(Input::Send { target: None, payload });
        single.receive_from(link, node(2), user(b"evs"));
        assert!(keepalives(&mut single, 900).is_empty());
    }
}

#[test]
fn a_silent_peer_is_asked_after_two_seconds_though_we_talk() {
    let (mut single, _) = Single::established();
    let mut moments = Vec::new();
    for round in 0..3 {
        let payload = bytes::Bytes::from_static(b"evs");
        single.input(Input::Send { target: None, payload });
        moments.extend(keepalives(&mut single, 900).iter().map(|at| at + round * 900));
    }
    assert_eq!(moments, [2500]);
}

#[test]
fn a_keepalive_is_answered_at_once() {
    let (mut single, link) = Single::established();
    let outputs = single.receive_from(link, node(2), Body::Keepalive);
    assert_eq!(all_sent(&outputs), [(link, Body::Ok)]);
}

#[test]
fn stale_wake_ups_do_nothing() {
    let (mut single, _) = Single::established();
    single.wait(100);
    let deadline = single.gmcast.next_deadline();
    assert_eq!(single.input(Input::Timeout), []);
    assert_eq!(single.gmcast.next_deadline(), deadline);
}

#[test]
fn a_name_is_looked_up_and_all_its_addresses_are_dialled() {
    let mut single = named(vec![host("members")]);
    let outputs = single.input(resolved("members", &[2, 3]));
    let addresses = [2, 3].map(|number| address(number).ip()).into();
    let event = Event::Resolved { host: "members".to_owned(), port: 4567, addresses };
    assert_eq!(outputs[0], Output::Event(event));
    let first = (LinkId::Dialled(0), address(2));
    assert_eq!(dials(&outputs), [first, (LinkId::Dialled(1), address(3))]);
}

#[test]
fn a_name_is_asked_for_again_after_each_failure_and_news_are_told_once() {
    let mut single = named(vec![host("members")]);
    let failed = Event::ResolveFailed { host: "members".to_owned(), port: 4567 };
    assert_eq!(single.input(resolved("members", &[])), [Output::Event(failed)]);
    assert_eq!(single.wait(1000), [resolve("members")]);
    assert_eq!(single.wait(5000), []);
    assert_eq!(single.input(resolved("members", &[])), []);
    assert_eq!(single.wait(1000), [resolve("members")]);
    assert_eq!(dials(&single.input(resolved("members", &[2]))).len(), 1);
    // Under way: no reason to ask again. Failed: ask at once, and dial what is known a second
    // later.
    assert_eq!(single.wait(1500), []);
    let outputs = single.input(Input::Closed { link: DIALLED, end: LinkEnd::ConnectionRefused });
    assert!(outputs.contains(&resolve("members")));
    assert_eq!(dials(&single.wait(1000)), [(LinkId::Dialled(1), address(2))]);
}

#[test]
fn addresses_that_a_name_no_longer_has_are_given_up() {
    let mut single = named(vec![host("members")]);
    single.input(resolved("members", &[2]));
    single.input(Input::Closed { link: DIALLED, end: LinkEnd::ConnectionRefused });
    single.wait(900);
    let outputs = single.input(resolved("members", &[3]));
    assert_eq!(dials(&outputs), [(LinkId::Dialled(1), address(3))]);
    single.input(Input::Closed { link: LinkId::Dialled(1), end: LinkEnd::ConnectionRefused });
    let again = dials(&single.wait(3000));
    assert_eq!(again, [(LinkId::Dialled(2), address(3))]);
}

#[test]
fn an_answer_nobody_asked_for_is_ignored() {
    let mut single = named(vec![host("members")]);
    assert_eq!(single.input(resolved("others", &[2])), []);
}

#[test]
fn dials_are_limited_and_the_rest_gets_its_turn() {
    let initial = |n: u8| HostPort { host: format!("10.1.0.{n}"), port: 4567 };
    let mut gmcast = Gmcast::new(
        Config { initial: (0..=200).map(initial).collect(), ..config(ME, &[]) },
        node(ME),
        1,
    );
    gmcast.handle_input(Instant::ZERO, Input::Start);
    let mut outputs: Vec<_> = core::iter::from_fn(|| gmcast.poll_output()).collect();
    assert_eq!(dials(&outputs).len(), DIALS_MAX);
    // None of them ever answers: all time out, again and again.
    let mut now = Instant::ZERO;
    while now < Instant::from_micros(20_000_000) {
        now = gmcast.next_deadline().expect("running");
        gmcast.handle_input(now, Input::Timeout);
        outputs.extend(core::iter::from_fn(|| gmcast.poll_output()));
    }
    let reached: BTreeSet<_> = dials(&outputs).into_iter().map(|(_, remote)| remote).collect();
    assert_eq!(reached.len(), 201);
}

#[test]
fn an_address_heard_of_is_forgotten_after_the_given_number_of_failures() {
    let mut single = Single::with(Config { redials_max: 1, ..config(ME, &[]) });
    let link = single.accept_established(2);
    let at = crate::gmcast::tests::single::text("tcp://10.0.0.3:4567");
    let links = Topology::from([(node(3), at)]);
    let group = crate::gmcast::tests::single::group("group");
    single.receive_from(link, node(2), Body::TopologyChange { group: group.clone(), links });
    single.wait(100);
    assert!(single.gmcast.known_addresses().any(|known| known == address(3)));
    single.receive_from(link, node(2), Body::TopologyChange { group, links: Topology::new() });
    for number in 0..2 {
        let link = LinkId::Dialled(number);
        single.input(Input::Closed { link, end: LinkEnd::ConnectionRefused });
        single.wait(1000);
        single.receive_from(LinkId::Accepted(0), node(2), Body::Keepalive);
    }
    assert!(!single.gmcast.known_addresses().any(|known| known == address(3)));
}

#[test]
fn a_process_that_was_stopped_reads_before_it_judges() {
    let (mut single, link) = Single::established();
    single.now = Instant::from_micros(20_000_000);
    // The deadline is noticed first, what has arrived meanwhile second.
    assert_eq!(closed(&single.input(Input::Timeout)), None);
    single.receive_from(link, node(2), Body::Keepalive);
    assert_eq!(closed(&single.wait(2900)), None);
}

#[test]
fn a_process_that_is_always_late_still_closes_silent_links() {
    let (mut single, _) = Single::established();
    single.now = Instant::from_micros(20_000_000);
    assert_eq!(closed(&single.input(Input::Timeout)), None);
    single.now = Instant::from_micros(40_000_000);
    assert_eq!(closed(&single.input(Input::Timeout)), Some(Reason::TimedOut));
}
