use core::time::Duration;

use super::*;
use crate::gmcast::config::ADDRESSES_MAX;
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
    let (mut single, first) = Single::established();
    let (second, handshake) = single.accept(3);
    let outputs = single.receive_from(second, node(3), response(handshake, 3));
    let both = list(&[(node(2), "tcp://10.0.0.2:4567"), (node(3), "tcp://10.0.0.3:4567")]);
    let lists: Vec<_> = all_sent(&outputs)
        .into_iter()
        .filter(|(_, body)| body.kind() == Kind::TopologyChange)
        .collect();
    assert_eq!(lists, [(first, both.clone()), (second, both)]);
    let outputs = single.input(Input::Closed { link: second, end: LinkEnd::Reset });
    let one = list(&[(node(2), "tcp://10.0.0.2:4567")]);
    assert_eq!(all_sent(&outputs), [(first, one)]);
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
    let (mut single, old) = Single::established();
    let (new, handshake) = single.accept(2);
    let outputs = single.receive_from(new, node(9), response(handshake, 2));
    let lists: Vec<_> = all_sent(&outputs)
        .into_iter()
        .filter(|(_, body)| body.kind() == Kind::TopologyChange)
        .collect();
    let to_new = list(&[(node(9), "tcp://10.0.0.2:4567")]);
    assert_eq!(lists, [(old, list(&[])), (new, to_new)]);
}

#[test]
fn of_two_nodes_at_one_address_only_the_newer_is_listed() {
    let (mut single, _) = Single::established();
    let third = single.accept_established(3);
    single.wait(1);
    let (new, handshake) = single.accept(2);
    let outputs = single.receive_from(new, node(9), response(handshake, 2));
    let to_third = all_sent(&outputs).into_iter().find(|(link, _)| *link == third);
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
