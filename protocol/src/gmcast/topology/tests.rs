use core::time::Duration;

use super::*;
use crate::gmcast::config::{ADDRESSES_MAX, LISTS_PER_ROUND_MAX, NAMES_MAX};
use crate::gmcast::tests::network::{address, config, node};
use crate::gmcast::tests::single::{ME, Single, all_sent, list, response, text, uuid};
use crate::gmcast::{Config, Input, LinkEnd, Output};

/// What is dialled while time passes.
fn dialled(outputs: &[Output]) -> Vec<SocketAddr> {
    let remote = |output: &Output| match output {
        Output::Dial { remote, .. } => Some(*remote),
        Output::Resolve { .. }
        | Output::SendFrame { .. }
        | Output::CloseLink { .. }
        | Output::Deliver { .. }
        | Output::Event(_) => None,
    };
    outputs.iter().filter_map(remote).collect()
}

/// The lists among what was sent.
fn lists(outputs: &[Output]) -> Vec<(LinkId, Body)> {
    let sent = all_sent(outputs).into_iter();
    sent.filter(|(_, body)| body.kind() == Kind::TopologyChange).collect()
}

const OURS: (NodeId, &str) = (NodeId::version1(1 << 32, 0, [2; 6]), "tcp://10.0.0.1:4567");

/// A peer calls, is accepted and sends its first list.
fn accept_talking(single: &mut Single, peer: u8) -> LinkId {
    let link = single.accept_established(peer);
    single.receive_from(link, node(peer), list(&[OURS]));
    link
}

#[test]
fn a_listed_node_is_dialled_within_a_tenth_of_a_second() {
    let (mut single, link) = Single::established();
    let body = list(&[(node(1), "tcp://10.0.0.1:4567"), (node(3), "tcp://10.0.0.3:4567")]);
    let at_once = single.receive_from(link, node(2), body);
    let due = single.gmcast.next_deadline().expect("a dial is due");
    assert!(due - single.now <= Duration::from_millis(100));
    let mut outputs = at_once;
    outputs.extend(single.wait(100));
    assert_eq!(dialled(&outputs), [address(3)]);
}

#[test]
fn an_unchanged_list_causes_nothing() {
    let (mut single, link) = Single::established();
    let body = || list(&[(node(2), "tcp://10.0.0.2:4567")]);
    single.receive_from(link, node(2), body());
    assert_eq!(single.receive_from(link, node(2), body()), []);
}

#[test]
fn a_changed_set_of_links_is_told_to_every_peer_once() {
    let mut single = Single::new();
    let first = accept_talking(&mut single, 2);
    let (second, handshake) = single.accept(3);
    let both = list(&[(node(2), "tcp://10.0.0.2:4567"), (node(3), "tcp://10.0.0.3:4567")]);
    let outputs = single.receive_from(second, node(3), response(handshake, 3));
    let only_it = list(&[(node(3), "tcp://10.0.0.3:4567")]);
    assert_eq!(lists(&outputs), [(first, both.clone()), (second, only_it)]);
    let outputs = single.receive_from(second, node(3), list(&[OURS]));
    assert_eq!(lists(&outputs), [(second, both)]);
    let outputs = single.input(Input::Closed { link: second, end: LinkEnd::Reset });
    let one = list(&[(node(2), "tcp://10.0.0.2:4567")]);
    assert_eq!(lists(&outputs), [(first, one)]);
}

#[test]
fn entries_that_make_no_sense_are_ignored() {
    let (mut single, link) = Single::established();
    let body = list(&[
        (NodeId::NIL, "tcp://10.0.0.3:4567"),
        (node(1), "tcp://10.0.0.4:4567"),
        (uuid(1), "tcp://10.0.0.1:4567"),
        (uuid(2), ""),
        (uuid(3), "hello"),
        (uuid(4), "udp://10.0.0.5:4567"),
        (uuid(5), "tcp://10.0.0.6:0"),
        (uuid(6), "tcp://10.0.0.2:4567"),
    ]);
    let mut outputs = single.receive_from(link, node(2), body);
    outputs.extend(single.wait(2000));
    assert_eq!(dialled(&outputs), []);
}

#[test]
fn a_listed_address_is_dialled_with_our_own_mode_whatever_its_scheme() {
    let mut single = Single::with(Config { tls: true, ..config(ME, &[]) });
    let link = single.accept_established(2);
    single.receive_from(link, node(2), list(&[(node(3), "tcp://[::ffff:10.0.0.3]:4567")]));
    let outputs = single.wait(100);
    let tls = outputs.iter().any(|output| matches!(output, Output::Dial { tls: true, .. }));
    assert!(tls);
    assert_eq!(dialled(&outputs), [address(3)]);
}

#[test]
fn the_receiver_never_sees_its_address_under_another_uuid() {
    // Member 2 restarts: its old link has not ended yet when its new process calls.
    let mut single = Single::new();
    let old = single.accept_established(2);
    let (new, handshake) = single.accept(2);
    let outputs = single.receive_from(new, node(9), response(handshake, 2));
    let to_new = list(&[(node(9), "tcp://10.0.0.2:4567")]);
    assert_eq!(lists(&outputs), [(new, to_new)]);
    assert!(single.has_link(old));
}

#[test]
fn of_two_nodes_at_one_address_only_the_newer_is_listed() {
    let mut single = Single::new();
    accept_talking(&mut single, 2);
    let third = accept_talking(&mut single, 3);
    single.wait(1);
    let (new, handshake) = single.accept(2);
    let outputs = single.receive_from(new, node(9), response(handshake, 2));
    let to_third = lists(&outputs).into_iter().find(|(link, _)| *link == third);
    let expected = list(&[(node(3), "tcp://10.0.0.3:4567"), (node(9), "tcp://10.0.0.2:4567")]);
    assert_eq!(to_third, Some((third, expected)));
}

#[test]
fn an_address_that_the_peer_itself_advertises_is_spared_too() {
    // Member 2 calls through an address translator, and another node is known at its real address.
    let mut single = Single::new();
    single.accept_established(2);
    let (link, handshake) = single.accept(7);
    let body = Body::HandshakeResponse {
        handshake,
        address: text("tcp://10.0.0.2:4567"),
        group: crate::gmcast::tests::single::group("group"),
    };
    let outputs = single.receive_from(link, node(9), body);
    let to_it = all_sent(&outputs).into_iter().rfind(|(to, _)| *to == link);
    assert_eq!(to_it, Some((link, list(&[(node(9), "tcp://10.0.0.7:4567")]))));
}

#[test]
fn a_peer_without_a_port_is_not_listed() {
    let mut single = Single::new();
    let (link, handshake) = single.accept(2);
    let body = Body::HandshakeResponse {
        handshake,
        address: text("tcp://0.0.0.0:0"),
        group: crate::gmcast::tests::single::group("group"),
    };
    let outputs = single.receive_from(link, node(2), body);
    assert_eq!(all_sent(&outputs)[1], (link, list(&[])));
}

#[test]
fn the_number_of_learned_addresses_is_bounded() {
    let mut single = Single::new();
    for peer in 2..12u8 {
        let link = single.accept_established(peer);
        let entry = |n: u16| {
            let at = format!("tcp://12.{peer}.{}.{}:4567", n >> 8, n & 0xff);
            (uuid(u64::from(peer) << 16 | u64::from(n)), text(&at))
        };
        let links: Topology = (0..200).map(entry).collect();
        let group = crate::gmcast::tests::single::group("group");
        single.receive_from(link, node(peer), Body::TopologyChange { group, links });
    }
    assert!(single.gmcast.known_addresses().count() <= ADDRESSES_MAX + 10);
}

#[test]
fn an_initial_address_is_told_to_others_only_after_a_while() {
    let (mut single, _) = Single::established();
    single.wait(2000);
    single.receive_from(LinkId::Dialled(0), node(2), list(&[OURS]));
    let link = single.accept_established(3);
    assert_eq!(lists(&single.receive_from(link, node(3), list(&[OURS]))), []);
    single.receive_from(LinkId::Dialled(0), node(2), Body::Keepalive);
    assert_eq!(lists(&single.wait(900)), []);
    let both = list(&[(node(2), "tcp://10.0.0.2:4567"), (node(3), "tcp://10.0.0.3:4567")]);
    assert_eq!(lists(&single.wait(600)), [(link, both)]);
}

#[test]
fn what_peers_call_a_node_goes_before_what_we_dialled() {
    // Member 2 was dialled by a virtual address; member 3 knows its real one.
    let (mut single, _) = Single::established();
    let third = single.accept_established(3);
    let real = "tcp://[::ffff:10.0.0.77]:4567";
    let outputs = single.receive_from(third, node(3), list(&[(node(2), real)]));
    let to_third = list(&[(node(2), real), (node(3), "tcp://10.0.0.3:4567")]);
    assert_eq!(lists(&outputs).last(), Some(&(third, to_third)));
    // A fourth member, which has no name for it, hears the same.
    let fourth = single.accept_established(4);
    let outputs = single.receive_from(fourth, node(4), list(&[OURS]));
    let to_fourth = list(&[
        (node(2), real),
        (node(3), "tcp://10.0.0.3:4567"),
        (node(4), "tcp://10.0.0.4:4567"),
    ]);
    assert_eq!(lists(&outputs), [(fourth, to_fourth)]);
    assert!(single.gmcast.ips_of(node(2)).contains(&"10.0.0.77".parse().expect("valid")));
}

#[test]
fn a_name_is_remembered_when_the_peer_has_lost_the_node() {
    let mut single = Single::new();
    accept_talking(&mut single, 2);
    let third = accept_talking(&mut single, 3);
    let its_name = "tcp://[::ffff:10.0.0.2]:4567";
    single.receive_from(third, node(3), list(&[(node(2), its_name)]));
    assert_eq!(lists(&single.receive_from(third, node(3), list(&[OURS]))), []);
}

#[test]
fn the_number_of_names_is_bounded() {
    let mut single = Single::new();
    let link = accept_talking(&mut single, 2);
    for round in 0..10u64 {
        let entry = |n: u64| (uuid(round << 16 | n), text("tcp://10.9.9.9:1"));
        let links: Topology = (0..200).map(entry).collect();
        let group = crate::gmcast::tests::single::group("group");
        single.receive_from(link, node(2), Body::TopologyChange { group, links });
    }
    let names = single.gmcast.links.link(link).map(|link| link.names.len());
    assert!(names.is_some_and(|names| names <= NAMES_MAX));
}

#[test]
fn each_receiver_gets_the_names_with_which_it_began() {
    let mut single = Single::new();
    single.accept_established(2);
    let third = single.accept_established(3);
    let fourth = single.accept_established(4);
    single.receive_from(third, node(3), list(&[(node(2), "tcp://10.0.1.2:3")]));
    let outputs = single.receive_from(fourth, node(4), list(&[(node(2), "tcp://10.0.1.2:4")]));
    let names: Vec<_> = lists(&outputs)
        .into_iter()
        .filter_map(|(link, body)| match body {
            Body::TopologyChange { links, .. } => Some((link, links.get(&node(2))?.to_string())),
            Body::Handshake { .. }
            | Body::HandshakeResponse { .. }
            | Body::Ok
            | Body::Fail { .. }
            | Body::Keepalive
            | Body::User { .. } => None,
        })
        .collect();
    assert_eq!(names, [(fourth, "tcp://10.0.1.2:4".to_owned())]);
    // One that takes over our names is not followed any further.
    let ours = list(&[(node(2), "tcp://10.0.0.2:4567")]);
    assert_eq!(lists(&single.receive_from(fourth, node(4), ours)), []);
}

#[test]
fn no_peer_gets_more_than_a_few_lists_between_two_rounds() {
    let mut single = Single::new();
    let second = accept_talking(&mut single, 2);
    let third = accept_talking(&mut single, 3);
    let mut sent = 0;
    for port in 1..100 {
        // A peer that lists and unlists a node under ever new names.
        let at = format!("tcp://10.0.9.9:{port}");
        let outputs = single.receive_from(second, node(2), list(&[(node(3), &at)]));
        sent += lists(&outputs).len();
        sent += lists(&single.receive_from(second, node(2), list(&[]))).len();
    }
    assert!(sent <= 2 * LISTS_PER_ROUND_MAX as usize, "{sent}");
    let outputs = single.wait(500);
    let links: Vec<_> = lists(&outputs).into_iter().map(|(link, _)| link).collect();
    assert_eq!(links, [second, third]);
}

#[test]
fn an_address_that_others_give_to_the_receiver_is_spared_too() {
    // Member 2 was dialled by an alias; others say where it really is, and an old life of it is
    // there.
    let (mut single, dialled) = Single::established();
    let third = single.accept_established(3);
    single.receive_from(third, node(3), list(&[(node(2), "tcp://10.0.0.7:4567")]));
    let (link, handshake) = single.accept(7);
    let outputs = single.receive_from(link, node(9), response(handshake, 7));
    for (_, body) in lists(&outputs).into_iter().filter(|(to, _)| *to == dialled) {
        assert_ne!(body, list(&[(node(9), "tcp://10.0.0.7:4567")]));
    }
    assert!(single.has_link(dialled));
}
