use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;

use super::network::{Network, address, config, in_segment, node};
use crate::gmcast::address::HostPort;
use crate::gmcast::message::Body;
use crate::gmcast::{Config, Event, GroupName, IdentityProblem, Input, LinkEnd, Reason, Refusal};
use crate::id::NodeId;

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn meshed(count: u8) -> Network {
    let mut network = Network::of(count);
    network.start_all();
    network.run(millis(1000));
    network.assert_full_mesh();
    network
}

#[test]
fn two_members_link_and_tell_each_other_their_lists() {
    let network = meshed(2);
    let initiator = network.sent(2, 1);
    assert!(matches!(initiator[0], Body::HandshakeResponse { .. }));
    let acceptor = network.sent(1, 2);
    assert!(matches!(acceptor[0], Body::Handshake { .. }));
    assert!(matches!(acceptor[1], Body::Ok));
    let Body::TopologyChange { links, .. } = acceptor[2] else {
        panic!("a list follows the OK");
    };
    let uri = links.get(&node(2)).expect("the receiver is listed").to_string();
    assert_eq!(uri, "tcp://10.0.0.2:4567");
}

#[test]
fn unchanged_lists_are_not_repeated() {
    let mut network = meshed(3);
    // Initial addresses are held back for a while.
    network.run(seconds(2));
    let lists = |network: &Network| {
        let is_list = |body: &&Body| matches!(body, Body::TopologyChange { .. });
        network.messages.iter().map(|(_, _, message)| &message.body).filter(is_list).count()
    };
    let before = lists(&network);
    network.run(seconds(10));
    assert_eq!(lists(&network), before);
}

#[test]
fn a_mesh_completes_through_topology_alone() {
    // Everybody knows member 1 only.
    let network = meshed(7);
    for number in 1..=7 {
        assert_eq!(network.member(number).gmcast.counters().violations, 0);
    }
}

#[test]
fn learned_addresses_are_dialled_within_a_tenth_of_a_second() {
    let mut network = Network::of(3);
    network.start_all();
    network.run(millis(150));
    network.assert_full_mesh();
}

#[test]
fn simultaneous_dials_end_in_one_link_that_both_keep() {
    let mut network = Network::default();
    network.add(1, config(1, &[2]));
    network.add(2, config(2, &[1]));
    network.start_all();
    network.run(seconds(2));
    network.assert_full_mesh();
    let kept = |number| {
        let member = network.member(number);
        member.gmcast.links().map(|link| link.link).collect::<Vec<_>>()
    };
    assert_eq!(kept(1).len(), 1);
    assert_eq!(kept(2).len(), 1);
    assert!(network.reasons(1).contains(&Reason::DuplicateLink));
}

#[test]
fn an_idle_mesh_lives_on_keepalives() {
    let mut network = meshed(3);
    network.run(seconds(60));
    network.assert_full_mesh();
    assert_eq!(network.member(1).gmcast.counters().links_lost, 0);
}

#[test]
fn a_lost_link_is_dialled_again_after_a_second() {
    let mut network = meshed(3);
    network.cut(2, 3);
    network.heal(2, 3);
    network.run(millis(900));
    assert_eq!(network.peers(2), [node(1)]);
    network.run(millis(300));
    network.assert_full_mesh();
}

#[test]
fn messages_reach_everybody_once() {
    let mut network = meshed(4);
    network.send(2, "hello");
    network.run(millis(10));
    assert_eq!(Vec::from_iter(network.copies("hello")), [(1, 1), (2, 0), (3, 1), (4, 1)]);
}

#[test]
fn a_target_with_a_link_gets_the_message_alone() {
    let mut network = meshed(3);
    let payload = bytes::Bytes::from_static(b"hello");
    network.input(2, Input::Send { target: Some(node(3)), payload });
    network.run(millis(10));
    assert_eq!(Vec::from_iter(network.copies("hello")), [(1, 0), (2, 0), (3, 1)]);
}

#[test]
fn a_target_without_a_link_means_everybody() {
    let mut network = meshed(3);
    let payload = bytes::Bytes::from_static(b"hello");
    network.input(2, Input::Send { target: Some(node(9)), payload });
    network.run(millis(10));
    assert_eq!(Vec::from_iter(network.copies("hello")), [(1, 1), (2, 0), (3, 1)]);
}

#[test]
fn around_a_hole_in_the_mesh_messages_are_relayed() {
    let mut network = meshed(4);
    network.cut(2, 3);
    network.run(millis(600));
    let expected = Event::RelayingChanged {
        unreachable: BTreeSet::from([node(3)]),
        through: BTreeSet::from([node(1)]),
    };
    assert!(network.member(2).events.contains(&expected));
    network.send(2, "hello");
    network.run(millis(10));
    let copies = network.copies("hello");
    assert_eq!((copies[&1], copies[&3]), (1, 1));
    assert!(copies[&4] >= 1);
    let delivered = &network.member(3).delivered;
    assert_eq!(delivered.last().map(|(source, _)| *source), Some(node(2)));
}

#[test]
fn relaying_ends_with_the_hole() {
    let mut network = meshed(3);
    network.cut(2, 3);
    network.run(seconds(2));
    network.heal(2, 3);
    network.run(seconds(2));
    network.assert_full_mesh();
    let last = network.member(2).events.iter().rev().find_map(|event| match event {
        Event::RelayingChanged { unreachable, .. } => Some(unreachable.clone()),
        Event::Resolved { .. }
        | Event::ResolveFailed { .. }
        | Event::LinkEstablished { .. }
        | Event::LinkClosed(_)
        | Event::IdentityRefused { .. }
        | Event::IdentityChanged { .. }
        | Event::OwnAddressFound { .. } => None,
    });
    assert_eq!(last, Some(BTreeSet::new()));
    network.send(2, "hello");
    network.run(millis(10));
    assert_eq!(Vec::from_iter(network.copies("hello")), [(1, 1), (2, 0), (3, 1)]);
}

#[test]
fn a_chain_of_members_still_carries_a_message_one_hop_further() {
    // 1 sees 2 only; 2 sees all.
    let mut network = Network::default();
    network.add(1, config(1, &[2]));
    for number in 2..=4 {
        network.add(number, config(number, &[2]));
    }
    network.block(1, 3);
    network.block(1, 4);
    network.start_all();
    network.run(seconds(2));
    network.send(1, "hello");
    network.send(4, "back");
    network.run(millis(10));
    assert_eq!(Vec::from_iter(network.copies("hello")), [(1, 0), (2, 1), (3, 1), (4, 1)]);
    assert_eq!(network.copies("back")[&1], 1);
}

fn two_segments() -> Network {
    let mut network = Network::default();
    for (number, segment) in [(1, 0), (2, 0), (3, 1), (4, 1), (5, 1)] {
        network.add(number, in_segment(segment, config(number, &[1])));
    }
    network.start_all();
    network.run(seconds(2));
    network.assert_full_mesh();
    network.messages.clear();
    network
}

#[test]
fn another_segment_is_reached_through_one_of_its_members() {
    let mut network = two_segments();
    network.send(1, "hello");
    network.run(millis(10));
    let everybody_else = [(1, 0), (2, 1), (3, 1), (4, 1), (5, 1)];
    assert_eq!(Vec::from_iter(network.copies("hello")), everybody_else);
    let is_user = |body: &Body| matches!(body, Body::User { .. });
    let crossing = |from, to| network.sent(from, to).into_iter().filter(|b| is_user(b)).count();
    let across: usize = [3, 4, 5].into_iter().map(|to| crossing(1, to)).sum();
    assert_eq!(across, 1);
}

#[test]
fn members_of_one_segment_use_different_entry_points() {
    let mut network = two_segments();
    network.send(3, "a");
    network.send(4, "b");
    let entries: BTreeSet<_> = network
        .messages
        .iter()
        .filter(|(from, to, m)| *from > 2 && *to <= 2 && matches!(m.body, Body::User { .. }))
        .map(|(_, to, _)| *to)
        .collect();
    assert_eq!(entries, BTreeSet::from([1, 2]));
}

#[test]
fn segments_and_holes_together_still_reach_everybody() {
    let mut network = two_segments();
    network.cut(1, 4);
    network.cut(3, 5);
    network.run(millis(200));
    network.send(1, "hello");
    network.send(3, "back");
    network.run(millis(20));
    let copies = network.copies("hello");
    assert!([2, 3, 4, 5].iter().all(|number| copies[number] >= 1), "{copies:?}");
    let copies = network.copies("back");
    assert!([1, 2, 4, 5].iter().all(|number| copies[number] >= 1), "{copies:?}");
    assert_eq!((copies[&3], network.copies("hello")[&1]), (0, 0));
}

#[test]
fn a_member_with_another_group_name_is_told_and_calls_again_slowly() {
    let mut network = Network::of(1);
    let group = GroupName::new("other").expect("fits");
    network.add(2, Config { group, ..config(2, &[1]) });
    network.start_all();
    network.run(seconds(4));
    assert_eq!(network.reasons(2), [Reason::RefusedByPeer(Refusal::InvalidGroup)]);
    assert_eq!(network.reasons(1), [Reason::Refused(Refusal::InvalidGroup)]);
    network.run(seconds(3));
    assert_eq!(network.reasons(2).len(), 2);
}

#[test]
fn calling_oneself_is_noticed_and_not_repeated() {
    let mut network = Network::default();
    let listen = "0.0.0.0:4567".parse().expect("valid");
    network.add(1, Config { listen, ..config(1, &[1]) });
    network.start_all();
    network.run(seconds(5));
    let found = Event::OwnAddressFound { remote: address(1) };
    assert_eq!(network.member(1).events.iter().filter(|event| **event == found).count(), 1);
    let own = network.reasons(1).into_iter().filter(|reason| *reason == Reason::OwnAddress).count();
    assert_eq!(own, 1);
}

#[test]
fn a_clone_of_our_uuid_ends_the_one_that_is_not_primary_yet() {
    let mut network = meshed(2);
    network.install_primary_view();
    network.add_as(3, node(1), config(3, &[1]));
    network.input(3, Input::Start);
    network.run(millis(100));
    let refused =
        Event::IdentityRefused { problem: IdentityProblem::Duplicate, remote: address(1) };
    assert!(network.member(3).events.contains(&refused));
    assert_eq!(network.peers(1), [node(2)]);
}

#[test]
fn a_second_address_of_a_sound_peer_does_not_end_it() {
    // Member 3 has the UUID of member 2, which is part of no primary component: it may be the same
    // process on another path, and is only turned away.
    let mut network = meshed(2);
    network.add_as(3, node(2), config(3, &[1]));
    network.input(3, Input::Start);
    network.run(millis(100));
    let fails = |body: &Body| matches!(body, Body::Fail { .. });
    assert!(!network.sent(1, 3).into_iter().any(fails));
    assert_eq!(network.reasons(1), [Reason::Refused(Refusal::DuplicateUuid)]);
    assert_eq!(network.peers(1), [node(2)]);
}

#[test]
fn a_restarted_process_with_a_new_uuid_is_let_in_at_once() {
    let mut network = meshed(3);
    network.install_primary_view();
    network.kill(3);
    let reborn = NodeId::version1(99, 0, [2; 6]);
    network.add_as(3, reborn, config(3, &[1]));
    network.input(3, Input::Start);
    network.run(millis(500));
    assert!(network.peers(1).contains(&reborn) && network.peers(2).contains(&reborn));
    let changed = Event::IdentityChanged { remote: address(3), before: node(3), now: reborn };
    assert!(network.member(1).events.contains(&changed));
}

#[test]
fn a_member_that_left_comes_back_under_its_uuid_after_the_time_wait() {
    let mut network = meshed(2);
    network.install_primary_view();
    network.input(2, Input::Close);
    network.kill(2);
    let members = BTreeSet::from([node(1)]);
    let left = BTreeSet::from([node(2)]);
    network.input(1, Input::RegularView { members: members.clone(), left });
    network.input(1, Input::PrimaryView { members });
    network.add(2, config(2, &[1]));
    network.input(2, Input::Start);
    network.run(millis(4900));
    assert_eq!(network.peers(1), []);
    assert!(network.reasons(2).iter().all(|reason| *reason == Reason::TimeWait));
    assert!(network.reasons(1).contains(&Reason::PeerInTimeWait));
    network.run(millis(2000));
    network.assert_full_mesh();
}

#[test]
fn a_welcome_lifts_the_time_wait() {
    let mut network = meshed(2);
    network.kill(2);
    network.input(1, Input::PrimaryView { members: BTreeSet::from([node(1)]) });
    network.input(1, Input::Welcome(node(2)));
    network.add(2, config(2, &[1]));
    network.input(2, Input::Start);
    network.run(millis(100));
    network.assert_full_mesh();
}

#[test]
fn an_evicted_node_is_told_so_and_kept_out_until_it_is_pardoned() {
    let mut network = meshed(3);
    for number in [1, 2] {
        network.input(number, Input::Evict(node(3)));
    }
    network.run(seconds(8));
    assert_eq!(network.peers(1), [node(2)]);
    let refused = |remote| Event::IdentityRefused { problem: IdentityProblem::Evicted, remote };
    assert!(network.member(3).events.contains(&refused(address(1))));
    for number in [1, 2] {
        network.input(number, Input::Unevict(node(3)));
    }
    network.run(seconds(8));
    network.assert_full_mesh();
}

#[test]
fn messages_of_an_evicted_node_are_dropped_on_every_path() {
    let mut network = meshed(3);
    network.cut(2, 3);
    network.run(millis(100));
    network.input(1, Input::Evict(node(3)));
    network.send(3, "hello");
    network.run(millis(10));
    assert_eq!(Vec::from_iter(network.copies("hello")), [(1, 0), (2, 0), (3, 0)]);
}

#[test]
fn a_silent_member_is_dropped_after_three_seconds() {
    let mut network = meshed(2);
    network.run(seconds(2));
    // Member 2 hangs: it keeps its connection and says nothing more than the last keepalive.
    network.members.remove(&2).expect("member exists");
    network.run(millis(2400));
    assert_eq!(network.peers(1), [node(2)]);
    network.run(millis(1200));
    assert_eq!(network.peers(1), []);
    assert!(network.reasons(1).contains(&Reason::TimedOut));
}

#[test]
fn initial_addresses_are_tried_until_somebody_answers() {
    let mut network = Network::default();
    network.add(2, config(2, &[1]));
    network.start_all();
    network.run(millis(3500));
    let refused = Reason::Ended(LinkEnd::ConnectionRefused);
    let reasons = network.reasons(2);
    assert!(reasons.len() >= 3 && reasons.iter().all(|reason| *reason == refused));
    network.add(1, config(1, &[]));
    network.input(1, Input::Start);
    network.run(millis(1100));
    network.assert_full_mesh();
}

#[test]
fn names_are_looked_up_again_for_every_attempt() {
    let mut network = Network::default();
    let host = "members".to_owned();
    let name = HostPort { host: host.clone(), port: 4567 };
    network.add(2, Config { initial: vec![name], ..config(2, &[]) });
    network.add(1, config(1, &[]));
    network.start_all();
    network.run(seconds(2));
    let failed = Event::ResolveFailed { host: host.clone(), port: 4567 };
    assert_eq!(network.member(2).events, [failed]);
    let wrong: IpAddr = address(7).ip();
    network.names.insert(host.clone(), vec![wrong]);
    network.run(seconds(2));
    assert!(network.reasons(2).contains(&Reason::Ended(LinkEnd::ConnectionRefused)));
    network.names.insert(host, vec![wrong, address(1).ip()]);
    network.run(seconds(2));
    assert_eq!(network.peers(2), [node(1)]);
}

#[test]
fn a_primary_component_ends_the_search_and_its_loss_resumes_it() {
    let mut network = Network::default();
    network.add(1, config(1, &[]));
    network.add(2, config(2, &[1, 9]));
    network.start_all();
    network.run(seconds(2));
    network.install_primary_view();
    let before = network.reasons(2).len();
    network.run(seconds(5));
    assert_eq!(network.reasons(2).len(), before);
    network.input(2, Input::PrimaryLost);
    network.run(seconds(2));
    assert!(network.reasons(2).len() > before);
}

#[test]
fn the_search_goes_on_while_a_member_of_the_primary_component_has_no_link() {
    let mut network = meshed(2);
    network.add(3, config(3, &[1]));
    network.block(2, 3);
    network.input(3, Input::Start);
    network.run(seconds(1));
    network.install_primary_view();
    network.run(seconds(1));
    network.heal(2, 3);
    network.run(seconds(2));
    network.assert_full_mesh();
}

#[test]
fn after_the_close_nothing_happens_any_more() {
    let mut network = meshed(3);
    network.input(2, Input::Close);
    network.run(seconds(3));
    assert_eq!(network.peers(2), []);
    assert_eq!(network.member(2).gmcast.next_deadline(), None);
    assert_eq!(network.peers(1), [node(3)]);
}

#[test]
fn the_address_of_a_node_is_known_with_and_without_a_link() {
    let mut network = meshed(3);
    assert_eq!(network.member(1).gmcast.ip_of(node(3)), Some(address(3).ip()));
    network.cut(1, 3);
    network.run(millis(100));
    assert_eq!(network.peers(1), [node(2)]);
    assert_eq!(network.member(1).gmcast.ip_of(node(3)), Some(address(3).ip()));
    assert_eq!(network.member(1).gmcast.ip_of(node(9)), None);
    let known: Vec<_> = network.member(1).gmcast.known_addresses().collect();
    assert_eq!(known, [address(2), address(3)]);
}
