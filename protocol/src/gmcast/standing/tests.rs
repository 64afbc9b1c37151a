use super::*;
use crate::gmcast::message::{Body, HandshakeId, Relay};
use crate::gmcast::tests::network::{address, config, node};
use crate::gmcast::tests::single::{ME, Single, all_sent, closed, list, response, uuid};
use crate::gmcast::{Event, Input, LinkEnd, LinkId, Output};

fn view(numbers: &[u8]) -> BTreeSet<NodeId> {
    numbers.iter().map(|number| node(*number)).collect()
}

fn is_dial(output: &Output) -> bool {
    matches!(output, Output::Dial { .. })
}

#[test]
fn a_member_that_left_is_closed_and_kept_out_for_five_seconds() {
    let mut single = Single::new();
    let link = single.accept_established(2);
    let outputs = single.input(Input::RegularView { members: view(&[1]), left: view(&[2]) });
    assert_eq!(outputs[0], Output::CloseLink { link });
    assert_eq!(closed(&outputs), Some(Reason::Forgotten));

    single.wait(4900);
    let (link, handshake) = single.accept(2);
    let outputs = single.receive_from(link, node(2), response(handshake, 2));
    assert_eq!(all_sent(&outputs), [(link, Body::Ok)]);
    assert_eq!(closed(&outputs), Some(Reason::PeerInTimeWait));

    // The dropped attempt does not prolong the wait.
    single.wait(600);
    let link = single.accept_established(2);
    assert!(single.has_link(link));
}

#[test]
fn another_uuid_at_the_same_address_does_not_wait() {
    let mut single = Single::new();
    single.accept_established(2);
    single.input(Input::RegularView { members: view(&[1]), left: view(&[2]) });
    let (link, handshake) = single.accept(2);
    single.receive_from(link, node(9), response(handshake, 2));
    assert!(single.has_link(link));
}

#[test]
fn who_is_not_in_the_primary_component_waits_half_as_long() {
    let mut single = Single::new();
    single.accept_established(2);
    single.input(Input::PrimaryView { members: view(&[1]) });
    single.wait(2400);
    let (link, handshake) = single.accept(2);
    let outputs = single.receive_from(link, node(2), response(handshake, 2));
    assert_eq!(closed(&outputs), Some(Reason::PeerInTimeWait));
    single.wait(600);
    let link = single.accept_established(2);
    assert!(single.has_link(link));
}

#[test]
fn a_node_in_time_wait_is_not_dialled_and_forgotten_afterwards() {
    let (mut single, _) = Single::established();
    single.input(Input::PrimaryView { members: view(&[1]) });
    assert!(!single.wait(10_000).iter().any(is_dial));
    assert_eq!(single.gmcast.ip_of(node(2)), None);
}

#[test]
fn a_view_that_names_a_node_again_lifts_its_wait() {
    for input in [
        Input::RegularView { members: view(&[1, 2]), left: view(&[]) },
        Input::PrimaryView { members: view(&[1, 2]) },
        Input::Welcome(node(2)),
    ] {
        let mut single = Single::new();
        single.accept_established(2);
        single.input(Input::PrimaryView { members: view(&[1]) });
        single.input(input);
        let link = single.accept_established(2);
        assert!(single.has_link(link));
    }
}

#[test]
fn a_link_of_a_node_without_an_entry_is_closed_too_when_it_is_evicted() {
    let (mut single, link) = Single::responded();
    let outputs = single.input(Input::Evict(node(2)));
    assert_eq!(closed(&outputs), Some(Reason::Refused(Refusal::Evicted)));
    assert!(!single.has_link(link));
}

#[test]
fn an_evicted_node_is_refused_until_its_pardon() {
    let mut single = Single::new();
    single.accept_established(2);
    single.input(Input::Evict(node(2)));
    single.wait(6000);
    let (link, handshake) = single.accept(2);
    let outputs = single.receive_from(link, node(2), response(handshake, 2));
    assert_eq!(closed(&outputs), Some(Reason::Refused(Refusal::Evicted)));
    single.input(Input::Unevict(node(2)));
    let link = single.accept_established(2);
    assert!(single.has_link(link));
}

#[test]
fn we_never_evict_or_forget_ourselves() {
    let (mut single, link) = Single::established();
    assert_eq!(single.input(Input::Evict(node(ME))), []);
    single.input(Input::RegularView { members: view(&[2]), left: view(&[1]) });
    assert!(single.has_link(link));
}

#[test]
fn dials_of_initial_addresses_are_given_up_when_the_primary_component_is_complete() {
    let mut single = Single::with(config(ME, &[8, 9]));
    single.accept_established(2);
    let outputs = single.input(Input::PrimaryView { members: view(&[1, 2]) });
    let given_up = |output: &&Output| matches!(output, Output::CloseLink { .. });
    assert_eq!(outputs.iter().filter(given_up).count(), 2);
    assert_eq!(closed(&outputs), Some(Reason::NotNeeded));
    assert!(!single.wait(2500).iter().any(is_dial));
}

#[test]
fn they_go_on_while_a_member_of_it_has_no_link() {
    let mut single = Single::with(config(ME, &[8]));
    let link = single.accept_established(2);
    let outputs = single.input(Input::PrimaryView { members: view(&[1, 2, 3]) });
    assert_eq!(closed(&outputs), None);
    single.input(Input::Closed { link: LinkId::Dialled(0), end: LinkEnd::ConnectionRefused });
    single.receive_from(link, node(2), Body::Keepalive);
    assert!(single.wait(1000).iter().any(is_dial));
}

#[test]
fn a_lost_primary_component_brings_the_initial_addresses_back() {
    let mut single = Single::with(config(ME, &[8]));
    single.input(Input::PrimaryView { members: view(&[1]) });
    single.wait(1000);
    let outputs = single.input(Input::PrimaryLost);
    assert!(outputs.iter().any(is_dial));
}

#[test]
fn links_of_learned_nodes_in_their_handshake_survive_the_primary_component() {
    let mut single = Single::new();
    let link = single.accept_established(2);
    single.receive_from(link, node(2), list(&[(node(3), "tcp://10.0.0.3:4567")]));
    single.wait(100);
    let dial = LinkId::Dialled(0);
    single.input(Input::Connected { link: dial, local: address(ME), remote: address(3) });
    single.input(Input::PrimaryView { members: view(&[1, 2, 3]) });
    let body = Body::Handshake { handshake: HandshakeId(uuid(5)) };
    let outputs = single.receive_from(dial, node(3), body);
    assert_eq!(all_sent(&outputs).len(), 1);
}

#[test]
fn evictions_are_bounded_and_the_bound_is_not_silent() {
    let mut single = Single::new();
    for number in 0..EVICTED_MAX as u64 {
        single.gmcast.evicted.insert(uuid(number));
    }
    assert_eq!(single.input(Input::Evict(node(2))), []);
    assert!(!single.gmcast.is_evicted(node(2)));
}

#[test]
fn the_end_of_time_wait_is_told_by_ok_and_end_of_stream() {
    let (mut single, link) = Single::established();
    let outputs = single.input(Input::Closed { link, end: LinkEnd::EndOfStream });
    assert_eq!(closed(&outputs), Some(Reason::TimeWait));
    let wait = |output: &Output| matches!(output, Output::Event(Event::LinkClosed(_)));
    assert!(outputs.iter().any(wait));
    // It is tried again every second.
    assert!(single.wait(1000).iter().any(is_dial));
}

#[test]
fn an_evicted_node_that_others_list_is_neither_dialled_nor_relayed_to() {
    let mut single = Single::new();
    let link = single.accept_established(2);
    single.input(Input::Evict(node(3)));
    let body = list(&[(node(1), "tcp://10.0.0.1:4567"), (node(3), "tcp://10.0.0.3:4567")]);
    single.receive_from(link, node(2), body);
    assert!(!single.wait(2500).iter().any(is_dial));
    let payload = bytes::Bytes::from_static(b"evs");
    let outputs = single.input(Input::Send { target: None, payload: payload.clone() });
    let body = Body::User { relay: Relay::No, payload };
    assert_eq!(all_sent(&outputs), [(link, body)]);
}
